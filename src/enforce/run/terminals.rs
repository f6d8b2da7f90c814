//! The program's own terminals, beside the one that it was started from.
//!
//! A policy grants `/dev/pts/**`, because no shell works without it. But `/dev/pts` has all terminals of the user. A
//! program that opens another one can read what is typed there, and write into it. So the program gets a new instance
//! of devpts, which has only the terminals that the program makes itself. polc mounts the terminal that the program was
//! started from into it, under its old name. So `tty`, job control, `/dev/tty` and programs that open it by name work
//! as outside.
//!
//! In an instance of devpts, only a new pair of terminals makes a name. So polc makes pairs until one has the right
//! number. polc outside ([`super::supervise`]) keeps its master open and never uses it.

use super::{Error, sys, sys_process};
use crate::backend::landlock::{AccessFs, PathBeneath, Ruleset};
use crate::fidelity::Object;
use crate::policy::{Operation, Policy};
use crate::semantics::decide;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

/// The mount point of devpts.
const FOLDER: &[u8] = b"/dev/pts";
/// The highest number that polc makes pairs for. Each lower number takes a descriptor for a moment.
const HIGHEST: u32 = 500;
/// The major number of terminals in devpts (Documentation/admin-guide/devices.txt).
const MAJOR: u32 = 136;

/// The terminals that the program can still reach.
#[derive(Debug, Default)]
pub struct Terminals {
    /// Kept open as long as the program runs.
    pub masters: Vec<OwnedFd>,
    /// The paths of the terminals that the program was started from.
    paths: Vec<Vec<u8>>,
    /// Why `/dev/pts` is still the host's, in a short and a long form.
    pub note: Option<(&'static str, &'static str)>,
    /// What does not work for the program, in a short and a long form.
    pub lost: Option<(&'static str, &'static str)>,
}

/// Mounts a devpts for the program, with the terminals of this process in it.
///
/// # Errors
/// A terminal cannot be mounted into it.
pub fn mount() -> Result<Terminals, Error> {
    if !sys::path(FOLDER).is_dir() {
        return Ok(Terminals::default());
    }
    let error = |e| Error::Mount("/dev/pts".to_owned(), e);
    let mut copies = BTreeMap::new();
    for number in own() {
        let copy = sys::copy_mount(&path(number)).map_err(error)?;
        copies.insert(number, copy);
    }
    let flags = libc::MS_NOSUID | libc::MS_NOEXEC;
    let data = Some(c"newinstance,ptmxmode=0666,mode=0600");
    if sys::mount(Some(c"devpts"), c"/dev/pts", Some(c"devpts"), flags, data).is_err() {
        return Ok(Terminals {
            note: Some((
                "read and write your other terminals",
                "`/dev/pts` cannot be mounted here: the program can read and write your other terminals",
            )),
            ..Terminals::default()
        });
    }
    let mut out = Terminals::default();
    let wanted: BTreeSet<u32> = copies.keys().copied().collect();
    let mut pairs = pairs(&wanted).map_err(error)?;
    for (number, copy) in copies {
        let Some(master) = pairs.remove(&number) else {
            out.lost = Some((
                "the name of its terminal",
                "the number of this terminal is too high: `tty` does not find its name, but `/dev/tty` works",
            ));
            continue;
        };
        sys::attach(&copy, &path(number)).map_err(error)?;
        out.masters.push(master.into());
        out.paths.push(path(number));
    }
    Ok(out)
}

fn path(number: u32) -> Vec<u8> {
    [FOLDER, b"/", number.to_string().as_bytes()].concat()
}

/// The numbers of this process's terminals: of its standard descriptors, and of its session.
fn own() -> BTreeSet<u32> {
    let mut out = BTreeSet::new();
    for fd in 0..3 {
        let Ok(status) = sys::status(&fd) else {
            continue;
        };
        if status.st_mode & libc::S_IFMT == libc::S_IFCHR {
            out.extend(number(status.st_rdev, Some((status.st_dev, status.st_ino))));
        }
    }
    out.extend(sys_process::session_terminal().and_then(|device| number(device, None)));
    out
}

/// The number of a terminal, if it belongs to the instance at `/dev/pts`. There may be other instances of devpts.
fn number(device: libc::dev_t, object: Option<(u64, u64)>) -> Option<u32> {
    if libc::major(device) != MAJOR {
        return None;
    }
    let number = libc::minor(device);
    let there = std::fs::symlink_metadata(sys::path(&path(number))).ok()?;
    let same = object.is_none_or(|o| o == (there.dev(), there.ino()));
    (same && there.rdev() == device).then_some(number)
}

/// The masters of pairs with these numbers, unless a number is too high.
fn pairs(wanted: &BTreeSet<u32>) -> io::Result<BTreeMap<u32, File>> {
    let mut out = BTreeMap::new();
    let last = wanted.iter().rev().find(|n| **n <= HIGHEST).copied();
    while let Some(last) = last {
        let master = File::options()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOCTTY)
            .open("/dev/pts/ptmx")?;
        let number = sys_process::terminal_number(master.as_raw_fd())?;
        out.insert(number, master);
        if number >= last {
            break;
        }
    }
    // Unwanted pairs are closed only now. Otherwise the kernel would give their numbers again.
    out.retain(|number, _| wanted.contains(number));
    Ok(out)
}

impl Terminals {
    /// Grants the terminals themselves. A terminal that is opened again by a descriptor (`/dev/stdin`) is not beneath
    /// the new `/dev/pts`.
    pub fn grant(&self, policy: &Policy, ruleset: &mut Ruleset) {
        for path in &self.paths {
            let permits = |operation| {
                let object = Object::Path(path.clone());
                decide(policy, operation, &object).action.permits()
            };
            let rights = [
                (Operation::Read, AccessFs::ReadFile),
                (Operation::Edit, AccessFs::WriteFile),
            ];
            let allowed: BTreeSet<AccessFs> = rights
                .into_iter()
                .filter(|(operation, right)| {
                    ruleset.handled_fs.contains(right) && permits(*operation)
                })
                .map(|(_, right)| right)
                .collect();
            ruleset.paths.retain(|p| p.parent != *path);
            if !allowed.is_empty() {
                ruleset.paths.push(PathBeneath {
                    parent: path.clone(),
                    allowed,
                    file: true,
                });
            }
        }
        ruleset.paths.sort_by(|a, b| a.parent.cmp(&b.parent));
    }
}
