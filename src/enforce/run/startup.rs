//! Start-up files of bash that the policy does not let be read.
//!
//! People export tokens in `~/.bashrc`, so the built-in policies open none of these files. But bash complains of each one
//! that it may not read, at every start. So an empty file lies over it: bash reads nothing, and says nothing. Without
//! namespaces the file is closed as any other.

use super::sys;
use crate::backend::landlock::{AccessFs, PathBeneath, Ruleset};
use crate::enforce::unlinked;
use crate::fidelity::Object;
use crate::policy::{Operation, Policy};
use crate::semantics::decide;
use std::ffi::CStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// What bash reads in the home directory without being told to, and complains of.
const FILES: [&[u8]; 5] = [
    b".bashrc",
    b".bash_profile",
    b".bash_login",
    b".profile",
    b".bash_logout",
];

/// The name by which such a mount is known ([`super::mounts`]): nothing is lost where somebody replaces its file.
pub const SOURCE: &CStr = c"polc-empty";

/// Puts something empty over each file that is there and may not be read, and lets it be read. What cannot be mounted
/// over stays closed.
pub fn cover(policy: &Policy, ruleset: &mut Ruleset) {
    let closed = closed(policy);
    if closed.is_empty() || !ruleset.handled_fs.contains(&AccessFs::ReadFile) {
        return;
    }
    let Ok(empty) = empty(closed.len()) else {
        return;
    };
    for (path, empty) in closed.into_iter().zip(empty) {
        let path = path.into_os_string().into_vec();
        let object = unlinked::open(None, &path, libc::O_PATH);
        if object.and_then(|o| sys::attach_over(&empty, &o)).is_ok() {
            ruleset.paths.push(PathBeneath {
                parent: path,
                allowed: [AccessFs::ReadFile].into(),
                file: true,
            });
        }
    }
    ruleset.paths.sort_by(|a, b| a.parent.cmp(&b.parent));
}

fn closed(policy: &Policy) -> Vec<PathBuf> {
    let Some(home) = policy.subject.home.as_deref() else {
        return Vec::new();
    };
    let real = |name: &&[u8]| {
        let path = std::fs::canonicalize(sys::path(&[home, b"/", *name].concat())).ok()?;
        let object = Object::Path(path.as_os_str().as_bytes().to_vec());
        let permits = decide(policy, Operation::Read, &object).action.permits();
        (path.is_file() && !permits).then_some(path)
    };
    let mut out: Vec<PathBuf> = FILES.iter().filter_map(real).collect();
    out.dedup();
    out
}

/// So many empty files that everybody may read and nobody may change, mounted nowhere yet.
fn empty(count: usize) -> io::Result<Vec<OwnedFd>> {
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    let data = Some(c"size=4k,mode=755");
    // Over a directory that every host has. Nobody else sees this namespace.
    sys::mount(Some(SOURCE), c"/proc", Some(c"tmpfs"), flags, data)?;
    let made = make(count);
    sys::unmount(c"/proc")?;
    made
}

fn make(count: usize) -> io::Result<Vec<OwnedFd>> {
    let mut file = std::fs::OpenOptions::new();
    let file = file.write(true).create_new(true).mode(0o444);
    drop(file.open("/proc/empty")?);
    sys::set_read_only_here(c"/proc")?;
    let object = unlinked::open(None, b"/proc/empty", libc::O_PATH)?;
    (0..count).map(|_| sys::copy_object(&object)).collect()
}
