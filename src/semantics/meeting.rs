//! Which patterns meet: whether some path matches both.
//!
//! Targets in which deny wins, or whose filters nest, have to know which denies an allow runs into. The
//! index finds them by the literal path that a pattern begins with, so that thousands of rules in
//! different places cost what they are worth.

use crate::policy::{ByteSet, Component, Name, Sequence, Token};
use std::collections::BTreeMap;

/// Whether some path matches both.
pub fn meet(a: &Sequence, b: &Sequence) -> bool {
    components_meet(&a.components, &b.components)
}

fn components_meet(a: &[Component], b: &[Component]) -> bool {
    match (a.split_first(), b.split_first()) {
        (None, None) => true,
        (Some((Component::AnyDepth, rest)), _) => {
            components_meet(rest, b)
                || b.split_first().is_some_and(|(first, below)| match first {
                    Component::AnyDepth => components_meet(a, below),
                    Component::Name(_) => components_meet(a, below),
                })
        }
        (_, Some((Component::AnyDepth, _))) => components_meet(b, a),
        (Some((Component::Name(x), a)), Some((Component::Name(y), b))) => {
            names_meet(x, y) && components_meet(a, b)
        }
        _ => false,
    }
}

fn names_meet(a: &Name, b: &Name) -> bool {
    match (a.as_literal(), b.as_literal()) {
        (Some(a), Some(b)) => a == b,
        _ => tokens_meet(a, b),
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

fn tokens_meet(a: &[Token], b: &[Token]) -> bool {
    match (a.split_first(), b.split_first()) {
        (None, None) => true,
        (Some((Token::Star, rest)), _) => {
            tokens_meet(rest, b)
                || b.split_first()
                    .is_some_and(|(_, below)| tokens_meet(a, below))
        }
        (_, Some((Token::Star, _))) => tokens_meet(b, a),
        (Some((Token::Byte(x), a)), Some((Token::Byte(y), b))) => x == y && tokens_meet(a, b),
        (Some((x, a)), Some((y, b))) => {
            !set_of(*x).intersection(&set_of(*y)).is_empty() && tokens_meet(a, b)
        }
        _ => false,
    }
}

/// Patterns by the literal path that they begin with.
#[derive(Debug, Default)]
pub struct SequenceIndex {
    by_prefix: BTreeMap<Vec<u8>, Vec<usize>>,
    sequences: Vec<Sequence>,
}

fn prefix_key(sequence: &Sequence) -> Vec<u8> {
    let mut path = sequence.literal_prefix();
    if path != b"/" {
        path.push(b'/');
    }
    path
}

impl SequenceIndex {
    /// Adds one, and returns its number: they are numbered from 0.
    pub fn add(&mut self, sequence: &Sequence) -> usize {
        let number = self.sequences.len();
        self.by_prefix
            .entry(prefix_key(sequence))
            .or_default()
            .push(number);
        self.sequences.push(sequence.clone());
        number
    }

    /// By number.
    #[must_use]
    pub fn get(&self, number: usize) -> &Sequence {
        &self.sequences[number]
    }

    /// The numbers of those that meet the sequence, ascending.
    #[must_use]
    pub fn numbers(&self, sequence: &Sequence) -> Vec<usize> {
        let key = prefix_key(sequence);
        let mut found: Vec<usize> = Vec::new();
        for (end, _) in key.iter().enumerate().filter(|(_, b)| **b == b'/') {
            found.extend(self.by_prefix.get(&key[..=end]).into_iter().flatten());
        }
        if sequence.as_literal().is_none() {
            let beneath = self
                .by_prefix
                .range(key.clone()..)
                .take_while(|(k, _)| k.starts_with(&key));
            found.extend(beneath.flat_map(|(_, list)| list));
        }
        found.sort_unstable();
        found.dedup();
        found.retain(|n| meet(&self.sequences[*n], sequence));
        found
    }

    /// Those that meet the sequence, in the order that they were added.
    #[must_use]
    pub fn meeting(&self, sequence: &Sequence) -> Vec<&Sequence> {
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
    fn meeting_is_exact() {
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
                    meet(&seq(a), &seq(b)),
                    sa.common_witness(&sb).unwrap().is_some(),
                    "{a} {b}"
                );
            }
        }
    }
}
