//! The patterns of all clauses as one array of positions.

use super::{Domain, Slot, SlotKind};
use crate::policy::{ByteSet, Component, Sequence, Token};
use rustc_hash::FxHashMap;

#[derive(Clone, Copy)]
pub(super) enum Position {
    Byte(u8),
    Set(u32),
    /// Any run of bytes of a set.
    Star(u32),
    /// `**`, before its first `/`; the next position is `DepthBody`.
    DepthOpen,
    /// `**`, within.
    DepthBody,
    Accept,
}

/// The patterns of all slots as one array of positions.
pub(crate) struct Nfa {
    pub(super) domain: Domain,
    pub(super) positions: Vec<Position>,
    /// The slot of each position.
    pub(super) owner: Vec<u32>,
    pub(super) starts: Vec<u32>,
    pub(super) slots: Vec<Slot>,
    pub(super) sets: Vec<ByteSet>,
    set_ids: FxHashMap<ByteSet, u32>,
    /// Clauses that have an [`SlotKind::Except`] or a slot that makes their match uncertain.
    pub(super) conditional: Vec<bool>,
    /// What each clause decides, a bit for each operation.
    pub(super) masks: Vec<u16>,
}

impl Nfa {
    pub(crate) fn new(domain: Domain) -> Self {
        Self {
            domain,
            positions: Vec::new(),
            owner: Vec::new(),
            starts: Vec::new(),
            slots: Vec::new(),
            sets: Vec::new(),
            set_ids: FxHashMap::default(),
            conditional: Vec::new(),
            masks: Vec::new(),
        }
    }

    /// Adds a slot; its patterns follow by the `add_…` functions.
    pub(crate) fn slot(&mut self, clause: u32, kind: SlotKind) -> u32 {
        self.slot_for(clause, kind, 1)
    }

    /// Adds a slot of a clause that decides some of the operations that the automaton is for: a bit for each.
    pub(crate) fn slot_for(&mut self, clause: u32, kind: SlotKind, mask: u16) -> u32 {
        self.slots.push(Slot { clause, kind });
        let clause = clause as usize;
        if self.conditional.len() <= clause {
            self.conditional.resize(clause + 1, false);
            self.masks.resize(clause + 1, mask);
        }
        if kind != SlotKind::Include {
            self.conditional[clause] = true;
        }
        (self.slots.len() - 1) as u32
    }

    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    fn set(&mut self, set: ByteSet) -> u32 {
        if let Some(id) = self.set_ids.get(&set) {
            return *id;
        }
        let id = self.sets.len() as u32;
        self.sets.push(set);
        self.set_ids.insert(set, id);
        id
    }

    fn push(&mut self, slot: u32, position: Position) {
        self.positions.push(position);
        self.owner.push(slot);
    }

    fn tokens(&mut self, slot: u32, tokens: &[Token], any: ByteSet) {
        for t in tokens {
            let position = match t {
                Token::Byte(b) => Position::Byte(*b),
                Token::Any => Position::Set(self.set(any)),
                Token::Class(c) => {
                    let c = c.intersection(&any);
                    Position::Set(self.set(c))
                }
                Token::Star => Position::Star(self.set(any)),
            };
            self.push(slot, position);
        }
    }

    /// A path pattern of `slot`.
    pub(crate) fn add_sequence(&mut self, slot: u32, sequence: &Sequence) {
        let mut any = ByteSet::ALL;
        any.remove(b'/');
        any.remove(0);
        self.starts.push(self.positions.len() as u32);
        for c in &sequence.components {
            match c {
                Component::AnyDepth => {
                    self.push(slot, Position::DepthOpen);
                    self.push(slot, Position::DepthBody);
                }
                Component::Name(tokens) => {
                    self.push(slot, Position::Byte(b'/'));
                    self.tokens(slot, tokens, any);
                }
            }
        }
        self.push(slot, Position::Accept);
    }

    /// A pattern over a list of words, given one choice of tokens for each word.
    pub(crate) fn add_words(&mut self, slot: u32, words: &[&[Token]], rest: bool) {
        let mut any = ByteSet::ALL;
        any.remove(0);
        self.starts.push(self.positions.len() as u32);
        for w in words {
            self.tokens(slot, w, any);
            self.push(slot, Position::Byte(0));
        }
        if rest {
            let all = self.set(ByteSet::ALL);
            self.push(slot, Position::Star(all));
        }
        self.push(slot, Position::Accept);
    }

    pub(super) fn closure(&self, position: u32, out: &mut Vec<u32>) {
        let mut p = position;
        loop {
            out.push(p);
            p = match self.positions[p as usize] {
                Position::Star(_) | Position::DepthBody => p + 1,
                Position::DepthOpen => p + 2,
                _ => return,
            };
        }
    }

    /// Whether everything that can follow matches from here.
    pub(super) fn accepts_all(&self, p: u32) -> bool {
        let next = |n: u32| matches!(self.positions.get((p + n) as usize), Some(Position::Accept));
        match self.positions[p as usize] {
            // Not `DepthOpen`: behind `/a` of `/a/**` a byte other than `/` may follow.
            Position::DepthBody => next(1),
            Position::Star(s) => self.sets[s as usize] == ByteSet::ALL && next(1),
            _ => false,
        }
    }

    /// For each position one that stands for it: what is left to match from the last `**` of a pattern, or
    /// behind its end, is the same for all patterns of a slot. Without this each `/x/**` of one rule would
    /// get its own copy of whatever else can still match beneath.
    pub(super) fn representatives(&self) -> Vec<u32> {
        let mut first: FxHashMap<(u32, u8), u32> = FxHashMap::default();
        (0..self.positions.len() as u32)
            .map(|p| {
                let ends =
                    |n: u32| matches!(self.positions.get((p + n) as usize), Some(Position::Accept));
                let kind = match self.positions[p as usize] {
                    Position::Accept => 0,
                    Position::DepthBody if ends(1) => 1,
                    Position::DepthOpen if ends(2) => 2,
                    _ => return p,
                };
                *first.entry((self.owner[p as usize], kind)).or_insert(p)
            })
            .collect()
    }
}
