//! Opens a path without following a symbolic link anywhere in it.
//!
//! polc first examines a path, and opens it later. Meanwhile another program of the same user may replace the path by a
//! link. A right or a mount must not end up on the target of that link.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;

/// Opens a path. `beneath` is the directory that a relative path starts from. With `O_PATH`, a link at the end of the
/// path opens as the link itself.
///
/// # Errors
/// The system call fails: with `ELOOP` or `ENOTDIR` if a directory on the way is a link.
pub fn open(beneath: Option<&OwnedFd>, path: &[u8], flags: libc::c_int) -> io::Result<OwnedFd> {
    match at_once(beneath, path, flags) {
        // Some container engines refuse system calls that they do not know.
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
            by_names(beneath, path, flags)
        }
        done => done,
    }
}

fn c_string(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

fn new_descriptor(answer: libc::c_long) -> io::Result<OwnedFd> {
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: only called with what a call that opens has answered: a descriptor that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(answer as RawFd) })
}

/// Opens it by one call of `openat2(2)`.
fn at_once(beneath: Option<&OwnedFd>, path: &[u8], flags: libc::c_int) -> io::Result<OwnedFd> {
    let path = c_string(path)?;
    let directory = beneath.map_or(libc::AT_FDCWD, AsRawFd::as_raw_fd);
    // SAFETY: an all-zero `open_how` is a valid one. The string ends in NUL and outlives the call. The structure is of
    // the size that is given, and only read.
    new_descriptor(unsafe {
        let mut how: libc::open_how = std::mem::zeroed();
        how.flags = (flags | libc::O_NOFOLLOW | libc::O_CLOEXEC) as u64;
        how.resolve = libc::RESOLVE_NO_SYMLINKS;
        libc::syscall(
            libc::SYS_openat2,
            directory,
            path.as_ptr(),
            &raw const how,
            size_of::<libc::open_how>(),
        )
    })
}

/// Opens it name by name.
fn by_names(beneath: Option<&OwnedFd>, path: &[u8], flags: libc::c_int) -> io::Result<OwnedFd> {
    let mut at = match (beneath, path.first()) {
        (Some(directory), Some(b)) if *b != b'/' => directory.try_clone()?,
        _ => {
            let top = if path.first() == Some(&b'/') {
                "/"
            } else {
                "."
            };
            std::fs::OpenOptions::new()
                .read(true)
                .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
                .open(OsStr::from_bytes(top.as_bytes()))?
                .into()
        }
    };
    let names: Vec<&[u8]> = path
        .split(|b| *b == b'/')
        .filter(|n| !n.is_empty())
        .collect();
    let Some((last, above)) = names.split_last() else {
        return by_name(&at, b".", flags);
    };
    for name in above {
        at = by_name(&at, name, libc::O_PATH | libc::O_DIRECTORY)?;
    }
    by_name(&at, last, flags)
}

fn by_name(directory: &OwnedFd, name: &[u8], flags: libc::c_int) -> io::Result<OwnedFd> {
    let name = c_string(name)?;
    let flags = flags | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: the string ends in NUL and outlives the call.
    let answer = unsafe { libc::openat(directory.as_raw_fd(), name.as_ptr(), flags) };
    new_descriptor(libc::c_long::from(answer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn no_link_is_followed_on_any_way_of_opening() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(top.join("a/b")).unwrap();
        std::fs::write(top.join("a/b/file"), "").unwrap();
        symlink("a", top.join("link")).unwrap();
        symlink("file", top.join("a/b/last")).unwrap();
        let path = |name: &str| top.join(name).as_os_str().as_bytes().to_vec();
        let a = open(None, &path("a"), libc::O_PATH).unwrap();
        for way in [at_once, by_names] {
            let plain = libc::O_RDONLY;
            for (beneath, path, flags, opens) in [
                (None, path("a/b/file"), plain, true),
                (Some(&a), b"b/file".to_vec(), plain, true),
                (None, b"/".to_vec(), plain, true),
                (None, path("link/b/file"), plain, false),
                (None, path("a/b/last"), plain, false),
                (None, path("a/b/last"), libc::O_PATH, true),
                (None, path("link"), libc::O_PATH | libc::O_DIRECTORY, false),
                (Some(&a), b"../link/b".to_vec(), libc::O_PATH, false),
            ] {
                let got = way(beneath, &path, flags);
                assert_eq!(got.is_ok(), opens, "{path:?}: {got:?}");
            }
        }
    }
}
