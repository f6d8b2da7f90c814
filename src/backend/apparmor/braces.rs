//! Many patterns in few lines: what they have in common stands once, before a group in braces.

use super::model::{Form, Glob, is_negated};
use crate::policy::{Component, Sequence, Token};
use rustc_hash::FxHashMap;

/// A line is broken into several where it gets longer.
const WIDTH: usize = 120;

/// Patterns by their components; a leaf is where one ends.
#[derive(Default)]
struct Node {
    /// Whether a pattern ends here.
    ends: bool,
    children: Vec<(String, Node)>,
    /// Where the child of a name stands.
    known: FxHashMap<String, usize>,
}

impl Node {
    fn add(&mut self, components: &[String]) {
        let Some((first, rest)) = components.split_first() else {
            self.ends = true;
            return;
        };
        let at = *self.known.entry(first.clone()).or_insert_with(|| {
            self.children.push((first.clone(), Self::default()));
            self.children.len() - 1
        });
        self.children[at].1.add(rest);
    }

    /// What follows a component: nothing, a `/` and more, or a group.
    fn follows(&self, out: &mut String) {
        match (self.ends, self.children.as_slice()) {
            (_, []) => {}
            (false, children) => {
                out.push('/');
                group(children, out);
            }
            (true, children) => {
                out.push_str("{,/");
                group(children, out);
                out.push('}');
            }
        }
    }

    /// One line for each part that is short enough; `begun` stands before all of them.
    fn lines(&self, begun: &str, out: &mut Vec<String>) {
        let mut whole = begun.to_owned();
        self.follows(&mut whole);
        if whole.len() <= WIDTH || self.children.is_empty() {
            out.push(whole);
            return;
        }
        if self.ends {
            out.push(begun.to_owned());
        }
        let room = WIDTH.saturating_sub(begun.len() + 3);
        let mut from = 0;
        let mut length = 0;
        let flush = |range: std::ops::Range<usize>, out: &mut Vec<String>| {
            let Some(some) = self.children.get(range).filter(|some| !some.is_empty()) else {
                return;
            };
            let mut line = format!("{begun}/");
            match some {
                // One that is too long alone is broken further down.
                [(name, below)] => below.lines(&format!("{line}{name}"), out),
                _ => {
                    group(some, &mut line);
                    out.push(line);
                }
            }
        };
        for (at, (name, below)) in self.children.iter().enumerate() {
            let mut text = name.clone();
            below.follows(&mut text);
            if length > 0 && length + text.len() + 1 > room {
                flush(from..at, out);
                (from, length) = (at, 0);
            }
            length += text.len() + 1;
        }
        flush(from..self.children.len(), out);
    }
}

fn group(children: &[(String, Node)], out: &mut String) {
    let many = children.len() > 1;
    if many {
        out.push('{');
    }
    for (i, (name, below)) in children.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        out.push_str(name);
        below.follows(out);
    }
    if many {
        out.push('}');
    }
}

/// Whether a group may have it in it. A class with a comma may not: to some parsers the comma ends the alternative.
fn goes_into_a_group(sequence: &Sequence) -> bool {
    let comma = |t: &Token| match t {
        Token::Class(set) => is_negated(set) && !set.contains(b','),
        _ => false,
    };
    sequence.components.iter().all(|c| match c {
        Component::Name(name) => !name.iter().any(comma),
        Component::AnyDepth => true,
    })
}

/// The patterns in AppArmor's syntax, quoted, on as many lines as they take.
pub fn globs(patterns: &[Sequence], form: Form) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    // By what stands behind them.
    let mut shared: Vec<(&'static str, Node)> = Vec::new();
    for pattern in patterns {
        let Some(glob) = Glob::of(pattern, form) else {
            continue;
        };
        if glob.components.is_empty() || !goes_into_a_group(pattern) {
            out.push(glob.alone());
            continue;
        }
        let at = match shared.iter().position(|(tail, _)| *tail == glob.tail) {
            Some(at) => at,
            None => {
                shared.push((glob.tail, Node::default()));
                shared.len() - 1
            }
        };
        shared[at].1.add(&glob.components);
    }
    for (tail, node) in shared {
        let mut lines = Vec::new();
        node.lines("", &mut lines);
        out.extend(lines.into_iter().map(|line| {
            // Between slashes, and at the end, `*` is a byte at least.
            let mut line = line.replace("/?*/", "/*/");
            if matches!(tail, "" | "/") && line.ends_with("/?*") {
                line.truncate(line.len() - 2);
                line.push('*');
            }
            format!("\"{line}{tail}\"")
        }));
    }
    out
}
