//! Limits of resources, as `setrlimit(2)` has them.
//!
//! - `memory` is the writable memory of each process (`RLIMIT_DATA`, which counts private anonymous mappings since
//!   Linux 4.7). It is not the address space: node and others reserve far more of that than they ever touch.
//! - `processes` is counted by user, over all of that user's processes in the user namespace. The kernel does not count
//!   it for root.
//! - `cpus` needs a control group ([`super::cgroup`]). A control group also keeps `memory` and `processes` better, for
//!   all processes of the program together. What it keeps is not set here.
//! - `wall_time` is the supervisor's ([`super::wall_time`]).
//!
//! A limit that nothing keeps is named. A limit is never raised above what this process was given.

use super::Error;
use super::sys;
use crate::policy::Limits;

/// The limits that are set for a process, but for those that are `held` already.
fn own<'l>(
    limits: &'l Limits,
    held: &'l [&str],
) -> impl Iterator<Item = (&'static str, u64, libc::__rlimit_resource_t)> + 'l {
    [
        ("memory", limits.memory, libc::RLIMIT_DATA),
        ("processes", limits.processes, libc::RLIMIT_NPROC),
        ("open_files", limits.open_files, libc::RLIMIT_NOFILE),
        ("cpu_time", limits.cpu_time, libc::RLIMIT_CPU),
        ("file_size", limits.file_size, libc::RLIMIT_FSIZE),
    ]
    .into_iter()
    .filter(|(name, ..)| !held.contains(name))
    .filter_map(|(name, value, resource)| Some((name, value?, resource)))
}

/// The limits that nothing holds on this host.
#[must_use]
pub fn not_held(limits: &Limits, held: &[&str]) -> Vec<&'static str> {
    // SAFETY: takes nothing and always succeeds.
    let root = unsafe { libc::getuid() } == 0;
    let mut missing: Vec<_> = own(limits, held)
        .map(|(name, ..)| name)
        .filter(|name| root && *name == "processes")
        .collect();
    if limits.cpus.is_some() && !held.contains(&"cpus") {
        missing.push("cpus");
    }
    missing
}

/// Sets the limits of this process, and so of the program, but for those that are `held` already.
///
/// # Errors
/// The kernel refuses one.
pub fn set(limits: &Limits, held: &[&str]) -> Result<(), Error> {
    for (name, value, resource) in own(limits, held) {
        let error = |e| Error::Limit(name, e);
        let (_, hard) = sys::limit(resource).map_err(error)?;
        let value = value.min(hard);
        sys::set_limit(resource, value, value).map_err(error)?;
    }
    Ok(())
}
