//! Mode, owner, times and attributes. Landlock does not restrict them, so nothing here is left to the kernel.

use super::{Answer, Done, Halt, Request, error};
use crate::enforce::run::guard::filter::SET_FLAGS;
use crate::enforce::run::guard::kernel::{self, Errno};
use crate::enforce::run::guard::resolve::Object;
use crate::enforce::run::guard::table::Call;
use crate::policy::Operation;
use std::ffi::CString;
use std::os::fd::RawFd;

/// From linux/limits.h.
const LONGEST_NAME: usize = 255;
const LONGEST_VALUE: u64 = 65_536;
/// `FS_IOC_FSSETXATTR` reads a structure, the others a number.
const ATTRIBUTES: usize = 28;

/// How the object is named.
enum By {
    /// By a path from a directory.
    Path {
        directory: RawFd,
        path: u64,
        follow: bool,
        /// An empty path names the directory's own object.
        empty: bool,
    },
    /// By a descriptor.
    Descriptor(RawFd),
}

impl By {
    fn path(path: u64, follow: bool) -> Self {
        Self::at(libc::AT_FDCWD as u64, path, follow)
    }

    fn at(directory: u64, path: u64, follow: bool) -> Self {
        Self::Path {
            directory: directory as RawFd,
            path,
            follow,
            empty: false,
        }
    }

    /// The name of the object, with the flags of the newer calls.
    fn flags(directory: u64, path: u64, flags: u64) -> Result<Self, Halt> {
        let flags = flags as libc::c_int;
        if flags & !(libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH) != 0 {
            return error(libc::EINVAL);
        }
        Ok(Self::Path {
            directory: directory as RawFd,
            path,
            follow: flags & libc::AT_SYMLINK_NOFOLLOW == 0,
            empty: flags & libc::AT_EMPTY_PATH != 0,
        })
    }
}

impl Request<'_> {
    pub(super) fn metadata(&self) -> Done {
        let [a, b, c, d, e, _] = self.arguments;
        match self.call {
            Call::Chmod => self.mode(By::path(a, true), b),
            Call::Fchmod => self.mode(By::Descriptor(a as RawFd), b),
            Call::Fchmodat => self.mode(By::at(a, b, true), c),
            Call::Fchmodat2 => self.mode(By::flags(a, b, d)?, c),
            Call::Chown => self.owner(By::path(a, true), b, c),
            Call::Lchown => self.owner(By::path(a, false), b, c),
            Call::Fchown => self.owner(By::Descriptor(a as RawFd), b, c),
            Call::Fchownat => self.owner(By::flags(a, b, e)?, c, d),
            Call::Utime => self.times(By::path(a, true), self.two(b, Unit::Seconds)?),
            Call::Utimes => self.times(By::path(a, true), self.two(b, Unit::Micro)?),
            Call::Futimesat if b == 0 => {
                self.times(By::Descriptor(a as RawFd), self.two(c, Unit::Micro)?)
            }
            Call::Futimesat => self.times(By::at(a, b, true), self.two(c, Unit::Micro)?),
            Call::Utimensat if b == 0 && a as RawFd != libc::AT_FDCWD => {
                self.times(By::Descriptor(a as RawFd), self.two(c, Unit::Nano)?)
            }
            Call::Utimensat => self.times(By::flags(a, b, d)?, self.two(c, Unit::Nano)?),
            Call::Setxattr => self.set_attribute(By::path(a, true)),
            Call::Lsetxattr => self.set_attribute(By::path(a, false)),
            Call::Fsetxattr => self.set_attribute(By::Descriptor(a as RawFd)),
            Call::Removexattr => self.remove_attribute(By::path(a, true)),
            Call::Lremovexattr => self.remove_attribute(By::path(a, false)),
            Call::Fremovexattr => self.remove_attribute(By::Descriptor(a as RawFd)),
            Call::Ioctl => self.set_flags(a as RawFd, b as u32, c),
            _ => error(libc::ENOSYS),
        }
    }

    /// The object, if the policy allows changing its metadata.
    fn changed(&self, by: By) -> Result<Object, Halt> {
        let object = match by {
            By::Descriptor(descriptor) => self.descriptor(descriptor)?,
            By::Path {
                directory,
                path,
                follow,
                empty,
            } => {
                let text = self.path(path)?;
                if text.is_empty() && empty {
                    let held = self.target.base(directory)?;
                    self.still()?;
                    Object::of(held)?
                } else {
                    self.view(directory, &text)?.object(&text, follow)?
                }
            }
        };
        // An object without a name (a pipe, a removed file) belongs to the program alone.
        if let Some(name) = &object.name {
            self.ask_change(Operation::Metadata, name, (&object.held, c""))?;
        }
        Ok(object)
    }

    fn mode(&self, by: By, mode: u64) -> Done {
        let object = self.changed(by)?;
        if object.kind() == libc::S_IFLNK {
            return error(libc::EOPNOTSUPP);
        }
        kernel::change_mode(&object.held, mode as libc::mode_t)?;
        Ok(Answer::Value(0))
    }

    fn owner(&self, by: By, user: u64, group: u64) -> Done {
        let object = self.changed(by)?;
        kernel::change_owner(&object.held, user as libc::uid_t, group as libc::gid_t)?;
        Ok(Answer::Value(0))
    }

    fn times(&self, by: By, times: Option<[libc::timespec; 2]>) -> Done {
        // Nothing is changed, so nothing is checked.
        if times.is_some_and(|t| t.iter().all(|t| t.tv_nsec == libc::UTIME_OMIT)) {
            return Ok(Answer::Value(0));
        }
        let object = self.changed(by)?;
        kernel::change_times(&object.held, times.as_ref())?;
        Ok(Answer::Value(0))
    }

    /// Two times from the program's memory. `None`: now.
    fn two(&self, address: u64, unit: Unit) -> Result<Option<[libc::timespec; 2]>, Halt> {
        let time = |tv_sec, tv_nsec| libc::timespec { tv_sec, tv_nsec };
        if address == 0 {
            return Ok(None);
        }
        if unit == Unit::Seconds {
            let [a, b] = self.readable(self.target.numbers::<2>(address))?;
            return Ok(Some([time(a, 0), time(b, 0)]));
        }
        let [a, b, c, d] = self.readable(self.target.numbers::<4>(address))?;
        if unit == Unit::Nano {
            return Ok(Some([time(a, b), time(c, d)]));
        }
        if [b, d].iter().any(|n| !(0..1_000_000).contains(n)) {
            return error(libc::EINVAL);
        }
        Ok(Some([time(a, b * 1000), time(c, d * 1000)]))
    }

    fn attribute_name(&self) -> Result<CString, Halt> {
        let [_, name, ..] = self.arguments;
        match self.readable(self.target.string(name, LONGEST_NAME + 1)) {
            Ok(text) if text.is_empty() => error(libc::ERANGE),
            Err(Halt::Error(Errno(libc::ENAMETOOLONG))) => error(libc::ERANGE),
            text => Ok(kernel::text(&text?)),
        }
    }

    fn set_attribute(&self, by: By) -> Done {
        let [_, _, value, size, flags, _] = self.arguments;
        let name = self.attribute_name()?;
        if size > LONGEST_VALUE {
            return error(libc::E2BIG);
        }
        let value = self.readable(self.target.bytes(value, size as usize))?;
        let object = self.changed(by)?;
        if object.kind() == libc::S_IFLNK {
            return error(libc::EPERM);
        }
        let path = kernel::link_of(&object.held);
        kernel::set_attribute(&path, &name, &value, flags as libc::c_int)?;
        Ok(Answer::Value(0))
    }

    fn remove_attribute(&self, by: By) -> Done {
        let name = self.attribute_name()?;
        let object = self.changed(by)?;
        if object.kind() == libc::S_IFLNK {
            return error(libc::EPERM);
        }
        kernel::remove_attribute(&kernel::link_of(&object.held), &name)?;
        Ok(Answer::Value(0))
    }

    fn set_flags(&self, descriptor: RawFd, command: u32, address: u64) -> Done {
        if !SET_FLAGS.contains(&command) {
            return error(libc::ENOTTY);
        }
        let [.., structure] = SET_FLAGS;
        let length = if command == structure { ATTRIBUTES } else { 4 };
        let mut data = self.readable(self.target.bytes(address, length))?;
        data.resize(ATTRIBUTES, 0);
        let process = self.target.status()?.process;
        let copy = self.target.copy(descriptor, process)?;
        self.still()?;
        let object = Object::of(copy)?;
        if let Some(name) = &object.name {
            self.ask_change(Operation::Metadata, name, (&object.held, c""))?;
        }
        kernel::control(&object.held, command, &data)?;
        Ok(Answer::Value(0))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Seconds,
    Micro,
    Nano,
}
