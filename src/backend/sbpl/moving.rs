//! Directories that are moved with what is beneath them.

use super::lower::Clause;
use crate::policy::{Component, Objects, Policy, Sequence, Token};

/// The directories above denied patterns, as patterns.
pub fn ancestors(policy: &Policy) -> Vec<Sequence> {
    let mut out = Vec::new();
    let mut seen = rustc_hash::FxHashSet::default();
    for rule in &policy.rules {
        let Objects::Paths { paths, except } = &rule.objects else {
            continue;
        };
        // An exception of what is allowed may be denied by a rule below it, or by the default.
        let denied = if rule.action.permits() { except } else { paths };
        for s in denied.iter().flat_map(|p| &p.sequences) {
            // What the kernel calls /private/etc can be moved with /private.
            let private = Sequence::literal(b"/private");
            if super::lower::has_twin(s) && seen.insert(private.clone()) {
                out.push(private);
            }
            let mut above = s.components.as_slice();
            if above.last() == Some(&Component::AnyDepth) {
                above = &above[..above.len() - 1];
            }
            while let Some((_, rest)) = above.split_last() {
                above = rest;
                // Above `**` there is nothing that the pattern holds on to.
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

/// The clauses with only the trees that they allow, and with only what is none. Where everything is allowed by
/// default there is nothing to tell apart.
pub fn by_form(clauses: &[Clause], default_allow: bool) -> (Vec<Clause>, Vec<Clause>) {
    if default_allow {
        return (clauses.to_vec(), Vec::new());
    }
    let of = |tree: bool| {
        let mut out = clauses.to_vec();
        for clause in out.iter_mut().filter(|c| c.allows) {
            let is_tree = |s: &Sequence| s.components.last() == Some(&Component::AnyDepth);
            clause.include.retain(|s| is_tree(s) == tree);
        }
        out.retain(|c| !c.include.is_empty());
        out
    };
    (of(true), of(false))
}
