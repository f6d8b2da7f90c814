//! The objects. They are made before each attempt, and removed after it.

use crate::sys;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};

/// The smallest program that ends with status 250 (`sys::STARTED`): the ELF header, one program header, and `mov edi,
/// 250; mov eax, 60; syscall`.
const PROGRAM: [u8; 132] = {
    let mut elf = [0; 132];
    const HEAD: [u8; 120] = [
        0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, // 64 bits, little endian
        2, 0, 0x3e, 0, 1, 0, 0, 0, // executable, x86-64
        0x78, 0, 0x40, 0, 0, 0, 0, 0, // entry 0x400078
        64, 0, 0, 0, 0, 0, 0, 0, // program headers at 64
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // no sections, no flags
        64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0, // sizes: header, program header, one of them
        1, 0, 0, 0, 5, 0, 0, 0, // load, read and execute
        0, 0, 0, 0, 0, 0, 0, 0, // from offset 0
        0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, // at 0x400000
        132, 0, 0, 0, 0, 0, 0, 0, 132, 0, 0, 0, 0, 0, 0, 0, // all of it
        0, 0x10, 0, 0, 0, 0, 0, 0, // aligned to a page
    ];
    const CODE: [u8; 12] = [0xbf, 250, 0, 0, 0, 0xb8, 60, 0, 0, 0, 0x0f, 0x05];
    let mut i = 0;
    while i < 132 {
        elf[i] = if i < 120 { HEAD[i] } else { CODE[i - 120] };
        i += 1;
    }
    elf
};

/// The object that must be at the path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// The object is no path.
    NoObject,
    /// Nothing. Its directory exists.
    Nothing,
    /// A file with something in it.
    File,
    /// A file that can be started.
    Program,
    /// An empty directory.
    Directory,
    /// A unix socket that listens.
    Listener,
    /// A datagram socket.
    Receiver,
    /// A fifo with a reader and a writer.
    Fifo,
    /// A symbolic link to nothing.
    Link,
    /// A file in a new directory.
    FileInOwn,
    /// Nothing, and its directory does not exist either. The directory above exists.
    NothingAbove,
    /// A directory with a file in it that has the object's name.
    FileWithin,
}

/// The objects that were made for the current attempt.
#[derive(Default)]
pub struct Fixture {
    /// SELinux labels by kind (`file`, `dir`, `sock_file`, `fifo_file`, `lnk_file`) and path.
    labels: HashMap<(String, Vec<u8>), String>,
    /// The uppermost directories that did not exist before.
    tops: Vec<PathBuf>,
    /// The objects that may have been made.
    objects: Vec<PathBuf>,
    /// The descriptors that stay open.
    open: Vec<OwnedFd>,
}

impl Fixture {
    /// Sets the label for an object of this kind at this path.
    pub fn label(&mut self, kind: &str, path: Vec<u8>, context: &str) {
        self.labels
            .insert((kind.to_owned(), path), context.to_owned());
    }

    /// Removes all labels, because another policy has others.
    pub fn forget_labels(&mut self) {
        self.labels.clear();
    }

    fn give_label(&self, kind: &str, path: &Path) -> io::Result<()> {
        let key = (kind.to_owned(), path.as_os_str().as_bytes().to_vec());
        match self.labels.get(&key) {
            Some(context) => sys::set_label(path, context),
            None => Ok(()),
        }
    }

    /// Makes the directories above the path, and the object.
    pub fn make(&mut self, needs: Needs, kind: &str, path: &Path) -> io::Result<()> {
        if needs == Needs::NoObject {
            return Ok(());
        }
        if path.symlink_metadata().is_ok() {
            // An object of the machine itself (`/`, `/proc/…`). It is looked at, and never changed.
            let fits = match needs {
                Needs::Directory => path.is_dir(),
                Needs::File => path.is_file(),
                _ => false,
            };
            let own = path == Path::new("/") || matches!(kind, "read" | "list");
            return if fits && own {
                Ok(())
            } else {
                Err(io::ErrorKind::AlreadyExists.into())
            };
        }
        match needs {
            Needs::NothingAbove => {
                let Some(above) = path.parent() else {
                    return Err(io::ErrorKind::NotFound.into());
                };
                self.directories(above)?;
                if above.symlink_metadata().is_ok() {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                self.objects.push(above.to_owned());
            }
            _ => {
                let own = self.directories(path)?;
                // A directory of the machine is not moved.
                if needs == Needs::FileInOwn && !own {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
            }
        }
        self.object(needs, path, None)
    }

    /// Makes the object at the other path of an attempt on `path`, and the directories above it.
    pub fn make_ally(&mut self, needs: Needs, ally: &Path, path: &Path) -> io::Result<()> {
        if ally.symlink_metadata().is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.directories(ally)?;
        self.object(needs, ally, path.file_name())
    }

    /// Makes the directories above a path. Returns whether the last of them is new.
    fn directories(&mut self, path: &Path) -> io::Result<bool> {
        let missing: Vec<&Path> = path
            .ancestors()
            .skip(1)
            .take_while(|p| p.symlink_metadata().is_err())
            .collect();
        if let Some(top) = missing.last() {
            self.tops.push(top.to_path_buf());
        }
        for directory in missing.iter().rev() {
            fs::create_dir(directory)?;
            self.give_label("dir", directory)?;
        }
        Ok(!missing.is_empty())
    }

    fn object(&mut self, needs: Needs, path: &Path, within: Option<&OsStr>) -> io::Result<()> {
        self.objects.push(path.to_owned());
        let kind = match needs {
            Needs::Nothing | Needs::NothingAbove | Needs::NoObject => return Ok(()),
            Needs::File | Needs::FileInOwn => {
                fs::write(path, "something\n")?;
                "file"
            }
            Needs::Program => {
                fs::write(path, PROGRAM)?;
                fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
                "file"
            }
            Needs::Directory => {
                fs::create_dir(path)?;
                "dir"
            }
            Needs::FileWithin => {
                fs::create_dir(path)?;
                fs::write(path.join(within.unwrap_or(OsStr::new("x"))), "something\n")?;
                "dir"
            }
            Needs::Listener => {
                self.open.push(UnixListener::bind(path)?.into());
                "sock_file"
            }
            Needs::Receiver => {
                self.open.push(UnixDatagram::bind(path)?.into());
                "sock_file"
            }
            Needs::Fifo => {
                sys::fifo(path)?;
                let both = fs::OpenOptions::new().read(true).write(true).open(path)?;
                self.open.push(both.into());
                "fifo_file"
            }
            Needs::Link => {
                symlink("nothing", path)?;
                "lnk_file"
            }
        };
        self.give_label(kind, path)
    }

    /// Removes the objects that were made, also by an attempt.
    pub fn clear(&mut self) {
        self.open.clear();
        for object in std::mem::take(&mut self.objects) {
            let mut moved = object.clone().into_os_string();
            moved.push("-moved");
            remove(&object);
            remove(moved.as_ref());
        }
        for top in std::mem::take(&mut self.tops) {
            remove(&top);
        }
    }
}

fn remove(path: &Path) {
    if path.is_dir() && !path.is_symlink() {
        drop(fs::remove_dir_all(path));
    } else {
        drop(fs::remove_file(path));
    }
}
