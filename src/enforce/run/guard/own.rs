//! What the program has made itself in this run, at names where the policy lets something be made and not be changed.
//!
//! A rule that denies to edit or to delete keeps what is there. What the program may make, with whatever is in it, it may also fill,
//! change and take away again as long as it runs: git writes the configuration of a new repository five times over,
//! and a clone is removed again. Nothing of that was there before.
//!
//! An object is known by its number and the time of its birth, so that its number in another object is no right. Only an object with one name
//! is noted: another name may have been there before.

use super::judge::Judge;
use super::kernel::{self, Errno};
use crate::policy::Operation;
use std::collections::HashMap;
use std::ffi::CStr;
use std::os::fd::AsRawFd;
use std::sync::{Mutex, PoisonError};

/// The most objects that are noted. For later ones only their names count.
const MOST: usize = 100_000;
/// What is asked of what is there.
const CHANGES: [Operation; 3] = [Operation::Edit, Operation::Delete, Operation::Metadata];

/// By which an object is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    device: (u32, u32),
    number: u64,
    born: (i64, u32),
}

impl Identity {
    /// Identifies the object at a name, without following a link. With an empty name: the descriptor's own object. The
    /// second value: whether it has only one name.
    fn of(at: &impl AsRawFd, name: &CStr) -> Result<(Self, bool), Errno> {
        let found = kernel::extended_status(at, name)?;
        // Without it, another object may have the same inode by now.
        if found.stx_mask & libc::STATX_BTIME == 0 {
            return Err(Errno(libc::EOPNOTSUPP));
        }
        let identity = Self {
            device: (found.stx_dev_major, found.stx_dev_minor),
            number: found.stx_ino,
            born: (found.stx_btime.tv_sec, found.stx_btime.tv_nsec),
        };
        let folder = u32::from(found.stx_mode) & libc::S_IFMT == libc::S_IFDIR;
        Ok((identity, folder || found.stx_nlink == 1))
    }
}

/// What was made, with what may be done to it.
#[derive(Debug, Default)]
pub struct Own(Mutex<HashMap<Identity, Vec<Operation>>>);

impl Own {
    /// Notes what was made at a name; with `from`, what came there from another one, where it may have been denied more.
    pub fn note(
        &self,
        judge: &Judge<'_>,
        (at, name): (&impl AsRawFd, &CStr),
        path: &[u8],
        from: Option<&[u8]>,
    ) {
        let denied = |o: &Operation| judge.ask(*o, path).is_err();
        if !CHANGES.iter().any(denied) {
            return;
        }
        let Ok((identity, true)) = Identity::of(at, name) else {
            return;
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.get(&identity).cloned().unwrap_or_default();
        let may = |o: &Operation| {
            before.contains(o) || from.is_none_or(|from| judge.ask(*o, from).is_ok())
        };
        if all.len() < MOST {
            all.insert(identity, CHANGES.into_iter().filter(may).collect());
        }
    }

    /// Whether an object was made in this run and may be changed so.
    #[must_use]
    pub fn allows(&self, operation: Operation, at: &impl AsRawFd, name: &CStr) -> bool {
        if self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
        {
            return false;
        }
        let Ok((identity, _)) = Identity::of(at, name) else {
            return false;
        };
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&identity).is_some_and(|o| o.contains(&operation))
    }
}
