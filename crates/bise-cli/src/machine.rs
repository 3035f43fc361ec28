//! What the machine has: cores to work on, and memory that is left.
//!
//! On Linux `bise_kernels` asks the system itself, for affinity and cgroups count there; elsewhere
//! a library knows how.

use bise_kernels::memory::Available;

/// The physical cores that the process may use, at least one.
#[cfg(any(target_os = "linux", target_os = "macos"))]
pub fn cores() -> usize {
    bise_kernels::threads::usable_cores()
}

/// The physical cores that the process may use, at least one.
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
pub fn cores() -> usize {
    let allowed = bise_kernels::threads::usable_cores();
    sysinfo::System::physical_core_count().map_or(allowed, |cores| cores.clamp(1, allowed))
}

/// What limits the memory of the process; `None` where that cannot be told.
#[cfg(target_os = "linux")]
pub fn memory() -> Option<Available> {
    bise_kernels::memory::available()
}

/// What limits the memory of the process; `None` where that cannot be told.
#[cfg(not(target_os = "linux"))]
pub fn memory() -> Option<Available> {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    let bytes = system.available_memory();
    (bytes > 0).then(|| Available {
        bytes,
        limit: "this machine".to_owned(),
    })
}
