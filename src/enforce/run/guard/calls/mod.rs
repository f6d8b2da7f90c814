//! The calls that the guard makes in place of the program.
//!
//! Each call reads its arguments from the program's memory and finds the object. Then it asks whether the thread still
//! waits, asks the policy by the object's name, and acts on the object that it holds open. Only one rename runs at a
//! time, and no other call runs then. So no name inside changes between the question and the action.

mod metadata;
mod names;
mod open;
mod rename;

use super::blocking::Work;
use super::judge::Denied;
use super::kernel::{self, Errno};
use super::listen::Guard;
use super::resolve::{Object, Place, Stop, View};
use super::table::{About, Call};
use super::target::Target;
use crate::policy::Operation;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// What the program gets.
#[derive(Debug)]
pub enum Answer {
    /// The kernel does the call, and the inner domain decides.
    Continue,
    /// This number.
    Value(i64),
    /// This error.
    Error(Errno),
    /// A descriptor.
    Descriptor {
        /// The guard's own descriptor.
        own: OwnedFd,
        /// It is closed on exec in the program.
        close_on_exec: bool,
    },
    /// The answer comes after work that may block.
    Later(Work),
    /// The program does not wait any more.
    Gone,
}

/// Why a call is not done.
#[derive(Debug)]
pub enum Halt {
    /// An error, as the kernel has it.
    Error(Errno),
    /// The guard cannot tell what the call is about.
    Unjudged,
    /// The policy denies it.
    Denied(Denied),
    /// The program does not wait any more.
    Gone,
}

impl From<Errno> for Halt {
    fn from(e: Errno) -> Self {
        Self::Error(e)
    }
}

impl From<Stop> for Halt {
    fn from(s: Stop) -> Self {
        match s {
            Stop::Error(e) => Self::Error(e),
            Stop::Unjudged => Self::Unjudged,
        }
    }
}

impl From<Denied> for Halt {
    fn from(d: Denied) -> Self {
        Self::Denied(d)
    }
}

type Done = Result<Answer, Halt>;

fn error<T>(number: libc::c_int) -> Result<T, Halt> {
    Err(Halt::Error(Errno(number)))
}

/// A call of a thread that waits.
pub struct Request<'a> {
    /// The guard that handles it.
    pub guard: &'a Guard<'a>,
    /// The kernel's number for it.
    pub id: u64,
    /// The thread that waits.
    pub target: &'a Target,
    /// Which call.
    pub call: Call,
    /// Its arguments.
    pub arguments: [u64; 6],
}

impl Request<'_> {
    /// Does the call.
    #[must_use]
    pub fn answer(&self) -> Answer {
        match self.done() {
            Ok(answer) => answer,
            Err(Halt::Error(Errno(libc::ESRCH))) if !self.is_waiting() => Answer::Gone,
            Err(Halt::Error(e)) => Answer::Error(e),
            Err(Halt::Gone) => Answer::Gone,
            Err(Halt::Denied(denied)) => {
                let error = denied.error();
                self.guard.record.denied(denied);
                Answer::Error(error)
            }
            Err(Halt::Unjudged) => self.unjudged(),
        }
    }

    /// Leaves the call to the inner domain if Landlock restricts it. Refuses it otherwise.
    fn unjudged(&self) -> Answer {
        match self.call.about() {
            About::Files if !self.guard.truncate_is_kept && self.only_empties() => {
                Answer::Error(Errno(libc::EACCES))
            }
            About::Files => Answer::Continue,
            About::Metadata => Answer::Error(Errno(libc::EPERM)),
            About::Sockets => Answer::Error(Errno(libc::EACCES)),
        }
    }

    /// Whether the call empties a file without a right to write it. Landlock does not restrict that before ABI 3.
    fn only_empties(&self) -> bool {
        let [_, b, c, ..] = self.arguments;
        let flags = match self.call {
            Call::Truncate => return true,
            Call::Open => b,
            Call::Openat => c,
            _ => return false,
        } as libc::c_int;
        flags & libc::O_ACCMODE == libc::O_RDONLY && flags & libc::O_TRUNC != 0
    }

    fn done(&self) -> Done {
        let here = libc::AT_FDCWD;
        let [a, b, c, d, e, _] = self.arguments;
        let (fd_a, fd_c) = (a as RawFd, c as RawFd);
        let _reading;
        let _writing;
        // A rename changes the names of everything beneath.
        if matches!(
            self.call,
            Call::Rename | Call::Renameat | Call::Renameat2 | Call::Bind
        ) {
            _writing = self
                .guard
                .names
                .write()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        } else {
            _reading = self
                .guard
                .names
                .read()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        match self.call {
            Call::Open => self.open(here, a, b as libc::c_int, c as libc::mode_t),
            Call::Creat => {
                let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
                self.open(here, a, flags, b as libc::mode_t)
            }
            Call::Openat => self.open(fd_a, b, c as libc::c_int, d as libc::mode_t),
            // The kernel would read the flags again, and could empty a file that is only read. Programs can do without
            // this call.
            Call::Openat2 if !self.guard.truncate_is_kept => error(libc::ENOSYS),
            Call::Openat2 => self.open_how(fd_a, b, c, d),
            Call::Mkdir => self.make_directory(here, a, b),
            Call::Mkdirat => self.make_directory(fd_a, b, c),
            Call::Mknod => self.make_node(here, a, b, c),
            Call::Mknodat => self.make_node(fd_a, b, c, d),
            Call::Unlink => self.remove(here, a, 0),
            Call::Rmdir => self.remove(here, a, libc::AT_REMOVEDIR),
            Call::Unlinkat => self.remove(fd_a, b, c as libc::c_int),
            Call::Rename => self.rename((here, a), (here, b), 0),
            Call::Renameat => self.rename((fd_a, b), (fd_c, d), 0),
            Call::Renameat2 => self.rename((fd_a, b), (fd_c, d), e as libc::c_uint),
            Call::Link => self.link((here, a), (here, b), 0),
            Call::Linkat => self.link((fd_a, b), (fd_c, d), e as libc::c_int),
            Call::Symlink => self.make_link(a, here, b),
            Call::Symlinkat => self.make_link(a, b as RawFd, c),
            Call::Truncate => self.truncate(a, b as i64),
            Call::Connect => self.connect(fd_a, b, c),
            Call::Bind => self.bind(fd_a, b, c),
            _ => self.metadata(),
        }
    }

    /// Whether the thread still waits. If so, what was opened by its number really is the thread's.
    fn is_waiting(&self) -> bool {
        self.guard.is_waiting(self.id)
    }

    pub(in crate::enforce::run::guard) fn still(&self) -> Result<(), Halt> {
        if self.is_waiting() {
            Ok(())
        } else {
            Err(Halt::Gone)
        }
    }

    /// A path from the program's memory. If it cannot be read, the guard cannot tell.
    fn path(&self, address: u64) -> Result<Vec<u8>, Halt> {
        self.readable(self.target.path(address))
    }

    pub(in crate::enforce::run::guard) fn readable<T>(
        &self,
        read: Result<T, Errno>,
    ) -> Result<T, Halt> {
        match read {
            Err(Errno(libc::EPERM | libc::EACCES)) => Err(Halt::Unjudged),
            other => Ok(other?),
        }
    }

    pub(in crate::enforce::run::guard) fn view(
        &self,
        directory: RawFd,
        path: &[u8],
    ) -> Result<View<'_>, Halt> {
        if path.is_empty() {
            return error(libc::ENOENT);
        }
        let view = self.readable(View::of(self.target, directory, path))?;
        self.still()?;
        Ok(view)
    }

    fn place(&self, directory: RawFd, address: u64) -> Result<Place, Halt> {
        let path = self.path(address)?;
        Ok(self.view(directory, &path)?.place(&path)?)
    }

    fn object(&self, directory: RawFd, address: u64, follow: bool) -> Result<Object, Halt> {
        let path = self.path(address)?;
        Ok(self.view(directory, &path)?.object(&path, follow)?)
    }

    /// The object that a descriptor stands for. A descriptor of the kind `O_PATH` does not count.
    fn descriptor(&self, descriptor: RawFd) -> Result<Object, Halt> {
        let held = self.target.descriptor(descriptor)?;
        let only_stands = self.target.only_stands(descriptor);
        self.still()?;
        if only_stands {
            return error(libc::EBADF);
        }
        Ok(Object::of(held)?)
    }

    /// Asks whether an object may be changed: the one at a name or, with an empty name, the one of a descriptor.
    fn ask_change(
        &self,
        operation: Operation,
        path: &[u8],
        (at, name): (&OwnedFd, &CStr),
    ) -> Result<(), Denied> {
        match self.guard.judge.ask(operation, path) {
            Err(_) if self.is_own(operation, path, (at, name)) => Ok(()),
            asked => asked,
        }
    }

    /// Notes that the program made something at a place.
    fn made(&self, place: &Place, from: Option<&[u8]>) {
        let name = kernel::text(place.name());
        let at = (&place.folder, name.as_c_str());
        if let Some(own) = &self.guard.own {
            own.note(&self.guard.judge, at, &place.path(), from);
        }
    }

    /// Whether an object was made in this run and may be changed so.
    fn is_own(&self, operation: Operation, path: &[u8], at: (&impl AsRawFd, &CStr)) -> bool {
        let own = self.guard.own.as_ref();
        own.is_some_and(|own| own.allows(operation, path, at))
    }

    /// Takes over the program's umask, for the next object.
    pub(in crate::enforce::run::guard) fn take_umask(&self) -> Result<(), Halt> {
        kernel::set_umask(self.target.status()?.umask);
        Ok(())
    }

    /// The same, before the program gets a descriptor. If the program has no number left for it, nothing is made or
    /// emptied.
    fn take_umask_for_descriptor(&self) -> Result<(), Halt> {
        let status = self.target.status()?;
        if !self.target.has_room(&status)? {
            return error(libc::EMFILE);
        }
        kernel::set_umask(status.umask);
        Ok(())
    }
}
