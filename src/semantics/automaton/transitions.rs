//! Where a position between two names leads with the next name.

use super::Domain;
use super::names::NameTable;
use super::nfa::{Nfa, Position};
use crate::policy::ByteSet;

/// A part of a list that many positions share.
#[derive(Clone, Copy, Default)]
pub(super) struct Span(u32, u32);

impl Span {
    pub(super) fn of<T>(self, list: &[T]) -> &[T] {
        &list[self.0 as usize..self.1 as usize]
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == self.1
    }
}

/// Where one position leads, over one whole name.
#[derive(Clone, Copy, Default)]
pub(super) struct Transitions {
    /// Where it leads with any name.
    pub(super) any: Span,
    /// The names that it spells out, with where each leads, in [`TransitionTable::named`].
    pub(super) named: Span,
    /// The positions before the first byte of a name that has a glob.
    pub(super) globs: Span,
}

/// A spelled-out name, and the positions that it leads to.
pub(super) struct Named {
    pub(super) name: u32,
    pub(super) to: Span,
}

/// The [`Transitions`] of each position, computed on first use.
pub(super) struct TransitionTable {
    known: Vec<Option<Transitions>>,
    pub(super) positions: Vec<u32>,
    pub(super) named: Vec<Named>,
    pub(super) names: NameTable,
    /// For [`TransitionTable::spelled_out`].
    work: Vec<(u32, usize)>,
    name: Vec<u8>,
}

impl TransitionTable {
    pub(super) fn new(nfa: &Nfa) -> Self {
        Self {
            known: vec![None; nfa.positions.len()],
            positions: Vec::new(),
            named: Vec::new(),
            names: nfa.names.clone(),
            work: Vec::new(),
            name: Vec::new(),
        }
    }

    fn span(&mut self, positions: &[u32]) -> Span {
        let from = self.positions.len() as u32;
        self.positions.extend_from_slice(positions);
        Span(from, self.positions.len() as u32)
    }

    /// Adds the names that a position within a name spells out, with where each leads. `false`: one of them has a glob.
    fn spelled_out(&mut self, nfa: &Nfa, start: u32) -> bool {
        let words = nfa.domain == Domain::Words;
        // Each entry is a position, and the length of the name before its byte.
        self.work.clear();
        self.work.push((start, 0));
        self.name.clear();
        while let Some((p, depth)) = self.work.pop() {
            let Position::Byte(byte) = nfa.positions[p as usize] else {
                return false;
            };
            if byte == 0 && !words {
                // No name contains NUL.
                continue;
            }
            self.name.truncate(depth);
            let from = self.positions.len();
            if byte == 0 {
                nfa.follow(p, &mut self.positions);
            } else {
                self.name.push(byte);
                for c in nfa.children(p) {
                    if nfa.between_names(c) {
                        nfa.closure(c, &mut self.positions);
                    } else {
                        self.work.push((c, depth + 1));
                    }
                }
                let ends = &self.positions[from..];
                if !ends.iter().all(|q| nfa.between_names(*q)) {
                    return false;
                }
            }
            let ends = byte == 0 || self.positions.len() > from;
            if ends && (words || !matches!(self.name.as_slice(), b"." | b"..")) {
                let name = self.names.intern(&self.name);
                let to = Span(from as u32, self.positions.len() as u32);
                self.named.push(Named { name, to });
            }
        }
        true
    }

    pub(super) fn of(&mut self, nfa: &Nfa, p: u32) -> Transitions {
        if let Some(known) = self.known[p as usize] {
            return known;
        }
        let mut transitions = Transitions::default();
        if let Position::Name(name) = nfa.positions[p as usize] {
            let (at, from) = (self.named.len() as u32, self.positions.len() as u32);
            nfa.follow(p, &mut self.positions);
            let to = Span(from, self.positions.len() as u32);
            self.named.push(Named { name, to });
            transitions.named = Span(at, at + 1);
            self.known[p as usize] = Some(transitions);
            return transitions;
        }
        let mut any = nfa.any_name(p);
        if any.is_empty() {
            let from = self.named.len() as u32;
            let mut globs = Vec::new();
            for start in nfa.name_starts(p) {
                let before = self.named.len();
                if nfa.is_whole_name(start) {
                    nfa.follow(start, &mut any);
                } else if !self.spelled_out(nfa, start) {
                    self.named.truncate(before);
                    globs.push(start);
                }
            }
            transitions.named = Span(from, self.named.len() as u32);
            transitions.globs = self.span(&globs);
        }
        transitions.any = self.span(&any);
        self.known[p as usize] = Some(transitions);
        transitions
    }
}

impl Nfa {
    /// Whether a position can only continue where a name ends.
    fn between_names(&self, p: u32) -> bool {
        self.domain == Domain::Path
            && matches!(
                self.positions[p as usize],
                Position::Name(_) | Position::Byte(b'/') | Position::DepthOpen | Position::Accept
            )
    }

    /// Whether a position before the first byte of a name takes any whole name, and then continues.
    fn is_whole_name(&self, p: u32) -> bool {
        let Position::Star(set) = self.positions[p as usize] else {
            return false;
        };
        let mut name = ByteSet::ALL;
        name.remove(b'/');
        name.remove(0);
        // No name contains NUL, so it does not matter whether the set contains it.
        let mut own = self.sets[set as usize];
        own.remove(0);
        if self.domain != Domain::Path || own != name {
            return false;
        }
        let mut behind = Vec::new();
        self.follow(p, &mut behind);
        behind.iter().all(|c| self.between_names(*c))
    }

    /// Whether a position is useful where a name ends.
    pub(super) fn at_end(&self, p: u32) -> bool {
        if self.domain == Domain::Words {
            return true;
        }
        match self.positions[p as usize] {
            Position::Byte(b) => b == b'/',
            Position::Set(s) | Position::Star(s) => self.sets[s as usize].contains(b'/'),
            Position::Name(_) | Position::DepthOpen | Position::DepthBody | Position::Accept => {
                true
            }
        }
    }

    /// Where a position leads with any name. Empty: that depends on the name.
    fn any_name(&self, p: u32) -> Vec<u32> {
        let mut out = Vec::new();
        match self.positions[p as usize] {
            Position::DepthBody => self.closure(p, &mut out),
            Position::DepthOpen => {
                for body in self.children(p) {
                    self.closure(body, &mut out);
                }
            }
            Position::Star(s) if self.full(s) => self.closure(p, &mut out),
            _ => return out,
        }
        let itself = |q: &u32| {
            matches!(
                self.positions[*q as usize],
                Position::DepthBody | Position::Star(_)
            ) && (*q == p || self.children(p).any(|body| body == *q))
        };
        let fine = |q: &u32| match self.domain {
            Domain::Path => self.between_names(*q) || itself(q),
            Domain::Words => self.positions[*q as usize] == Position::Accept || itself(q),
        };
        if !out.iter().all(fine) {
            out.clear();
        }
        out
    }

    /// The positions before the first byte of a name that a position leads to.
    fn name_starts(&self, p: u32) -> Vec<u32> {
        let mut out = Vec::new();
        match (self.domain, self.positions[p as usize]) {
            (_, Position::Accept) => {}
            (Domain::Words, _) => out.push(p),
            (Domain::Path, Position::Byte(b'/')) => self.follow(p, &mut out),
            (Domain::Path, Position::Set(s)) if self.sets[s as usize].contains(b'/') => {
                self.follow(p, &mut out);
            }
            (Domain::Path, Position::Star(s)) if self.sets[s as usize].contains(b'/') => {
                self.closure(p, &mut out);
            }
            (Domain::Path, Position::DepthBody) => self.closure(p, &mut out),
            (Domain::Path, Position::DepthOpen) => {
                for body in self.children(p) {
                    self.closure(body, &mut out);
                }
            }
            _ => {}
        }
        // A name has at least one byte, so a position that only continues after a name is useless here.
        out.retain(|q| !self.between_names(*q));
        out
    }
}
