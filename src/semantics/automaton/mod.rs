//! Deterministic automata over paths and over lists of words.
//!
//! # Strings
//!
//! A path is read name by name, and `/` alone has no names. So `/a/**` means "`/a`, then any number of names". As
//! bytes, a path is `/name/name…`, and the root is the **empty string**. A list of words is read in the same way. As
//! bytes, each word is followed by a NUL (no word contains NUL). No set contains any other string.
//!
//! # States
//!
//! A state is between two names, and one step reads a whole name. An automaton over bytes would have a state for each
//! byte of each literal path, and for each floating name in each. That is some ten thousand for an ordinary policy.
//! This one has 406 for the decisions of `builtin:coding-agent`.
//!
//! Names that patterns spell out are looked up. Globs put all other names into classes (`names`). What states have in
//! common is a row, which they share (`build`). [`ByteCursor`] reads the same automaton byte by byte.
//!
//! # Construction
//!
//! The patterns of all cases are one array of positions, and a state is a set of positions. *Absorption* keeps the
//! number of states small. If a case already matches everything beneath a state, positions of later cases can decide
//! nothing and are dropped. Without absorption, n patterns like `/**/secretN/**` make 2^n states.

mod build;
mod bytes;
mod classes;
mod dfa;
mod names;
mod nfa;
mod transitions;
mod walk;

pub use bytes::ByteCursor;
pub use dfa::Dfa;
pub(crate) use dfa::Products;
pub(crate) use nfa::Nfa;
pub use nfa::Step;
pub(crate) use walk::Walk;

/// A state of a [`Dfa`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StateId(pub(crate) u32);

impl StateId {
    /// For arrays by state, such as the result of [`Dfa::all_below`].
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The automaton would become too large, so the question has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the patterns together need an automaton of more than {states} states")]
pub struct TooLarge {
    /// The largest permitted number of states.
    pub states: usize,
}

/// How large an automaton may become.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// The number of states.
    pub states: usize,
    /// The number of positions in all states together. The construction takes four bytes of memory for each.
    pub positions: usize,
}

impl Default for Limit {
    fn default() -> Self {
        Self {
            states: 1_000_000,
            positions: 24_000_000,
        }
    }
}

impl Limit {
    pub(crate) fn exceeded(self) -> TooLarge {
        TooLarge {
            states: self.states,
        }
    }
}

/// What the strings are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Domain {
    /// Paths.
    Path,
    /// Lists of words.
    Words,
}

/// The states within a name of a path: before its first byte, after `.`, after `..`, and after anything else.
const SLASH: u8 = 0;
const DOT: u8 = 1;
const DOTS: u8 = 2;
const NAME: u8 = 3;
/// The state of a word.
const WITHIN: u8 = 4;

impl Domain {
    /// Before the first byte of a name.
    fn start(self) -> u8 {
        match self {
            Self::Path => SLASH,
            Self::Words => WITHIN,
        }
    }

    /// `None`: no name contains the byte, or the byte separates names.
    fn step(self, state: u8, byte: u8) -> Option<u8> {
        match (self, state, byte) {
            (_, _, 0) | (Self::Path, _, b'/') => None,
            (Self::Path, SLASH, b'.') => Some(DOT),
            (Self::Path, DOT, b'.') => Some(DOTS),
            (Self::Path, ..) => Some(NAME),
            (Self::Words, ..) => Some(WITHIN),
        }
    }

    /// Whether a name may end here.
    fn accepts(self, state: u8) -> bool {
        matches!(state, NAME | WITHIN)
    }
}

/// What it means that a slot's pattern matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlotKind {
    /// The case matches, unless one of its excepts matches.
    Include,
    /// The case does not match.
    Except,
    /// The case may match. That depends on something that the automaton does not see, such as arguments.
    Maybe,
}

/// One group of patterns of a case. Slots are numbered from 0 in the order of the cases.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    /// The case. A smaller number decides first.
    pub case: u32,
    /// What a match means.
    pub kind: SlotKind,
}
