//! Deterministic automata over paths and over lists of words.
//!
//! # Strings
//!
//! A path is read as `/comp/comp…`; the root is the **empty string**, so that `/a/**` is uniformly
//! "`/a`, then any number of `/comp`". A list of words is every word with a NUL behind it (no
//! word holds NUL). What is not such a string is in no set: the [`Domain`] is part of every state.
//!
//! # Construction
//!
//! The patterns of all clauses are laid out as one array of positions; a state is a set of
//! positions. *Absorption* keeps that from exploding: where a clause already matches everything
//! beneath, positions of clauses that it takes precedence over can decide nothing and are dropped.
//! Without it, n patterns of the shape `/**/secretN/**` make 2^n states.

mod build;
mod dfa;
mod nfa;
mod walk;

pub use dfa::Dfa;
pub(crate) use nfa::Nfa;
pub use nfa::Step;

/// A state of a [`Dfa`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StateId(pub(crate) u32);

impl StateId {
    /// For arrays by state, such as those of [`Dfa::all_below`].
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// An automaton would have been too large; the question has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the patterns together need an automaton of more than {states} states")]
pub struct TooLarge {
    /// The cap.
    pub states: usize,
}

/// How large an automaton may become.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// States.
    pub states: usize,
    /// Positions in all states together: the memory that the construction takes, times four bytes.
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

/// States of the path domain: at the root or behind a name, behind `/`, `/.`, `/..`.
const NAME: u8 = 0;
const SLASH: u8 = 1;
const DOT: u8 = 2;
const DOTS: u8 = 3;
/// States of the word domain: between words, within one.
const BETWEEN: u8 = 4;
const WITHIN: u8 = 5;
/// The root alone: like `NAME`, but only `/` may follow.
const ROOT: u8 = 6;

impl Domain {
    fn start(self) -> u8 {
        match self {
            Self::Path => ROOT,
            Self::Words => BETWEEN,
        }
    }

    fn step(state: u8, byte: u8) -> Option<u8> {
        match (state, byte) {
            (NAME | ROOT, b'/') => Some(SLASH),
            (NAME..=DOTS | ROOT, 0) | (SLASH | DOT | DOTS, b'/') | (ROOT, _) => None,
            (SLASH, b'.') => Some(DOT),
            (DOT, b'.') => Some(DOTS),
            (NAME..=DOTS, _) => Some(NAME),
            (BETWEEN | WITHIN, 0) => Some(BETWEEN),
            _ => Some(WITHIN),
        }
    }

    fn accepts(state: u8) -> bool {
        matches!(state, NAME | ROOT | BETWEEN)
    }
}

/// What it means that a slot's pattern matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlotKind {
    /// The clause matches, if none of its excepts does.
    Include,
    /// The clause does not match.
    Except,
    /// The clause may match: it depends on what the automaton does not see (arguments).
    Maybe,
}

/// One group of patterns of a clause. Slots are numbered from 0 in the order of the clauses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    /// The clause, a smaller one decides first.
    pub clause: u32,
    /// What a match means.
    pub kind: SlotKind,
}
