//! Putting the covers on, in a private mount namespace.
//!
//! Each object is opened without following a link, looked at, and covered through its descriptor: what was looked at is
//! what is covered, whatever somebody renames meanwhile. An object that is gone needs no cover. An object that has
//! become something else is covered as what it is.
//!
//! Copies are made from a second view of the file system, which has none of the covers: the kernel looks at every mount
//! within the one that it copies from, so that thousands of copies from the covered tree would take minutes. Measured on
//! Linux 6.18: 5,000 copies took 0.9 s from the tree, and 0.04 s from a view without covers.

use super::{Cover, Gap, Plan};
use crate::backend::landlock::Kind;
use crate::enforce::run::entries::{is_gone, kind_of_mode};
use crate::enforce::run::{Error, sys};
use crate::enforce::unlinked;
use std::io;
use std::os::fd::OwnedFd;

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What could not be covered.
    pub gaps: Vec<Gap>,
    /// Links that could not be pinned.
    pub links: Vec<Vec<u8>>,
}

/// Puts on the covers of a plan, and hides sockets.
///
/// # Errors
/// Nothing can be mounted at all.
pub fn all(plan: &Plan, sockets: &[Vec<u8>]) -> Result<Outcome, Error> {
    let mut out = Outcome::default();
    let sockets: Vec<&Vec<u8>> = sockets.iter().filter(|p| !plan.hides(p)).collect();
    if plan.covers.is_empty() && sockets.is_empty() {
        return Ok(out);
    }
    let place = Place::make()
        .map_err(|e| Error::Namespace("cannot make the empty file that hides others", e))?;
    for (path, (cover, kind)) in &plan.covers {
        match place.put(path, *cover, *kind) {
            Ok(()) => {}
            Err(e) if is_gone(&e) => {}
            Err(_) if *kind == Kind::Link => out.links.push(path.clone()),
            Err(e) => out.gaps.push(Gap {
                path: path.clone(),
                reason: format!("it cannot be mounted over: {e}"),
            }),
        }
    }
    for path in sockets {
        match place.put(path, Cover::HIDDEN, Kind::File) {
            Err(e) if is_gone(&e) => {}
            done => done.map_err(|e| Error::Mount(crate::fidelity::show_bytes(path), e))?,
        }
    }
    place
        .clear()
        .map_err(|e| Error::Namespace("cannot unmount the empty file that hides others", e))?;
    Ok(out)
}

/// Something empty to hide objects by, and a view of the file system to copy from, for as long as covers are put on.
///
/// They lie over `/proc`, a directory that every host has. Nobody else sees this namespace.
struct Place {
    /// What lies beneath.
    proc: OwnedFd,
    file: OwnedFd,
    directory: OwnedFd,
    /// `None`: copies are made from the objects themselves.
    view: Option<OwnedFd>,
}

impl Place {
    fn make() -> io::Result<Self> {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        let proc = unlinked::open(None, b"/proc", libc::O_PATH)?;
        // Not everybody may copy everything: some container engines lock mounts that cannot be copied.
        let view = sys::copy_mount(b"/").ok();
        let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
        let data = Some(c"size=64k,mode=755");
        sys::mount(Some(c"polc"), c"/proc", Some(c"tmpfs"), flags, data)?;
        let made = (|| {
            std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o000)
                .open("/proc/file")?;
            std::fs::DirBuilder::new()
                .mode(0o000)
                .create("/proc/directory")?;
            std::fs::create_dir("/proc/view")?;
            let object = |path: &[u8]| unlinked::open(None, path, libc::O_PATH);
            let view = view.filter(|view| {
                object(b"/proc/view").is_ok_and(|over| sys::attach_over(view, &over).is_ok())
            });
            // So that its owner, who is the user, cannot change the mode of what is copied from here.
            sys::set_read_only_here(c"/proc")?;
            Ok((object(b"/proc/file")?, object(b"/proc/directory")?, view))
        })();
        match made {
            Ok((file, directory, view)) => Ok(Self {
                proc,
                file,
                directory,
                view,
            }),
            Err(e) => {
                let _ = sys::unmount(c"/proc");
                Err(e)
            }
        }
    }

    fn clear(self) -> io::Result<()> {
        sys::unmount(c"/proc")
    }

    /// The object at a path, as the program will see it.
    fn object(&self, path: &[u8]) -> io::Result<OwnedFd> {
        match path.strip_prefix(b"/proc/") {
            Some(rest) => unlinked::open(Some(&self.proc), rest, libc::O_PATH),
            None => unlinked::open(None, path, libc::O_PATH),
        }
    }

    fn put(&self, path: &[u8], cover: Cover, planned: Kind) -> io::Result<()> {
        let object = self.object(path)?;
        // Where it cannot be asked (a file system of somebody else's), it is what it was.
        let status = sys::status(&object).ok();
        let kind = status.map_or(planned, |s| kind_of_mode(s.st_mode));
        let mount = match kind {
            Kind::Directory if cover.hidden => sys::copy_object(&self.directory)?,
            Kind::File | Kind::Missing if cover.hidden => sys::copy_object(&self.file)?,
            // A link is kept as it is. What it leads to has a name of its own.
            _ => self.copy(path, &object, status)?,
        };
        if kind != Kind::Link && !cover.hidden {
            if cover.read_only {
                sys::freeze(&mount)?;
            }
            if cover.no_program {
                sys::no_program(&mount)?;
            }
        }
        sys::attach_over(&mount, &object)
    }

    /// A copy of an object, from the view without covers if it is the same there.
    fn copy(
        &self,
        path: &[u8],
        object: &OwnedFd,
        status: Option<libc::stat>,
    ) -> io::Result<OwnedFd> {
        let relative = path.strip_prefix(b"/").unwrap_or(path);
        let seen = self
            .view
            .as_ref()
            .filter(|_| !relative.is_empty())
            .and_then(|view| unlinked::open(Some(view), relative, libc::O_PATH).ok());
        let same = |other: &OwnedFd| {
            let (a, b) = (status?, sys::status(other).ok()?);
            Some(a.st_dev == b.st_dev && a.st_ino == b.st_ino)
        };
        match seen {
            Some(seen) if same(&seen) == Some(true) => sys::copy_object(&seen),
            _ => sys::copy_object(object),
        }
    }
}
