//! Standard input, output and error that are files.
//!
//! They were opened outside, on the mounts that are there: through `/proc/self/fd/0` a file can be opened anew on the mount of
//! the descriptor, and Landlock, which has granted the tree around it whole, lets that through. So one that is covered is
//! replaced by what stands at its path inside, where it is only read and may be; the place in it is kept, and no longer shared
//! with who else has the descriptor. Where that cannot be, the program does not start.

use super::cover::Plan;
use super::{Error, sys};
use crate::fidelity::show_bytes;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

const NAMES: [&str; 3] = ["standard input", "standard output", "standard error"];

/// Where the standard descriptors lead, of those that are files.
#[must_use]
pub fn paths() -> [Option<Vec<u8>>; 3] {
    std::array::from_fn(|fd| {
        let link = format!("/proc/self/fd/{fd}");
        let kind = std::fs::metadata(&link).ok()?.file_type();
        // Of a pipe, a socket or a terminal no mount is asked.
        if !kind.is_file() && !kind.is_fifo() {
            return None;
        }
        let path = std::fs::read_link(&link).ok()?.into_os_string().into_vec();
        path.starts_with(b"/").then_some(path)
    })
}

/// Puts those that are covered behind their covers, once these are there.
///
/// # Errors
/// One is covered, and cannot be had so.
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

/// The same file, read through the mount that is at its path now, at the same place in it.
fn again(fd: i32, path: &[u8]) -> Option<()> {
    // SAFETY: a standard descriptor that is open; it is not closed here.
    let old = std::mem::ManuallyDrop::new(unsafe { File::from_raw_fd(fd) });
    // A pipe with a name cannot be opened without somebody at its other end.
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
