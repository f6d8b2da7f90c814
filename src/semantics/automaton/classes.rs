//! Builds the classes of names that globs need. It reads the bytes of one name and turns sets of positions into states.
//!
//! A mask of 256 bits says which bytes a state tells apart. All bytes of an interval lead to the same state, so each
//! interval is looked up once.

use super::build::States;
use super::names::{NO_CLASS, NameClasses, push_range};
use super::nfa::{Nfa, Position};
use super::{DOT, Domain, Limit, SLASH, SlotKind, TooLarge};
use crate::policy::ByteSet;
use rustc_hash::FxHashMap;

/// A bit for each byte at which an interval begins.
type Cuts = [u64; 4];

fn cut(cuts: &mut Cuts, byte: u8) {
    cuts[usize::from(byte >> 6)] |= 1 << (byte & 63);
}

/// The intervals between the cuts, ascending, both ends included.
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

/// A key for where bytes lead from one state: which wide positions take the byte, and the domain after it. It is only
/// for bytes that no single-byte position takes.
type Signature = (u128, u8);

impl Nfa {
    /// The classes of names, by where they lead from positions before the first byte of a name. With each class come
    /// the positions after it.
    pub(super) fn classes(
        &self,
        starts: &[u32],
        all: &[bool],
        limit: Limit,
    ) -> Result<(NameClasses, Vec<Vec<u32>>), TooLarge> {
        let mut states = States::new(limit);
        states.intern(self.domain.start(), starts)?;
        let masks: Vec<Cuts> = self.sets.iter().map(ByteSet::boundaries).collect();
        let (mut offsets, mut ranges, mut class) = (vec![0u32], Vec::new(), Vec::new());
        let mut known_classes: FxHashMap<Vec<u32>, u32> = FxHashMap::default();
        let mut to: Vec<Vec<u32>> = Vec::new();
        let mut current: Vec<u32> = Vec::new();
        let mut narrow: Vec<(u8, u32)> = Vec::new();
        let mut wide: Vec<u32> = Vec::new();
        let mut sets: Vec<u32> = Vec::new();
        let mut target: Vec<u32> = Vec::new();
        let mut known: Vec<(Signature, u32)> = Vec::new();
        let mut next = 0;
        while next < states.len() {
            current.clear();
            current.extend_from_slice(states.of(next as u32));
            next += 1;
            let (domain, set) = (current[0] as u8, &current[1..]);
            narrow.clear();
            wide.clear();
            sets.clear();
            known.clear();
            let mut cuts: Cuts = [1, 0, 0, 0];
            cut(&mut cuts, 1);
            if self.domain == Domain::Path {
                cut(&mut cuts, b'/');
                cut(&mut cuts, b'/' + 1);
                if matches!(domain, SLASH | DOT) {
                    cut(&mut cuts, b'.');
                    cut(&mut cuts, b'.' + 1);
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
                    Position::Name(_) | Position::Accept => {}
                }
            }
            narrow.sort_unstable();
            class.push(if self.domain.accepts(domain) {
                target.clear();
                match self.domain {
                    Domain::Path => target.extend(set.iter().filter(|p| self.at_end(**p))),
                    Domain::Words => {
                        let ends = narrow.iter().take_while(|n| n.0 == 0);
                        ends.for_each(|n| self.follow(n.1, &mut target));
                        self.step_wide(&wide, 0, &mut target);
                    }
                }
                target.sort_unstable();
                target.dedup();
                match known_classes.get(&target) {
                    Some(class) => *class,
                    None => {
                        to.push(target.clone());
                        known_classes.insert(target.clone(), to.len() as u32 - 1);
                        to.len() as u32 - 1
                    }
                }
            } else {
                NO_CLASS
            });
            let first_range = ranges.len();
            let mut narrow_at = 0;
            for (lo, hi) in intervals(cuts) {
                let Some(domain) = self.domain.step(domain, lo) else {
                    continue;
                };
                while narrow.get(narrow_at).is_some_and(|n| n.0 < lo) {
                    narrow_at += 1;
                }
                // For a large set of wide positions, a signature costs more than it saves.
                let alone = sets.len() < 120 && narrow.get(narrow_at).is_none_or(|n| n.0 != lo);
                let signature = alone.then(|| {
                    let taken = sets.iter().fold(1u128, |bits, s| {
                        bits << 1 | u128::from(self.sets[*s as usize].contains(lo))
                    });
                    (taken, domain)
                });
                let found = signature.and_then(|s| known.iter().find(|k| k.0 == s));
                let to = match found {
                    Some((_, to)) => *to,
                    None => {
                        target.clear();
                        for (_, p) in narrow[narrow_at..].iter().take_while(|n| n.0 == lo) {
                            self.follow(*p, &mut target);
                        }
                        self.step_wide(&wide, lo, &mut target);
                        target.sort_unstable();
                        target.dedup();
                        self.absorb_within(&mut target, all);
                        let to = states.intern(domain, &target)?;
                        known.extend(signature.map(|s| (s, to)));
                        to
                    }
                };
                push_range(&mut ranges, first_range, (lo, hi, to));
            }
            offsets.push(ranges.len() as u32);
        }
        let count = to.len() as u32;
        Ok((NameClasses::new(offsets, ranges, class, count), to))
    }

    /// Where positions that take more than one byte lead with this byte.
    fn step_wide(&self, wide: &[u32], byte: u8, out: &mut Vec<u32>) {
        for &p in wide {
            match self.positions[p as usize] {
                Position::Set(s) if self.sets[s as usize].contains(byte) => self.follow(p, out),
                Position::Star(s) if self.sets[s as usize].contains(byte) => self.closure(p, out),
                // Within a name, a `**` cannot begin.
                Position::DepthBody => self.closure(p, out),
                _ => {}
            }
        }
    }

    /// Drops positions of cases below one that already matches every continuation. The set is only part of a state, so
    /// this uses only what is true whatever the other part is.
    fn absorb_within(&self, set: &mut Vec<u32>, all: &[bool]) {
        let slot_of = |p: u32| self.slots[self.owner[p as usize] as usize];
        let mut covered = 0u16;
        let mut case_covered = None;
        let sure = |p: u32| {
            let slot = slot_of(p);
            all[p as usize]
                && self.positions[p as usize] != Position::DepthOpen
                && slot.kind == SlotKind::Include
                && !self.conditional[slot.case as usize]
        };
        if !set.iter().any(|p| sure(*p)) {
            return;
        }
        set.retain(|p| {
            let case = slot_of(*p).case;
            let mask = self.masks[case as usize];
            if case_covered != Some(case) && mask & !covered == 0 {
                return false;
            }
            if sure(*p) {
                covered |= mask;
                case_covered = Some(case);
            }
            true
        });
    }
}
