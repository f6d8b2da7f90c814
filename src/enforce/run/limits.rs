//! Limits of resources, as `setrlimit(2)` has them.
//!
//! - `memory` limits the writable memory of each process (`RLIMIT_DATA`, which counts private anonymous mappings since
//!   Linux 4.7). It does not limit the address space: node and others reserve far more of that than they ever use.
//! - `processes` counts all processes of the user in the user namespace. The kernel does not count root's.
//! - `cpus` needs a cgroup ([`super::cgroup`]). A cgroup also enforces `memory` and `processes` better: for all
//!   processes of the program together. This module does not set what the cgroup enforces.
//! - The supervisor enforces `wall_time` ([`super::wall_time`]).
//!
//! polc names a limit that nothing enforces. It never raises a limit above what this process was given.

use super::Error;
use super::sys;
use crate::policy::Limits;

/// The limits to set for a process, without those that the cgroup enforces already.
fn own<'l>(
    limits: &'l Limits,
    in_cgroup: &'l [&str],
) -> impl Iterator<Item = (&'static str, u64, libc::__rlimit_resource_t)> + 'l {
    [
        ("memory", limits.memory, libc::RLIMIT_DATA),
        ("processes", limits.processes, libc::RLIMIT_NPROC),
        ("open_files", limits.open_files, libc::RLIMIT_NOFILE),
        ("cpu_time", limits.cpu_time, libc::RLIMIT_CPU),
        ("file_size", limits.file_size, libc::RLIMIT_FSIZE),
    ]
    .into_iter()
    .filter(|(name, ..)| !in_cgroup.contains(name))
    .filter_map(|(name, value, resource)| Some((name, value?, resource)))
}

/// The limits that nothing enforces on this host.
#[must_use]
pub fn unenforced(limits: &Limits, in_cgroup: &[&str]) -> Vec<&'static str> {
    // SAFETY: takes nothing and always succeeds.
    let root = unsafe { libc::getuid() } == 0;
    let mut missing: Vec<_> = own(limits, in_cgroup)
        .map(|(name, ..)| name)
        .filter(|name| root && *name == "processes")
        .collect();
    if limits.cpus.is_some() && !in_cgroup.contains(&"cpus") {
        missing.push("cpus");
    }
    missing
}

/// Sets the limits of this process, and so of the program, without those that the cgroup enforces already.
///
/// # Errors
/// The kernel refuses one.
pub fn set(limits: &Limits, in_cgroup: &[&str]) -> Result<(), Error> {
    for (name, value, resource) in own(limits, in_cgroup) {
        let error = |e| Error::Limit(name, e);
        let (_, hard) = sys::limit(resource).map_err(error)?;
        let value = value.min(hard);
        sys::set_limit(resource, value, value).map_err(error)?;
    }
    Ok(())
}
