//! The private mount namespace, the network namespace, and that of System V's shared memory.
//!
//! Root makes them as it is; anybody else makes a user namespace first, in which the user keeps their own number.
//! Every capability in it is dropped again before the program starts.
//!
//! They may be made and then be of no use: where AppArmor restricts user namespaces (Ubuntu from 23.10 on) nothing may be set
//! up in one, and a process in a Landlock domain may mount nothing. There is no way back out of one, so where there is
//! a sign of either a process of its own tries it first.
//!
//! Where paths are covered, everything else becomes read-only as well, except where Landlock grants some right to write: that
//! holds mode, owner, times and attributes of files outside, of which Landlock knows nothing.

use super::cover::mount::Outcome;
use super::cover::{self, Plan};
use super::{Error, capabilities, routes, sys};
use crate::backend::landlock::{AccessFs, Ruleset};
use std::collections::BTreeSet;
use std::io;

/// Enters new namespaces, in this process. `false`: they are not permitted here, and nothing has changed.
///
/// # Errors
/// The user namespace could be made and not set up.
pub fn enter(network: bool) -> Result<bool, Error> {
    if doubtful() && !tried(network) {
        return Ok(false);
    }
    make(network)
}

/// Whether namespaces may be permitted and of no use.
fn doubtful() -> bool {
    // Whoever is confined by Landlock or by a filter has this set, unless root did it.
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

/// With System V's shared memory, semaphores and queues, where the kernel has a namespace for them.
fn unshare(flags: libc::c_int) -> bool {
    sys::unshare(flags | libc::CLONE_NEWIPC).is_ok() || sys::unshare(flags).is_ok()
}

fn after(network: bool) -> Result<(), Error> {
    sys::make_private().map_err(|e| Error::Namespace("cannot make the mounts private", e))?;
    if network {
        sys::loopback_up()
            .map_err(|e| Error::Namespace("cannot bring the loopback interface up", e))?;
        // What they would refuse cannot be reached without them, either.
        let _ = routes::prohibit();
    }
    Ok(())
}

/// Mounts everything that a plan says, in a private namespace.
///
/// # Errors
/// Nothing can be mounted at all.
pub fn mount(plan: &Plan, sockets: &[Vec<u8>], ruleset: &Ruleset) -> Result<Outcome, Error> {
    cover::mount::all(plan, sockets, writable(ruleset).as_ref())
}

/// Enters the current directory again: what was entered before is the one beneath the mounts.
///
/// # Errors
/// Not even `/` can be entered.
pub fn enter_again(here: Option<&std::path::Path>) -> Result<(), Error> {
    let to = here.unwrap_or(std::path::Path::new("/"));
    std::env::set_current_dir(to)
        .or_else(|_| std::env::set_current_dir("/"))
        .map_err(|e| Error::Namespace("cannot enter the current directory again", e))
}

/// The places that stay writable when everything else is made read-only; `None`: everything stays as it is.
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
        // Devices are written on a read-only mount too, and terminals are nothing else; `/proc` is made writable again
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
