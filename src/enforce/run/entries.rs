//! Reads directories: fast, one at a time, and without following a symbolic link anywhere in the path.
//!
//! Names come in the order of the file system. No more than one directory is open at a time, so a deep tree takes no
//! descriptors, and nothing recurses.

use super::sys;
use crate::backend::landlock::Kind;
use crate::enforce::unlinked;
use std::ffi::CStr;
use std::io;
use std::os::fd::OwnedFd;

/// What the kernel takes as one path, with the NUL at its end.
const LONGEST_PATH: usize = libc::PATH_MAX as usize;
/// The longest name in a directory, with the slash before it.
const LONGEST_NAME: usize = 256;
/// Where the name begins in `struct linux_dirent64`: after the inode (8), the offset (8), the length (2), the type (1).
const NAME: usize = 19;

/// Reads directories, one after the other, with one buffer.
pub struct Reader {
    buffer: Vec<u8>,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            buffer: vec![0; 64 * 1024],
        }
    }
}

/// Whether an entry of the directory may have a path that is too long for the kernel.
#[must_use]
pub fn is_too_deep(directory: &[u8]) -> bool {
    directory.len() + LONGEST_NAME >= LONGEST_PATH
}

/// Whether the error says that the object is gone, or has become something else, since polc saw it.
#[must_use]
pub fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::ESTALE)
    )
}

/// The kind of an object, from its `st_mode`.
#[must_use]
pub fn kind_of_mode(mode: libc::mode_t) -> Kind {
    match mode & libc::S_IFMT {
        libc::S_IFDIR => Kind::Directory,
        libc::S_IFLNK => Kind::Link,
        _ => Kind::File,
    }
}

impl Reader {
    /// Visits each entry of a directory, until `visit` answers `false`.
    ///
    /// # Errors
    /// The directory cannot be opened or read, or a directory above it is a symbolic link.
    pub fn read(
        &mut self,
        directory: &[u8],
        mut visit: impl FnMut(&[u8], Kind) -> bool,
    ) -> io::Result<()> {
        let open = unlinked::open(None, directory, libc::O_RDONLY | libc::O_DIRECTORY)?;
        loop {
            let filled = sys::entries(&open, &mut self.buffer)?;
            if filled == 0 {
                return Ok(());
            }
            let mut rest = self.buffer.get(..filled).unwrap_or_default();
            while let Some((name, kind, after)) = record(rest) {
                rest = after;
                let bytes = name.to_bytes();
                if bytes == b"." || bytes == b".." {
                    continue;
                }
                let Some(kind) = kind.or_else(|| looked_up(&open, name)) else {
                    continue;
                };
                if !visit(bytes, kind) {
                    return Ok(());
                }
            }
        }
    }
}

/// The first record: its name, the kind of object if the file system tells it, and the records after it.
fn record(bytes: &[u8]) -> Option<(&CStr, Option<Kind>, &[u8])> {
    let length = u16::from_ne_bytes(bytes.get(16..18)?.try_into().ok()?);
    let (own, after) = bytes.split_at_checked(usize::from(length))?;
    let name = CStr::from_bytes_until_nul(own.get(NAME..)?).ok()?;
    let kind = match *own.get(18)? {
        libc::DT_DIR => Some(Kind::Directory),
        libc::DT_LNK => Some(Kind::Link),
        libc::DT_UNKNOWN => None,
        _ => Some(Kind::File),
    };
    Some((name, kind, after))
}

/// Looks the kind up, because some file systems do not store it in the directory. `None`: the object is gone.
fn looked_up(directory: &OwnedFd, name: &CStr) -> Option<Kind> {
    match sys::status_in(directory, name) {
        Ok(stat) => Some(kind_of_mode(stat.st_mode)),
        Err(e) if is_gone(&e) => None,
        // It exists, and nothing more is known about it.
        Err(_) => Some(Kind::File),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    fn read(directory: &std::path::Path) -> io::Result<Vec<(Vec<u8>, Kind)>> {
        let mut all = Vec::new();
        Reader::default().read(directory.as_os_str().as_bytes(), |name, kind| {
            all.push((name.to_vec(), kind));
            true
        })?;
        all.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(all)
    }

    #[test]
    fn every_entry_is_read_with_its_kind_whatever_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        let long = "n".repeat(255);
        for name in ["it's\n\"odd\"", ".hidden", &long] {
            std::fs::write(top.join(name), "").unwrap();
        }
        std::fs::create_dir(top.join("d")).unwrap();
        symlink("d", top.join("link")).unwrap();
        let got = read(&top).unwrap();
        let want = [
            (".hidden", Kind::File),
            ("d", Kind::Directory),
            ("it's\n\"odd\"", Kind::File),
            ("link", Kind::Link),
            (&long, Kind::File),
        ];
        let want = want.map(|(name, kind)| (name.as_bytes().to_vec(), kind));
        assert_eq!(got, want);
        // More entries than one buffer holds.
        for i in 0..3000 {
            std::fs::write(top.join("d").join(format!("{i:0100}")), "").unwrap();
        }
        assert_eq!(read(&top.join("d")).unwrap().len(), 3000);
        let error = read(&top.join("link")).unwrap_err();
        assert!(is_gone(&error), "{error}");
        let error = read(&top.join("link").join("x")).unwrap_err();
        assert!(is_gone(&error), "{error}");
    }
}
