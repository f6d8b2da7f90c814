//! Two automata in step, and the smallest one.

use super::dfa::Shape;
use super::{Dfa, Limit, StateId, TooLarge};
use rustc_hash::FxHashMap;

/// Numbers of pairs of states. Two automata over much the same patterns mostly have one partner for each
/// state: that one needs no hashing.
struct Pairs {
    /// By the first state: its first partner and the number of the pair.
    first: Vec<(u32, u32)>,
    more: FxHashMap<(StateId, StateId), u32>,
}

/// No state has this number: automata are capped below it.
const NONE: u32 = u32::MAX;

impl Pairs {
    fn new(left: &Dfa) -> Self {
        Self {
            first: vec![(NONE, NONE); left.len()],
            more: FxHashMap::default(),
        }
    }

    /// The number of a pair; `None`: it is new, and has `fresh` from now on.
    fn id(&mut self, pair: (StateId, StateId), fresh: u32) -> Option<u32> {
        let first = &mut self.first[pair.0.index()];
        if first.0 == pair.1.0 {
            return Some(first.1);
        }
        if first.0 == NONE {
            *first = (pair.1.0, fresh);
            return None;
        }
        match self.more.entry(pair) {
            std::collections::hash_map::Entry::Occupied(e) => Some(*e.get()),
            std::collections::hash_map::Entry::Vacant(e) => {
                e.insert(fresh);
                None
            }
        }
    }
}

impl Dfa {
    /// Walks both automata in step, the shortest strings first. `visit` gets each pair of labels at
    /// which a string may end, with a way to spell a shortest such string.
    pub(crate) fn walk_pairs(
        &self,
        other: &Self,
        limit: Limit,
        visit: impl FnMut(StateId, StateId, &dyn Fn() -> Vec<u8>) -> bool,
    ) -> Result<(), TooLarge> {
        self.walk_pairs_while(other, limit, |_| true, visit)
    }

    /// The same, not going on behind states of this automaton that `goes_on` does not hold of.
    pub(crate) fn walk_pairs_while(
        &self,
        other: &Self,
        limit: Limit,
        goes_on: impl Fn(StateId) -> bool,
        mut visit: impl FnMut(StateId, StateId, &dyn Fn() -> Vec<u8>) -> bool,
    ) -> Result<(), TooLarge> {
        let mut seen = Pairs::new(self);
        // (pair, index of the parent, byte)
        let mut queue: Vec<((StateId, StateId), u32, u8)> =
            vec![((self.start(), other.start()), u32::MAX, 0)];
        seen.id(queue[0].0, 0);
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
                if lo <= hi && goes_on(x.2) {
                    let pair = (x.2, y.2);
                    match seen.id(pair, queue.len() as u32) {
                        None => {
                            if queue.len() >= limit.states {
                                return Err(limit.exceeded());
                            }
                            queue.push((pair, at as u32, pleasant(lo, hi)));
                        }
                        // Another byte of the same step may read better.
                        Some(id) => {
                            let known = &mut queue[id as usize];
                            if known.1 == at as u32 {
                                let byte = pleasant(lo, hi);
                                if oddness(byte) < oddness(known.2) {
                                    known.2 = byte;
                                }
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
        let mut ids = Pairs::new(self);
        let mut pairs = vec![(self.start(), other.start())];
        ids.id(pairs[0], 0);
        let mut out = Shape::empty();
        let mut labels = Vec::new();
        let mut at = 0;
        while at < pairs.len() {
            let (a, b) = pairs[at];
            at += 1;
            let accepting = self.is_path(a) && other.is_path(b);
            out.accepting.push(accepting);
            labels.push(if accepting {
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
                    let id = match ids.id(pair, pairs.len() as u32) {
                        Some(id) => id,
                        None => {
                            if pairs.len() >= limit.states {
                                return Err(limit.exceeded());
                            }
                            pairs.push(pair);
                            pairs.len() as u32 - 1
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
        Ok(Self::new(out, labels))
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
        let mut out = Shape::empty();
        let mut labels = Vec::new();
        let mut at = 0;
        while at < order.len() {
            let c = order[at];
            at += 1;
            let Some(s) = representative[c as usize] else {
                continue;
            };
            labels.push(self.label(s));
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
        Self::new(out, labels)
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
