//! How much memory the process may still take.

/// What limits the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Available {
    /// Bytes that can be taken before something has to leave memory that is needed.
    pub bytes: u64,
    /// Who sets the limit: `this machine`, or a cgroup by its path.
    pub limit: String,
}

/// The least of what the machine and, on Linux, the process's cgroups leave; `None` where that
/// cannot be told.
///
/// Cached pages of files count as free: they leave memory when it is needed.
pub fn available() -> Option<Available> {
    #[cfg(target_os = "linux")]
    return linux::available(std::path::Path::new("/"));
    #[cfg(not(target_os = "linux"))]
    None
}

#[cfg(target_os = "linux")]
mod linux {
    use super::Available;
    use std::fs::read_to_string;
    use std::path::{Path, PathBuf};

    /// What the `/proc` and `/sys` below `root` tell.
    pub fn available(root: &Path) -> Option<Available> {
        let machine = machine(root).map(|bytes| Available {
            bytes,
            limit: "this machine".to_owned(),
        });
        machine.into_iter().chain(cgroups(root)).min_by_key(|a| a.bytes)
    }

    fn machine(root: &Path) -> Option<u64> {
        let info = read_to_string(root.join("proc/meminfo")).ok()?;
        let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kib.checked_mul(1024)
    }

    /// What the files of a version of cgroups are called.
    struct Names {
        mounts: &'static [&'static str],
        limit: &'static str,
        used: &'static str,
        cached: [&'static str; 2],
    }

    const V1: Names = Names {
        mounts: &["sys/fs/cgroup/memory"],
        limit: "memory.limit_in_bytes",
        used: "memory.usage_in_bytes",
        cached: ["total_inactive_file", "total_active_file"],
    };

    const V2: Names = Names {
        mounts: &["sys/fs/cgroup", "sys/fs/cgroup/unified"],
        limit: "memory.max",
        used: "memory.current",
        cached: ["inactive_file", "active_file"],
    };

    /// What each cgroup that the process is in leaves, the outer ones included.
    fn cgroups(root: &Path) -> Vec<Available> {
        let list = read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
        let mut found = Vec::new();
        for line in list.lines() {
            // hierarchy:controllers:path, without controllers in version 2
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
                continue;
            };
            let names = match controllers {
                "" => &V2,
                some if some.split(',').any(|c| c == "memory") => &V1,
                _ => continue,
            };
            for mount in names.mounts {
                // In a container the path may be one of the host, and the mount the container's
                // own: the root counts too.
                for path in Path::new(path.trim_start_matches('/')).ancestors() {
                    let directory = root.join(mount).join(path);
                    let left = left(&directory, names);
                    found.extend(left.map(|bytes| Available {
                        bytes,
                        limit: format!("cgroup {}", PathBuf::from("/").join(path).display()),
                    }));
                }
            }
        }
        found
    }

    /// What a cgroup leaves; `None` when it has no limit.
    fn left(directory: &Path, names: &Names) -> Option<u64> {
        let number = |name: &str| -> Option<u64> {
            read_to_string(directory.join(name)).ok()?.trim().parse().ok()
        };
        let (limit, used) = (number(names.limit)?, number(names.used)?);
        let stat = read_to_string(directory.join("memory.stat")).unwrap_or_default();
        let cached = stat.lines().filter_map(|line| {
            let (name, bytes) = line.split_once(' ')?;
            names
                .cached
                .contains(&name)
                .then(|| bytes.trim().parse::<u64>().ok())?
        });
        let used = used.saturating_sub(cached.fold(0, u64::saturating_add));
        Some(limit.saturating_sub(used))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        /// A machine with these files.
        fn machine_of(files: &[(&str, &str)]) -> tempfile::TempDir {
            let root = tempfile::tempdir().unwrap();
            for (name, text) in files {
                let path = root.path().join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            root
        }

        fn check(files: &[(&str, &str)], expected: Option<(u64, &str)>) {
            let found = available(machine_of(files).path());
            assert_eq!(
                found.as_ref().map(|a| (a.bytes, a.limit.as_str())),
                expected,
                "{files:?}"
            );
        }

        const MEMINFO: (&str, &str) = (
            "proc/meminfo",
            "MemTotal:       32768000 kB\nMemFree:          100 kB\nMemAvailable:    2000 kB\nBuffers: 7 kB\n",
        );

        #[test]
        fn a_machine_without_cgroups() {
            check(&[MEMINFO], Some((2_048_000, "this machine")));
            check(&[], None);
            check(&[("proc/meminfo", "MemTotal: 7 kB\n")], None);
            check(&[("proc/meminfo", "MemAvailable: many kB\n")], None);
        }

        #[test]
        fn version_2_and_its_outer_groups() {
            let cgroup = ("proc/self/cgroup", "0::/outer/inner\n");
            let inner = [
                ("sys/fs/cgroup/outer/inner/memory.max", "max\n"),
                ("sys/fs/cgroup/outer/inner/memory.current", "5\n"),
            ];
            let outer = [
                ("sys/fs/cgroup/outer/memory.max", "1000000\n"),
                ("sys/fs/cgroup/outer/memory.current", "700000\n"),
                (
                    "sys/fs/cgroup/outer/memory.stat",
                    "anon 400000\nfile 290000\ninactive_file 200000\nactive_file 90000\n",
                ),
            ];
            let files = [&[MEMINFO, cgroup][..], &inner].concat();
            check(&files, Some((2_048_000, "this machine")));
            let files = [&[MEMINFO, cgroup][..], &inner, &outer].concat();
            check(&files, Some((590_000, "cgroup /outer")));
        }

        #[test]
        fn a_container_sees_its_own_group_as_the_root() {
            let files = [
                MEMINFO,
                ("proc/self/cgroup", "0::/docker/not-visible-here\n"),
                ("sys/fs/cgroup/memory.max", "500000"),
                ("sys/fs/cgroup/memory.current", "900000"),
            ];
            check(&files, Some((0, "cgroup /")));
        }

        #[test]
        fn version_1() {
            let cgroup = (
                "proc/self/cgroup",
                "9:cpu,cpuacct:/x\n4:hugetlb,memory:/user/job\n1:name=systemd:/\nnonsense\n",
            );
            let unlimited = [
                (
                    "sys/fs/cgroup/memory/memory.limit_in_bytes",
                    "9223372036854771712\n",
                ),
                ("sys/fs/cgroup/memory/memory.usage_in_bytes", "900000\n"),
            ];
            let job = [
                ("sys/fs/cgroup/memory/user/job/memory.limit_in_bytes", "400000\n"),
                ("sys/fs/cgroup/memory/user/job/memory.usage_in_bytes", "300000\n"),
                (
                    "sys/fs/cgroup/memory/user/job/memory.stat",
                    "inactive_file 1\ntotal_inactive_file 50000\ntotal_active_file bad\n",
                ),
            ];
            let files = [&[MEMINFO, cgroup][..], &unlimited].concat();
            check(&files, Some((2_048_000, "this machine")));
            let files = [&[MEMINFO, cgroup][..], &unlimited, &job].concat();
            check(&files, Some((150_000, "cgroup /user/job")));
        }

        #[test]
        fn this_machine() {
            assert!(super::super::available().is_some_and(|a| a.bytes > 1 << 20));
        }
    }
}
