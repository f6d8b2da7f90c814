//! Making and removing names.

use super::{Answer, Done, Halt, Request, error};
use crate::enforce::run::guard::kernel;
use crate::enforce::run::guard::resolve::Place;
use crate::policy::Operation;
use std::os::fd::RawFd;

impl Request<'_> {
    /// Checks that nothing is at a place, and that the policy allows making something there.
    pub(super) fn free(&self, place: &Place) -> Result<(), Halt> {
        if place.is_dots() || place.there()?.is_some() {
            return error(libc::EEXIST);
        }
        Ok(self.guard.judge.ask(Operation::Create, &place.path())?)
    }

    pub(super) fn make_directory(&self, directory: RawFd, path: u64, mode: u64) -> Done {
        let place = self.place(directory, path)?;
        self.free(&place)?;
        self.take_umask()?;
        kernel::make_directory(&place.folder, &place.last(), mode as libc::mode_t)?;
        self.made(&place, None);
        Ok(Answer::Value(0))
    }

    pub(super) fn make_node(&self, directory: RawFd, path: u64, mode: u64, device: u64) -> Done {
        let place = self.place(directory, path)?;
        self.free(&place)?;
        self.take_umask()?;
        let mode = mode as libc::mode_t;
        kernel::make_node(&place.folder, &place.last(), mode, device)?;
        self.made(&place, None);
        Ok(Answer::Value(0))
    }

    pub(super) fn make_link(&self, to: u64, directory: RawFd, path: u64) -> Done {
        let to = self.path(to)?;
        if to.is_empty() {
            return error(libc::ENOENT);
        }
        let place = self.place(directory, path)?;
        self.free(&place)?;
        kernel::make_link(&kernel::text(&to), &place.folder, &place.last())?;
        self.made(&place, None);
        Ok(Answer::Value(0))
    }

    pub(super) fn remove(&self, directory: RawFd, path: u64, flags: libc::c_int) -> Done {
        if flags & !libc::AT_REMOVEDIR != 0 {
            return error(libc::EINVAL);
        }
        let place = self.place(directory, path)?;
        if !place.is_dots() {
            if place.there()?.is_none() {
                return error(libc::ENOENT);
            }
            let name = kernel::text(place.name());
            self.ask_change(Operation::Delete, &place.path(), (&place.folder, &name))?;
        }
        // The kernel refuses `.` and `..`.
        kernel::remove(&place.folder, &place.last(), flags)?;
        Ok(Answer::Value(0))
    }
}
