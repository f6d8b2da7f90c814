//! Operations and actions.

use std::fmt;

/// What a rule says about the objects that it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// It may happen.
    Allow,
    /// It must not happen.
    Deny,
    /// A person is asked. A layer that cannot ask denies.
    Ask,
}

impl Action {
    /// Whether a layer that cannot ask allows it.
    #[must_use]
    pub fn permits(self) -> bool {
        self == Self::Allow
    }

    /// The word in the language.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Ask => "ask",
        }
    }

    /// The stricter of two actions. Deny is stricter than ask, and ask is stricter than allow.
    #[must_use]
    pub fn strictest(self, other: Self) -> Self {
        match (self, other) {
            (Self::Deny, _) | (_, Self::Deny) => Self::Deny,
            (Self::Ask, _) | (_, Self::Ask) => Self::Ask,
            _ => Self::Allow,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An operation with its own decision. In a policy, `write` stands for four of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Operation {
    /// The contents of a file, the entries of a directory, mapping a file as code.
    Read,
    /// The entries of a directory alone.
    List,
    /// Changing the contents of a file that exists.
    Edit,
    /// Making a file, directory, symbolic link, fifo, socket or device.
    Create,
    /// Removing it, or renaming it away.
    Delete,
    /// Mode, owner, times, extended attributes.
    Metadata,
    /// Starting it as a program.
    Execute,
    /// Connecting to a network address, or to a unix socket by its path.
    Connect,
    /// Listening on a network address.
    Bind,
    /// A system call by name.
    Syscall,
    /// A call of an agent's tool, decided by the tool-call gate.
    Tool,
}

impl Operation {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 11] = [
        Self::Read,
        Self::List,
        Self::Edit,
        Self::Create,
        Self::Delete,
        Self::Metadata,
        Self::Execute,
        Self::Connect,
        Self::Bind,
        Self::Syscall,
        Self::Tool,
    ];

    /// The operations whose object can be a path.
    pub const ON_PATHS: [Self; 8] = [
        Self::Read,
        Self::List,
        Self::Edit,
        Self::Create,
        Self::Delete,
        Self::Metadata,
        Self::Execute,
        Self::Connect,
    ];

    /// What changes or removes something that is there.
    pub const CHANGES: [Self; 3] = [Self::Edit, Self::Delete, Self::Metadata];

    /// Those whose object can be a path and nothing else counts: not `execute`, whose arguments count too.
    pub const ON_PATHS_BUT_EXECUTE: [Self; 7] = [
        Self::Read,
        Self::List,
        Self::Edit,
        Self::Create,
        Self::Delete,
        Self::Metadata,
        Self::Connect,
    ];

    /// The word in the language.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::List => "list",
            Self::Edit => "edit",
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Metadata => "metadata",
            Self::Execute => "execute",
            Self::Connect => "connect",
            Self::Bind => "bind",
            Self::Syscall => "syscall",
            Self::Tool => "tool",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of operations.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct OperationSet(u16);

impl OperationSet {
    /// No operation.
    pub const EMPTY: Self = Self(0);
    /// The operations of `write`.
    pub const WRITE: Self = Self(
        1 << Operation::Edit as u16
            | 1 << Operation::Create as u16
            | 1 << Operation::Delete as u16
            | 1 << Operation::Metadata as u16,
    );

    /// The operations of a word of the language. `read` includes `list`, and `write` has four parts.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "write" => Some(Self::WRITE),
            "read" => Some(Self::from_iter([Operation::Read, Operation::List])),
            _ => Operation::ALL
                .into_iter()
                .find(|o| o.name() == word && *o != Operation::Tool)
                .map(|o| Self::from_iter([o])),
        }
    }

    /// Whether `operation` is in it.
    #[must_use]
    pub fn contains(self, operation: Operation) -> bool {
        self.0 & (1 << operation as u16) != 0
    }

    /// Adds one.
    pub fn insert(&mut self, operation: Operation) {
        self.0 |= 1 << operation as u16;
    }

    /// The union of both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// As a rule names them: `read` for reading with listing, `write` for its four parts.
    #[must_use]
    pub fn words(self) -> Vec<&'static str> {
        let write = Self::WRITE.iter().all(|o| self.contains(o));
        let mut out: Vec<&'static str> = Vec::new();
        for operation in self.iter() {
            let word = match operation {
                Operation::List if self.contains(Operation::Read) => continue,
                o if write && Self::WRITE.contains(o) => "write",
                o => o.name(),
            };
            if !out.contains(&word) {
                out.push(word);
            }
        }
        out
    }

    /// The members, in the order of [`Operation::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Operation> {
        Operation::ALL
            .into_iter()
            .filter(move |o| self.contains(*o))
    }
}

impl FromIterator<Operation> for OperationSet {
    fn from_iter<T: IntoIterator<Item = Operation>>(iter: T) -> Self {
        let mut set = Self::EMPTY;
        for o in iter {
            set.insert(o);
        }
        set
    }
}

impl fmt::Debug for OperationSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
