//! Names: a table of the names that patterns spell out, and classes for all others.
//!
//! One step of the automaton reads a whole name. Most names that lead to a state of their own are spelled out in a
//! pattern, and are looked up. For all other names, a small automaton over the bytes of one name finds out which globs
//! match, and puts the name into a class. Many states share one such automaton.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use rustc_hash::{FxHashMap, FxHasher};
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::hash::Hasher;

/// Names, each with its number, in one array.
#[derive(Debug, Clone)]
pub(super) struct NameTable {
    bytes: Vec<u8>,
    /// Where each name begins. It has one entry more than there are names.
    starts: Vec<u32>,
    ids: HashTable<u32>,
}

fn hash(name: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(name);
    hasher.finish()
}

fn part<'b>(bytes: &'b [u8], starts: &[u32], id: u32) -> &'b [u8] {
    &bytes[starts[id as usize] as usize..starts[id as usize + 1] as usize]
}

impl NameTable {
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            starts: vec![0],
            ids: HashTable::new(),
        }
    }

    /// The number of a name. A name without one gets a new number.
    pub(super) fn intern(&mut self, name: &[u8]) -> u32 {
        let Self { bytes, starts, ids } = self;
        let same = |id: &u32| part(bytes, starts, *id) == name;
        let rehash = |id: &u32| hash(part(bytes, starts, *id));
        match ids.entry(hash(name), same, rehash) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let id = starts.len() as u32 - 1;
                entry.insert(id);
                bytes.extend_from_slice(name);
                starts.push(bytes.len() as u32);
                id
            }
        }
    }

    /// The table with its names in ascending order, and the new number of each name by its old number.
    pub(super) fn sorted(self) -> (Self, Vec<u32>) {
        let mut order: Vec<u32> = (0..self.len() as u32).collect();
        order.sort_unstable_by(|a, b| self.name(*a).cmp(self.name(*b)));
        let mut renumbered = vec![0; order.len()];
        let mut out = Self {
            bytes: Vec::with_capacity(self.bytes.len()),
            starts: Vec::with_capacity(self.starts.len()),
            ids: self.ids.clone(),
        };
        out.starts.push(0);
        for (new, old) in order.into_iter().enumerate() {
            renumbered[old as usize] = new as u32;
            out.bytes.extend_from_slice(self.name(old));
            out.starts.push(out.bytes.len() as u32);
        }
        for id in out.ids.iter_mut() {
            *id = renumbered[*id as usize];
        }
        (out, renumbered)
    }

    pub(super) fn id(&self, name: &[u8]) -> Option<u32> {
        let same = |id: &u32| self.name(*id) == name;
        self.ids.find(hash(name), same).copied()
    }

    pub(super) fn name(&self, id: u32) -> &[u8] {
        part(&self.bytes, &self.starts, id)
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }
}

/// The number that no name of a table has.
pub(super) const NO_NAME: u32 = u32::MAX;

/// The names of two tables in ascending order, numbered in that order. Both tables must be in ascending order.
pub(super) struct Merged<'t> {
    left: &'t NameTable,
    right: &'t NameTable,
    /// By name: its number in each table.
    sides: Vec<(u32, u32)>,
    from_left: Vec<u32>,
    from_right: Vec<u32>,
}

impl<'t> Merged<'t> {
    pub(super) fn new(left: &'t NameTable, right: &'t NameTable) -> Self {
        let mut out = Self {
            left,
            right,
            sides: Vec::with_capacity(left.len().max(right.len())),
            from_left: Vec::with_capacity(left.len()),
            from_right: Vec::with_capacity(right.len()),
        };
        if std::ptr::eq(left, right) {
            let all = 0..left.len() as u32;
            out.sides = all.clone().map(|n| (n, n)).collect();
            out.from_left = all.clone().collect();
            out.from_right = all.collect();
            return out;
        }
        let (mut i, mut j) = (0, 0);
        while (i as usize) < left.len() || (j as usize) < right.len() {
            let order = if j as usize == right.len() {
                Ordering::Less
            } else if i as usize == left.len() {
                Ordering::Greater
            } else {
                left.name(i).cmp(right.name(j))
            };
            let id = out.sides.len() as u32;
            let mut sides = (NO_NAME, NO_NAME);
            if order.is_le() {
                sides.0 = i;
                out.from_left.push(id);
                i += 1;
            }
            if order.is_ge() {
                sides.1 = j;
                out.from_right.push(id);
                j += 1;
            }
            out.sides.push(sides);
        }
        out
    }

    pub(super) fn of_left(&self, name: u32) -> u32 {
        self.from_left[name as usize]
    }

    pub(super) fn of_right(&self, name: u32) -> u32 {
        self.from_right[name as usize]
    }

    /// The number of a name in each table.
    pub(super) fn sides(&self, name: u32) -> (u32, u32) {
        self.sides[name as usize]
    }

    pub(super) fn name(&self, name: u32) -> &'t [u8] {
        match self.sides[name as usize] {
            (NO_NAME, right) => self.right.name(right),
            (left, _) => self.left.name(left),
        }
    }

    pub(super) fn id(&self, name: &[u8]) -> Option<u32> {
        let left = self.left.id(name).map(|n| self.of_left(n));
        left.or_else(|| self.right.id(name).map(|n| self.of_right(n)))
    }

    /// One table with the names of both.
    pub(super) fn table(&self) -> NameTable {
        let mut out = NameTable::new();
        for name in 0..self.sides.len() as u32 {
            out.intern(self.name(name));
        }
        out
    }
}

/// No class: the name may not end here.
pub(super) const NO_CLASS: u32 = u32::MAX;

/// An automaton over the bytes of one name that puts every valid name into one class. Every class has a member.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NameClasses {
    offsets: Vec<u32>,
    ranges: Vec<(u8, u8, u32)>,
    /// By state.
    class: Vec<u32>,
    /// A shortest member of each class.
    samples: Vec<Box<[u8]>>,
}

/// Bytes that are easy to read in a witness, the best first.
const PLEASANT: [(u8, u8); 4] = [(b'a', b'z'), (b'0', b'9'), (b'A', b'Z'), (b'!', b'~')];

/// The byte of the range that is easiest to read in a witness.
fn pleasant(lo: u8, hi: u8) -> u8 {
    PLEASANT
        .into_iter()
        .find(|(a, b)| lo.max(*a) <= hi.min(*b))
        .map_or(lo, |(a, _)| lo.max(a))
}

/// How hard a byte is to read in a witness. 0 is the easiest.
fn oddness(byte: u8) -> usize {
    let at = PLEASANT.iter().position(|(a, b)| (*a..=*b).contains(&byte));
    at.unwrap_or(PLEASANT.len())
}

impl NameClasses {
    /// Takes the states, each with its transitions (ascending ranges of bytes), and the class of names that end at it.
    pub(super) fn new(
        offsets: Vec<u32>,
        ranges: Vec<(u8, u8, u32)>,
        class: Vec<u32>,
        classes: u32,
    ) -> Self {
        let mut made = Self {
            offsets,
            ranges,
            class,
            samples: Vec::new(),
        };
        made.samples = made.shortest(classes);
        made
    }

    /// A shortest name of each class.
    fn shortest(&self, classes: u32) -> Vec<Box<[u8]>> {
        let mut found: Vec<Option<Box<[u8]>>> = vec![None; classes as usize];
        let mut left = classes;
        // By state: the previous state and the byte on a shortest way to it.
        let mut from: Vec<Option<(u32, u8)>> = vec![None; self.class.len()];
        let mut queue = VecDeque::from([0u32]);
        let mut seen = vec![false; self.class.len()];
        seen[0] = true;
        while let (Some(s), true) = (queue.pop_front(), left > 0) {
            let class = self.class[s as usize];
            if class != NO_CLASS && found[class as usize].is_none() {
                let mut name = Vec::new();
                let mut at = s;
                while let Some((before, byte)) = from[at as usize] {
                    name.push(byte);
                    at = before;
                }
                name.reverse();
                found[class as usize] = Some(name.into());
                left -= 1;
            }
            for (lo, hi, to) in self.transitions(s) {
                let byte = pleasant(*lo, *hi);
                let to_from = &mut from[*to as usize];
                if !std::mem::replace(&mut seen[*to as usize], true) {
                    *to_from = Some((s, byte));
                    queue.push_back(*to);
                } else if let Some((before, known)) = to_from
                    && *before == s
                    && oddness(byte) < oddness(*known)
                {
                    // Another byte of the same step is easier to read.
                    *known = byte;
                }
            }
        }
        found.into_iter().map(Option::unwrap_or_default).collect()
    }

    /// The class of names that end at a state.
    pub(super) fn class_at(&self, state: u32) -> u32 {
        self.class[state as usize]
    }

    pub(super) fn transitions(&self, state: u32) -> &[(u8, u8, u32)] {
        let s = state as usize;
        &self.ranges[self.offsets[s] as usize..self.offsets[s + 1] as usize]
    }

    pub(super) fn count(&self) -> u32 {
        self.samples.len() as u32
    }

    /// How many states it has.
    pub(super) fn len(&self) -> usize {
        self.class.len()
    }

    pub(super) fn sample(&self, class: u32) -> &[u8] {
        &self.samples[class as usize]
    }

    /// The class of a name that is known to be valid.
    pub(super) fn class_of_valid(&self, name: &[u8]) -> Option<u32> {
        if self.count() == 1 {
            return Some(0);
        }
        self.class_of(name)
    }

    /// The class of a name. `None`: the name is not valid.
    pub(super) fn class_of(&self, name: &[u8]) -> Option<u32> {
        let mut at = 0;
        for byte in name {
            let ranges = self.transitions(at);
            let i = ranges.partition_point(|r| r.1 < *byte);
            at = ranges.get(i).filter(|r| r.0 <= *byte)?.2;
        }
        Some(self.class[at as usize]).filter(|c| *c != NO_CLASS)
    }

    /// A shortest member of a class for which `taken` is false. `None`: there is no such member.
    pub(super) fn member_outside(
        &self,
        class: u32,
        taken: impl Fn(&[u8]) -> bool,
    ) -> Option<Vec<u8>> {
        if !taken(self.sample(class)) {
            return Some(self.sample(class).to_vec());
        }
        let n = self.class.len();
        // By length and state: whether a member ends after that many more bytes.
        let mut ends: Vec<Vec<bool>> = vec![self.class.iter().map(|c| *c == class).collect()];
        let mut last = 0;
        // If as many lengths in a row as there are states have no member, no longer member exists.
        while ends.len() <= last + n + 1 {
            let length = ends.len() - 1;
            if ends[length][0] {
                last = length;
                let mut name = Vec::with_capacity(length);
                if self.spell(0, length, &ends, &mut name, &taken) {
                    return Some(name);
                }
            }
            let before = &ends[length];
            let next = (0..n as u32)
                .map(|s| self.transitions(s).iter().any(|t| before[t.2 as usize]))
                .collect::<Vec<bool>>();
            if !next.contains(&true) {
                return None;
            }
            ends.push(next);
        }
        None
    }

    /// Completes `name` from `state` by `left` bytes to a member that is not taken.
    fn spell(
        &self,
        state: u32,
        left: usize,
        ends: &[Vec<bool>],
        name: &mut Vec<u8>,
        taken: &impl Fn(&[u8]) -> bool,
    ) -> bool {
        // Each entry has the bytes to try at one state on the way.
        type Tries = std::vec::IntoIter<(u8, u32)>;
        let tries = |state: u32, left: usize| -> Tries {
            let mut out: Vec<(u8, u32)> = Vec::new();
            if left > 0 {
                for (lo, hi, to) in self.transitions(state) {
                    if ends[left - 1][*to as usize] {
                        out.extend((*lo..=*hi).map(|b| (b, *to)));
                    }
                }
                out.sort_by_key(|(b, _)| oddness(*b));
            }
            out.into_iter()
        };
        let mut stack = vec![tries(state, left)];
        if left == 0 {
            return !taken(name);
        }
        while let Some(top) = stack.last_mut() {
            let Some((byte, to)) = top.next() else {
                stack.pop();
                name.pop();
                continue;
            };
            name.push(byte);
            if name.len() == left {
                if !taken(name) {
                    return true;
                }
                name.pop();
            } else {
                let more = left - name.len();
                stack.push(tries(to, more));
            }
        }
        false
    }

    /// The classes that tell apart what either tells apart, and for each the class on both sides.
    pub(super) fn product(&self, other: &Self) -> (Self, Vec<(u32, u32)>) {
        let mut ids: FxHashMap<(u32, u32), u32> = FxHashMap::default();
        let mut classes: FxHashMap<(u32, u32), u32> = FxHashMap::default();
        let mut pairs = vec![(0, 0)];
        ids.insert((0, 0), 0);
        let (mut offsets, mut ranges, mut class) = (vec![0u32], Vec::new(), Vec::new());
        let mut parts = Vec::new();
        let mut at = 0;
        while at < pairs.len() {
            let (a, b) = pairs[at];
            at += 1;
            let both = (self.class[a as usize], other.class[b as usize]);
            class.push(if both.0 == NO_CLASS || both.1 == NO_CLASS {
                NO_CLASS
            } else {
                *classes.entry(both).or_insert_with(|| {
                    parts.push(both);
                    parts.len() as u32 - 1
                })
            });
            let first = ranges.len();
            let (ta, tb) = (self.transitions(a), other.transitions(b));
            let (mut i, mut j) = (0, 0);
            while let (Some(x), Some(y)) = (ta.get(i), tb.get(j)) {
                let (lo, hi) = (x.0.max(y.0), x.1.min(y.1));
                if lo <= hi {
                    let fresh = pairs.len() as u32;
                    let id = *ids.entry((x.2, y.2)).or_insert(fresh);
                    if id == fresh {
                        pairs.push((x.2, y.2));
                    }
                    push_range(&mut ranges, first, (lo, hi, id));
                }
                if x.1 <= y.1 {
                    i += 1;
                }
                if y.1 <= x.1 {
                    j += 1;
                }
            }
            offsets.push(ranges.len() as u32);
        }
        let count = parts.len() as u32;
        (Self::new(offsets, ranges, class, count), parts)
    }
}

/// Adds a range to those from `first` on. It is joined with the last one if both are adjacent and lead to the same
/// state.
pub(super) fn push_range(ranges: &mut Vec<(u8, u8, u32)>, first: usize, range: (u8, u8, u32)) {
    match ranges[first..].last_mut() {
        Some(last) if last.2 == range.2 && u16::from(last.1) + 1 == u16::from(range.0) => {
            last.1 = range.1;
        }
        _ => ranges.push(range),
    }
}
