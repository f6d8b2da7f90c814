//! Finds the object that a path names, in the program's own view.
//!
//! If possible, the kernel does it: `openat2(2)` beneath the program's root, without those links of `/proc` that lead
//! directly to an object. Some paths need more: a relative path that leaves its directory, a link of that kind, and
//! everything in `/proc`. For these, the guard walks name by name. It uses the program's numbers in place of its own,
//! because the kernel takes `/proc/self` for the guard.
//!
//! The name of an object is the path that the kernel gives for its descriptor. Every later step uses that descriptor,
//! or a last name in it. So a change of the path has no effect.

use super::kernel::{self, Errno};
use super::target::{Target, same};
use std::cell::OnceCell;
use std::os::fd::{OwnedFd, RawFd};

/// The kernel's limit.
const MOST_LINKS: usize = 40;
/// How often the kernel may answer that something was moved, before the guard walks by itself.
const TRIES: usize = 3;
/// What the kernel appends to the path of a deleted object.
const DELETED: &[u8] = b" (deleted)";

/// Why there is no object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The program gets this error.
    Error(Errno),
    /// The guard cannot tell what it is. The kernel decides, with the inner domain.
    Unjudged,
}

impl From<Errno> for Stop {
    fn from(e: Errno) -> Self {
        Self::Error(e)
    }
}

fn stop<T>(error: libc::c_int) -> Result<T, Stop> {
    Err(Stop::Error(Errno(error)))
}

/// The object that a path names.
#[derive(Debug)]
pub struct Object {
    /// A descriptor for the object.
    pub held: OwnedFd,
    /// Its status.
    pub status: libc::stat,
    /// Its path. `None`: it has none, or it was deleted.
    pub name: Option<Vec<u8>>,
}

impl Object {
    /// The object of a descriptor.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn of(held: OwnedFd) -> Result<Self, Stop> {
        let status = kernel::status(&held)?;
        let name = name_of(&held, &status)?;
        Ok(Self { held, status, name })
    }

    /// The kind of file that it is.
    #[must_use]
    pub fn kind(&self) -> libc::mode_t {
        self.status.st_mode & libc::S_IFMT
    }
}

/// A name in a directory. An object may be there or not.
#[derive(Debug)]
pub struct Place {
    /// The directory.
    pub folder: OwnedFd,
    /// Its path.
    folder_name: Vec<u8>,
    /// The name, with the slashes after it.
    last: Vec<u8>,
}

impl Place {
    /// The path of the object at the name.
    #[must_use]
    pub fn path(&self) -> Vec<u8> {
        let above: &[u8] = if self.folder_name == b"/" {
            b""
        } else {
            &self.folder_name
        };
        [above, b"/", self.name()].concat()
    }

    /// The name alone.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        let end = self.last.iter().rposition(|b| *b != b'/');
        self.last
            .get(..end.map_or(0, |e| e + 1))
            .unwrap_or_default()
    }

    /// The name as the program wrote it.
    #[must_use]
    pub fn last(&self) -> std::ffi::CString {
        kernel::text(&self.last)
    }

    /// Whether the program wrote a slash after the name.
    #[must_use]
    pub fn has_slash(&self) -> bool {
        self.last.ends_with(b"/")
    }

    /// Whether the name is `.` or `..`. Nothing is made or removed by these names.
    #[must_use]
    pub fn is_dots(&self) -> bool {
        matches!(self.name(), b"" | b"." | b"..")
    }

    /// The status of the object at the name, if there is one. Does not follow a link.
    ///
    /// # Errors
    /// The system call fails for another reason than a missing object.
    pub fn there(&self) -> Result<Option<libc::stat>, Errno> {
        match kernel::status_at(&self.folder, &kernel::text(self.name())) {
            Ok(status) => Ok(Some(status)),
            Err(Errno(libc::ENOENT)) => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// The path that the kernel gives for a descriptor. `None`: it has none, or it was deleted.
///
/// A mount that is attached nowhere has paths of its own, and so has one of another namespace. So the same object must
/// be at the path. If it is not, the guard cannot tell.
fn name_of(held: &OwnedFd, status: &libc::stat) -> Result<Option<Vec<u8>>, Stop> {
    let name = kernel::read_link(&libc::AT_FDCWD, &kernel::link_of(held))?;
    if !name.starts_with(b"/") {
        return Ok(None);
    }
    let at = kernel::status_at(&libc::AT_FDCWD, &kernel::text(&name));
    if at.is_ok_and(|at| (at.st_dev, at.st_ino) == (status.st_dev, status.st_ino)) {
        return Ok(Some(name));
    }
    let gone = status.st_nlink == 0 || status.st_mode & libc::S_IFMT == libc::S_IFDIR;
    if name.ends_with(DELETED) && gone {
        return Ok(None);
    }
    Err(Stop::Unjudged)
}

/// The directories from which names are looked up.
pub struct View<'t> {
    target: &'t Target,
    /// Opened when it is needed. The thread's entry in `/proc` is held open, so the root is that thread's.
    root: OnceCell<OwnedFd>,
    base: Option<OwnedFd>,
    process: libc::pid_t,
}

impl<'t> View<'t> {
    /// The view for a path of a thread. A relative path starts at a descriptor.
    ///
    /// # Errors
    /// The thread is gone, or has no such descriptor.
    pub fn of(target: &'t Target, descriptor: RawFd, path: &[u8]) -> Result<Self, Errno> {
        let relative = !path.starts_with(b"/");
        Ok(Self {
            target,
            root: OnceCell::new(),
            base: relative.then(|| target.base(descriptor)).transpose()?,
            process: 0,
        })
    }

    fn root(&self) -> Result<&OwnedFd, Errno> {
        if let Some(root) = self.root.get() {
            return Ok(root);
        }
        let root = self.target.root()?;
        Ok(self.root.get_or_init(|| root))
    }

    /// The object that `openat2` finds under the program's own restrictions. `None`: there is nothing at the last name.
    ///
    /// # Errors
    /// There is no such object, or the guard cannot tell.
    pub fn restricted(
        &mut self,
        path: &[u8],
        flags: libc::c_int,
        how: u64,
    ) -> Result<OwnedFd, Stop> {
        let here = kernel::find(&libc::AT_FDCWD, c"/", 0, 0)?;
        // Without a directory, names are looked up only from the kernel's own root.
        if !same(&here, self.root()?)? {
            return Err(Stop::Unjudged);
        }
        let path: &[u8] = if path.is_empty() { b"." } else { path };
        let how = how | libc::RESOLVE_NO_MAGICLINKS;
        let held = kernel::find(self.start()?, &kernel::text(path), flags, how)?;
        if kernel::is_of_processes(&held)? {
            return Err(Stop::Unjudged);
        }
        Ok(held)
    }

    fn start(&self) -> Result<&OwnedFd, Errno> {
        match &self.base {
            Some(base) => Ok(base),
            None => self.root(),
        }
    }

    /// The object that a path names. `follow` says whether a link at the end is followed.
    ///
    /// # Errors
    /// There is no such object, or the guard cannot tell.
    pub fn object(&mut self, path: &[u8], follow: bool) -> Result<Object, Stop> {
        let held = self.find(path, follow, false)?;
        if kernel::is_of_processes(&held)? {
            return Err(Stop::Unjudged);
        }
        Object::of(held)
    }

    /// The last name of a path, in the directory that the rest of the path names.
    ///
    /// # Errors
    /// There is no such directory, or the guard cannot tell.
    pub fn place(&mut self, path: &[u8]) -> Result<Place, Stop> {
        let (above, last) = split(path);
        if path.is_empty() {
            return stop(libc::ENOENT);
        }
        if last.len() > libc::PATH_MAX as usize {
            return stop(libc::ENAMETOOLONG);
        }
        let folder = self.find(above, true, true)?;
        Self::place_in(folder, last.to_vec())
    }

    /// A name in a directory.
    ///
    /// # Errors
    /// It is not a directory, or it is gone.
    pub fn place_in(folder: OwnedFd, last: Vec<u8>) -> Result<Place, Stop> {
        if kernel::is_of_processes(&folder)? {
            return Err(Stop::Unjudged);
        }
        let status = kernel::status(&folder)?;
        if status.st_mode & libc::S_IFMT != libc::S_IFDIR {
            return stop(libc::ENOTDIR);
        }
        let Some(folder_name) = name_of(&folder, &status)? else {
            // Nothing can be made in a removed directory.
            return stop(libc::ENOENT);
        };
        Ok(Place {
            folder,
            folder_name,
            last,
        })
    }

    /// The place that the link at a place leads to.
    ///
    /// # Errors
    /// There is no such directory, or the guard cannot tell.
    pub fn through(&mut self, place: Place) -> Result<Place, Stop> {
        let to = kernel::read_link(&place.folder, &kernel::text(place.name()))?;
        let to = if place.has_slash() {
            [to.as_slice(), b"/"].concat()
        } else {
            to
        };
        self.base = if to.starts_with(b"/") {
            None
        } else {
            Some(place.folder)
        };
        self.place(&to)
    }

    fn find(&mut self, path: &[u8], follow: bool, directory: bool) -> Result<OwnedFd, Stop> {
        let mut flags = if follow { 0 } else { libc::O_NOFOLLOW };
        if directory {
            flags |= libc::O_DIRECTORY;
        }
        // A path without a slash starts at the current directory.
        let path: &[u8] = if path.is_empty() { b"." } else { path };
        let how = libc::RESOLVE_NO_MAGICLINKS
            | if path.starts_with(b"/") {
                libc::RESOLVE_IN_ROOT
            } else {
                libc::RESOLVE_BENEATH
            };
        let text = kernel::text(path);
        for _ in 0..TRIES {
            match kernel::find(self.start()?, &text, flags, how) {
                Ok(held) if kernel::is_of_processes(&held)? => break,
                Ok(held) => return Ok(held),
                Err(Errno(libc::EAGAIN)) => {}
                Err(Errno(libc::EXDEV | libc::ELOOP | libc::ENOSYS)) => break,
                // `/proc/self` is another process here, so a missing name may exist for the program.
                Err(Errno(libc::ENOENT | libc::ENOTDIR | libc::EACCES))
                    if leads_to_processes(path) =>
                {
                    break;
                }
                Err(e) => return Err(e.into()),
            }
        }
        self.walk(path, follow, directory)
    }

    /// Walks name by name.
    fn walk(&mut self, path: &[u8], follow: bool, directory: bool) -> Result<OwnedFd, Stop> {
        // With a slash at the end, there must be a directory, and a link to it is followed.
        let follow = follow || path.ends_with(b"/");
        let mut at = kernel::find(self.start()?, c".", 0, 0)?;
        let mut rest = Names::of(path);
        let mut links = 0;
        while let Some(name) = rest.next() {
            match name.as_slice() {
                b"." => continue,
                b".." => {
                    if !same(&at, self.root()?)? {
                        at = kernel::find(&at, c"..", libc::O_DIRECTORY, 0)?;
                    }
                    continue;
                }
                _ => {}
            }
            let text = kernel::text(&name);
            let found = kernel::find(&at, &text, libc::O_NOFOLLOW, 0)?;
            let status = kernel::status(&found)?;
            let is_link = status.st_mode & libc::S_IFMT == libc::S_IFLNK;
            if !is_link || (rest.is_empty() && !follow) {
                at = found;
                continue;
            }
            links += 1;
            if links > MOST_LINKS {
                return stop(libc::ELOOP);
            }
            if kernel::is_of_processes(&at)? {
                match self.link_of_processes(&at, &name)? {
                    Leads::Names(to) => rest.push(&to),
                    Leads::Object(object) => at = object,
                }
                continue;
            }
            let to = kernel::read_link(&found, c"")?;
            if to.starts_with(b"/") {
                at = kernel::find(self.root()?, c".", 0, 0)?;
            }
            rest.push(&to);
        }
        let status = kernel::status(&at)?;
        if (directory || path.ends_with(b"/")) && status.st_mode & libc::S_IFMT != libc::S_IFDIR {
            return stop(libc::ENOTDIR);
        }
        Ok(at)
    }

    /// The target of a link in `/proc`, with the program's own numbers and objects.
    fn link_of_processes(&mut self, at: &OwnedFd, name: &[u8]) -> Result<Leads, Stop> {
        let folder = kernel::read_link(&libc::AT_FDCWD, &kernel::link_of(at))?;
        let own = self.own_process()?;
        let below = folder.strip_prefix(b"/proc");
        let Some(below) = below else {
            return Err(Stop::Unjudged);
        };
        if below.is_empty() {
            return Ok(Leads::Names(match name {
                b"self" => own.to_string().into_bytes(),
                b"thread-self" => format!("{own}/task/{}", self.target.thread).into_bytes(),
                _ => kernel::read_link(at, &kernel::text(name))?,
            }));
        }
        let number = |name: &[u8]| -> Option<u32> { std::str::from_utf8(name).ok()?.parse().ok() };
        let mut names = below.split(|b| *b == b'/').skip(1);
        let owner = names.next().and_then(number);
        let Some(owner) = owner else {
            return Err(Stop::Unjudged);
        };
        // A thread has an entry too. The entries in `task` belong to their process.
        let process = Target::of(owner)?.status()?.process;
        if process != own {
            return Err(Stop::Unjudged);
        }
        Ok(Leads::Object(kernel::open(
            at,
            &kernel::text(name),
            libc::O_PATH,
            0,
        )?))
    }

    fn own_process(&mut self) -> Result<libc::pid_t, Errno> {
        if self.process == 0 {
            self.process = self.target.status()?.process;
        }
        Ok(self.process)
    }
}

/// The target of a link.
enum Leads {
    /// More names to walk.
    Names(Vec<u8>),
    /// An object, directly.
    Object(OwnedFd),
}

/// Whether a path may name the entry of the process itself.
fn leads_to_processes(path: &[u8]) -> bool {
    path.starts_with(b"/proc") || path.starts_with(b"/dev/") || !path.starts_with(b"/")
}

/// A path without its last name, and that name with the slashes after it.
#[must_use]
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let end = path.iter().rposition(|b| *b != b'/').map_or(0, |e| e + 1);
    let named = path.get(..end).unwrap_or_default();
    let start = named.iter().rposition(|b| *b == b'/').map_or(0, |s| s + 1);
    path.split_at(start.min(path.len()))
}

/// The names that are still to be walked. The next one is last.
struct Names(Vec<Vec<u8>>);

impl Names {
    fn of(path: &[u8]) -> Self {
        let mut names = Self(Vec::new());
        names.push(path);
        names
    }

    fn push(&mut self, path: &[u8]) {
        let names = path.split(|b| *b == b'/').filter(|n| !n.is_empty());
        self.0.extend(names.rev().map(<[u8]>::to_vec));
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        self.0.pop()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
