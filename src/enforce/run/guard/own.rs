//! What the program has made itself in this run, where a rule says that it does not hold for that (`except_new`).
//!
//! Such a rule denies to change what is there. git needs the difference: it writes the configuration of a new repository
//! five times over, and removes a clone that failed. Nothing of that was there before. Where an object is new, the policy
//! decides without those rules; where no rule says so, the policy holds for what is new as well.
//!
//! An object is known by its number and the time of its birth, so that its number in another object is no right. Only an object with one name
//! is noted: another name may have been there before.

use super::judge::Judge;
use super::kernel::{self, Errno};
use crate::fidelity::Object;
use crate::policy::{Operation, Policy};
use crate::semantics::decide;
use std::collections::HashMap;
use std::ffi::CStr;
use std::os::fd::AsRawFd;
use std::sync::{Mutex, PoisonError};

/// The most objects that are noted. For later ones only their names count.
const MOST: usize = 100_000;
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
#[derive(Debug)]
pub struct Own {
    /// The policy without the rules that leave out what is new.
    policy: Policy,
    made: Mutex<HashMap<Identity, Vec<Operation>>>,
}

impl Own {
    /// `None`: no rule leaves out what is new.
    #[must_use]
    pub fn new(policy: &Policy) -> Option<Self> {
        let policy = policy.for_what_is_new()?;
        Some(Self {
            policy,
            made: Mutex::default(),
        })
    }

    /// Whether something new may be changed so at a path.
    #[must_use]
    pub fn permits(&self, operation: Operation, path: &[u8]) -> bool {
        let object = Object::Path(path.to_vec());
        decide(&self.policy, operation, &object).action.permits()
    }

    /// Notes what was made at a name; with `from`, what came there from another one, where it may have been denied more.
    pub fn note(
        &self,
        judge: &Judge<'_>,
        (at, name): (&impl AsRawFd, &CStr),
        path: &[u8],
        from: Option<&[u8]>,
    ) {
        let gains = |o: &Operation| judge.ask(*o, path).is_err() && self.permits(*o, path);
        if !Operation::CHANGES.iter().any(gains) {
            return;
        }
        let Ok((identity, true)) = Identity::of(at, name) else {
            return;
        };
        let mut all = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.get(&identity).cloned().unwrap_or_default();
        let may = |o: &Operation| {
            before.contains(o) || from.is_none_or(|from| judge.ask(*o, from).is_ok())
        };
        if all.len() < MOST {
            all.insert(
                identity,
                Operation::CHANGES.into_iter().filter(may).collect(),
            );
        }
    }

    /// Whether an object, which the policy knows by a path, was made in this run and may be changed so.
    #[must_use]
    pub fn allows(
        &self,
        operation: Operation,
        path: &[u8],
        (at, name): (&impl AsRawFd, &CStr),
    ) -> bool {
        if self
            .made
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
        {
            return false;
        }
        let Ok((identity, _)) = Identity::of(at, name) else {
            return false;
        };
        let all = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let made = all.get(&identity).is_some_and(|o| o.contains(&operation));
        drop(all);
        made && self.permits(operation, path)
    }
}
