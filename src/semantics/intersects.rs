//! Which patterns intersect: whether some path matches both.
//!
//! Some targets let deny win, or nest their filters. Their back-ends must know which denies intersect an allow. The
//! index finds them by the literal path that a pattern begins with. So thousands of rules in different directories stay
//! cheap.

use crate::policy::{ByteSet, Component, Name, Sequence, Token};
use hashbrown::HashTable;
use rustc_hash::FxHasher;
use std::hash::Hasher;

/// Whether some path matches both.
pub fn intersects(a: &Sequence, b: &Sequence) -> bool {
    runs_intersect(
        &a.components,
        &b.components,
        |component| *component == Component::AnyDepth,
        |a, b| match (a, b) {
            (Component::Name(a), Component::Name(b)) => names_intersect(a, b),
            _ => true,
        },
    )
}

fn names_intersect(a: &Name, b: &Name) -> bool {
    match (a.as_literal(), b.as_literal()) {
        (Some(a), Some(b)) => a == b,
        _ => runs_intersect(
            a,
            b,
            |token| *token == Token::Star,
            |a, b| match (a, b) {
                (Token::Byte(a), Token::Byte(b)) => a == b,
                _ => !set_of(*a).intersection(&set_of(*b)).is_empty(),
            },
        ),
    }
}

fn set_of(t: Token) -> ByteSet {
    match t {
        Token::Byte(b) => {
            let mut s = ByteSet::EMPTY;
            s.insert(b);
            s
        }
        Token::Class(c) => c,
        Token::Any | Token::Star => ByteSet::ALL,
    }
}

/// Whether some text matches both patterns. A run stands for any number of parts. For two other parts, `compatible`
/// says whether one part of a text can match both. The time is the product of the two lengths.
fn runs_intersect<P>(
    mut a: &[P],
    mut b: &[P],
    is_run: impl Fn(&P) -> bool,
    compatible: impl Fn(&P, &P) -> bool,
) -> bool {
    // Most patterns begin with literal names. If they differ, most differ there.
    while let (Some((first, rest_a)), Some((other, rest_b))) = (a.split_first(), b.split_first()) {
        if is_run(first) || is_run(other) {
            break;
        }
        if !compatible(first, other) {
            return false;
        }
        (a, b) = (rest_a, rest_b);
    }
    // `row[j]`: whether some text matches the finished parts of `a` and the first `j` parts of `b`.
    let mut row = vec![true];
    for part in b {
        row.push(is_run(part) && row.last() == Some(&true));
    }
    for part in a {
        let run = is_run(part);
        let above = row.clone();
        let mut left = run && above[0];
        row[0] = left;
        for (j, other) in b.iter().enumerate() {
            // A run takes the other pattern's part, or nothing.
            left = if run || is_run(other) {
                left || above[j + 1]
            } else {
                above[j] && compatible(part, other)
            };
            row[j + 1] = left;
        }
        if !row.contains(&true) {
            return false;
        }
    }
    row.last() == Some(&true)
}

/// Patterns by their literal beginnings, as a tree of names.
#[derive(Debug)]
pub struct SequenceIndex {
    nodes: Vec<Node>,
    /// The nodes without the root, by their parent and their name.
    children: HashTable<u32>,
    sequences: Vec<Sequence>,
}

/// One literal path.
#[derive(Debug, Default)]
struct Node {
    /// The parent and the last name. `None`: the root.
    above: Option<(u32, Name)>,
    below: Vec<u32>,
    /// The patterns that begin with exactly this path.
    numbers: Vec<u32>,
}

fn hash(above: u32, name: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write_u32(above);
    hasher.write(name);
    hasher.finish()
}

impl Default for SequenceIndex {
    fn default() -> Self {
        Self {
            nodes: vec![Node::default()],
            children: HashTable::new(),
            sequences: Vec::new(),
        }
    }
}

impl SequenceIndex {
    /// Adds a pattern, and returns its number. Numbers start at 0.
    pub fn add(&mut self, sequence: &Sequence) -> usize {
        let number = self.sequences.len();
        let mut at = 0;
        for component in &sequence.components {
            let (Some(bytes), Component::Name(name)) = (component.literal(), component) else {
                break;
            };
            at = match self.child(at, bytes) {
                Some(known) => known,
                None => self.new_child(at, name),
            };
        }
        self.nodes[at as usize].numbers.push(number as u32);
        self.sequences.push(sequence.clone());
        number
    }

    fn child(&self, above: u32, name: &[u8]) -> Option<u32> {
        let is = |id: &u32| {
            let own = self.nodes[*id as usize].above.as_ref();
            own.is_some_and(|(a, n)| *a == above && n.as_literal() == Some(name))
        };
        self.children.find(hash(above, name), is).copied()
    }

    fn new_child(&mut self, above: u32, name: &Name) -> u32 {
        let id = self.nodes.len() as u32;
        self.nodes[above as usize].below.push(id);
        self.nodes.push(Node {
            above: Some((above, name.clone())),
            ..Node::default()
        });
        let nodes = &self.nodes;
        let rehash = |id: &u32| match &nodes[*id as usize].above {
            Some((above, name)) => hash(*above, name.as_literal().unwrap_or_default()),
            None => 0,
        };
        self.children.insert_unique(rehash(&id), id, rehash);
        id
    }

    /// By number.
    #[must_use]
    pub fn get(&self, number: usize) -> &Sequence {
        &self.sequences[number]
    }

    /// The numbers of the patterns that intersect the sequence, ascending.
    #[must_use]
    pub fn numbers(&self, sequence: &Sequence) -> Vec<usize> {
        let mut found: Vec<usize> = Vec::new();
        let mut take = |node: u32| {
            let numbers = self.nodes[node as usize].numbers.iter();
            let numbers = numbers.map(|n| *n as usize);
            found.extend(numbers.filter(|n| intersects(&self.sequences[*n], sequence)));
        };
        // The patterns above it.
        let mut at = Some(0);
        for name in sequence.literal_names() {
            let Some(node) = at else { break };
            take(node);
            at = self.child(node, name);
        }
        // The patterns beneath it, if its names go on.
        let literal = sequence.components.iter().all(|c| c.literal().is_some());
        let mut work: Vec<u32> = at.into_iter().collect();
        while let Some(node) = work.pop() {
            take(node);
            if !literal {
                work.extend_from_slice(&self.nodes[node as usize].below);
            }
        }
        found.sort_unstable();
        found
    }

    /// The patterns that intersect the sequence, in the order in which they were added.
    #[must_use]
    pub fn intersecting(&self, sequence: &Sequence) -> Vec<&Sequence> {
        self.numbers(sequence)
            .into_iter()
            .map(|n| &self.sequences[n])
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::PathPattern;
    use crate::semantics::PathSet;

    fn seq(p: &str) -> Sequence {
        PathPattern::parse(p).unwrap().sequences[0].clone()
    }

    #[test]
    fn intersecting_is_exact() {
        let patterns = [
            "/",
            "/**",
            "/a",
            "/a/**",
            "/*",
            "/a/*/b",
            "/**/b",
            "/a*",
            "/*a",
            "/[!a]*",
            "/a/**/b/**",
            "/?",
            "/b/**/a",
        ];
        for a in patterns {
            for b in patterns {
                let (sa, sb) = (
                    PathSet::of([&seq(a)]).unwrap(),
                    PathSet::of([&seq(b)]).unwrap(),
                );
                assert_eq!(
                    intersects(&seq(a), &seq(b)),
                    sa.common_witness(&sb).unwrap().is_some(),
                    "{a} {b}"
                );
            }
        }
    }
}
