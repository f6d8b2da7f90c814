//! Directories that the program has made unlistable. polc gives their owner the right to list them, and takes it back.
//!
//! If a program removes its right to read a directory (`chmod 311`), the search at the end would see nothing in it.
//! polc runs as the same user, who owns the directory and may change its mode. polc does so only at the end, and never
//! through a link. It changes only directories that could be listed at the start, or that did not exist then.

use crate::enforce::run::sys;
use crate::enforce::unlinked;
use std::fs::Permissions;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;

/// What the owner needs to list a directory and to walk through it.
const LISTS: libc::mode_t = 0o500;

/// Directories whose modes polc has changed. When this is dropped, each gets its mode back, the innermost first.
#[derive(Default)]
pub struct Opened(Vec<Was>);

struct Was {
    path: Vec<u8>,
    /// Device and inode, because another object may have taken the path meanwhile.
    object: (libc::dev_t, libc::ino_t),
    mode: u32,
}

fn open(path: &[u8]) -> Option<(OwnedFd, libc::stat)> {
    let folder = unlinked::open(None, path, libc::O_PATH | libc::O_DIRECTORY).ok()?;
    let status = sys::status(&folder).ok()?;
    Some((folder, status))
}

fn set_mode(folder: &OwnedFd, mode: u32) -> bool {
    // `fchmod` refuses a descriptor that was opened with `O_PATH`.
    let path = format!("/proc/self/fd/{}", folder.as_raw_fd());
    std::fs::set_permissions(path, Permissions::from_mode(mode)).is_ok()
}

impl Opened {
    /// Lets this user list a directory that belongs to them. The answer: whether the mode was changed.
    pub fn list(&mut self, path: &[u8]) -> bool {
        let Some((folder, status)) = open(path) else {
            return false;
        };
        let mode = status.st_mode & 0o7777;
        if status.st_uid != sys::user() || mode & LISTS == LISTS {
            return false;
        }
        let changed = set_mode(&folder, mode | LISTS);
        if changed {
            self.0.push(Was {
                path: path.to_vec(),
                object: (status.st_dev, status.st_ino),
                mode,
            });
        }
        changed
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        for was in self.0.iter().rev() {
            if let Some((folder, status)) = open(&was.path)
                && (status.st_dev, status.st_ino) == was.object
            {
                set_mode(&folder, was.mode);
            }
        }
    }
}
