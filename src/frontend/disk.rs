//! Reads the files of a policy, each once. So a caller can store and compare exactly what polc parsed.

use super::native::node::MAX_BYTES;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file that a policy was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRead {
    /// The name that led to it: absolute, with links not resolved.
    pub named: PathBuf,
    /// The real path of that name.
    pub path: PathBuf,
    /// Its contents.
    pub bytes: Arc<[u8]>,
}

/// The place of a policy's files.
#[derive(Debug, Clone, Default)]
pub enum Disk {
    /// On this host.
    #[default]
    Host,
    /// In memory, from an earlier read. There are no other files.
    Memory(Arc<[FileRead]>),
}

impl Disk {
    /// The real path of a name.
    ///
    /// # Errors
    /// The name leads nowhere.
    pub(crate) fn resolve(&self, name: &Path) -> io::Result<PathBuf> {
        match self {
            Self::Host => std::fs::canonicalize(name),
            Self::Memory(_) => Ok(self.in_memory(name)?.path.clone()),
        }
    }

    /// Reads the file that a name leads to, and at most one byte more than a policy may have.
    ///
    /// # Errors
    /// One line about the problem.
    pub(crate) fn read(&self, name: &Path, path: &Path) -> Result<FileRead, String> {
        match self {
            Self::Host => Ok(FileRead {
                named: std::path::absolute(name).map_err(|e| reason(&e))?,
                bytes: contents(path)?.into(),
                path: path.to_owned(),
            }),
            Self::Memory(_) => self.in_memory(name).cloned().map_err(|e| reason(&e)),
        }
    }

    fn in_memory(&self, name: &Path) -> io::Result<&FileRead> {
        let name = std::path::absolute(name)?;
        let Self::Memory(files) = self else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let found = files.iter().find(|f| f.named == name);
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// The text of a policy's file, without the byte order mark that some editors write.
///
/// # Errors
/// It is not UTF-8.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(bytes)
        .map_err(|e| format!("it is not UTF-8 from byte {} on", e.valid_up_to()))?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// The text of an error, on one line.
pub(crate) fn reason(e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => e.to_string(),
    }
}

/// Only a regular file is read. Others may block, or never end.
fn contents(path: &Path) -> Result<Vec<u8>, String> {
    let file = open(path)?;
    regular(&file.metadata().map_err(|e| reason(&e))?)?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| reason(&e))?;
    Ok(bytes)
}

fn regular(meta: &Metadata) -> Result<(), String> {
    if meta.is_dir() {
        return Err("it is a directory".to_owned());
    }
    if !meta.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    Ok(())
}

/// Opens a file without waiting. Its kind is checked on the open file, so nothing can replace it in between.
#[cfg(all(unix, feature = "enforce"))]
fn open(path: &Path) -> Result<File, String> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .map_err(|e| reason(&e))
}

/// Opens a regular file, because opening a fifo may block.
#[cfg(not(all(unix, feature = "enforce")))]
fn open(path: &Path) -> Result<File, String> {
    regular(&std::fs::metadata(path).map_err(|e| reason(&e))?)?;
    File::open(path).map_err(|e| reason(&e))
}
