//! The private namespaces for mounts, for the network, and for System V's shared memory.
//!
//! Root makes them directly. Every other user makes a user namespace first, and keeps their own number in it. polc
//! drops every capability in it again before the program starts.
//!
//! A namespace may be permitted and still be useless. Where AppArmor restricts user namespaces (Ubuntu from 23.10 on),
//! nothing may be set up in one. A process in a Landlock domain may mount nothing. A process cannot leave a namespace
//! again. So if there is a sign of either case, another process tries it first.
//!
//! If paths are covered, polc also makes everything read-only that Landlock grants no right to write. That protects
//! mode, owner, times and attributes of files outside, which Landlock does not restrict.

use super::cover::mount::Outcome;
use super::cover::{self, Plan};
use super::{Error, capabilities, routes, sys};
use crate::backend::landlock::{AccessFs, Ruleset};
use std::collections::BTreeSet;
use std::io;

/// Enters new namespaces, in this process. `false`: they are not permitted here, and nothing has changed.
///
/// # Errors
/// The user namespace exists, and cannot be set up.
pub fn enter(network: bool) -> Result<bool, Error> {
    if doubtful() && !tried(network) {
        return Ok(false);
    }
    make(network)
}

/// Whether namespaces may be permitted and still be useless.
fn doubtful() -> bool {
    // A process that is confined by Landlock or by a filter has this set, unless root confined it.
    let confined = sys::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0).is_ok_and(|n| n == 1);
    let restricted = || {
        std::fs::read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
            .is_ok_and(|text| text.starts_with(b"1"))
    };
    confined || restricted()
}

/// Whether another process can make them.
fn tried(network: bool) -> bool {
    // SAFETY: this process has one thread, so that the child may do whatever it likes; it ends without coming back.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let made = make(network);
        // SAFETY: takes a number.
        unsafe { libc::_exit(i32::from(!matches!(made, Ok(true)))) };
    }
    let mut status = 0;
    loop {
        // SAFETY: the kernel fills in the number.
        let got = unsafe { libc::waitpid(child, &raw mut status, 0) };
        if got == child {
            return libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0;
        }
        if got < 0 && io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return false;
        }
    }
}

fn make(network: bool) -> Result<bool, Error> {
    let mut flags = libc::CLONE_NEWNS;
    if network {
        flags |= libc::CLONE_NEWNET;
    }
    let admin = capabilities::bit("CAP_SYS_ADMIN").unwrap_or(0);
    let root = capabilities::effective().is_ok_and(|c| c & admin != 0);
    if root && unshare(flags) {
        return after(network).map(|()| true);
    }
    // SAFETY: they take nothing and always succeed.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    if !unshare(flags | libc::CLONE_NEWUSER) {
        return Ok(false);
    }
    let write = |name: &str, text: String| {
        std::fs::write(format!("/proc/self/{name}"), text)
            .map_err(|e| Error::Namespace("cannot set up the user namespace", e))
    };
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("{uid} {uid} 1"))?;
    write("gid_map", format!("{gid} {gid} 1"))?;
    after(network).map(|()| true)
}

/// Also takes System V's shared memory, semaphores and queues, if the kernel has a namespace for them.
fn unshare(flags: libc::c_int) -> bool {
    sys::unshare(flags | libc::CLONE_NEWIPC).is_ok() || sys::unshare(flags).is_ok()
}

fn after(network: bool) -> Result<(), Error> {
    sys::make_private().map_err(|e| Error::Namespace("cannot make the mounts private", e))?;
    if network {
        sys::loopback_up()
            .map_err(|e| Error::Namespace("cannot bring the loopback interface up", e))?;
        // If this fails, those addresses are still unreachable. Only the error differs.
        let _ = routes::prohibit();
    }
    Ok(())
}

/// Mounts everything that a plan asks for, in a private namespace.
///
/// # Errors
/// Nothing can be mounted at all.
pub fn mount(plan: &Plan, sockets: &[Vec<u8>], ruleset: &Ruleset) -> Result<Outcome, Error> {
    cover::mount::all(plan, sockets, writable(ruleset).as_ref())
}

/// Enters the current directory again. The process is still in the directory beneath the mounts.
///
/// # Errors
/// Not even `/` can be entered.
pub fn enter_again(here: Option<&std::path::Path>) -> Result<(), Error> {
    let to = here.unwrap_or(std::path::Path::new("/"));
    std::env::set_current_dir(to)
        .or_else(|_| std::env::set_current_dir("/"))
        .map_err(|e| Error::Namespace("cannot enter the current directory again", e))
}

/// The places that stay writable when everything else becomes read-only. `None`: nothing becomes read-only.
#[must_use]
pub fn writable(ruleset: &Ruleset) -> Option<BTreeSet<&[u8]>> {
    let writes = |a: &AccessFs| {
        *a == AccessFs::WriteFile || AccessFs::MAKE.contains(a) || AccessFs::REMOVE.contains(a)
    };
    if !ruleset.handled_fs.contains(&AccessFs::WriteFile)
        || !ruleset.handled_fs.contains(&AccessFs::MakeReg)
    {
        return None;
    }
    let mut places: BTreeSet<&[u8]> = BTreeSet::new();
    for p in ruleset
        .paths
        .iter()
        .filter(|p| p.allowed.iter().any(writes))
    {
        let path = p.parent.as_slice();
        // A read-only mount does not stop writes to devices, and terminals are devices. `/proc` becomes writable again
        // as a whole.
        let device = path.starts_with(b"/dev/") && (p.file || path == b"/dev/pts");
        let special = device || path.starts_with(b"/proc/");
        let mut above = (1..path.len()).filter(|n| path[*n] == b'/');
        if path == b"/" {
            return None;
        }
        if !special && !above.any(|n| places.contains(&path[..n])) {
            places.insert(path);
        }
    }
    Some(places)
}
