//! Reads the automaton byte by byte, for walks together with the automata of other tools.

use super::names::NO_CLASS;
use super::{Dfa, StateId};

/// How far a string has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ByteCursor {
    /// The state after the names that have ended.
    state: StateId,
    /// The place within the next name. `None`: nothing has been read.
    within: Option<Within>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Within {
    /// The state of the automaton of name classes.
    classes: u32,
    /// The part of the state's own names that begin with the bytes read.
    own: (u32, u32),
    /// The part of the row's names that begin with the bytes read.
    named: (u32, u32),
    /// How many bytes of the name have been read, if some listed name begins with them.
    depth: u32,
}

impl Dfa {
    /// The cursor before the first byte.
    #[must_use]
    pub fn cursor(&self) -> ByteCursor {
        ByteCursor {
            state: self.start(),
            within: None,
        }
    }

    fn enter_name(&self, state: StateId) -> ByteCursor {
        let within = Within {
            classes: 0,
            own: (0, self.shape.own(state).len() as u32),
            named: (0, self.shape.row(state).named.len() as u32),
            depth: 0,
        };
        ByteCursor {
            state,
            within: Some(within),
        }
    }

    /// The part of `part` whose next byte is `byte`. An empty part is always (0, 0), so that cursors with the same
    /// future are equal.
    fn narrow(
        &self,
        list: &[(u32, StateId)],
        part: (u32, u32),
        depth: u32,
        byte: u8,
    ) -> (u32, u32) {
        let names = &list[part.0 as usize..part.1 as usize];
        let at = |n: &(u32, StateId)| self.shape.names.name(n.0).get(depth as usize).copied();
        let from = names.partition_point(|n| at(n) < Some(byte));
        let to = names.partition_point(|n| at(n) <= Some(byte));
        if from == to {
            return (0, 0);
        }
        (part.0 + from as u32, part.0 + to as u32)
    }

    /// The state, if the string may end here.
    #[must_use]
    pub fn ended(&self, cursor: ByteCursor) -> Option<StateId> {
        let Some(within) = cursor.within else {
            return Some(cursor.state);
        };
        let row = self.shape.row(cursor.state);
        let own = self.shape.own(cursor.state);
        for (list, part) in [(own, within.own), (row.named.as_slice(), within.named)] {
            if part.0 < part.1 {
                // Among names with the same beginning, the shortest comes first.
                let (name, to) = list[part.0 as usize];
                if self.shape.names.name(name).len() == within.depth as usize {
                    return Some(to);
                }
            }
        }
        let class = row.classes.class_at(within.classes);
        (class != NO_CLASS).then(|| row.to[class as usize])
    }

    /// Where each possible next byte leads: disjoint ranges, both ends included.
    #[must_use]
    pub fn transitions(&self, cursor: ByteCursor) -> Vec<(u8, u8, ByteCursor)> {
        let mut out = Vec::new();
        if let Some(state) = self.ended(cursor) {
            out.push((b'/', b'/', self.enter_name(state)));
        }
        let Some(within) = cursor.within else {
            return out;
        };
        let (own, row) = (self.shape.own(cursor.state), self.shape.row(cursor.state));
        // The next bytes of the listed names.
        let mut listed: Vec<u8> = Vec::new();
        for (list, part) in [(own, within.own), (row.named.as_slice(), within.named)] {
            listed.extend(
                list[part.0 as usize..part.1 as usize]
                    .iter()
                    .filter_map(|(name, _)| {
                        let name = self.shape.names.name(*name);
                        name.get(within.depth as usize).copied()
                    }),
            );
        }
        listed.sort_unstable();
        listed.dedup();
        let step = |classes: u32, byte: u8| {
            let (own, named) = (
                self.narrow(own, within.own, within.depth, byte),
                self.narrow(&row.named, within.named, within.depth, byte),
            );
            let listed = own.0 < own.1 || named.0 < named.1;
            let within = Within {
                classes,
                own,
                named,
                depth: if listed { within.depth + 1 } else { 0 },
            };
            ByteCursor {
                state: cursor.state,
                within: Some(within),
            }
        };
        for (lo, hi, classes) in row.classes.transitions(within.classes) {
            let mut from = u16::from(*lo);
            for byte in listed.iter().filter(|b| (lo..=hi).contains(b)) {
                if from < u16::from(*byte) {
                    out.push((from as u8, byte - 1, step(*classes, from as u8)));
                }
                out.push((*byte, *byte, step(*classes, *byte)));
                from = u16::from(*byte) + 1;
            }
            if from <= u16::from(*hi) {
                out.push((from as u8, *hi, step(*classes, from as u8)));
            }
        }
        out
    }
}
