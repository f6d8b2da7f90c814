//! Joins the records of one event. auditd writes several, and each may have facts that the others lack.

use super::record::Record;
use super::{Access, Denial, absolute};
use crate::fidelity::Object;
use crate::policy::Operation;
use std::collections::VecDeque;

/// The most open events. Records of different processes may be mixed, but not widely.
const OPEN: usize = 64;

#[derive(Debug)]
struct Event {
    id: Vec<u8>,
    denials: Vec<Denial>,
    directory: Option<Vec<u8>>,
    paths: Vec<PathRecord>,
    program: Option<Vec<u8>>,
}

#[derive(Debug)]
struct PathRecord {
    name: Vec<u8>,
    kind: Option<String>,
    inode: Option<u64>,
}

/// The events that are open.
#[derive(Debug, Default)]
pub(super) struct Events(VecDeque<Event>);

impl Events {
    #[allow(
        clippy::indexing_slicing,
        reason = "the number is that of an event that was just found or added"
    )]
    fn at(&mut self, id: &[u8]) -> (&mut Event, Vec<Denial>) {
        let mut done = Vec::new();
        let at = match self.0.iter().position(|e| e.id == id) {
            Some(at) => at,
            None => {
                if self.0.len() >= OPEN {
                    done = self.0.pop_front().map(close).unwrap_or_default();
                }
                self.0.push_back(Event {
                    id: id.to_vec(),
                    denials: Vec::new(),
                    directory: None,
                    paths: Vec::new(),
                    program: None,
                });
                self.0.len() - 1
            }
        };
        (&mut self.0[at], done)
    }

    /// Takes the refusals of an event. Returns the refusals of events that are complete.
    pub(super) fn denials(&mut self, id: &[u8], denials: Vec<Denial>) -> Vec<Denial> {
        let (event, done) = self.at(id);
        event.denials.extend(denials);
        done
    }

    /// Takes a record that is not a refusal. It matters only if its event has a refusal, whose record comes first.
    pub(super) fn context(&mut self, id: &[u8], record: &Record<'_>) {
        let Some(event) = self.0.iter_mut().find(|e| e.id == id) else {
            return;
        };
        match record.kind() {
            Some("CWD" | "1307") => {
                event.directory = record.untrusted("cwd").map(|d| d.into_owned());
            }
            Some("PATH" | "1302") if event.paths.len() < 16 => {
                if let Some(name) = record.untrusted("name") {
                    event.paths.push(PathRecord {
                        name: name.into_owned(),
                        kind: record.word("nametype").map(str::to_owned),
                        inode: record.number("inode"),
                    });
                }
            }
            Some("SYSCALL" | "1300") => {
                event.program = record
                    .untrusted("exe")
                    .or_else(|| record.untrusted("comm"))
                    .map(|p| p.into_owned());
            }
            _ => {}
        }
    }

    /// The refusals of the remaining events.
    pub(super) fn finish(&mut self) -> Vec<Denial> {
        self.0.drain(..).flat_map(close).collect()
    }
}

/// Adds the facts from the other records of the event.
fn close(event: Event) -> Vec<Denial> {
    let mut denials = event.denials;
    for d in &mut denials {
        if d.program.is_none() {
            d.program.clone_from(&event.program);
        }
        let found = match &d.access {
            Access::Within(set, directory) => {
                let kind = if set.contains(Operation::Create) {
                    "CREATE"
                } else {
                    "DELETE"
                };
                // Only if there is one such name. A rename has several, and the records do not say which is which.
                let mut names = event
                    .paths
                    .iter()
                    .filter(|p| p.kind.as_deref() == Some(kind));
                match (names.next(), names.next()) {
                    (Some(p), None) => last(&p.name).and_then(|name| {
                        let mut path = directory.clone();
                        if path != b"/" {
                            path.push(b'/');
                        }
                        path.extend_from_slice(name);
                        absolute(&path).map(|p| (*set, p))
                    }),
                    _ => None,
                }
            }
            Access::Named(set, name, inode) => {
                let same = |p: &&PathRecord| match (inode, p.inode) {
                    (Some(a), Some(b)) => *a == b,
                    _ => last(&p.name) == Some(name.as_slice()),
                };
                let mut all = event.paths.iter().filter(same);
                match (all.next(), all.next()) {
                    (Some(p), None) => {
                        joined(event.directory.as_deref(), &p.name).map(|path| (*set, path))
                    }
                    _ => None,
                }
            }
            _ => None,
        };
        if let Some((set, path)) = found {
            d.access = Access::Known(set, Object::Path(path));
            d.notes.push(
                "the name is the one that the program used: symbolic links in it are not followed"
                    .to_owned(),
            );
        }
    }
    denials
}

/// The last component. `None`: it is `.` or `..`.
fn last(name: &[u8]) -> Option<&[u8]> {
    let name = name.strip_suffix(b"/").unwrap_or(name);
    let last = name.rsplit(|b| *b == b'/').next()?;
    (!last.is_empty() && last != b"." && last != b"..").then_some(last)
}

/// The name relative to the directory, if it only leads downwards. `..` after a symbolic link may lead anywhere.
fn joined(directory: Option<&[u8]>, name: &[u8]) -> Option<Vec<u8>> {
    if name.first() == Some(&b'/') {
        return absolute(name);
    }
    let name = name.strip_prefix(b"./").unwrap_or(name);
    let mut path = directory?.to_vec();
    if path != b"/" {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    absolute(&path)
}
