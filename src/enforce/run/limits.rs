//! Limits of resources, as `setrlimit(2)` has them.
//!
//! `memory` is the writable memory of each process (`RLIMIT_DATA`, which counts private anonymous mappings since
//! Linux 4.7), not its address space: node and the like reserve far more of that than they ever touch.
//! `processes` is counted by user, over all of that user's processes in the user namespace, and the kernel does not
//! count for root. `cpus` takes a control group ([`super::cgroup`]), which holds `memory` and `processes` better too: for all
//! processes of the program together; what one holds is not set here. What is held by neither is named as not kept.
//! `wall_time` is the supervisor's ([`super::wall_time`]).
//! A limit is never raised above what this process was given.

use super::Error;
use super::sys;
use crate::policy::Limits;

/// Sets the limits of this process, and so of the program, but for those that a control group holds (`in_cgroup`); the answer is
/// what is not kept.
///
/// # Errors
/// The kernel refuses one.
pub fn apply(limits: &Limits, in_cgroup: &[&str]) -> Result<Vec<&'static str>, Error> {
    let mut missing = Vec::new();
    for (name, value, resource) in [
        ("memory", limits.memory, libc::RLIMIT_DATA),
        ("processes", limits.processes, libc::RLIMIT_NPROC),
        ("open_files", limits.open_files, libc::RLIMIT_NOFILE),
        ("cpu_time", limits.cpu_time, libc::RLIMIT_CPU),
        ("file_size", limits.file_size, libc::RLIMIT_FSIZE),
    ] {
        let Some(value) = value.filter(|_| !in_cgroup.contains(&name)) else {
            continue;
        };
        let error = |e| Error::Limit(name, e);
        let (_, hard) = sys::limit(resource).map_err(error)?;
        let value = value.min(hard);
        sys::set_limit(resource, value, value).map_err(error)?;
        // SAFETY: takes nothing and always succeeds.
        if name == "processes" && unsafe { libc::getuid() } == 0 {
            missing.push(name);
        }
    }
    if limits.cpus.is_some() && !in_cgroup.contains(&"cpus") {
        missing.push("cpus");
    }
    Ok(missing)
}
