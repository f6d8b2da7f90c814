//! Why was it refused? From the logs of kernels to the rules of a policy.
//!
//! # Flow
//!
//! [`Reader`] takes a log line by line. A line that tells of a refusal becomes a [`Denial`]. It has the layer, who was
//! refused, and the [`Access`]es in the policy's own terms, as far as the record knows them. [`explain()`] asks the
//! policy about each: which rule decides, whether the layer is stricter than the policy, and which change would allow
//! it.
//!
//! # Where records come from
//!
//! AppArmor and SELinux write a record of each refusal. `polc run` and `polc enforce landlock` make the kernel log what
//! Landlock (from ABI 7 on) and the filter of system calls refuse, if audit is switched on. By default Landlock logs
//! nothing after the program is started, because programs that probe could fill the log. But a user who confines a
//! program wants to know what it tried. `--no-log` keeps the default. A refusal by a mount leaves no record.
//!
//! # What records do not know
//!
//! - Landlock names the *directory* in which the program wanted to make, remove or move something, not the name in it.
//! - SELinux often names only the last component (`name="shadow"`), and an inode.
//! - Landlock (at port 0 addresses), and SELinux for `name_connect`, know a port without a host.
//!
//! If auditd wrote `PATH` and `CWD` records of the same event, the name is taken from those. polc says what it still
//! does not know, and guesses nothing.
//!
//! The program that was refused may have chosen everything in a log. Texts are kept as bytes, and only
//! [`crate::fidelity::show_bytes`] prints them.

mod apparmor;
mod change;
mod egress;
mod event;
mod explain;
mod landlock;
mod record;
mod report;
mod seccomp;
mod selinux;
mod tetragon;

pub use explain::{Change, Finding, Place, Ruling, allowing, explain, explain_each, operations};
pub use report::{human, summary};

use crate::fidelity::{Object, show_bytes};
use crate::policy::{HostSpec, Operation, OperationSet, Protocol};
use std::collections::HashMap;
use std::fmt;
use std::io::{self, BufRead};

/// The longest line that is read completely. A longer line is no record of a kernel.
const MAX_LINE: usize = 1024 * 1024;
/// How many different refusals are kept. People cannot read more than that anyway.
const MAX_DENIALS: usize = 10_000;

/// The layer that refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layer {
    /// Landlock.
    Landlock,
    /// seccomp.
    Seccomp,
    /// AppArmor.
    AppArmor,
    /// SELinux.
    SeLinux,
    /// Tetragon.
    Tetragon,
    /// The egress proxy of `polc run`.
    Egress,
}

impl Layer {
    /// The target whose artifact it enforces, or `egress`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
            Self::AppArmor => "apparmor",
            Self::SeLinux => "selinux",
            Self::Tetragon => "tetragon",
            Self::Egress => "egress",
        }
    }
}

/// The refused access, as far as the record describes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Access {
    /// Operations on one object.
    Known(OperationSet, Object),
    /// Operations on an unknown entry of a directory.
    Within(OperationSet, Vec<u8>),
    /// Operations on a path of which only the last component is known, and perhaps the inode.
    Named(OperationSet, Vec<u8>, Option<u64>),
    /// An operation on a port of some host.
    Port(Operation, Protocol, u16),
    /// A Linux capability, as `CAP_NET_ADMIN`.
    Capability(String),
    /// An access for which the language has no word, on one line.
    Other(String),
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |set: &OperationSet| {
            set.iter()
                .map(Operation::name)
                .collect::<Vec<_>>()
                .join(", ")
        };
        match self {
            Self::Known(set, object) => write!(f, "{} {object}", names(set)),
            Self::Within(set, directory) => {
                write!(f, "{} in {}", names(set), show_bytes(directory))
            }
            Self::Named(set, name, inode) => {
                write!(f, "{} something named {}", names(set), show_bytes(name))?;
                match inode {
                    Some(n) => write!(f, " (inode {n})"),
                    None => Ok(()),
                }
            }
            Self::Port(operation, protocol, port) => {
                write!(f, "{operation} {} port {port}", protocol.name())
            }
            Self::Capability(name) => write!(f, "capability {name}"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// One refusal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Denial {
    /// Who refused.
    pub layer: Layer,
    /// The refused program: a path, or the name that it gave itself.
    pub program: Option<Vec<u8>>,
    /// The profile, type, policy or domain that refused.
    pub by: Option<Vec<u8>>,
    /// The access.
    pub access: Access,
    /// Whether it was only logged: AppArmor's complain mode, SELinux's permissive mode, seccomp's log action.
    pub only_logged: bool,
    /// Remarks of the layer's reader: one line each.
    pub notes: Vec<String>,
}

impl Denial {
    fn new(layer: Layer, access: Access) -> Self {
        Self {
            layer,
            program: None,
            by: None,
            access,
            only_logged: false,
            notes: Vec::new(),
        }
    }

    fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }
}

/// One set of operations.
fn one(operation: Operation) -> OperationSet {
    OperationSet::from_iter([operation])
}

/// Operations on a path. A directory's last `/` is not part of the policy's paths. A path that is not absolute (`foo
/// (deleted)` in a mount that is gone) is unknown.
fn on_path(operations: OperationSet, path: &[u8]) -> Access {
    match absolute(path) {
        Some(path) => Access::Known(operations, Object::Path(path)),
        None => Access::Named(operations, path.to_vec(), None),
    }
}

/// A path in the policy's form.
fn absolute(path: &[u8]) -> Option<Vec<u8>> {
    let rest = path.strip_prefix(b"/")?;
    let rest = rest.strip_suffix(b"/").unwrap_or(rest);
    let fine = |c: &[u8]| !c.is_empty() && c != b"." && c != b".." && !c.contains(&0);
    if rest.is_empty() {
        return Some(b"/".to_vec());
    }
    rest.split(|b| *b == b'/')
        .all(fine)
        .then(|| [b"/", rest].concat())
}

fn on_host(operation: Operation, spec: HostSpec) -> Access {
    Access::Known(one(operation), Object::Host(spec))
}

/// The contents of a log.
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// The refusals with their counts, in the order of their first occurrence.
    pub denials: Vec<(Denial, u64)>,
    /// All lines.
    pub lines: u64,
    /// The numbers of the first few lines with a refusal that could not be read.
    pub unread: Vec<u64>,
    /// The number of all such lines.
    pub unread_count: u64,
    /// The number of refusals that were not kept, because there were too many.
    pub dropped: u64,
}

/// The result of a reader of one format for a line.
enum Line {
    /// Refusals.
    Denials(Vec<Denial>),
    /// The line has this format, and no refusal.
    Nothing,
    /// The line has a refusal that could not be read.
    Unread,
}

/// Reads a log.
#[derive(Debug, Default)]
pub struct Reader {
    log: Log,
    index: HashMap<Denial, usize>,
    events: event::Events,
}

impl Reader {
    /// A reader at the start of a log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes all lines of `input`.
    ///
    /// # Errors
    /// The input cannot be read.
    pub fn take(&mut self, mut input: impl BufRead) -> io::Result<()> {
        let mut line = Vec::new();
        while let Some(whole) = read_line(&mut input, &mut line)? {
            if whole {
                self.line(&line);
            } else {
                // A path that is cut off would be another path.
                self.log.lines += 1;
                self.outcome(Line::Unread, None);
            }
        }
        Ok(())
    }

    /// Takes one line.
    pub fn line(&mut self, line: &[u8]) {
        self.log.lines += 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // `journalctl -o json` wraps each line, and agents that send logs do so too.
        let inner = (line.first() == Some(&b'{'))
            .then(|| tetragon::unwrap_journal(line))
            .flatten();
        let line = inner.as_deref().unwrap_or(line);
        if line.first() == Some(&b'{') {
            return self.outcome(tetragon::line(line), None);
        }
        if let Some(done) = egress::line(line) {
            return self.outcome(done, None);
        }
        let record = record::Record::parse(line);
        let Some(id) = record.event() else {
            return;
        };
        let done = match record.kind() {
            Some("1423" | "LANDLOCK_ACCESS") => landlock::line(&record),
            Some("1326" | "SECCOMP") => seccomp::line(&record),
            _ if record.raw("apparmor").is_some() => apparmor::line(&record),
            _ if record::find(line, b"avc:").is_some() => selinux::line(&record),
            _ => {
                self.events.context(id, &record);
                return;
            }
        };
        self.outcome(done, Some(id));
    }

    fn outcome(&mut self, line: Line, event: Option<&[u8]>) {
        match line {
            Line::Nothing => {}
            Line::Unread => {
                self.log.unread_count += 1;
                if self.log.unread.len() < 5 {
                    self.log.unread.push(self.log.lines);
                }
            }
            Line::Denials(denials) => match event {
                None => denials.into_iter().for_each(|d| self.add(d)),
                Some(id) => {
                    for done in self.events.denials(id, denials) {
                        self.add(done);
                    }
                }
            },
        }
    }

    fn add(&mut self, denial: Denial) {
        if let Some(at) = self.index.get(&denial) {
            if let Some((_, count)) = self.log.denials.get_mut(*at) {
                *count += 1;
            }
        } else if self.log.denials.len() < MAX_DENIALS {
            self.index.insert(denial.clone(), self.log.denials.len());
            self.log.denials.push((denial, 1));
        } else {
            self.log.dropped += 1;
        }
    }

    /// The end of the log.
    #[must_use]
    pub fn finish(mut self) -> Log {
        for denial in self.events.finish() {
            self.add(denial);
        }
        self.log
    }
}

/// Reads a line without its end into `line`. If it is too long, reads only its beginning. Returns whether the line is
/// complete. `None`: there is no further line.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Option<bool>> {
    line.clear();
    let (mut any, mut whole) = (false, true);
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(any.then_some(whole));
        }
        any = true;
        let end = buffer.iter().position(|b| *b == b'\n');
        let part = buffer.split(|b| *b == b'\n').next().unwrap_or_default();
        let room = MAX_LINE.saturating_sub(line.len()).min(part.len());
        whole &= room == part.len();
        line.extend(part.iter().take(room));
        let used = end.map_or(buffer.len(), |e| e + 1);
        input.consume(used);
        if end.is_some() {
            return Ok(Some(whole));
        }
    }
}
