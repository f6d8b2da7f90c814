//! Directories that are moved with everything beneath them.

use crate::policy::{Component, Objects, Policy, Sequence, Token};

/// What the filter of these directories is called.
pub const PART: &str = "-above-what-is-denied";

/// The directories above denied patterns, as patterns.
pub fn ancestors(policy: &Policy) -> Vec<Sequence> {
    let mut out = Vec::new();
    let mut seen = rustc_hash::FxHashSet::default();
    for rule in &policy.rules {
        let Objects::Paths { paths, except } = &rule.objects else {
            continue;
        };
        // A rule below, or the default, may deny an exception of an allow rule.
        let denied = if rule.action.permits() { except } else { paths };
        for s in denied.iter().flat_map(|p| &p.sequences) {
            let mut above = s.components.as_slice();
            if above.last() == Some(&Component::AnyDepth) {
                above = &above[..above.len() - 1];
            }
            while let Some((_, rest)) = above.split_last() {
                above = rest;
                // Above `**`, the pattern names no directory.
                let wild = |t: &Token| matches!(t, Token::Star);
                match above.last() {
                    Some(Component::Name(tokens)) if !tokens.iter().all(wild) => {
                        let s = Sequence {
                            components: above.to_vec(),
                        };
                        if !seen.insert(s.clone()) {
                            break;
                        }
                        out.push(s);
                    }
                    _ => {}
                }
            }
        }
    }
    out
}
