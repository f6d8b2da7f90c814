//! The patterns of all cases as positions.
//!
//! Each slot has a tree, in which patterns share their common beginning. Floating patterns (`**/.env`, `**/*.pem`)
//! share a position in it until they differ.

use super::names::NameTable;
use super::{Domain, Slot, SlotKind};
use crate::policy::{ByteSet, Component, Sequence, Token};
use rustc_hash::FxHashMap;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    /// `/` and a whole name, given by its number in [`Nfa::names`].
    Name(u32),
    Byte(u8),
    Set(u32),
    /// Any number of bytes of a set.
    Star(u32),
    /// `**`, before its first `/`. Its only child is a `DepthBody`.
    DepthOpen,
    /// `**`, after its first `/`.
    DepthBody,
    Accept,
}

/// One step of a pattern over the bytes of a path. It is for languages that can say more than a [`Sequence`], such as a
/// run of bytes that continues after a `/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// This byte.
    Byte(u8),
    /// One byte of a set.
    Set(ByteSet),
    /// Any number of bytes of a set, also none.
    Star(ByteSet),
    /// Any number of `/NAME`, also none.
    AnyDepth,
}

impl Step {
    fn byte_of_name(&self) -> Option<u8> {
        match self {
            Self::Byte(b) if *b != b'/' => Some(*b),
            _ => None,
        }
    }
}

/// Whether a path can have such a name.
fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(|b| matches!(b, 0 | b'/'))
}

/// No position.
const NONE: u32 = u32::MAX;

/// The links from a position to its neighbours in the tree.
#[derive(Clone, Copy)]
struct Links {
    /// The first position that may follow it.
    child: u32,
    /// The position before it.
    parent: u32,
    /// The next position that may follow its parent.
    sibling: u32,
}

/// The patterns of all slots as positions.
pub(crate) struct Nfa {
    pub(super) domain: Domain,
    pub(super) positions: Vec<Position>,
    /// The names that patterns spell out.
    pub(super) names: NameTable,
    /// The slot of each position.
    pub(super) owner: Vec<u32>,
    links: Vec<Links>,
    pub(super) starts: Vec<u32>,
    /// The positions of the last pattern that was added. The next pattern shares its beginning with it.
    last: Vec<u32>,
    pub(super) slots: Vec<Slot>,
    pub(super) sets: Vec<ByteSet>,
    set_ids: FxHashMap<ByteSet, u32>,
    /// By case: whether the case has an [`SlotKind::Except`] or a slot that makes its match uncertain.
    pub(super) conditional: Vec<bool>,
    /// The operations that each case decides, as bits.
    pub(super) masks: Vec<u16>,
}

impl Nfa {
    pub(crate) fn new(domain: Domain) -> Self {
        Self {
            domain,
            positions: Vec::new(),
            names: NameTable::new(),
            owner: Vec::new(),
            links: Vec::new(),
            starts: Vec::new(),
            last: Vec::new(),
            slots: Vec::new(),
            sets: Vec::new(),
            set_ids: FxHashMap::default(),
            conditional: Vec::new(),
            masks: Vec::new(),
        }
    }

    /// Adds a slot. The `add_…` functions then add its patterns.
    pub(crate) fn slot(&mut self, case: u32, kind: SlotKind) -> u32 {
        self.slot_for(case, kind, 1)
    }

    /// Adds a slot of a case that decides some of the operations of the automaton, given as bits.
    pub(crate) fn slot_for(&mut self, case: u32, kind: SlotKind, mask: u16) -> u32 {
        self.slots.push(Slot { case, kind });
        let case = case as usize;
        if self.conditional.len() <= case {
            self.conditional.resize(case + 1, false);
            self.masks.resize(case + 1, mask);
        }
        if kind != SlotKind::Include {
            self.conditional[case] = true;
        }
        self.last.clear();
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

    /// The position after the first `depth` positions of the pattern under construction.
    fn push(&mut self, slot: u32, depth: &mut usize, position: Position) {
        let at = *depth;
        *depth += 1;
        if let Some(shared) = self.last.get(at) {
            if self.positions[*shared as usize] == position {
                return;
            }
            self.last.truncate(at);
        }
        let id = self.positions.len() as u32;
        self.positions.push(position);
        self.owner.push(slot);
        let mut links = Links {
            child: NONE,
            parent: NONE,
            sibling: NONE,
        };
        match self.last.last() {
            Some(parent) => {
                let first = &mut self.links[*parent as usize].child;
                links.parent = *parent;
                links.sibling = std::mem::replace(first, id);
            }
            None => self.starts.push(id),
        }
        self.links.push(links);
        self.last.push(id);
    }

    fn tokens(&mut self, slot: u32, depth: &mut usize, tokens: &[Token], any: ByteSet) {
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
            self.push(slot, depth, position);
        }
    }

    fn name(&mut self, slot: u32, depth: &mut usize, name: &[u8]) {
        // Most patterns begin like the previous one.
        if let Some(shared) = self.last.get(*depth)
            && let Position::Name(known) = self.positions[*shared as usize]
            && self.names.name(known) == name
        {
            *depth += 1;
            return;
        }
        let name = self.names.intern(name);
        self.push(slot, depth, Position::Name(name));
    }

    /// Adds a path pattern to `slot`, which must be the last slot.
    pub(crate) fn add_sequence(&mut self, slot: u32, sequence: &Sequence) {
        let mut any = ByteSet::ALL;
        any.remove(b'/');
        any.remove(0);
        let depth = &mut 0;
        for c in &sequence.components {
            match c {
                Component::AnyDepth => {
                    self.push(slot, depth, Position::DepthOpen);
                    self.push(slot, depth, Position::DepthBody);
                }
                Component::Name(name) => match name.as_literal().filter(|n| is_name(n)) {
                    Some(literal) => self.name(slot, depth, literal),
                    None => {
                        self.push(slot, depth, Position::Byte(b'/'));
                        self.tokens(slot, depth, name, any);
                    }
                },
            }
        }
        self.push(slot, depth, Position::Accept);
    }

    /// Adds a pattern to `slot`, which must be the last slot. The root is the empty string.
    pub(crate) fn add_steps(&mut self, slot: u32, steps: &[Step]) {
        let depth = &mut 0;
        let mut name = Vec::new();
        let mut rest = steps;
        while let Some((step, after)) = rest.split_first() {
            if *step == Step::Byte(b'/') {
                name.clear();
                name.extend(after.iter().map_while(Step::byte_of_name));
                let behind = &after[name.len()..];
                let ends = matches!(
                    behind.first(),
                    None | Some(Step::Byte(b'/') | Step::AnyDepth)
                );
                if ends && is_name(&name) {
                    self.name(slot, depth, &name);
                    rest = behind;
                    continue;
                }
            }
            rest = after;
            let position = match step {
                Step::Byte(b) => Position::Byte(*b),
                Step::Set(set) => Position::Set(self.set(*set)),
                Step::Star(set) => Position::Star(self.set(*set)),
                Step::AnyDepth => {
                    self.push(slot, depth, Position::DepthOpen);
                    Position::DepthBody
                }
            };
            self.push(slot, depth, position);
        }
        self.push(slot, depth, Position::Accept);
    }

    /// Adds a pattern over a list of words. It takes one alternative of tokens for each word.
    pub(crate) fn add_words(&mut self, slot: u32, words: &[&[Token]], rest: bool) {
        let mut any = ByteSet::ALL;
        any.remove(0);
        let depth = &mut 0;
        for w in words {
            self.tokens(slot, depth, w, any);
            self.push(slot, depth, Position::Byte(0));
        }
        if rest {
            let all = self.set(ByteSet::ALL);
            self.push(slot, depth, Position::Star(all));
        }
        self.push(slot, depth, Position::Accept);
    }

    /// The positions that may follow a position.
    pub(super) fn children(&self, p: u32) -> impl Iterator<Item = u32> + '_ {
        let some = |p: u32| (p != NONE).then_some(p);
        std::iter::successors(some(self.links[p as usize].child), move |p| {
            some(self.links[*p as usize].sibling)
        })
    }

    /// The position, and all positions that can be reached from it without reading a byte.
    pub(super) fn closure(&self, p: u32, out: &mut Vec<u32>) {
        out.push(p);
        match self.positions[p as usize] {
            Position::Star(_) | Position::DepthBody => self.follow(p, out),
            Position::DepthOpen => {
                for body in self.children(p) {
                    self.follow(body, out);
                }
            }
            _ => {}
        }
    }

    /// Whether the position stays reachable whatever names follow, because the position before it is a `**` or a star.
    pub(super) fn floats(&self, p: u32) -> bool {
        let parent = self.links[p as usize].parent;
        parent != NONE
            && matches!(
                self.positions[parent as usize],
                Position::DepthBody | Position::Star(_)
            )
    }

    /// The positions after a position that has taken its byte.
    pub(super) fn follow(&self, p: u32, out: &mut Vec<u32>) {
        for c in self.children(p) {
            self.closure(c, out);
        }
    }

    /// Whether the set contains every byte that a name of the domain or a separator can have.
    pub(super) fn full(&self, set: u32) -> bool {
        let mut all = ByteSet::ALL;
        if self.domain == Domain::Path {
            all.remove(0);
        }
        self.sets[set as usize].intersection(&all) == all
    }

    fn ends(&self, p: u32) -> bool {
        self.children(p)
            .any(|c| self.positions[c as usize] == Position::Accept)
    }

    /// Whether every continuation matches from here, between two names.
    pub(super) fn accepts_all(&self, p: u32) -> bool {
        match self.positions[p as usize] {
            // This is only true between names. Within a name, after `/a` of `/a/**`, a byte other than `/` may follow.
            Position::DepthOpen => self.children(p).any(|body| self.ends(body)),
            Position::DepthBody => self.ends(p),
            Position::Star(s) => self.full(s) && self.ends(p),
            _ => false,
        }
    }

    /// For each position, the position that represents it between two names. For all patterns of a slot, the rest is
    /// the same after the last `**`, and the rest after the end is the same. Without this, each `/x/**` of one rule
    /// would get its own copy of everything else that can still match beneath.
    pub(super) fn representatives(&self) -> Vec<u32> {
        let mut first: FxHashMap<(u32, u8), u32> = FxHashMap::default();
        (0..self.positions.len() as u32)
            .map(|p| {
                let kind = match self.positions[p as usize] {
                    Position::Accept => 0,
                    Position::DepthBody if self.ends(p) => 1,
                    Position::DepthOpen if self.children(p).any(|body| self.ends(body)) => 1,
                    _ => return p,
                };
                *first.entry((self.owner[p as usize], kind)).or_insert(p)
            })
            .collect()
    }
}
