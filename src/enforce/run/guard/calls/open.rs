//! Opening for writing, making a file, and cutting one.

use super::{Answer, Done, Halt, Request, error};
use crate::enforce::run::guard::blocking::Work;
use crate::enforce::run::guard::kernel::{self, Errno};
use crate::enforce::run::guard::own::Own;
use crate::enforce::run::guard::resolve::{Object, Place, Stop, View, split};
use crate::policy::Operation;
use std::os::fd::RawFd;

/// The kernel's limit.
const MOST_LINKS: usize = 40;
/// How often an object may appear and vanish while the guard looks and makes.
const TRIES: usize = 100;
/// `struct open_how`.
const HOW: u64 = 24;
/// The flags that do not apply to an object that exists.
const MAKING: libc::c_int = libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_CLOEXEC;

/// The two uses of an object by an open file: reading and writing.
fn uses(flags: libc::c_int) -> (bool, bool) {
    let access = flags & libc::O_ACCMODE;
    let writes = access != libc::O_RDONLY || flags & libc::O_TRUNC != 0;
    (access != libc::O_WRONLY, writes)
}

impl Request<'_> {
    pub(super) fn open(
        &self,
        directory: RawFd,
        path: u64,
        flags: libc::c_int,
        mode: libc::mode_t,
    ) -> Done {
        let path = self.path(path)?;
        let mut view = self.view(directory, &path)?;
        if flags & libc::O_TMPFILE == libc::O_TMPFILE {
            let follow = flags & libc::O_NOFOLLOW == 0;
            let object = view.object(&path, follow)?;
            return self.make_nameless(&object, flags, mode);
        }
        if flags & libc::O_CREAT == 0 {
            let object = view.object(&path, flags & libc::O_NOFOLLOW == 0)?;
            return self.open_there(object, flags);
        }
        let from = (directory, path.as_slice());
        match view.place(&path) {
            Err(Stop::Unjudged) if flags & libc::O_EXCL == 0 => self.open_found(from, flags),
            place => self.open_or_make(&mut view, place?, from, (flags, mode)),
        }
    }

    /// Opens the target of a path in `/proc`. Nothing is made there, whatever the flags say. Shells open `/dev/stdout`
    /// so.
    fn open_found(&self, (directory, path): (RawFd, &[u8]), flags: libc::c_int) -> Done {
        let follow = flags & libc::O_NOFOLLOW == 0;
        let object = self.view(directory, path)?.object(path, follow)?;
        self.open_there(object, flags)
    }

    fn open_or_make(
        &self,
        view: &mut View<'_>,
        mut place: Place,
        from: (RawFd, &[u8]),
        (flags, mode): (libc::c_int, libc::mode_t),
    ) -> Done {
        let new = flags & libc::O_EXCL != 0;
        let mut links = 0;
        for _ in 0..TRIES {
            if place.has_slash() || place.is_dots() {
                return error(libc::EISDIR);
            }
            let Some(status) = place.there()? else {
                match self.make(&place, flags, mode) {
                    // A process outside made it first.
                    Err(Halt::Error(Errno(libc::EEXIST))) if !new => continue,
                    done => return done,
                }
            };
            if new {
                return error(libc::EEXIST);
            }
            if status.st_mode & libc::S_IFMT == libc::S_IFLNK {
                links += 1;
                if flags & libc::O_NOFOLLOW != 0 || links > MOST_LINKS {
                    return error(libc::ELOOP);
                }
                place = match view.through(place) {
                    Err(Stop::Unjudged) => return self.open_found(from, flags),
                    place => place?,
                };
                continue;
            }
            let name = kernel::text(place.name());
            let held = match kernel::find(&place.folder, &name, libc::O_NOFOLLOW, 0) {
                Err(Errno(libc::ENOENT)) => continue,
                other => other?,
            };
            return self.open_there(Object::of(held)?, flags);
        }
        error(libc::EAGAIN)
    }

    /// Makes a file at a free name.
    fn make(&self, place: &Place, flags: libc::c_int, mode: libc::mode_t) -> Done {
        let path = place.path();
        let (reads, writes) = uses(flags);
        self.guard.judge.ask(Operation::Create, &path)?;
        let new = |own: &Own| own.permits(Operation::Edit, &path);
        if writes && !self.guard.own.as_ref().is_some_and(new) {
            self.guard.judge.ask(Operation::Edit, &path)?;
        }
        if reads {
            self.guard.judge.ask(Operation::Read, &path)?;
        }
        self.take_umask_for_descriptor()?;
        // With O_EXCL the kernel follows no link.
        let how = flags | libc::O_CREAT | libc::O_EXCL | libc::O_NOCTTY;
        let own = kernel::open(&place.folder, &place.last(), how, mode)?;
        self.made(place, None);
        Ok(Answer::Descriptor {
            own,
            close_on_exec: flags & libc::O_CLOEXEC != 0,
        })
    }

    fn make_nameless(&self, folder: &Object, flags: libc::c_int, mode: libc::mode_t) -> Done {
        if folder.kind() != libc::S_IFDIR {
            return error(libc::ENOTDIR);
        }
        let Some(name) = &folder.name else {
            return error(libc::ENOENT);
        };
        for operation in [Operation::Create, Operation::Edit] {
            self.guard.judge.ask_nameless(operation, name)?;
        }
        self.take_umask_for_descriptor()?;
        let own = kernel::open(&folder.held, c".", flags & !libc::O_NOFOLLOW, mode)?;
        Ok(Answer::Descriptor {
            own,
            close_on_exec: flags & libc::O_CLOEXEC != 0,
        })
    }

    /// Opens an existing object.
    fn open_there(&self, object: Object, flags: libc::c_int) -> Done {
        let (reads, writes) = uses(flags);
        match object.kind() {
            libc::S_IFLNK => return error(libc::ELOOP),
            libc::S_IFSOCK => return error(libc::ENXIO),
            libc::S_IFDIR => return error(libc::EISDIR),
            // A terminal may become the program's own, and only the program's own call can do that.
            libc::S_IFCHR | libc::S_IFBLK => return Err(Halt::Unjudged),
            _ => {}
        }
        let Some(name) = &object.name else {
            return Err(Halt::Unjudged);
        };
        let status = (object.status.st_dev, object.status.st_ino);
        let standard = writes && !reads && self.guard.standard.contains(&status);
        if writes && !standard {
            self.ask_change(Operation::Edit, name, (&object.held, c""))?;
        }
        if reads {
            self.guard.judge.ask(Operation::Read, name)?;
        }
        if flags & libc::O_TRUNC != 0 {
            self.take_umask_for_descriptor()?;
        }
        let how = flags & !MAKING | libc::O_NOCTTY;
        let close_on_exec = flags & libc::O_CLOEXEC != 0;
        let both = flags & libc::O_ACCMODE == libc::O_RDWR;
        if object.kind() == libc::S_IFIFO && flags & libc::O_NONBLOCK == 0 && !both {
            return Ok(Answer::Later(Work::Open {
                object: object.held,
                flags: how,
                close_on_exec,
            }));
        }
        let own = kernel::reopen(&object.held, how)?;
        Ok(Answer::Descriptor { own, close_on_exec })
    }

    /// `openat2`, whose flags are in memory too.
    pub(super) fn open_how(&self, directory: RawFd, path: u64, how: u64, size: u64) -> Done {
        if size < HOW {
            return error(libc::EINVAL);
        }
        if size > 4096 {
            return error(libc::E2BIG);
        }
        let rest = self.readable(self.target.bytes(how + HOW, (size - HOW) as usize))?;
        if rest.iter().any(|b| *b != 0) {
            return error(libc::E2BIG);
        }
        let [flags, mode, resolve] = self.readable(self.target.numbers::<3>(how))?;
        let (_, writes) = uses(flags as libc::c_int);
        let makes = flags & i64::from(libc::O_CREAT | libc::O_TMPFILE & !libc::O_DIRECTORY) != 0;
        // The kernel reads all of it again. The inner domain decides, whatever the memory holds then.
        if flags & i64::from(libc::O_PATH) != 0 || !(writes || makes) {
            return Ok(Answer::Continue);
        }
        let known = libc::RESOLVE_BENEATH
            | libc::RESOLVE_IN_ROOT
            | libc::RESOLVE_NO_MAGICLINKS
            | libc::RESOLVE_NO_SYMLINKS
            | libc::RESOLVE_NO_XDEV
            | libc::RESOLVE_CACHED;
        let resolve = resolve as u64;
        if resolve & !known != 0 || flags >> 31 != 0 || mode & !0o7777 != 0 || (mode != 0 && !makes)
        {
            return error(libc::EINVAL);
        }
        if resolve & libc::RESOLVE_CACHED != 0 {
            return error(libc::EAGAIN);
        }
        let (flags, mode) = (flags as libc::c_int, mode as libc::mode_t);
        if resolve == 0 {
            return self.open(directory, path, flags, mode);
        }
        let path = self.path(path)?;
        // Also for an absolute path, the directory is the one that the path must stay beneath.
        let stays = resolve & (libc::RESOLVE_BENEATH | libc::RESOLVE_IN_ROOT) != 0;
        let start: &[u8] = if stays { b"." } else { &path };
        let mut view = self.view(directory, start)?;
        if path.is_empty() {
            return error(libc::ENOENT);
        }
        let follow = flags & libc::O_NOFOLLOW;
        let there = view.restricted(&path, follow, resolve);
        if flags & libc::O_TMPFILE == libc::O_TMPFILE {
            return self.make_nameless(&Object::of(there?)?, flags, mode);
        }
        match there {
            Ok(_) if flags & (libc::O_CREAT | libc::O_EXCL) == libc::O_CREAT | libc::O_EXCL => {
                error(libc::EEXIST)
            }
            Ok(held) => self.open_there(Object::of(held)?, flags),
            Err(Stop::Error(Errno(libc::ENOENT))) if flags & libc::O_CREAT != 0 => {
                let (above, last) = split(&path);
                let folder = view.restricted(above, libc::O_DIRECTORY, resolve)?;
                let place = View::place_in(folder, last.to_vec())?;
                if place.has_slash() || place.is_dots() {
                    return error(libc::EISDIR);
                }
                // A link without a target.
                if place.there()?.is_some() {
                    return error(libc::ELOOP);
                }
                self.make(&place, flags, mode)
            }
            Err(e) => Err(e.into()),
        }
    }

    pub(super) fn truncate(&self, path: u64, length: i64) -> Done {
        if length < 0 {
            return error(libc::EINVAL);
        }
        let object = self.object(libc::AT_FDCWD, path, true)?;
        match object.kind() {
            libc::S_IFREG => {}
            libc::S_IFDIR => return error(libc::EISDIR),
            _ => return error(libc::EINVAL),
        }
        let Some(name) = &object.name else {
            return Err(Halt::Unjudged);
        };
        self.ask_change(Operation::Edit, name, (&object.held, c""))?;
        // The limit is the program's, and so is the signal that reports it.
        let most = kernel::limit_of(self.target.thread, libc::RLIMIT_FSIZE)?;
        if length > object.status.st_size && length as u64 > most {
            let process = self.target.status()?.process;
            kernel::signal_thread(process, self.target.thread, libc::SIGXFSZ);
            return error(libc::EFBIG);
        }
        kernel::truncate(&object.held, length)?;
        Ok(Answer::Value(0))
    }
}
