//! Renames, and hard links.

use super::{Answer, Done, Halt, Request, error};
use crate::enforce::run::guard::kernel;
use crate::enforce::run::guard::resolve::{Object, Place};
use crate::policy::Operation;
use std::os::fd::RawFd;

/// A directory of the program, and the address of a path in its memory.
type At = (RawFd, u64);

impl Request<'_> {
    pub(super) fn rename(&self, from: At, to: At, flags: libc::c_uint) -> Done {
        let known = libc::RENAME_NOREPLACE | libc::RENAME_EXCHANGE | libc::RENAME_WHITEOUT;
        let exchange = flags & libc::RENAME_EXCHANGE != 0;
        if flags & !known != 0 || exchange && flags != libc::RENAME_EXCHANGE {
            return error(libc::EINVAL);
        }
        let (from, to) = (self.place(from.0, from.1)?, self.place(to.0, to.1)?);
        if from.is_dots() || to.is_dots() {
            return error(libc::EBUSY);
        }
        let Some(moved) = from.there()? else {
            return error(libc::ENOENT);
        };
        let replaced = to.there()?;
        if flags & libc::RENAME_NOREPLACE != 0 && replaced.is_some() {
            return error(libc::EEXIST);
        }
        self.may_move(&from, &moved, &to)?;
        match replaced {
            Some(other) if exchange => self.may_move(&to, &other, &from)?,
            None if exchange => return error(libc::ENOENT),
            Some(_) => self.may_go(&to)?,
            None => {}
        }
        if flags & libc::RENAME_WHITEOUT != 0 {
            self.guard.judge.ask(Operation::Create, &from.path())?;
        }
        let (last, new) = (from.last(), to.last());
        kernel::rename((&from.folder, &last), (&to.folder, &new), flags)?;
        self.made(&to, Some(&from.path()));
        if exchange {
            self.made(&from, Some(&to.path()));
        }
        Ok(Answer::Value(0))
    }

    fn may_move(&self, from: &Place, moved: &libc::stat, to: &Place) -> Result<(), Halt> {
        let (a, b) = (from.path(), to.path());
        let judge = &self.guard.judge;
        self.may_go(from)?;
        judge.ask(Operation::Create, &b)?;
        judge.ask_gain(&a, &b)?;
        if moved.st_mode & libc::S_IFMT == libc::S_IFDIR {
            judge.ask_beneath(&a, &b, |path| {
                let name = kernel::text(path);
                self.is_own(Operation::Delete, path, (&libc::AT_FDCWD, &name))
            })?;
        }
        Ok(())
    }

    /// Asks whether the object at a place may be removed from there.
    fn may_go(&self, place: &Place) -> Result<(), Halt> {
        let name = kernel::text(place.name());
        let at = (&place.folder, name.as_c_str());
        Ok(self.ask_change(Operation::Delete, &place.path(), at)?)
    }

    pub(super) fn link(&self, from: At, to: At, flags: libc::c_int) -> Done {
        if flags & !(libc::AT_SYMLINK_FOLLOW | libc::AT_EMPTY_PATH) != 0 {
            return error(libc::EINVAL);
        }
        let object = self.linked(from, flags)?;
        let place = self.place(to.0, to.1)?;
        let path = place.path();
        self.free(&place)?;
        if let Some(name) = &object.name {
            self.guard.judge.ask_second_name(name, &path)?;
        }
        kernel::link(&object.held, &place.folder, &place.last())?;
        // An object without a name was made by the program.
        if object.name.is_none() {
            self.made(&place, None);
        }
        Ok(Answer::Value(0))
    }

    fn linked(&self, (directory, address): At, flags: libc::c_int) -> Result<Object, Halt> {
        let path = self.path(address)?;
        if path.is_empty() && flags & libc::AT_EMPTY_PATH != 0 {
            let held = self.target.base(directory)?;
            self.still()?;
            return Ok(Object::of(held)?);
        }
        let follow = flags & libc::AT_SYMLINK_FOLLOW != 0;
        Ok(self.view(directory, &path)?.object(&path, follow)?)
    }
}
