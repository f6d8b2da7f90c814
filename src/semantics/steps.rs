//! Patterns of bytes against one text.

use super::automaton::Step;

/// Whether a pattern matches these bytes: one by one, without an automaton. For a path of the algebra the root
/// is the empty string.
#[must_use]
pub fn steps_match(steps: &[Step], bytes: &[u8]) -> bool {
    // What has to be there byte by byte decides most questions.
    let mut fixed = 0;
    while let Some(Step::Byte(b)) = steps.get(fixed) {
        if bytes.get(fixed) != Some(b) {
            return false;
        }
        fixed += 1;
    }
    let (steps, bytes) = (&steps[fixed..], &bytes[fixed..]);
    // Twice as many states as steps: within `AnyDepth` there is a place before a `/` and one behind it.
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
    for b in bytes {
        let mut next = vec![false; now.len()];
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
                // In a name, which may end behind any byte.
                next[2 * i + 1] = true;
                next[2 * i] = true;
            }
        }
        close(&mut next);
        now = next;
    }
    now[2 * steps.len()]
}
