//! Applies a ruleset exactly as its artifact says.

use crate::{sys, unhex};
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The rights that may be granted on a file. The kernel refuses rights for directories there. The `landlock` crate,
/// which applies landlockconfig files, leaves them out too.
const ON_FILES: u64 = 1 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15;

const O_PATH: i32 = 0o10_000_000;

/// A ruleset, from lines `handled FS NET SCOPED SIZE`, `path RIGHTS HEX` and `port RIGHTS NUMBER`.
pub struct Ruleset {
    handled: [u64; 3],
    size: usize,
    paths: Vec<(u64, PathBuf)>,
    ports: Vec<(u64, u64)>,
}

impl Ruleset {
    /// Reads the digest of an artifact.
    pub fn read(file: &str) -> Result<Self, String> {
        let text = std::fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?;
        let mut made = Self {
            handled: [0; 3],
            size: 8,
            paths: Vec::new(),
            ports: Vec::new(),
        };
        let number = |word: &str| word.parse::<u64>().map_err(|e| format!("{word}: {e}"));
        for line in text.lines() {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["handled", fs, net, scoped, size] => {
                    made.handled = [number(fs)?, number(net)?, number(scoped)?];
                    made.size = number(size)? as usize;
                }
                ["path", rights, path] => {
                    let path = PathBuf::from(OsString::from_vec(unhex(path)));
                    made.paths.push((number(rights)?, path));
                }
                ["port", rights, port] => made.ports.push((number(rights)?, number(port)?)),
                _ => return Err(format!("not understood: {line}")),
            }
        }
        Ok(made)
    }

    /// Restricts this process, which then makes an attempt on `object` and perhaps on another path. Only existing paths
    /// can be granted. Of the paths in an artifact, only these two and the directories above them exist.
    pub fn apply(&self, object: &Path, ally: Option<&Path>) -> io::Result<()> {
        sys::no_new_privileges()?;
        if self.handled == [0; 3] {
            return Ok(()); // the kernel takes no ruleset that handles nothing
        }
        let ruleset = sys::landlock_create(&self.handled, self.size)?;
        for (rights, path) in self.paths.iter().filter(|(_, p)| {
            object.starts_with(p) || ally.is_some_and(|a| a.starts_with(p))
        }) {
            let file = match OpenOptions::new()
                .read(true)
                .custom_flags(O_PATH)
                .open(path)
            {
                Ok(file) => file,
                Err(e) if e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(20) => {
                    continue;
                }
                Err(e) => return Err(e),
            };
            let rights = match file.metadata()?.is_dir() {
                true => *rights,
                false => *rights & ON_FILES,
            };
            if rights != 0 {
                sys::landlock_path(ruleset, rights, file.as_raw_fd())?;
            }
        }
        for (rights, port) in &self.ports {
            sys::landlock_port(ruleset, *rights, *port)?;
        }
        sys::landlock_restrict(ruleset)
    }
}
