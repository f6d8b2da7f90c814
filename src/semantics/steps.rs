//! Matches patterns of bytes against one text.

use super::automaton::Step;
use rustc_hash::FxHashMap;

/// Patterns by the names that they begin with. It finds those that can match a text, without trying all.
#[derive(Debug, Default)]
pub struct StepsIndex {
    by_beginning: FxHashMap<Vec<u8>, Vec<usize>>,
}

impl StepsIndex {
    /// Adds a pattern with this number. Several patterns may have the same number.
    pub fn add(&mut self, steps: &[Step], number: usize) {
        let mut fixed: Vec<u8> = Vec::new();
        fixed.extend(steps.iter().map_while(|step| match step {
            Step::Byte(b) => Some(*b),
            _ => None,
        }));
        // Whether the fixed bytes end with a whole name. Otherwise their last name may continue, so it is cut off.
        let whole = matches!(
            &steps[fixed.len()..],
            [] | [Step::AnyDepth] | [Step::AnyDepth, Step::Byte(b'/'), ..]
        );
        if !whole {
            let names = fixed.iter().rposition(|b| *b == b'/');
            fixed.truncate(names.map_or(0, |at| at + 1));
        }
        let list = self.by_beginning.entry(fixed).or_default();
        if list.last() != Some(&number) {
            list.push(number);
        }
    }

    /// The numbers of the patterns that can match, ascending. The list contains every pattern that does match.
    #[must_use]
    pub fn candidates(&self, bytes: &[u8]) -> Vec<usize> {
        let mut found: Vec<usize> = Vec::new();
        let mut of = |beginning: &[u8]| {
            found.extend(self.by_beginning.get(beginning).into_iter().flatten());
        };
        of(b"");
        for (at, _) in bytes.iter().enumerate().filter(|(_, b)| **b == b'/') {
            of(&bytes[..at]);
            of(&bytes[..=at]);
        }
        of(bytes);
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// Whether a pattern matches these bytes, without an automaton. The root is given as the empty string.
#[must_use]
pub fn steps_match(steps: &[Step], bytes: &[u8]) -> bool {
    // The fixed bytes at the beginning decide most questions.
    let mut fixed = 0;
    while let Some(Step::Byte(b)) = steps.get(fixed) {
        if bytes.get(fixed) != Some(b) {
            return false;
        }
        fixed += 1;
    }
    let (steps, bytes) = (&steps[fixed..], &bytes[fixed..]);
    if steps.is_empty() {
        return bytes.is_empty();
    }
    // Whether the text contains the longest run of fixed bytes decides most others.
    let runs = steps.split(|s| !matches!(s, Step::Byte(_)));
    let run = runs.max_by_key(|run| run.len()).unwrap_or_default();
    let stands = |part: &[u8]| run.iter().zip(part).all(|(s, b)| *s == Step::Byte(*b));
    if !run.is_empty() && !bytes.windows(run.len()).any(stands) {
        return false;
    }
    // There are twice as many states as steps, because `AnyDepth` has a place before a `/` and one after it.
    let mut now = vec![false; 2 * steps.len() + 2];
    now[0] = true;
    let close = |set: &mut Vec<bool>| {
        for i in 0..steps.len() {
            let passes = matches!(steps[i], Step::Star(_) | Step::AnyDepth);
            if set[2 * i] && passes {
                set[2 * i + 2] = true;
            }
        }
    };
    close(&mut now);
    let mut next = now.clone();
    for b in bytes {
        next.fill(false);
        for (i, step) in steps.iter().enumerate() {
            if now[2 * i] {
                match step {
                    Step::Byte(want) => next[2 * i + 2] |= want == b,
                    Step::Set(set) => next[2 * i + 2] |= set.contains(*b),
                    Step::Star(set) => next[2 * i] |= set.contains(*b),
                    Step::AnyDepth => next[2 * i + 1] |= *b == b'/',
                }
            }
            if now[2 * i + 1] && *b != b'/' {
                // Within a name, which may end after any byte.
                next[2 * i + 1] = true;
                next[2 * i] = true;
            }
        }
        close(&mut next);
        std::mem::swap(&mut now, &mut next);
    }
    now[2 * steps.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::ByteSet;

    #[test]
    fn an_index_leaves_out_no_pattern_that_matches() {
        let mut name = ByteSet::ALL;
        name.remove(b'/');
        let alphabet = [
            Step::Byte(b'/'),
            Step::Byte(b'a'),
            Step::Set(ByteSet::ALL),
            Step::Star(ByteSet::ALL),
            Step::Star(name),
            Step::AnyDepth,
        ];
        let mut patterns: Vec<Vec<Step>> = vec![Vec::new()];
        let mut texts: Vec<Vec<u8>> = vec![Vec::new()];
        // Patterns and texts of up to four elements. Each round repeats the shorter ones.
        for _ in 0..4 {
            let longer = |p: &Vec<Step>| alphabet.map(|s| [p.as_slice(), &[s]].concat());
            patterns.extend(patterns.clone().iter().flat_map(longer));
            let longer = |t: &Vec<u8>| b"/ab".map(|b| [t.as_slice(), &[b]].concat());
            texts.extend(texts.clone().iter().flat_map(longer));
            let mut seen = rustc_hash::FxHashSet::default();
            patterns.retain(|p| seen.insert(p.clone()));
        }
        texts.sort();
        texts.dedup();
        let mut index = StepsIndex::default();
        for (number, steps) in patterns.iter().enumerate() {
            index.add(steps, number);
        }
        let mut left_out = 0;
        for text in &texts {
            let candidates = index.candidates(text);
            assert!(candidates.is_sorted());
            left_out += patterns.len() - candidates.len();
            for (number, steps) in patterns.iter().enumerate() {
                if steps_match(steps, text) {
                    let found = candidates.binary_search(&number).is_ok();
                    assert!(found, "{steps:?} {}", text.escape_ascii());
                }
            }
        }
        assert!(left_out > 0);
    }
}
