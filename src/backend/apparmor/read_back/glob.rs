//! Parses AppArmor's patterns into steps over bytes.

use super::scan::Sym;
use crate::policy::ByteSet;
use crate::semantics::{Step, steps_match};

/// The most alternatives that one pattern may expand to.
const MAX_ALTERNATIVES: usize = 20_000;
/// The parser takes no deeper nesting of groups.
const MAX_DEPTH: usize = 49;

/// A part of a pattern.
#[derive(Debug, Clone)]
enum Part {
    Step(Step),
    Group(Vec<Vec<Part>>),
}

/// A pattern, as the alternatives that its braces expand to. It matches names as the kernel makes them: the name of a
/// directory ends in `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Glob {
    alternatives: Vec<Vec<Step>>,
}

fn not_slash() -> ByteSet {
    let mut set = ByteSet::ALL;
    set.remove(b'/');
    set.remove(0);
    set
}

/// Whether the set has every byte of a name but `/`.
fn takes_names(set: &ByteSet) -> bool {
    set.intersection(&not_slash()) == not_slash()
}

/// What is wrong with a pattern.
type Wrong = &'static str;

struct Parser<'s> {
    syms: &'s [Sym],
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn special(&self, offset: usize, byte: u8) -> bool {
        self.syms
            .get(self.at + offset)
            .is_some_and(|s| s.byte == byte && !s.escaped)
    }

    /// Parses up to the end, or to the `,` or `}` that ends an alternative.
    fn parts(&mut self) -> Result<Vec<Part>, Wrong> {
        let mut out = Vec::new();
        // Whether the byte before is a `/` of this text, and not of a group.
        let mut slash = false;
        while let Some(sym) = self.syms.get(self.at).copied() {
            let was_slash = std::mem::replace(&mut slash, sym.byte == b'/');
            if sym.escaped {
                self.at += 1;
                out.push(Part::Step(Step::Byte(sym.byte)));
                continue;
            }
            match sym.byte {
                b',' | b'}' if self.depth > 0 => break,
                b'}' => return Err("a `}` without its `{`"),
                b']' => return Err("a `]` without its `[`"),
                b'?' => {
                    self.at += 1;
                    out.push(Part::Step(Step::Set(not_slash())));
                }
                b'*' => self.stars(was_slash, &mut out),
                b'[' => out.push(self.class()?),
                b'{' => out.push(self.group()?),
                byte => {
                    self.at += 1;
                    out.push(Part::Step(Step::Byte(byte)));
                }
            }
        }
        Ok(out)
    }

    fn stars(&mut self, after_slash: bool, out: &mut Vec<Part>) {
        let mut count = 0;
        while self.special(count, b'*') {
            count += 1;
        }
        // A whole component matches at least one byte: `/a/*` and `/a/**` do not match the directory `/a/`.
        let ends = self.at + count == self.syms.len();
        if after_slash && (ends || self.syms[self.at + count].byte == b'/') {
            out.push(Part::Step(Step::Set(not_slash())));
        }
        let run = if count > 1 { ByteSet::ALL } else { not_slash() };
        out.push(Part::Step(Step::Star(run)));
        self.at += count;
    }

    fn class(&mut self) -> Result<Part, Wrong> {
        self.at += 1;
        let negated = self.special(0, b'^');
        if negated {
            self.at += 1;
        }
        let mut set = ByteSet::EMPTY;
        let mut last: Option<u8> = None;
        let mut first = true;
        loop {
            let sym = *self.syms.get(self.at).ok_or("a `[` without its `]`")?;
            self.at += 1;
            if !sym.escaped {
                match sym.byte {
                    b']' if first => return Err("an empty class"),
                    b']' => break,
                    b'*' | b'?' | b'[' => {
                        return Err("a `*`, `?` or `[` in a class without a backslash before it");
                    }
                    b'-' if !first => {
                        let low = last.take().ok_or("a `-` in a class that is no range")?;
                        let high = *self.syms.get(self.at).ok_or("a `[` without its `]`")?;
                        let plain = if high.escaped {
                            high.byte != b','
                        } else {
                            !b"]*?[-^".contains(&high.byte)
                        };
                        if !plain || high.byte < low {
                            return Err("a `-` in a class that is no range");
                        }
                        self.at += 1;
                        (low..=high.byte).for_each(|b| set.insert(b));
                        continue;
                    }
                    _ => {}
                }
            }
            if first && !negated && sym.byte == b'^' {
                // The parser drops the backslash, and then the `^` negates.
                return Err("an escaped `^` that comes first in a class");
            }
            first = false;
            set.insert(sym.byte);
            if sym.escaped && sym.byte == b',' {
                // The parser keeps the backslash, and it stands for itself.
                set.insert(b'\\');
                last = None;
                continue;
            }
            // A range cannot begin with a `-` that stands for itself.
            last = (sym.byte != b'-').then_some(sym.byte);
        }
        let set = if negated { set.complement() } else { set };
        Ok(Part::Step(Step::Set(set)))
    }

    fn group(&mut self) -> Result<Part, Wrong> {
        self.at += 1;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("groups that are nested too deep");
        }
        let mut alternatives = vec![self.parts()?];
        while self.special(0, b',') {
            self.at += 1;
            alternatives.push(self.parts()?);
        }
        if !self.special(0, b'}') {
            return Err("a `{` without its `}`");
        }
        self.at += 1;
        self.depth -= 1;
        if alternatives.len() < 2 {
            return Err("a `{…}` without a comma");
        }
        Ok(one_byte(&alternatives)
            .map_or(Part::Group(alternatives), |set| Part::Step(Step::Set(set))))
    }
}

/// If each alternative is one byte, the group is a class.
fn one_byte(alternatives: &[Vec<Part>]) -> Option<ByteSet> {
    let mut out = ByteSet::EMPTY;
    for alternative in alternatives {
        match alternative.as_slice() {
            [Part::Step(Step::Byte(b))] => out.insert(*b),
            [Part::Step(Step::Set(set))] => set.iter().for_each(|b| out.insert(b)),
            _ => return None,
        }
    }
    Some(out)
}

/// `{,**/}`: any number of directories.
fn any_directories(alternatives: &[Vec<Part>]) -> bool {
    let deep = |parts: &[Part]| matches!(parts, [Part::Step(Step::Star(run)), Part::Step(Step::Byte(b'/'))] if *run == ByteSet::ALL);
    match alternatives {
        [a, b] => (a.is_empty() && deep(b)) || (b.is_empty() && deep(a)),
        _ => false,
    }
}

/// Appends each of the parts to each of the beginnings.
fn expand(begun: Vec<Vec<Step>>, parts: &[Part]) -> Result<Vec<Vec<Step>>, Wrong> {
    let mut out = begun;
    for part in parts {
        match part {
            Part::Step(step) => out.iter_mut().for_each(|s| s.push(*step)),
            Part::Group(alternatives)
                if any_directories(alternatives)
                    && out.iter().all(|s| s.last() == Some(&Step::Byte(b'/'))) =>
            {
                // `/{,**/}` in paths without `//`: any number of `/NAME`, and then the `/`.
                for steps in &mut out {
                    steps.pop();
                    steps.extend([Step::AnyDepth, Step::Byte(b'/')]);
                }
            }
            Part::Group(alternatives) => {
                let mut next = Vec::new();
                for alternative in alternatives {
                    next.extend(expand(out.clone(), alternative)?);
                    if next.len() > MAX_ALTERNATIVES {
                        return Err("more alternatives than polc reads");
                    }
                }
                out = next;
            }
        }
    }
    Ok(out)
}

impl Glob {
    /// From symbols, with variables expanded.
    pub fn parse(syms: &[Sym]) -> Result<Self, Wrong> {
        let syms = filter_slashes(syms);
        let mut parser = Parser {
            syms: &syms,
            at: 0,
            depth: 0,
        };
        let parts = parser.parts()?;
        let alternatives = expand(vec![Vec::new()], &parts)?;
        Ok(Self { alternatives })
    }

    /// The patterns of the canonical paths of files that it matches.
    pub fn files(&self) -> Vec<Vec<Step>> {
        let ends_in_slash = |s: &&Vec<Step>| s.last() == Some(&Step::Byte(b'/'));
        normal(
            self.alternatives
                .iter()
                .filter(|s| !ends_in_slash(s))
                .cloned()
                .map(file)
                .collect(),
        )
    }

    /// The same for directories, whose names end in `/`. The root is the empty string.
    pub fn directories(&self) -> Vec<Vec<Step>> {
        let mut out = Vec::new();
        for steps in &self.alternatives {
            before_slash(steps, &mut out);
        }
        normal(out)
    }

    /// Its alternatives, for an index by name.
    pub fn alternatives(&self) -> &[Vec<Step>] {
        &self.alternatives
    }

    /// Whether it matches a name. The name of a directory ends in `/`.
    pub fn matches(&self, name: &[u8]) -> bool {
        let mut alternatives = self.alternatives.iter();
        alternatives.any(|steps| steps_match(steps, name))
    }
}

/// Several slashes become one, except for exactly two at the beginning (`filter_slashes` in `parser_regex.c`).
fn filter_slashes(syms: &[Sym]) -> Vec<Sym> {
    let slash = |s: Option<&Sym>| s.is_some_and(|s| s.byte == b'/' && !s.escaped);
    let two = slash(syms.first()) && slash(syms.get(1)) && !slash(syms.get(2));
    let mut out: Vec<Sym> = Vec::with_capacity(syms.len());
    for (i, sym) in syms.iter().enumerate() {
        if slash(Some(sym)) && slash(out.last()) && !(two && i == 1) {
            continue;
        }
        out.push(*sym);
    }
    out
}

/// The name of a file never ends in `/`. So a run of any bytes and then a byte other than `/` is any run that is not
/// empty.
fn file(mut steps: Vec<Step>) -> Vec<Step> {
    if let [.., Step::Star(run), Step::Set(last)] = steps.as_slice()
        && *run == ByteSet::ALL
        && takes_names(last)
    {
        steps.truncate(steps.len() - 2);
        if steps.last() != Some(&Step::Byte(b'/')) {
            steps.push(Step::Set(ByteSet::ALL));
        }
        steps.push(Step::Star(ByteSet::ALL));
    }
    steps
}

/// The patterns of what comes before a `/` at the end.
fn before_slash(steps: &[Step], out: &mut Vec<Vec<Step>>) {
    let Some((last, rest)) = steps.split_last() else {
        return;
    };
    match last {
        Step::Byte(b'/') => out.push(rest.to_vec()),
        Step::Byte(_) | Step::AnyDepth => {}
        Step::Set(set) => {
            if set.contains(b'/') {
                out.push(rest.to_vec());
            }
        }
        Step::Star(set) => {
            if set.contains(b'/') {
                out.push(steps.to_vec());
            }
            // The run may be empty.
            before_slash(rest, out);
        }
    }
}

/// Rewrites the patterns to one form, with the same paths. Then files and directories can share an automaton.
fn normal(mut list: Vec<Vec<Step>>) -> Vec<Vec<Step>> {
    for steps in &mut list {
        // After a `/` comes at least one byte other than `/`.
        if let [.., Step::Byte(b'/'), Step::Set(first), Step::Star(run)] = steps.as_slice()
            && *run == ByteSet::ALL
            && takes_names(first)
        {
            let at = steps.len() - 2;
            steps.remove(at);
        }
    }
    // `P` and `P/**`.
    let trees: Vec<Vec<Step>> = list
        .iter()
        .filter_map(|s| match s.as_slice() {
            [stem @ .., Step::Byte(b'/'), Step::Star(run)] if *run == ByteSet::ALL => {
                Some(stem.to_vec())
            }
            _ => None,
        })
        .collect();
    for stem in trees {
        if let Some(at) = list.iter().position(|s| *s == stem) {
            list[at].push(Step::AnyDepth);
            list.retain(|s| {
                !matches!(s.as_slice(), [begin @ .., Step::Byte(b'/'), Step::Star(run)]
                    if *run == ByteSet::ALL && begin == stem.as_slice())
            });
        }
    }
    let mut seen = rustc_hash::FxHashSet::default();
    list.retain(|s| seen.insert(s.clone()));
    list
}
