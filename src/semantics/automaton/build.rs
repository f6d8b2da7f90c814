//! Turns sets of positions into states.
//!
//! A state is a set of positions between two names. A position has one of three kinds. It goes on with any name, with a
//! name that a pattern spells out, or with a glob. For globs, names are put into classes. Most states differ only in a
//! few spelled-out names, such as the next name of a literal path. Everything else about a state is a row, which many
//! states share.

use super::dfa::{Row, Shape};
use super::names::NameClasses;
use super::nfa::{Nfa, Position};
use super::transitions::{Span, TransitionTable};
use super::{Dfa, Domain, Limit, SlotKind, StateId, TooLarge};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use rustc_hash::FxHashMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// The known states, in one array. Each is the state of its domain, followed by a set of positions.
pub(super) struct States {
    ids: HashTable<u32>,
    data: Vec<u32>,
    /// Where each state's part of `data` begins. It has one entry more than there are states.
    starts: Vec<u32>,
    limit: Limit,
}

impl States {
    pub(super) fn new(limit: Limit) -> Self {
        Self {
            ids: HashTable::new(),
            data: Vec::new(),
            starts: vec![0],
            limit,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    fn hash(domain: u32, set: &[u32]) -> u64 {
        // Multiply and rotate, as rustc's hasher does, but on whole words instead of bytes.
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

    /// What a state was made from: the state of its domain, then the set.
    pub(super) fn of(&self, id: u32) -> &[u32] {
        Self::key(&self.data, &self.starts, id)
    }

    pub(super) fn intern(&mut self, domain: u8, set: &[u32]) -> Result<u32, TooLarge> {
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
            Entry::Occupied(entry) => Ok(*entry.get()),
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
                Ok(id as u32)
            }
        }
    }
}

/// Where names that match globs lead: the classes of these names, and the positions after each class.
struct Globs {
    classes: Arc<NameClasses>,
    to: Vec<Vec<u32>>,
}

/// A row under construction, and what it was made from. The states of the row need that for names of their own.
struct Made {
    /// Where any name leads.
    any: Vec<u32>,
    globs: usize,
    /// Ascending by name. Several entries may have the same name.
    named: Vec<(u32, Span)>,
}

/// What absorption must know about a position.
#[derive(Clone, Copy)]
struct Standing {
    case: u32,
    /// The operations that the case decides.
    mask: u16,
    kind: SlotKind,
    /// Whether every continuation matches.
    all: bool,
    /// Whether a match of the case also depends on other slots.
    conditional: bool,
}

struct Construction<'n> {
    nfa: &'n Nfa,
    outcome: Option<&'n [u32]>,
    representatives: Vec<u32>,
    all: Vec<bool>,
    /// By position.
    standing: Vec<Standing>,
    /// By outcome: one position that stands for all positions that match everything.
    everything: Vec<u32>,
    limit: Limit,
    states: States,
    transitions: TransitionTable,
    /// The set under construction.
    set: Vec<u32>,
    /// The positions that a state adds to those of its row.
    added: Vec<u32>,
    globs: Vec<Globs>,
    globs_of: FxHashMap<Vec<u32>, usize>,
    /// The number of states of all name automata together.
    name_states: usize,
    made: Vec<Made>,
    /// The number of names of all rows together.
    listed: usize,
    rows: Vec<Row>,
    rows_of: FxHashMap<Vec<u32>, u32>,
}

impl Construction<'_> {
    /// The state of the positions in `set`. They must be representatives, in ascending order.
    fn finish(&mut self, kind: u8) -> Result<StateId, TooLarge> {
        self.set.dedup();
        absorb(
            &mut self.set,
            &self.standing,
            self.outcome,
            &self.everything,
        );
        self.states.intern(kind, &self.set).map(StateId)
    }

    /// The globs of positions before the first byte of a name.
    fn globs(&mut self, mut starts: Vec<u32>) -> Result<usize, TooLarge> {
        starts.sort_unstable();
        starts.dedup();
        if let Some(known) = self.globs_of.get(&starts) {
            return Ok(*known);
        }
        let (classes, to) = self.nfa.classes(&starts, &self.all, self.limit)?;
        self.name_states += classes.len();
        if self.name_states > self.limit.states {
            return Err(self.limit.exceeded());
        }
        // Patterns such as `/a/*` and `/b/*` put names into the same classes.
        let same = self.globs.iter().map(|g| &g.classes);
        let same = same.filter(|c| c.len() == classes.len());
        let same = same.take(16).find(|c| ***c == classes).cloned();
        self.globs.push(Globs {
            classes: same.unwrap_or_else(|| Arc::new(classes)),
            to,
        });
        self.globs_of.insert(starts, self.globs.len() - 1);
        Ok(self.globs.len() - 1)
    }

    /// Where a name leads from a row, and where names of a state's own lead too.
    fn target(
        &mut self,
        row: usize,
        class: Option<u32>,
        named: Range<usize>,
        own: &[(u32, Span)],
    ) -> Result<StateId, TooLarge> {
        let made = &self.made[row];
        let added = &mut self.added;
        added.clear();
        if let Some(class) = class {
            added.extend_from_slice(&self.globs[made.globs].to[class as usize]);
        }
        for (_, span) in made.named[named].iter().chain(own) {
            added.extend_from_slice(span.of(&self.transitions.positions));
        }
        for p in &mut *added {
            *p = self.representatives[*p as usize];
        }
        added.sort_unstable();
        // The few in between the many, which are in order.
        self.set.clear();
        let mut from = 0;
        for p in &*added {
            let to = from + made.any[from..].partition_point(|q| q < p);
            self.set.extend_from_slice(&made.any[from..to]);
            self.set.push(*p);
            from = to;
        }
        self.set.extend_from_slice(&made.any[from..]);
        self.finish(BEHIND)
    }

    /// The row of the positions of a state that are not names of its own.
    fn row(&mut self, base: &[u32]) -> Result<u32, TooLarge> {
        if let Some(known) = self.rows_of.get(base) {
            return Ok(*known);
        }
        let (mut any, mut starts) = (Vec::new(), Vec::new());
        let mut named: Vec<(u32, Span)> = Vec::new();
        for p in base {
            let transitions = self.transitions.of(self.nfa, *p);
            any.extend_from_slice(transitions.any.of(&self.transitions.positions));
            starts.extend_from_slice(transitions.globs.of(&self.transitions.positions));
            let spelled = transitions.named.of(&self.transitions.named);
            named.extend(spelled.iter().map(|n| (n.name, n.to)));
        }
        for p in &mut any {
            *p = self.representatives[*p as usize];
        }
        any.sort_unstable();
        any.dedup();
        let globs = self.globs(starts)?;
        let id = self.made.len();
        named.sort_unstable_by_key(|(name, _)| *name);
        let names: Vec<(u32, Range<usize>)> = runs(&named).collect();
        // Each name of a row takes as much room as a position or two.
        self.listed += names.len();
        if self.listed > self.limit.positions {
            return Err(self.limit.exceeded());
        }
        self.made.push(Made { any, globs, named });
        let classes = Arc::clone(&self.globs[globs].classes);
        let to = (0..classes.count())
            .map(|c| self.target(id, Some(c), 0..0, &[]))
            .collect::<Result<_, _>>()?;
        let mut listed = Vec::with_capacity(names.len());
        for (name, named) in names {
            let class = classes.class_of_valid(self.transitions.names.name(name));
            listed.push((name, self.target(id, class, named, &[])?));
        }
        self.rows.push(Row {
            classes,
            to,
            named: listed,
        });
        self.rows_of.insert(base.to_vec(), id as u32);
        Ok(id as u32)
    }
}

/// The names of a list that is sorted by name, each with its part of the list.
fn runs(list: &[(u32, Span)]) -> impl Iterator<Item = (u32, Range<usize>)> {
    let mut at = 0;
    list.chunk_by(|a, b| a.0 == b.0).map(move |run| {
        let from = at;
        at += run.len();
        (run[0].0, from..at)
    })
}

/// The part of such a list that has one name.
fn run_of(list: &[(u32, Span)], name: u32) -> Range<usize> {
    let from = list.partition_point(|(n, _)| *n < name);
    let run = list[from..].iter().take_while(|(n, _)| *n == name);
    from..from + run.count()
}

/// Two states with the same positions are one state, except for the root. No name leads back to the root, so a walk can
/// tell it from the paths beneath it.
const ROOT: u8 = 0;
const BEHIND: u8 = 1;

/// No position.
const NONE: u32 = u32::MAX;

impl Nfa {
    /// Builds the automaton. `label` turns the sorted slots that match a string into a label;
    /// `outcome` (one value a case) allows merging cases of the same outcome.
    pub(crate) fn determinise(
        &self,
        limit: Limit,
        outcome: Option<&[u32]>,
        mut label: impl FnMut(&[u32]) -> u32,
    ) -> Result<Dfa, TooLarge> {
        let all: Vec<bool> = (0..self.positions.len() as u32)
            .map(|p| self.accepts_all(p))
            .collect();
        let mut made = Construction {
            nfa: self,
            outcome,
            representatives: self.representatives(),
            everything: outcome.map_or_else(Vec::new, |o| self.everything(o, &all)),
            standing: self.standing(&all),
            all,
            limit,
            states: States::new(limit),
            transitions: TransitionTable::new(self),
            set: Vec::new(),
            added: Vec::new(),
            globs: Vec::new(),
            globs_of: FxHashMap::default(),
            name_states: 0,
            made: Vec::new(),
            listed: 0,
            rows: Vec::new(),
            rows_of: FxHashMap::default(),
        };
        for s in &self.starts {
            self.closure(*s, &mut made.set);
        }
        made.set.retain(|p| self.at_end(*p));
        for p in &mut made.set {
            *p = made.representatives[*p as usize];
        }
        made.set.sort_unstable();
        made.finish(ROOT)?;

        let mut labels = Vec::new();
        let mut row_of: Vec<u32> = Vec::new();
        let mut own: Vec<(u32, StateId)> = Vec::new();
        let mut own_starts: Vec<u32> = vec![0];
        let mut base: Vec<u32> = Vec::new();
        let mut slots: Vec<u32> = Vec::new();
        let mut named: Vec<(u32, Span)> = Vec::new();
        let mut next = 0;
        while next < made.states.len() {
            base.clear();
            slots.clear();
            named.clear();
            let key = made.states.of(next as u32);
            next += 1;
            for &p in &key[1..] {
                // Absorption may have dropped the `Accept` after a position that accepts everything.
                if made.all[p as usize] || self.positions[p as usize] == Position::Accept {
                    slots.push(self.owner[p as usize]);
                }
                let spelled = matches!(
                    self.positions[p as usize],
                    Position::Name(_) | Position::Byte(_)
                );
                if spelled && !self.floats(p) {
                    let transitions = made.transitions.of(self, p);
                    if transitions.globs.is_empty() && transitions.any.is_empty() {
                        let list = transitions.named.of(&made.transitions.named);
                        named.extend(list.iter().map(|n| (n.name, n.to)));
                        continue;
                    }
                }
                base.push(p);
            }
            slots.sort_unstable();
            slots.dedup();
            labels.push(label(&slots));
            // What ends here leads nowhere.
            base.retain(|p| self.positions[*p as usize] != Position::Accept);
            let row = made.row(&base)?;
            row_of.push(row);
            let classes = Arc::clone(&made.rows[row as usize].classes);
            named.sort_unstable_by_key(|(name, _)| *name);
            for (name, run) in runs(&named) {
                let class = classes.class_of_valid(made.transitions.names.name(name));
                let listed = run_of(&made.made[row as usize].named, name);
                let to = made.target(row as usize, class, listed, &named[run])?;
                own.push((name, to));
            }
            own_starts.push(own.len() as u32);
        }
        let (names, renumbered) = made.transitions.names.sorted();
        let renumber = |list: &mut [(u32, StateId)]| {
            for (name, _) in &mut *list {
                *name = renumbered[*name as usize];
            }
            list.sort_unstable_by_key(|(name, _)| *name);
        };
        for row in &mut made.rows {
            renumber(&mut row.named);
        }
        for ends in own_starts.windows(2) {
            renumber(&mut own[ends[0] as usize..ends[1] as usize]);
        }
        let shape = Shape {
            domain: self.domain,
            names: Arc::new(names),
            rows: made.rows,
            row_of,
            own_starts,
            own,
            reached: OnceLock::new(),
        };
        let made = Dfa::new(shape, labels);
        Ok(match self.domain {
            Domain::Path => made.settled(),
            // Lists of words are short, and they are rarely walked.
            Domain::Words => made,
        })
    }

    /// By outcome, the last position that matches everything, in a case whose match depends on nothing else. The last
    /// one keeps the set sorted when it replaces another position.
    fn everything(&self, outcome: &[u32], all: &[bool]) -> Vec<u32> {
        let mut out: Vec<Option<u32>> = Vec::new();
        for (p, owner) in (0u32..).zip(&self.owner) {
            let slot = self.slots[*owner as usize];
            let sure = slot.kind == SlotKind::Include && !self.conditional[slot.case as usize];
            if all[p as usize] && sure {
                let value = outcome[slot.case as usize] as usize;
                if out.len() <= value {
                    out.resize(value + 1, None);
                }
                out[value] = Some(p);
            }
        }
        // If an outcome has no such position, no set contains one, or its case has exceptions.
        out.into_iter().map(|p| p.unwrap_or(NONE)).collect()
    }

    fn standing(&self, all: &[bool]) -> Vec<Standing> {
        let of = |(owner, all): (&u32, &bool)| {
            let slot = self.slots[*owner as usize];
            Standing {
                case: slot.case,
                mask: self.masks[slot.case as usize],
                kind: slot.kind,
                all: *all,
                conditional: self.conditional[slot.case as usize],
            }
        };
        self.owner.iter().zip(all).map(of).collect()
    }
}

/// Drops positions that can no longer decide anything. These belong to a case whose operations are already decided, for
/// every continuation, by cases above it. `outcome(case)` tells whether two cases have the same result, for automata
/// that only need the outcome.
fn absorb(set: &mut Vec<u32>, standing: &[Standing], outcome: Option<&[u32]>, everything: &[u32]) {
    let of = |p: u32| standing[p as usize];
    if !set.iter().any(|p| of(*p).all) {
        return;
    }
    let mut covered = 0u16;
    let mut absorber = None;
    let mut kept = 0;
    let mut at = 0;
    // Positions are numbered by case, so a sorted set keeps the positions of a case together.
    while at < set.len() {
        let (from, first) = (at, of(set[at]));
        let (mut voided, mut included, mut whole) = (false, true, None);
        while let Some(p) = set.get(at) {
            let own = of(*p);
            if own.case != first.case {
                break;
            }
            at += 1;
            included &= own.kind == SlotKind::Include;
            if own.all {
                // If an except of a case matches every continuation, the case can never match.
                voided |= own.kind == SlotKind::Except;
                if own.kind == SlotKind::Include && whole.is_none() {
                    whole = Some(*p);
                }
            }
        }
        if first.mask & !covered == 0 || voided {
            continue;
        }
        if let (true, Some(p)) = (!first.conditional || included, whole) {
            // One position is enough to record that everything matches.
            set[kept] = p;
            kept += 1;
            covered |= first.mask;
            absorber = Some(first.case);
        } else {
            set.copy_within(from..at, kept);
            kept += at - from;
        }
    }
    set.truncate(kept);
    if let (Some(outcome), Some(a)) = (outcome, absorber) {
        let value = outcome[a as usize];
        let same = |p: &u32| outcome[of(*p).case as usize] == value;
        if set.iter().all(same) {
            set.drain(..kept - 1);
        }
        // The outcome is the same for each of these cases.
        if let (Some(last), Some(one)) = (set.last_mut(), everything.get(value as usize))
            && of(*last).case == a
            && *one >= *last
            && *one != NONE
        {
            *last = *one;
        }
    }
}
