//! The ledger: what a layer keeps of each rule. If it does not keep a rule, there is a reason and a witness.
//!
//! A ledger is complete. It has an entry for every rule with each of its operations, and for the default action with
//! every operation. [`crate::semantics::LedgerBuilder`] makes it from the sets that a back-end says its artifact
//! allows.

use crate::policy::{Action, HostSpec, Operation, RuleId};
use std::borrow::Cow;
use std::fmt;

/// How much of a rule's meaning a layer keeps, on the objects that the rule decides about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fidelity {
    /// The layer decides every object as the policy does.
    Exact,
    /// The layer denies something that the policy allows, and allows nothing that it denies.
    Stricter,
    /// The layer allows something that the policy denies, and denies nothing that it allows.
    Looser,
    /// Both.
    Mixed,
    /// The layer does not restrict this. What the policy denies here, the layer allows.
    Unenforced,
}

impl Fidelity {
    /// The word in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Stricter => "stricter",
            Self::Looser => "looser",
            Self::Mixed => "mixed",
            Self::Unenforced => "unenforced",
        }
    }

    /// Whether the layer allows something that the policy denies.
    #[must_use]
    pub fn leaks(self) -> bool {
        matches!(self, Self::Looser | Self::Mixed | Self::Unenforced)
    }
}

impl fmt::Display for Fidelity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Object {
    /// An absolute path, as bytes; the root is `/`.
    Path(Vec<u8>),
    /// A network address.
    Host(HostSpec),
    /// A program (path or base name) with arguments.
    Command(Vec<Vec<u8>>),
    /// A system call.
    Syscall(String),
    /// A tool call.
    Tool(String),
}

impl fmt::Display for Object {
    /// As the language writes it, on one line: bytes that are not plain text are `\xNN`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(p) => f.write_str(&show_bytes(p)),
            Self::Host(h) => h.fmt(f),
            Self::Command(words) => {
                for (i, w) in words.iter().enumerate() {
                    if i > 0 {
                        f.write_str(" ")?;
                    }
                    let plain = !w.is_empty()
                        && w.iter()
                            .all(|b| b.is_ascii_alphanumeric() || b"-_./=:,@+%".contains(b));
                    if plain {
                        f.write_str(&show_bytes(w))?;
                    } else {
                        write!(f, "'{}'", show_bytes(w).replace('\'', "'\\''"))?;
                    }
                }
                Ok(())
            }
            Self::Syscall(s) | Self::Tool(s) => f.write_str(s),
        }
    }
}

/// Bytes on one line: UTF-8 stays, control characters and other bytes become `\xNN`, and `\` becomes `\\`. The result
/// is safe in a comment and on a terminal.
#[must_use]
pub fn show_bytes(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '\\' {
                out.push_str("\\\\");
            } else if c.is_control()
                || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
            {
                for b in c.encode_utf8(&mut [0; 4]).bytes() {
                    out.push_str(&format!("\\x{b:02x}"));
                }
            } else {
                out.push(c);
            }
        }
        for b in chunk.invalid() {
            out.push_str(&format!("\\x{b:02x}"));
        }
    }
    out
}

/// One object on which a layer and the policy disagree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// The object.
    pub object: Object,
    /// The policy's decision.
    pub policy: Action,
    /// Whether the layer allows it.
    pub layer_allows: bool,
}

/// What a layer keeps of one rule (or the default) for one operation.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The rule; `None` is the default action.
    pub rule: Option<RuleId>,
    /// The operation.
    pub operation: Operation,
    /// How much of it is kept.
    pub fidelity: Fidelity,
    /// Why: one line, no capital, no full stop. Often empty for exact.
    pub reason: Cow<'static, str>,
    /// Objects that show the difference: at least one, unless it is exact.
    pub witnesses: Vec<Witness>,
}

/// All entries of one target.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// The target.
    pub target: &'static str,
    /// In the order of the rules, with the default last. Within a rule, in the order of operations.
    pub entries: Vec<Entry>,
    /// What the layer does with parts of a policy that are not rules (limits, environment, capabilities, subject): the
    /// part, how much is kept, and why.
    pub settings: Vec<SettingEntry>,
    /// What a reader must know before all else: one line, no capital, no full stop. `None`: nothing stands out.
    pub warning: Option<String>,
}

/// What a layer keeps of a part that is not a rule.
#[derive(Debug, Clone)]
pub struct SettingEntry {
    /// The name in the policy: `limits.memory`.
    pub setting: Cow<'static, str>,
    /// Mostly [`Fidelity::Exact`] or [`Fidelity::Unenforced`].
    pub fidelity: Fidelity,
    /// Why.
    pub reason: Cow<'static, str>,
}

/// What `--require` asks of the layers before polc acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requirement {
    /// Equal to the policy.
    Exact,
    /// Nothing gets through that the policy denies.
    Safe,
}

impl Requirement {
    /// Whether layers that are exact, or safe, satisfy this. Exact layers are also safe.
    #[must_use]
    pub fn is_met(self, exact: bool, safe: bool) -> bool {
        match self {
            Self::Exact => exact && safe,
            Self::Safe => safe,
        }
    }
}

impl Ledger {
    /// Whether every entry is exact.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.count(Fidelity::Exact) == self.entries.len()
    }

    /// Whether anything is looser, mixed or unenforced (settings count too).
    #[must_use]
    pub fn leaks(&self) -> bool {
        self.entries.iter().any(|e| e.fidelity.leaks()) || self.lost().next().is_some()
    }

    /// The parts beside the rules that the layer does not keep.
    pub fn lost(&self) -> impl Iterator<Item = &SettingEntry> {
        self.settings.iter().filter(|s| s.fidelity.leaks())
    }

    /// How many entries have this fidelity.
    #[must_use]
    pub fn count(&self, fidelity: Fidelity) -> usize {
        self.entries
            .iter()
            .filter(|e| e.fidelity == fidelity)
            .count()
    }
}
