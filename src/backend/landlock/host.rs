//! This host's file system, as Landlock's lowering looks at it.

use super::lower::{Host, Kind};
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// The file system of this host.
pub struct RealHost;

fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

impl Host for RealHost {
    fn kind(&self, bytes: &[u8]) -> Kind {
        match std::fs::symlink_metadata(path(bytes)) {
            Err(_) => Kind::Missing,
            Ok(m) if m.is_dir() => Kind::Directory,
            Ok(m) if m.is_symlink() => Kind::Link(
                std::fs::canonicalize(path(bytes))
                    .ok()
                    .map(|p| p.into_os_string().into_vec()),
            ),
            Ok(_) => Kind::File,
        }
    }

    fn list(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut names: Vec<Vec<u8>> = std::fs::read_dir(path(bytes))
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.file_name().into_vec())
            // Processes come and go: a right on one of today's is a right on whoever has its number next.
            .filter(|name| bytes != b"/proc" || !name.iter().all(u8::is_ascii_digit))
            .collect();
        names.sort_unstable();
        names
    }
}
