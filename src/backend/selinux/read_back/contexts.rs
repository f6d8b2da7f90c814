//! File contexts: which type a path has.
//!
//! Sources: selinux_file_context(5) and file_contexts(5). An entry has a regular expression over the whole path,
//! optionally a file type, and a context or `<<none>>`. An entry without wildcards wins over every entry with one. Of
//! those with wildcards, the one with the longest text before its first wildcard wins. After that the longest wins, and
//! after that one with a file type.
//!
//! libselinux 3.4 compares the text before the second `/` with the path's first component, as it is written, unless it
//! has one of `.^$?*+|[({` (`get_stem_from_spec`). So an entry with a backslash there matches no path. Seen with
//! matchpathcon.

use super::module::Fault;
use crate::policy::ByteSet;
use crate::semantics::Step;

/// The kind of object that an entry is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Applies {
    Everything,
    Files,
    Directories,
}

/// One entry.
#[derive(Debug, Clone)]
pub(super) struct Context {
    pub patterns: Vec<Vec<Step>>,
    /// A higher rank is more specific.
    pub rank: (bool, usize, usize, bool),
    pub applies: Applies,
    /// `None`: the entry leaves the object without a label.
    pub label: Option<String>,
    /// 0: an entry of the base policy.
    pub line: usize,
    pub text: String,
}

pub(super) fn read(text: &str) -> Result<Vec<Context>, Fault> {
    let mut out = Vec::new();
    for (number, line) in text.split('\n').enumerate() {
        let at = number + 1;
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        if fields.is_empty() || fields[0].starts_with('#') {
            continue;
        }
        let (regex, kind, context) = match fields.as_slice() {
            [regex, context] => (*regex, None, *context),
            [regex, kind, context] => (*regex, Some(*kind), *context),
            _ => {
                return Err((
                    at,
                    "an entry is a path, perhaps a file type, and a context".into(),
                ));
            }
        };
        let applies = match kind {
            None => Applies::Everything,
            Some("--") => Applies::Files,
            Some("-d") => Applies::Directories,
            Some(other) => {
                return Err((
                    at,
                    format!("the file type `{other}` is not told apart by a policy"),
                ));
            }
        };
        let label = match context.split(':').collect::<Vec<_>>().as_slice() {
            ["<<none>>"] => None,
            [_, _, label] | [_, _, label, ..] => Some((*label).to_owned()),
            _ => return Err((at, format!("`{context}` is no context"))),
        };
        let (patterns, stem) = patterns(regex.as_bytes()).map_err(|m| (at, m))?;
        out.push(Context {
            patterns,
            rank: (
                stem.is_none(),
                stem.unwrap_or(regex.len()),
                regex.len(),
                kind.is_some(),
            ),
            applies,
            label,
            line: at,
            text: fields.join(" "),
        });
    }
    Ok(out)
}

/// An entry of the base policy. In its path, `*` is any run of bytes of a name, and `/**` is any run of names.
pub(super) fn base(path: &str, beneath: bool, label: &str, applies: Applies) -> Context {
    let mut steps: Vec<Step> = match path {
        "/" => Vec::new(),
        path => {
            let mut steps = Vec::new();
            for (i, part) in path.split("/**").enumerate() {
                if i > 0 {
                    steps.push(Step::AnyDepth);
                }
                steps.extend(part.bytes().map(|b| match b {
                    b'*' => Step::Star(name_byte()),
                    b => Step::Byte(b),
                }));
            }
            steps
        }
    };
    if beneath {
        steps.push(Step::AnyDepth);
    }
    let stem = path.find('*');
    // The length as it is written there: `/(.*/)?` for `/**/`, and `(/.*)?` for what lies beneath.
    let length = path.len() + 3 * path.matches("/**").count() + if beneath { 6 } else { 0 };
    Context {
        patterns: vec![steps],
        rank: (
            !beneath && stem.is_none(),
            stem.unwrap_or(path.len()),
            length,
            applies != Applies::Everything,
        ),
        applies,
        label: Some(label.to_owned()),
        line: 0,
        text: format!("the base policy's {label}"),
    }
}

pub(super) fn name_byte() -> ByteSet {
    let mut set = ByteSet::ALL;
    set.remove(b'/');
    set
}

/// The patterns of an expression, and the length of its text before the first wildcard (`None`: it has no wildcard).
///
/// It may have plain and escaped bytes, classes of escaped bytes, `.` and `[^/]`, each with `*`, `+` or nothing. It may
/// end in `(/.*)?`.
fn patterns(regex: &[u8]) -> Result<(Vec<Vec<Step>>, Option<usize>), String> {
    let never = is_never_found(regex);
    let (regex, optional) = match regex.strip_suffix(b"(/.*)?") {
        Some(rest) => (rest, true),
        None => (regex, false),
    };
    if !regex.starts_with(b"/") {
        return Err("a path begins with `/`".into());
    }
    let mut steps: Vec<Step> = Vec::new();
    let mut stem = optional.then_some(regex.len());
    let mut at = 0;
    while at < regex.len() {
        let rest = &regex[at..];
        let (step, length) = if let Some((byte, length)) = escaped(rest)? {
            (Step::Byte(byte), length)
        } else if let Some((set, length)) = class(rest)? {
            (Step::Set(set), length)
        } else {
            match rest {
                [b'[', b'^', b'/', b']', ..] => (Step::Set(name_byte()), 4),
                [b'.', ..] => (Step::Set(ByteSet::ALL), 1),
                [b, ..] if b"\\[](){}^$*+?|".contains(b) => {
                    return Err(format!("`{}` there is not read", char::from(*b)));
                }
                [b, ..] => (Step::Byte(*b), 1),
                [] => break,
            }
        };
        let wild = matches!(step, Step::Set(_));
        let repeated = regex.get(at + length).copied();
        let set = match step {
            Step::Set(set) => set,
            Step::Byte(b) => {
                let mut set = ByteSet::EMPTY;
                set.insert(b);
                set
            }
            _ => ByteSet::EMPTY,
        };
        let repeats = matches!(repeated, Some(b'*' | b'+'));
        if wild || repeats {
            stem.get_or_insert(at);
            stem = stem.map(|s| s.min(at));
        }
        at += length + usize::from(repeats);
        match repeated {
            Some(b'*') => steps.push(Step::Star(set)),
            Some(b'+') => steps.extend([step, Step::Star(set)]),
            _ => steps.push(step),
        }
    }
    let everything = Step::Star(ByteSet::ALL);
    // `/a/.*` matches what lies beneath `/a`.
    if steps.len() >= 2 && steps[steps.len() - 2..] == [Step::Byte(b'/'), everything] {
        steps.truncate(steps.len() - 2);
        steps.extend([
            Step::Byte(b'/'),
            Step::Set(name_byte()),
            Step::Star(name_byte()),
            Step::AnyDepth,
        ]);
    }
    if steps == [Step::Byte(b'/')] {
        steps.clear();
    }
    if optional {
        steps.push(Step::AnyDepth);
    }
    Ok((if never { Vec::new() } else { vec![steps] }, stem))
}

/// Whether libselinux compares the first component of an expression with its backslash, so that it matches no path.
fn is_never_found(regex: &[u8]) -> bool {
    let Some(end) = regex.iter().skip(1).position(|b| *b == b'/') else {
        return false;
    };
    let first = &regex[..=end];
    first.contains(&b'\\') && !first.iter().any(|b| b".^$?*+|[({".contains(b))
}

/// An escaped byte at the beginning of an expression, and the length of its text.
fn escaped(rest: &[u8]) -> Result<Option<(u8, usize)>, String> {
    match rest {
        [b'\\', b'x', digits @ ..] => {
            let digits = digits.get(..2).and_then(|d| std::str::from_utf8(d).ok());
            let byte = digits.and_then(|d| u8::from_str_radix(d, 16).ok());
            match byte {
                Some(byte) => Ok(Some((byte, 4))),
                None => Err("`\\x` takes two digits".into()),
            }
        }
        [b'\\', b, ..] if b.is_ascii_punctuation() => Ok(Some((*b, 2))),
        _ => Ok(None),
    }
}

/// A class of escaped bytes at the beginning of an expression, and the length of its text.
fn class(rest: &[u8]) -> Result<Option<(ByteSet, usize)>, String> {
    let Some(b'[') = rest.first() else {
        return Ok(None);
    };
    let (mut set, mut at) = (ByteSet::EMPTY, 1);
    while let Some((byte, length)) = escaped(&rest[at..])? {
        set.insert(byte);
        at += length;
    }
    let closed = at > 1 && rest.get(at) == Some(&b']');
    Ok(closed.then_some((set, at + 1)))
}
