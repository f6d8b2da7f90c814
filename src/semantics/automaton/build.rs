//! From sets of positions to states.
//!
//! A policy of ordinary size makes some ten thousand states, and each command makes several such
//! automata: what is done for one state is kept small. The sets lie in one array; which bytes a state
//! tells apart is a mask of 256 bits; intervals of bytes that lead to the same place are looked up
//! once.

use super::dfa::Shape;
use super::nfa::{Nfa, Position};
use super::{DOT, Dfa, Domain, Limit, SLASH, SlotKind, StateId, TooLarge};
use crate::policy::ByteSet;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// A bit for each byte at which an interval begins.
type Cuts = [u64; 4];

fn cut(cuts: &mut Cuts, byte: u8) {
    cuts[usize::from(byte >> 6)] |= 1 << (byte & 63);
}

/// Where membership changes.
fn cuts_of(set: &ByteSet) -> Cuts {
    let mut cuts = [0; 4];
    for (lo, hi) in set.ranges() {
        cut(&mut cuts, lo);
        if let Some(next) = hi.checked_add(1) {
            cut(&mut cuts, next);
        }
    }
    cuts
}

/// The intervals that the cuts make, ascending, both ends included.
fn intervals(cuts: Cuts) -> impl Iterator<Item = (u8, u8)> {
    let mut firsts = (0..4u8)
        .flat_map(move |word| {
            let mut bits = cuts[usize::from(word)];
            std::iter::from_fn(move || {
                let bit = (bits != 0).then(|| bits.trailing_zeros() as u8)?;
                bits &= bits - 1;
                Some(word << 6 | bit)
            })
        })
        .peekable();
    std::iter::from_fn(move || {
        let first = firsts.next()?;
        let last = firsts.peek().map_or(255, |next| next - 1);
        Some((first, last))
    })
}

/// The states that are known: sets of positions, each behind the state of its domain, in one array.
struct States {
    ids: HashTable<u32>,
    data: Vec<u32>,
    /// Where each state's part of `data` begins; one more than there are states.
    starts: Vec<u32>,
    limit: Limit,
}

impl States {
    fn new(limit: Limit) -> Self {
        Self {
            ids: HashTable::new(),
            data: Vec::new(),
            starts: vec![0],
            limit,
        }
    }

    fn len(&self) -> usize {
        self.starts.len() - 1
    }

    fn hash(domain: u32, set: &[u32]) -> u64 {
        // Multiply and rotate, as rustc's hasher does, without the detour through bytes.
        const K: u64 = 0xf135_7aea_2e62_a9c5;
        let start = u64::from(domain).wrapping_mul(K);
        let mixed = set.iter().fold(start, |hash, p| {
            (hash.rotate_left(5) ^ u64::from(*p)).wrapping_mul(K)
        });
        mixed ^ mixed >> 29
    }

    fn key<'d>(data: &'d [u32], starts: &[u32], id: u32) -> &'d [u32] {
        &data[starts[id as usize] as usize..starts[id as usize + 1] as usize]
    }

    fn intern(&mut self, domain: u8, set: &[u32]) -> Result<StateId, TooLarge> {
        let domain = u32::from(domain);
        let Self {
            ids, data, starts, ..
        } = self;
        let same = |id: &u32| {
            let key = Self::key(data, starts, *id);
            key[0] == domain && &key[1..] == set
        };
        let rehash = |id: &u32| {
            let key = Self::key(data, starts, *id);
            Self::hash(key[0], &key[1..])
        };
        match ids.entry(Self::hash(domain, set), same, rehash) {
            Entry::Occupied(entry) => Ok(StateId(*entry.get())),
            Entry::Vacant(entry) => {
                let id = starts.len() - 1;
                let end = data.len() + 1 + set.len();
                if id >= self.limit.states || end > self.limit.positions {
                    return Err(self.limit.exceeded());
                }
                entry.insert(id as u32);
                data.push(domain);
                data.extend_from_slice(set);
                starts.push(end as u32);
                Ok(StateId(id as u32))
            }
        }
    }
}

/// What leads where from one state, of the bytes that no single byte's position cuts out: which wide
/// positions take the byte (and whether it is `/`), and the domain behind it.
type Signature = (u128, u8);

struct Construction<'n> {
    nfa: &'n Nfa,
    outcome: Option<&'n [u32]>,
    representatives: Vec<u32>,
    all: Vec<bool>,
    states: States,
    /// The set that is being made.
    set: Vec<u32>,
}

impl Construction<'_> {
    /// The state of the positions in `set`.
    fn finish(&mut self, domain: u8) -> Result<StateId, TooLarge> {
        for p in &mut self.set {
            *p = self.representatives[*p as usize];
        }
        if !self.set.is_sorted() {
            self.set.sort_unstable();
        }
        self.set.dedup();
        self.nfa.absorb(&mut self.set, &self.all, self.outcome);
        self.states.intern(domain, &self.set)
    }
}

impl Nfa {
    /// Builds the automaton. `label` turns the sorted slots that match a string into a label;
    /// `outcome` (one value a clause) allows merging clauses of the same outcome.
    pub(crate) fn determinise(
        &self,
        limit: Limit,
        outcome: Option<&[u32]>,
        mut label: impl FnMut(&[u32]) -> u32,
    ) -> Result<Dfa, TooLarge> {
        let mut dfa = Shape::empty();
        let mut labels = Vec::new();
        let mut made = Construction {
            nfa: self,
            outcome,
            representatives: self.representatives(),
            all: (0..self.positions.len() as u32)
                .map(|p| self.accepts_all(p))
                .collect(),
            states: States::new(limit),
            set: Vec::new(),
        };
        for s in &self.starts {
            self.closure(*s, &mut made.set);
        }
        made.finish(self.domain.start())?;

        let masks: Vec<Cuts> = self.sets.iter().map(cuts_of).collect();
        let mut current: Vec<u32> = Vec::new();
        let mut narrow: Vec<(u8, u32)> = Vec::new();
        let mut wide: Vec<u32> = Vec::new();
        let mut sets: Vec<u32> = Vec::new();
        let mut slots: Vec<u32> = Vec::new();
        let mut known: Vec<(Signature, StateId)> = Vec::new();
        let mut next = 0;
        while next < made.states.len() {
            current.clear();
            let key = States::key(&made.states.data, &made.states.starts, next as u32);
            current.extend_from_slice(key);
            next += 1;
            let (domain, set) = (current[0] as u8, &current[1..]);
            narrow.clear();
            wide.clear();
            sets.clear();
            slots.clear();
            known.clear();
            let mut cuts: Cuts = [1, 0, 0, 0];
            cut(&mut cuts, 1);
            if self.domain == Domain::Path {
                cut(&mut cuts, b'/');
                cut(&mut cuts, b'/' + 1);
                if matches!(domain, SLASH | DOT) {
                    cut(&mut cuts, b'.');
                }
            }
            for &p in set {
                match self.positions[p as usize] {
                    Position::Byte(b) => {
                        narrow.push((b, p));
                        cut(&mut cuts, b);
                        if let Some(next) = b.checked_add(1) {
                            cut(&mut cuts, next);
                        }
                    }
                    Position::Set(s) | Position::Star(s) => {
                        wide.push(p);
                        sets.push(s);
                        for (word, mask) in cuts.iter_mut().zip(&masks[s as usize]) {
                            *word |= mask;
                        }
                    }
                    Position::DepthOpen | Position::DepthBody => wide.push(p),
                    Position::Accept => slots.push(self.owner[p as usize]),
                }
                // Absorption may have dropped the `Accept` behind such a position.
                if made.all[p as usize] {
                    slots.push(self.owner[p as usize]);
                }
            }
            if !narrow.is_sorted() {
                narrow.sort_unstable();
            }
            slots.sort_unstable();
            slots.dedup();
            let accepting = Domain::accepts(domain);
            dfa.accepting.push(accepting);
            labels.push(if accepting { label(&slots) } else { 0 });
            let first_range = dfa.ranges.len();
            let mut narrow_at = 0;
            for (lo, hi) in intervals(cuts) {
                let Some(domain) = Domain::step(domain, lo) else {
                    continue;
                };
                while narrow.get(narrow_at).is_some_and(|n| n.0 < lo) {
                    narrow_at += 1;
                }
                // A wide set of positions is not worth a signature.
                let alone = sets.len() < 120 && narrow.get(narrow_at).is_none_or(|n| n.0 != lo);
                let signature = alone.then(|| {
                    let taken = sets.iter().fold(1u128, |bits, s| {
                        bits << 1 | u128::from(self.sets[*s as usize].contains(lo))
                    });
                    (taken << 1 | u128::from(lo == b'/'), domain)
                });
                let found = signature.and_then(|s| known.iter().find(|k| k.0 == s));
                let target = match found {
                    Some((_, target)) => *target,
                    None => {
                        made.set.clear();
                        for (_, p) in narrow[narrow_at..].iter().take_while(|n| n.0 == lo) {
                            self.follow(*p, &mut made.set);
                        }
                        self.step_wide(&wide, lo, &mut made.set);
                        let target = made.finish(domain)?;
                        known.extend(signature.map(|s| (s, target)));
                        target
                    }
                };
                match dfa.ranges[first_range..].last_mut() {
                    Some(last) if last.2 == target && u16::from(last.1) + 1 == u16::from(lo) => {
                        last.1 = hi;
                    }
                    _ => dfa.ranges.push((lo, hi, target)),
                }
            }
            dfa.offsets.push(dfa.ranges.len() as u32);
        }
        Ok(Dfa::new(dfa, labels))
    }

    /// Where positions that take more than one byte go with this one.
    fn step_wide(&self, wide: &[u32], byte: u8, out: &mut Vec<u32>) {
        for &p in wide {
            match self.positions[p as usize] {
                Position::Set(s) if self.sets[s as usize].contains(byte) => self.follow(p, out),
                Position::Star(s) if self.sets[s as usize].contains(byte) => self.closure(p, out),
                Position::DepthOpen if byte == b'/' => {
                    for body in self.children(p) {
                        self.closure(body, out);
                    }
                }
                Position::DepthBody => self.closure(p, out),
                _ => {}
            }
        }
    }

    /// Drops positions that can decide nothing any more: those of a clause whose operations clauses
    /// above it already decide for everything that follows. `outcome(clause)` tells whether two clauses
    /// come to the same, for automata that only ask for the outcome.
    fn absorb(&self, set: &mut Vec<u32>, all: &[bool], outcome: Option<&[u32]>) {
        if !set.iter().any(|p| all[*p as usize]) {
            return;
        }
        let slot_of = |p: u32| self.slots[self.owner[p as usize] as usize];
        let mut covered = 0u16;
        let mut absorber = None;
        let mut kept = 0;
        let mut at = 0;
        // Positions are numbered by clause, so a sorted set has those of one clause together.
        while at < set.len() {
            let clause = slot_of(set[at]).clause;
            let run = set[at..]
                .iter()
                .take_while(|p| slot_of(**p).clause == clause)
                .count();
            let (from, to) = (at, at + run);
            at = to;
            let mask = self.masks[clause as usize];
            // A clause whose except matches everything from here on can never match again.
            let voided = |p: &u32| all[*p as usize] && slot_of(*p).kind == SlotKind::Except;
            if mask & !covered == 0 || set[from..to].iter().any(voided) {
                continue;
            }
            let sure = !self.conditional[clause as usize]
                || set[from..to]
                    .iter()
                    .all(|p| slot_of(*p).kind == SlotKind::Include);
            let everything = set[from..to]
                .iter()
                .find(|p| all[**p as usize] && slot_of(**p).kind == SlotKind::Include);
            if let (true, Some(p)) = (sure, everything) {
                // One position is enough to say that everything matches.
                set[kept] = *p;
                kept += 1;
                covered |= mask;
                absorber = Some(clause);
            } else {
                set.copy_within(from..to, kept);
                kept += run;
            }
        }
        set.truncate(kept);
        if let (Some(outcome), Some(a)) = (outcome, absorber) {
            let value = outcome[a as usize];
            let same = |p: &u32| outcome[slot_of(*p).clause as usize] == value;
            if set.iter().all(same) {
                set.drain(..kept - 1);
            }
        }
    }
}
