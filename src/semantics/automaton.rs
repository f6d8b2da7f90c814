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

use crate::policy::{ByteSet, Component, Sequence, Token};
use rustc_hash::FxHashMap;
use std::rc::Rc;

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

#[derive(Clone, Copy)]
enum Position {
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
    domain: Domain,
    positions: Vec<Position>,
    /// The slot of each position.
    owner: Vec<u32>,
    starts: Vec<u32>,
    slots: Vec<Slot>,
    sets: Vec<ByteSet>,
    set_ids: FxHashMap<ByteSet, u32>,
    /// Clauses that have an [`SlotKind::Except`] or a slot that makes their match uncertain.
    conditional: Vec<bool>,
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
        }
    }

    /// Adds a slot; its patterns follow by the `add_…` functions.
    pub(crate) fn slot(&mut self, clause: u32, kind: SlotKind) -> u32 {
        self.slots.push(Slot { clause, kind });
        let clause = clause as usize;
        if self.conditional.len() <= clause {
            self.conditional.resize(clause + 1, false);
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

    fn closure(&self, position: u32, out: &mut Vec<u32>) {
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
    fn accepts_all(&self, p: u32) -> bool {
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
    fn representatives(&self) -> Vec<u32> {
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

    /// Drops positions that can decide nothing any more. `outcome(clause)` tells whether two clauses
    /// come to the same, for automata that only ask for the outcome.
    fn absorb(&self, set: &mut Vec<u32>, all: &[bool], outcome: Option<&[u32]>) {
        let mut absorber: Option<u32> = None;
        let mut voided: Vec<u32> = Vec::new();
        for &p in set.iter() {
            if !all[p as usize] {
                continue;
            }
            let slot = self.slots[self.owner[p as usize] as usize];
            match slot.kind {
                SlotKind::Include => {
                    if absorber.is_some_and(|a| a <= slot.clause) {
                        continue;
                    }
                    let sure = !self.conditional[slot.clause as usize]
                        || !set.iter().any(|q| {
                            let other = self.slots[self.owner[*q as usize] as usize];
                            other.clause == slot.clause && other.kind != SlotKind::Include
                        });
                    if sure {
                        absorber = Some(slot.clause);
                    }
                }
                SlotKind::Except => voided.push(slot.clause),
                SlotKind::Maybe => {}
            }
        }
        if absorber.is_none() && voided.is_empty() {
            return;
        }
        let clause_of = |p: u32| self.slots[self.owner[p as usize] as usize].clause;
        // A clause whose except matches everything from here on can never match again.
        if !voided.is_empty() {
            set.retain(|p| !voided.contains(&clause_of(*p)));
        }
        if let Some(a) = absorber {
            set.retain(|p| clause_of(*p) < a || (clause_of(*p) == a && all[*p as usize]));
            if let Some(outcome) = outcome {
                let value = outcome[a as usize];
                if set.iter().all(|p| outcome[clause_of(*p) as usize] == value) {
                    set.retain(|p| clause_of(*p) == a);
                }
            }
            // One position is enough to say that everything matches.
            let mut kept = false;
            set.retain(|p| clause_of(*p) != a || !std::mem::replace(&mut kept, true));
        }
    }

    /// Builds the automaton. `label` turns the sorted slots that match a string into a label;
    /// `outcome` (one value a clause) allows merging clauses of the same outcome.
    pub(crate) fn determinise(
        &self,
        limit: Limit,
        outcome: Option<&[u32]>,
        mut label: impl FnMut(&[u32]) -> u32,
    ) -> Result<Dfa, TooLarge> {
        let mut builder = Builder {
            ids: FxHashMap::default(),
            keys: Vec::new(),
            limit,
            positions: 0,
            buffer: Vec::new(),
        };
        let mut dfa = Dfa {
            offsets: vec![0],
            ranges: Vec::new(),
            labels: Vec::new(),
            accepting: Vec::new(),
        };
        let representatives = self.representatives();
        let all: Vec<bool> = (0..self.positions.len() as u32)
            .map(|p| self.accepts_all(p))
            .collect();
        let represent = |set: &mut Vec<u32>| {
            for p in set {
                *p = representatives[*p as usize];
            }
        };
        let mut scratch = Vec::new();
        for s in &self.starts {
            self.closure(*s, &mut scratch);
        }
        represent(&mut scratch);
        scratch.sort_unstable();
        scratch.dedup();
        self.absorb(&mut scratch, &all, outcome);
        builder.intern(self.domain.start(), &scratch)?;

        let set_cuts: Vec<Vec<u16>> = self
            .sets
            .iter()
            .map(|s| {
                s.ranges()
                    .into_iter()
                    .flat_map(|(lo, hi)| [u16::from(lo), u16::from(hi) + 1])
                    .collect()
            })
            .collect();
        let mut next = 0;
        let mut narrow: Vec<(u8, u32)> = Vec::new();
        let mut wide: Vec<u32> = Vec::new();
        let mut slots = Vec::new();
        let mut known: Vec<((u128, u8), StateId)> = Vec::new();
        while next < builder.keys.len() {
            let key = Rc::clone(&builder.keys[next]);
            next += 1;
            let (domain, set) = (key[0] as u8, &key[1..]);
            narrow.clear();
            wide.clear();
            slots.clear();
            let mut cuts = [false; 257];
            cuts[0] = true;
            match self.domain {
                Domain::Path => {
                    for c in [1, usize::from(b'/'), usize::from(b'/') + 1] {
                        cuts[c] = true;
                    }
                    if matches!(domain, SLASH | DOT) {
                        cuts[usize::from(b'.')] = true;
                    }
                }
                Domain::Words => cuts[1] = true,
            }
            for &p in set {
                match self.positions[p as usize] {
                    Position::Byte(b) => {
                        narrow.push((b, p + 1));
                        cuts[usize::from(b)] = true;
                        cuts[usize::from(b) + 1] = true;
                    }
                    Position::Set(s) | Position::Star(s) => {
                        wide.push(p);
                        for c in &set_cuts[s as usize] {
                            cuts[usize::from(*c)] = true;
                        }
                    }
                    Position::DepthOpen | Position::DepthBody => wide.push(p),
                    Position::Accept => slots.push(self.owner[p as usize]),
                }
                // Absorption may have dropped the `Accept` behind such a position.
                if all[p as usize] {
                    slots.push(self.owner[p as usize]);
                }
            }
            narrow.sort_unstable();
            slots.sort_unstable();
            slots.dedup();
            let accepting = Domain::accepts(domain);
            dfa.accepting.push(accepting);
            dfa.labels.push(if accepting { label(&slots) } else { 0 });
            let first_range = dfa.ranges.len();
            // Which of the wide positions take a byte: intervals that agree in it, and that no single
            // byte's position cuts out, lead to the same state.
            let sets: Vec<u32> = wide
                .iter()
                .filter_map(|p| match self.positions[*p as usize] {
                    Position::Set(s) | Position::Star(s) => Some(s),
                    _ => None,
                })
                .collect();
            known.clear();
            let mut lo = 0usize;
            let mut narrow_at = 0;
            while lo < 256 {
                let mut hi = lo;
                while !cuts[hi + 1] && hi < 255 {
                    hi += 1;
                }
                let byte = lo as u8;
                if let Some(domain) = Domain::step(domain, byte) {
                    while narrow.get(narrow_at).is_some_and(|n| n.0 < byte) {
                        narrow_at += 1;
                    }
                    let alone = narrow.get(narrow_at).is_none_or(|n| n.0 != byte);
                    let signature = (sets.len() < 120).then(|| {
                        let taken = sets.iter().fold(1u128, |bits, s| {
                            bits << 1 | u128::from(self.sets[*s as usize].contains(byte))
                        });
                        (taken << 1 | u128::from(byte == b'/'), domain)
                    });
                    let found = signature
                        .filter(|_| alone)
                        .and_then(|s| known.iter().find(|k| k.0 == s))
                        .map(|k| k.1);
                    let target = match found {
                        Some(target) => target,
                        None => {
                            scratch.clear();
                            for (_, target) in
                                narrow[narrow_at..].iter().take_while(|n| n.0 == byte)
                            {
                                self.closure(*target, &mut scratch);
                            }
                            for &p in &wide {
                                match self.positions[p as usize] {
                                    Position::Set(s) if self.sets[s as usize].contains(byte) => {
                                        self.closure(p + 1, &mut scratch);
                                    }
                                    Position::Star(s) if self.sets[s as usize].contains(byte) => {
                                        self.closure(p, &mut scratch);
                                    }
                                    Position::DepthOpen if byte == b'/' => {
                                        self.closure(p + 1, &mut scratch)
                                    }
                                    Position::DepthBody => self.closure(p, &mut scratch),
                                    _ => {}
                                }
                            }
                            represent(&mut scratch);
                            scratch.sort_unstable();
                            scratch.dedup();
                            self.absorb(&mut scratch, &all, outcome);
                            let target = builder.intern(domain, &scratch)?;
                            if let (true, Some(signature)) = (alone, signature) {
                                known.push((signature, target));
                            }
                            target
                        }
                    };
                    match dfa.ranges[first_range..].last_mut() {
                        Some(last) if last.2 == target && usize::from(last.1) + 1 == lo => {
                            last.1 = hi as u8
                        }
                        _ => dfa.ranges.push((byte, hi as u8, target)),
                    }
                }
                lo = hi + 1;
            }
            dfa.offsets.push(dfa.ranges.len() as u32);
        }
        Ok(dfa)
    }
}

struct Builder {
    ids: FxHashMap<Rc<[u32]>, u32>,
    keys: Vec<Rc<[u32]>>,
    limit: Limit,
    positions: usize,
    /// For looking up without an allocation.
    buffer: Vec<u32>,
}

impl Builder {
    fn intern(&mut self, domain: u8, set: &[u32]) -> Result<StateId, TooLarge> {
        self.buffer.clear();
        self.buffer.push(u32::from(domain));
        self.buffer.extend_from_slice(set);
        if let Some(id) = self.ids.get(self.buffer.as_slice()) {
            return Ok(StateId(*id));
        }
        let id = self.keys.len();
        self.positions += self.buffer.len();
        if id >= self.limit.states || self.positions > self.limit.positions {
            return Err(self.limit.exceeded());
        }
        let key: Rc<[u32]> = self.buffer.as_slice().into();
        self.keys.push(Rc::clone(&key));
        self.ids.insert(key, id as u32);
        Ok(StateId(id as u32))
    }
}

/// A deterministic automaton. Every state has a label; it counts where the string may end.
#[derive(Debug, Clone)]
pub struct Dfa {
    offsets: Vec<u32>,
    ranges: Vec<(u8, u8, StateId)>,
    labels: Vec<u32>,
    accepting: Vec<bool>,
}

impl Dfa {
    /// The start: the root of the file system.
    #[must_use]
    pub fn start(&self) -> StateId {
        StateId(0)
    }

    /// How many states there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Never: the start is a state.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// All states.
    pub fn states(&self) -> impl Iterator<Item = StateId> + use<> {
        (0..self.labels.len() as u32).map(StateId)
    }

    /// The transitions of a state: byte ranges (both ends included), ascending, disjoint. A byte in
    /// none of them cannot follow in any path.
    #[must_use]
    pub fn transitions(&self, state: StateId) -> &[(u8, u8, StateId)] {
        let s = state.0 as usize;
        &self.ranges[self.offsets[s] as usize..self.offsets[s + 1] as usize]
    }

    /// One step; `None` where no path goes on so.
    #[must_use]
    pub fn step(&self, state: StateId, byte: u8) -> Option<StateId> {
        let ranges = self.transitions(state);
        let i = ranges.partition_point(|r| r.1 < byte);
        ranges.get(i).filter(|r| r.0 <= byte).map(|r| r.2)
    }

    /// Where a path (its bytes; `/` is the root) leads from the start.
    #[must_use]
    pub fn run(&self, path: &[u8]) -> Option<StateId> {
        let path = if path == b"/" { b"" } else { path };
        path.iter().try_fold(self.start(), |s, b| self.step(s, *b))
    }

    /// Whether a string may end here.
    #[must_use]
    pub fn is_path(&self, state: StateId) -> bool {
        self.accepting[state.0 as usize]
    }

    /// The label; it means something where [`Dfa::is_path`] holds.
    #[must_use]
    pub fn label(&self, state: StateId) -> u32 {
        self.labels[state.0 as usize]
    }

    /// The label of a path; `None` where it is not a path in canonical form.
    #[must_use]
    pub fn label_of(&self, path: &[u8]) -> Option<u32> {
        self.run(path)
            .filter(|s| self.is_path(*s))
            .map(|s| self.label(s))
    }

    pub(crate) fn map_labels(&mut self, mut f: impl FnMut(u32) -> u32) {
        for (l, accepting) in self.labels.iter_mut().zip(&self.accepting) {
            *l = if *accepting { f(*l) } else { 0 };
        }
    }

    /// Labels each state 1 where `holds` holds of it, else 0.
    pub(crate) fn mark(&mut self, holds: impl Fn(StateId) -> bool) {
        for s in self.states() {
            self.labels[s.index()] = u32::from(self.is_path(s) && holds(s));
        }
    }

    /// For each state: whether every string that ends here or beyond has a label that `good` holds of.
    #[must_use]
    pub fn all_below(&self, good: impl Fn(u32) -> bool) -> Vec<bool> {
        let n = self.len();
        // Reverse edges in one array, so that a large automaton costs two allocations.
        let mut starts = vec![0u32; n + 1];
        for r in &self.ranges {
            starts[r.2.0 as usize + 1] += 1;
        }
        for i in 0..n {
            starts[i + 1] += starts[i];
        }
        let mut sources = vec![0u32; self.ranges.len()];
        let mut fill = starts.clone();
        for s in self.states() {
            for r in self.transitions(s) {
                let slot = &mut fill[r.2.0 as usize];
                sources[*slot as usize] = s.0;
                *slot += 1;
            }
        }
        let mut ok = vec![true; n];
        let mut work: Vec<u32> = Vec::new();
        for s in self.states() {
            if self.is_path(s) && !good(self.label(s)) {
                ok[s.0 as usize] = false;
                work.push(s.0);
            }
        }
        while let Some(s) = work.pop() {
            for &p in &sources[starts[s as usize] as usize..starts[s as usize + 1] as usize] {
                if std::mem::replace(&mut ok[p as usize], false) {
                    work.push(p);
                }
            }
        }
        ok
    }

    /// Walks both automata in step, the shortest strings first. `visit` gets each pair of labels at
    /// which a string may end, with a way to spell a shortest such string.
    pub(crate) fn walk_pairs(
        &self,
        other: &Self,
        limit: Limit,
        mut visit: impl FnMut(StateId, StateId, &dyn Fn() -> Vec<u8>) -> bool,
    ) -> Result<(), TooLarge> {
        let mut seen: FxHashMap<(StateId, StateId), u32> = FxHashMap::default();
        // (pair, index of the parent, byte)
        let mut queue: Vec<((StateId, StateId), u32, u8)> =
            vec![((self.start(), other.start()), u32::MAX, 0)];
        seen.insert(queue[0].0, 0);
        let mut at = 0;
        while at < queue.len() {
            let ((a, b), ..) = queue[at];
            if self.is_path(a) && other.is_path(b) {
                let spell = || spell(&queue, at);
                if !visit(a, b, &spell) {
                    return Ok(());
                }
            }
            let (ta, tb) = (self.transitions(a), other.transitions(b));
            let (mut i, mut j) = (0, 0);
            while let (Some(x), Some(y)) = (ta.get(i), tb.get(j)) {
                let (lo, hi) = (x.0.max(y.0), x.1.min(y.1));
                if lo <= hi {
                    let pair = (x.2, y.2);
                    let byte = pleasant(lo, hi);
                    match seen.entry(pair) {
                        std::collections::hash_map::Entry::Vacant(e) => {
                            if queue.len() >= limit.states {
                                return Err(limit.exceeded());
                            }
                            e.insert(queue.len() as u32);
                            queue.push((pair, at as u32, byte));
                        }
                        // Another byte of the same step may read better.
                        std::collections::hash_map::Entry::Occupied(e) => {
                            let known = &mut queue[*e.get() as usize];
                            if known.1 == at as u32 && oddness(byte) < oddness(known.2) {
                                known.2 = byte;
                            }
                        }
                    }
                }
                if x.1 <= y.1 {
                    i += 1;
                }
                if y.1 <= x.1 {
                    j += 1;
                }
            }
            at += 1;
        }
        Ok(())
    }

    /// The automaton of both, its labels made by `combine`.
    pub(crate) fn product(
        &self,
        other: &Self,
        limit: Limit,
        combine: impl Fn(u32, u32) -> u32,
    ) -> Result<Self, TooLarge> {
        let mut ids: FxHashMap<(StateId, StateId), u32> = FxHashMap::default();
        let mut pairs = vec![(self.start(), other.start())];
        ids.insert(pairs[0], 0);
        let mut out = Self {
            offsets: vec![0],
            ranges: Vec::new(),
            labels: Vec::new(),
            accepting: Vec::new(),
        };
        let mut at = 0;
        while at < pairs.len() {
            let (a, b) = pairs[at];
            at += 1;
            let accepting = self.is_path(a) && other.is_path(b);
            out.accepting.push(accepting);
            out.labels.push(if accepting {
                combine(self.label(a), other.label(b))
            } else {
                0
            });
            let first = out.ranges.len();
            let (ta, tb) = (self.transitions(a), other.transitions(b));
            let (mut i, mut j) = (0, 0);
            while let (Some(x), Some(y)) = (ta.get(i), tb.get(j)) {
                let (lo, hi) = (x.0.max(y.0), x.1.min(y.1));
                if lo <= hi {
                    let pair = (x.2, y.2);
                    let id = match ids.get(&pair) {
                        Some(id) => *id,
                        None => {
                            if pairs.len() >= limit.states {
                                return Err(limit.exceeded());
                            }
                            let id = pairs.len() as u32;
                            ids.insert(pair, id);
                            pairs.push(pair);
                            id
                        }
                    };
                    match out.ranges[first..].last_mut() {
                        Some(last) if last.2.0 == id && u16::from(last.1) + 1 == u16::from(lo) => {
                            last.1 = hi
                        }
                        _ => out.ranges.push((lo, hi, StateId(id))),
                    }
                }
                if x.1 <= y.1 {
                    i += 1;
                }
                if y.1 <= x.1 {
                    j += 1;
                }
            }
            out.offsets.push(out.ranges.len() as u32);
        }
        Ok(out)
    }

    /// The automaton with the fewest states that gives every string the same label.
    #[must_use]
    pub fn minimise(&self) -> Self {
        let n = self.len();
        // Moore's refinement: classes start as (may end, label) and split by where transitions lead.
        let mut class: Vec<u32> = Vec::with_capacity(n);
        let mut count = 0u32;
        {
            let mut ids: FxHashMap<(bool, u32), u32> = FxHashMap::default();
            for s in self.states() {
                let key = (self.is_path(s), self.label(s));
                let next = ids.len() as u32;
                class.push(*ids.entry(key).or_insert(next));
            }
            count = count.max(ids.len() as u32);
        }
        loop {
            let mut ids: FxHashMap<Vec<u32>, u32> = FxHashMap::default();
            let mut refined = Vec::with_capacity(n);
            for s in self.states() {
                let mut key = vec![class[s.0 as usize]];
                let mut last: Option<(u8, u32)> = None;
                for (lo, hi, t) in self.transitions(s) {
                    let c = class[t.0 as usize];
                    if last.is_some_and(|(end, k)| k == c && u16::from(end) + 1 == u16::from(*lo)) {
                        let at = key.len() - 2;
                        key[at] = (key[at] & 0xff00) | u32::from(*hi);
                    } else {
                        key.push(u32::from(*lo) << 8 | u32::from(*hi));
                        key.push(c);
                    }
                    last = Some((*hi, c));
                }
                let next = ids.len() as u32;
                refined.push(*ids.entry(key).or_insert(next));
            }
            let stable = ids.len() as u32 == count;
            count = ids.len() as u32;
            class = refined;
            if stable {
                break;
            }
        }
        // Numbered in the order of a walk from the start, so that the result does not depend on history.
        let mut representative: Vec<Option<StateId>> = vec![None; count as usize];
        for s in self.states() {
            representative[class[s.0 as usize] as usize].get_or_insert(s);
        }
        let mut number: Vec<Option<u32>> = vec![None; count as usize];
        let mut order = vec![class[0]];
        number[class[0] as usize] = Some(0);
        let mut out = Self {
            offsets: vec![0],
            ranges: Vec::new(),
            labels: Vec::new(),
            accepting: Vec::new(),
        };
        let mut at = 0;
        while at < order.len() {
            let c = order[at];
            at += 1;
            let Some(s) = representative[c as usize] else {
                continue;
            };
            out.labels.push(self.label(s));
            out.accepting.push(self.is_path(s));
            let first = out.ranges.len();
            for (lo, hi, t) in self.transitions(s) {
                let tc = class[t.0 as usize];
                let id = match number[tc as usize] {
                    Some(id) => id,
                    None => {
                        let id = order.len() as u32;
                        number[tc as usize] = Some(id);
                        order.push(tc);
                        id
                    }
                };
                match out.ranges[first..].last_mut() {
                    Some(last) if last.2.0 == id && u16::from(last.1) + 1 == u16::from(*lo) => {
                        last.1 = *hi
                    }
                    _ => out.ranges.push((*lo, *hi, StateId(id))),
                }
            }
            out.offsets.push(out.ranges.len() as u32);
        }
        out
    }
}

/// Bytes that read well in a witness, the best first.
const PLEASANT: [(u8, u8); 4] = [(b'a', b'z'), (b'0', b'9'), (b'A', b'Z'), (b'!', b'~')];

/// A byte of the range that reads well in a witness.
fn pleasant(lo: u8, hi: u8) -> u8 {
    PLEASANT
        .into_iter()
        .find(|(a, b)| lo.max(*a) <= hi.min(*b))
        .map_or(lo, |(a, _)| lo.max(a))
}

/// How badly a byte reads in a witness; 0: well.
fn oddness(byte: u8) -> usize {
    let at = PLEASANT.iter().position(|(a, b)| (*a..=*b).contains(&byte));
    at.unwrap_or(PLEASANT.len())
}

fn spell(queue: &[((StateId, StateId), u32, u8)], at: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut i = at;
    while let Some((_, parent, byte)) = queue.get(i).filter(|e| e.1 != u32::MAX) {
        out.push(*byte);
        i = *parent as usize;
    }
    out.reverse();
    out
}
