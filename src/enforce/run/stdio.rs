//! Standard input, output and error, if they are files.
//!
//! They were opened outside, so they go past the covers. The program can open such a file again by `/proc/self/fd/0`,
//! on the mount on which it was opened. So if the file is covered, polc opens it again through its cover, and puts the
//! new descriptor in the old one's place, at the same position. This works if the descriptor only reads, and the
//! program may read the file. If it does not work, the program does not start.
//!
//! A file that is not covered may lie outside everything that the policy allows, such as the log that standard error
//! goes to. The program has the descriptor, and programs also open such files by name (`/dev/stderr`,
//! `/proc/self/fd/2`). So Landlock grants this one file, with the rights of the descriptor: what was opened for writing
//! cannot be opened for reading. A file that a rule denies gets no such right.

use super::cover::Plan;
use super::{Error, sys};
use crate::backend::landlock::AccessFs;
use crate::fidelity::{Object, show_bytes};
use crate::policy::{Operation, Policy};
use crate::semantics::decide;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

/// What the kernel appends to the path of a deleted file.
const DELETED: &[u8] = b" (deleted)";
const NAMES: [&str; 3] = ["standard input", "standard output", "standard error"];

/// The paths of the standard descriptors that are files.
#[must_use]
pub fn paths() -> [Option<Vec<u8>>; 3] {
    std::array::from_fn(|fd| {
        let link = format!("/proc/self/fd/{fd}");
        let kind = std::fs::metadata(&link).ok()?.file_type();
        // No mount affects a pipe, a socket or a terminal.
        if !kind.is_file() && !kind.is_fifo() {
            return None;
        }
        let path = std::fs::read_link(&link).ok()?.into_os_string().into_vec();
        path.starts_with(b"/").then_some(path)
    })
}

/// The files that the program may open again by their descriptors, and with which rights.
#[must_use]
pub fn reopened(
    policy: &Policy,
    plan: Option<&Plan>,
) -> Vec<(BorrowedFd<'static>, BTreeSet<AccessFs>)> {
    let one = |fd: RawFd| {
        let access = sys::flags(fd).ok().filter(|f| f & libc::O_PATH == 0)? & libc::O_ACCMODE;
        let path = path(fd)?;
        if plan.is_some_and(|p| p.over(&path).is_some()) {
            return None;
        }
        // If no rule mentions the file, the one who opened it decided. What a rule denies stays denied.
        let open = |operation| {
            let decision = decide(policy, operation, &Object::Path(path.clone()));
            decision.action.permits() || decision.rule.is_none()
        };
        let mut rights = BTreeSet::new();
        if access != libc::O_WRONLY && open(Operation::Read) {
            rights.insert(AccessFs::ReadFile);
        }
        if access != libc::O_RDONLY && open(Operation::Edit) {
            rights.extend([AccessFs::WriteFile, AccessFs::Truncate]);
        }
        // SAFETY: a standard descriptor that is open, and stays so.
        (!rights.is_empty()).then(|| (unsafe { BorrowedFd::borrow_raw(fd) }, rights))
    };
    (0..3).filter_map(one).collect()
}

/// The path of a standard descriptor that is a file, a named pipe or a device.
fn path(fd: RawFd) -> Option<Vec<u8>> {
    let link = format!("/proc/self/fd/{fd}");
    let status = std::fs::metadata(&link).ok()?;
    let kind = status.file_type();
    if !kind.is_file() && !kind.is_fifo() && !kind.is_char_device() {
        return None;
    }
    let mut path = std::fs::read_link(&link).ok()?.into_os_string().into_vec();
    if status.nlink() == 0 && path.ends_with(DELETED) {
        path.truncate(path.len() - DELETED.len());
    }
    path.starts_with(b"/").then_some(path)
}

/// Examines the descriptors that are open for writing: the program could write a denied file through one.
///
/// # Errors
/// There is such a file.
pub fn admit(policy: &Policy, paths: &[Option<Vec<u8>>; 3]) -> Result<(), Error> {
    for (fd, path) in paths.iter().enumerate() {
        let Some(path) = path else { continue };
        let refused = || Error::Denied(NAMES[fd], show_bytes(path));
        let access = sys::flags(fd as i32).map_err(|_| refused())? & libc::O_ACCMODE;
        let decision = decide(policy, Operation::Edit, &Object::Path(path.clone()));
        let denied = !decision.action.permits() && decision.rule.is_some();
        if access != libc::O_RDONLY && denied {
            return Err(refused());
        }
    }
    Ok(())
}

/// Opens the covered files again through their covers, once the covers are on.
///
/// # Errors
/// A covered file cannot be opened so.
pub fn behind(plan: &Plan, paths: &[Option<Vec<u8>>; 3]) -> Result<(), Error> {
    for (fd, path) in paths.iter().enumerate() {
        let Some(path) = path else { continue };
        let Some(cover) = plan.over(path) else {
            continue;
        };
        let refused = || Error::Covered(NAMES[fd], show_bytes(path));
        let fd = fd as i32;
        let access = sys::flags(fd).map_err(|_| refused())? & libc::O_ACCMODE;
        if cover.hidden || access != libc::O_RDONLY {
            return Err(refused());
        }
        again(fd, path).ok_or_else(refused)?;
    }
    Ok(())
}

/// The same file, at the same position, opened through the mount that is at its path now.
fn again(fd: i32, path: &[u8]) -> Option<()> {
    // SAFETY: a standard descriptor that is open; it is not closed here.
    let old = std::mem::ManuallyDrop::new(unsafe { File::from_raw_fd(fd) });
    // Opening a named pipe waits for a process at its other end.
    if !old.metadata().ok()?.is_file() {
        return None;
    }
    let mut new = File::open(sys::path(path)).ok()?;
    let (a, b) = (old.metadata().ok()?, new.metadata().ok()?);
    if (a.dev(), a.ino()) != (b.dev(), b.ino()) {
        return None;
    }
    let place = (&*old).stream_position().ok()?;
    new.seek(SeekFrom::Start(place)).ok()?;
    sys::replace(fd, new.as_raw_fd()).ok()
}
