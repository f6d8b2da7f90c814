//! Removes paths from a tree: what is left, as patterns.

use crate::policy::{ByteSet, Component, Sequence, Token};
use std::collections::BTreeMap;

/// The names to remove beneath the root of a tree, each as one object or as a whole tree.
#[derive(Default)]
struct Holes {
    /// The object itself is removed.
    object: bool,
    /// The object and everything beneath it are removed.
    tree: bool,
    children: BTreeMap<Vec<u8>, Holes>,
}

/// `tree` (a literal path and everything beneath) without the literal objects and literal trees of `holes` that lie in
/// it. `None`: one of the holes is not literal, or `tree` is not.
pub fn without(tree: &Sequence, holes: &[&Sequence]) -> Option<Vec<Sequence>> {
    let root = tree.as_literal_tree()?;
    let mut out_of = Holes::default();
    for hole in holes {
        let (path, whole) = match (hole.as_literal(), hole.as_literal_tree()) {
            (Some(p), _) => (p, false),
            (_, Some(p)) => (p, true),
            _ => return None,
        };
        let names: Vec<&[u8]> = path
            .split(|b| *b == b'/')
            .filter(|n| !n.is_empty())
            .collect();
        let above: Vec<&[u8]> = root
            .split(|b| *b == b'/')
            .filter(|n| !n.is_empty())
            .collect();
        if names.len() <= above.len() && above.starts_with(&names) {
            if whole {
                return Some(Vec::new());
            }
            if names.len() < above.len() {
                continue;
            }
        } else if !names.starts_with(&above) {
            continue;
        }
        let mut at = &mut out_of;
        for name in &names[above.len()..] {
            at = at.children.entry(name.to_vec()).or_default();
        }
        if whole {
            at.tree = true;
        } else {
            at.object = true;
        }
    }
    let base = Sequence::literal(&root);
    let mut out = Vec::new();
    // (Path, what is removed from it.)
    let mut work = vec![(base, &out_of)];
    while let Some((path, holes)) = work.pop() {
        if holes.tree {
            continue;
        }
        if !holes.object && holes.children.is_empty() {
            out.push(path.tree());
            continue;
        }
        if !holes.object {
            out.push(path.clone());
        }
        let names: Vec<&[u8]> = holes.children.keys().map(Vec::as_slice).collect();
        for tokens in other_names(&names) {
            let mut s = path.clone();
            s.components.push(Component::Name(tokens.into()));
            out.push(s.tree());
        }
        for (name, below) in &holes.children {
            let mut s = path.clone();
            s.components.push(Component::Name(
                name.iter().map(|b| Token::Byte(*b)).collect(),
            ));
            work.push((s, below));
        }
    }
    Some(out)
}

/// Patterns that together match every name but these.
fn other_names(names: &[&[u8]]) -> Vec<Vec<Token>> {
    if names.is_empty() {
        return vec![vec![Token::Star]];
    }
    let mut out = Vec::new();
    // For every prefix of a name: the bytes with which some name goes on.
    let mut prefixes: BTreeMap<&[u8], ByteSet> = BTreeMap::new();
    for name in names {
        for end in 0..name.len() {
            prefixes.entry(&name[..end]).or_default().insert(name[end]);
        }
        prefixes.entry(name).or_default();
    }
    for (prefix, next) in &prefixes {
        let literal: Vec<Token> = prefix.iter().map(|b| Token::Byte(*b)).collect();
        if !prefix.is_empty() && !names.contains(prefix) {
            out.push(literal.clone());
        }
        let mut other = next.complement();
        other.remove(b'/');
        other.remove(0);
        let mut leaves = literal;
        leaves.push(if next.is_empty() {
            Token::Any
        } else {
            Token::Class(other)
        });
        leaves.push(Token::Star);
        out.push(leaves);
    }
    out
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
    fn what_is_left_is_the_difference() {
        for (tree, holes) in [
            (
                "/w/**",
                &["/w/.git/hooks/**", "/w/.git/config", "/w/.gitx"][..],
            ),
            ("/**", &["/a/**", "/ab", "/x/y/z/**", "/"]),
            ("/w/**", &["/w"]),
            ("/w/**", &["/**"]),
            ("/w/**", &["/v/**", "/w/a", "/w/a/**", "/w/a/b"]),
            ("/w/**", &[r"/w/\xff\]", r"/w/^-"]),
        ] {
            let holes: Vec<Sequence> = holes.iter().map(|h| seq(h)).collect();
            let left = without(&seq(tree), &holes.iter().collect::<Vec<_>>()).unwrap();
            let difference = PathSet::of([&seq(tree)])
                .unwrap()
                .difference(&PathSet::of(&holes).unwrap())
                .unwrap();
            assert_eq!(
                PathSet::of(&left)
                    .unwrap()
                    .difference_witness(&difference)
                    .unwrap(),
                None,
                "{tree}"
            );
        }
        assert!(
            without(&seq("/w/*/**"), &[]).is_none()
                && without(&seq("/w/**"), &[&seq("/w/*")]).is_none()
        );
    }
}
