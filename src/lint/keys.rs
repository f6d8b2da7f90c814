//! Finds the keys of a home directory that a policy allows reading.

use super::dangers::set_of;
use crate::policy::{Objects, Operation, Sequence};
use crate::semantics::{Meaning, PathSet, TooLarge};

/// A path of keys that may be read, in part or as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The pattern in polc's own set of credentials, as an absolute path.
    pub pattern: String,
    /// One path of it that may be read.
    pub example: Vec<u8>,
    /// The file or directory at the beginning of the pattern, before its first wildcard.
    pub literal: Vec<u8>,
}

/// The paths that polc's own set of credentials denies in this home directory and that the policy allows reading.
///
/// # Errors
/// The policy's automata are too large. Then nothing is known.
pub fn keys(meaning: &Meaning<'_>, home: &[u8]) -> Result<Vec<Key>, TooLarge> {
    let Some(set) = set_of(meaning.policy(), home, "credentials") else {
        return Ok(Vec::new());
    };
    let readable = meaning.decisions(Operation::Read)?.allowed();
    let within = |s: &&Sequence| {
        let rest = s.literal_prefix();
        rest.strip_prefix(home)
            .is_some_and(|r| r.is_empty() || home == b"/" || r.starts_with(b"/"))
    };
    let mut out: Vec<Key> = Vec::new();
    let denies =
        |r: &&crate::policy::Rule| !r.action.permits() && r.operations.contains(Operation::Read);
    for rule in set.rules.iter().filter(denies) {
        let Objects::Paths { paths, except } = &rule.objects else {
            continue;
        };
        let excepted = PathSet::of(except.iter().flat_map(|p| &p.sequences))?;
        for pattern in paths {
            // A pattern with braces stands for several patterns. Each is checked separately.
            for sequence in pattern.sequences.iter().filter(within) {
                let wanted = PathSet::of([sequence])?.difference(&excepted)?;
                let Some(example) = wanted.common_witness(readable)? else {
                    continue;
                };
                out.push(Key {
                    pattern: sequence.to_string(),
                    example,
                    literal: sequence.literal_prefix(),
                });
            }
        }
    }
    out.sort_by(|a, b| a.pattern.cmp(&b.pattern));
    out.dedup_by(|a, b| a.pattern == b.pattern);
    Ok(out)
}
