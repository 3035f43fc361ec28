//! How many threads do the work best: one for each physical core that the process may use.

use std::thread::available_parallelism;

/// The physical cores that the process may use, at least one.
///
/// The process's affinity and, on Linux, the CPU quota of its cgroups count, rounded down to whole
/// cores. Of the threads that share a core, one is enough: kernels fill the core's vector units. On
/// macOS, where work is divided over cores of two speeds, the fast ones count.
pub fn usable_cores() -> usize {
    let allowed = available_parallelism().map_or(1, |n| n.get());
    physical_cores().map_or(allowed, |cores| cores.clamp(1, allowed))
}

#[cfg(target_os = "linux")]
fn physical_cores() -> Option<usize> {
    linux::physical_cores(std::path::Path::new("/"))
}

#[cfg(target_os = "macos")]
fn physical_cores() -> Option<usize> {
    let count = |name: &str| -> Option<usize> {
        let output = std::process::Command::new("/usr/sbin/sysctl")
            .args(["-n", name])
            .output();
        String::from_utf8(output.ok()?.stdout).ok()?.trim().parse().ok()
    };
    count("hw.perflevel0.physicalcpu").or_else(|| count("hw.physicalcpu"))
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn physical_cores() -> Option<usize> {
    None
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::BTreeSet;
    use std::fs::read_to_string;
    use std::ops::RangeInclusive;
    use std::path::Path;

    /// Cores with a CPU on which the current thread may run, by the `/proc` and `/sys` below
    /// `root`; `None` when they do not tell.
    pub fn physical_cores(root: &Path) -> Option<usize> {
        let status = read_to_string(root.join("proc/thread-self/status")).ok()?;
        let allowed = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
        let mut cores = BTreeSet::new();
        for cpu in cpu_list(allowed)?.into_iter().flatten() {
            let topology = root.join(format!("sys/devices/system/cpu/cpu{cpu}/topology"));
            // The name until Linux 5.3 is thread_siblings_list.
            let siblings = read_to_string(topology.join("core_cpus_list"))
                .or_else(|_| read_to_string(topology.join("thread_siblings_list")))
                .ok()?;
            cores.insert(*cpu_list(&siblings)?.first()?.start());
        }
        Some(cores.len())
    }

    /// The kernel's lists: `0-3,8,10-11`.
    fn cpu_list(list: &str) -> Option<Vec<RangeInclusive<u32>>> {
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some(first.parse().ok()?..=last.parse().ok()?)
        };
        list.trim().split(',').map(range).collect()
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::fs;

        /// A machine on whose `allowed` CPUs the process may run; `siblings[i]` is what the file
        /// `name` of CPU `i` says.
        fn machine(allowed: &str, name: &str, siblings: &[&str]) -> tempfile::TempDir {
            let root = tempfile::tempdir().unwrap();
            let write = |path: &str, text: String| {
                let path = root.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            };
            let status = format!(
                "Name:\tbise\nCpus_allowed:\tff\nCpus_allowed_list:\t{allowed}\nMems_allowed:\t1\n"
            );
            write("proc/thread-self/status", status);
            for (cpu, list) in siblings.iter().enumerate() {
                write(
                    &format!("sys/devices/system/cpu/cpu{cpu}/topology/{name}"),
                    format!("{list}\n"),
                );
            }
            root
        }

        fn cores(allowed: &str, siblings: &[&str]) -> Option<usize> {
            physical_cores(machine(allowed, "core_cpus_list", siblings).path())
        }

        #[test]
        fn siblings_share_a_core() {
            // Four cores of two threads each, numbered as Intel does and as AMD does.
            let far = ["0,4", "1,5", "2,6", "3,7", "0,4", "1,5", "2,6", "3,7"];
            let near = ["0-1", "0-1", "2-3", "2-3", "4-5", "4-5", "6-7", "6-7"];
            assert_eq!(cores("0-7", &far), Some(4));
            assert_eq!(cores("0-7", &near), Some(4));
            // Two fast cores of two threads, four slow ones of one.
            assert_eq!(
                cores("0-7", &["0-1", "0-1", "2-3", "2-3", "4", "5", "6", "7"]),
                Some(6)
            );
            assert_eq!(cores("0-1", &["0", "1"]), Some(2));
        }

        #[test]
        fn affinity_counts() {
            let far = ["0,4", "1,5", "2,6", "3,7", "0,4", "1,5", "2,6", "3,7"];
            assert_eq!(cores("0,4", &far), Some(1));
            assert_eq!(cores("0-1,4,7", &far), Some(3));
            assert_eq!(cores("5", &far), Some(1));
        }

        #[test]
        fn old_kernels_and_unknown_machines() {
            let old = machine("0-1", "thread_siblings_list", &["0-1", "0-1"]);
            assert_eq!(physical_cores(old.path()), Some(1));
            assert_eq!(cores("0-1", &["0"]), None);
            assert_eq!(cores("", &["0"]), None);
            assert_eq!(cores("0", &["?"]), None);
            assert_eq!(physical_cores(Path::new("/absent")), None);
        }

        #[test]
        fn this_machine() {
            let threads = std::thread::available_parallelism().unwrap().get();
            assert!((1..=threads).contains(&crate::threads::usable_cores()));
        }
    }
}
