//! A profile as data, and its text.

use crate::backend::Options;
use crate::backend::header;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::fidelity::Ledger;
use crate::policy::{ByteSet, Component, Name, Policy, Sequence, Token};
use crate::semantics::{Case, PathSet, TooLarge};
use askama::Template;
use rustc_hash::FxHashMap;
use std::fmt::Write;

/// What one right is granted and denied on, by AppArmor's rule: deny wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    pub allow: Vec<Sequence>,
    pub deny: Vec<Sequence>,
}

impl Access {
    /// The objects on which each of these rights is granted.
    ///
    /// # Errors
    /// The automaton is too large.
    pub fn sets<const N: usize>(rights: [&Self; N]) -> Result<[PathSet; N], TooLarge> {
        let groups = [
            (false, by_rights(rights.map(|r| r.deny.as_slice()))),
            (true, by_rights(rights.map(|r| r.allow.as_slice()))),
        ];
        let cases = groups.iter().flat_map(|(allows, groups)| {
            groups.iter().map(|(sets, patterns)| Case {
                include: patterns.as_slice(),
                except: &[],
                sets: *sets,
                allows: *allows,
            })
        });
        if let Ok(sets) = PathSet::family(cases, false) {
            return Ok(sets);
        }
        // Each right alone may still fit.
        let mut sets = std::array::from_fn(|_| PathSet::empty());
        for (set, right) in sets.iter_mut().zip(rights) {
            let cases = [
                (right.deny.as_slice(), false),
                (right.allow.as_slice(), true),
            ];
            *set = PathSet::first_match(cases, false)?;
        }
        Ok(sets)
    }
}

/// Patterns by the rights that have them, a bit for each.
fn by_rights<const N: usize>(rights: [&[Sequence]; N]) -> Vec<(u16, Vec<&Sequence>)> {
    let mut order: Vec<(&Sequence, u16)> = Vec::new();
    let mut known: FxHashMap<&Sequence, usize> = FxHashMap::default();
    for (bit, patterns) in rights.into_iter().enumerate() {
        for pattern in patterns {
            let at = *known.entry(pattern).or_insert_with(|| {
                order.push((pattern, 0));
                order.len() - 1
            });
            order[at].1 |= 1 << bit;
        }
    }
    let mut out: Vec<(u16, Vec<&Sequence>)> = Vec::new();
    for (pattern, rights) in order {
        match out.iter_mut().find(|(of, _)| *of == rights) {
            Some((_, patterns)) => patterns.push(pattern),
            None => out.push((rights, vec![pattern])),
        }
    }
    out
}

/// The kind of names that a rule is for: AppArmor writes a `/` at the end of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Both,
    File,
    Directory,
}

/// One file rule.
#[derive(Debug, Clone)]
pub struct FileRule {
    pub deny: bool,
    pub pattern: Sequence,
    pub form: Form,
    /// Such as `rmk`.
    pub rights: &'static str,
}

/// A profile.
#[derive(Debug, Clone)]
pub struct Profile {
    pub abi: String,
    pub attachment: Vec<Sequence>,
    /// Whole lines without their comma: network, capability, signal, … polc writes all of them, without names from the
    /// policy.
    pub rules: Vec<String>,
    pub files: Vec<FileRule>,
}

/// One byte of a name, within double quotes.
fn byte(out: &mut String, b: u8) {
    match b {
        b'\\' => out.push_str("\\134"),
        b'*' | b'?' | b'[' | b']' | b'{' | b'}' | b',' | b'^' | b'@' => {
            out.push('\\');
            out.push(char::from(b));
        }
        b'"' | 0..=0x20 | 0x7f.. => {
            let _ = write!(out, "\\{b:03o}");
        }
        _ => out.push(char::from(b)),
    }
}

/// Whether the byte can be in a class without an escape. A `,` must be: after a backslash, the backslash would be a
/// member too. The parser also turns an octal escape into a backslash and the byte.
fn plain_in_class(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"._+=:%~!#$&();<>|`',".contains(&b)
}

fn class(out: &mut String, set: &ByteSet) {
    // Most of the bytes: a negated class. Only bytes that stand for themselves there go into one; the
    // others are alternatives beside it.
    let negated = set.iter().count() > 128;
    if !negated {
        let mut members = set.iter();
        if let (Some(one), None) = (members.next(), members.next()) {
            return byte(out, one);
        }
        out.push('{');
        for (i, b) in set.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            byte(out, b);
        }
        return out.push('}');
    }
    let mut excluded = set.complement();
    // A `-` stands for itself only where no range can begin.
    out.push_str(if excluded.contains(b'-') {
        "[^-/"
    } else {
        "[^/"
    });
    excluded.remove(b'-');
    excluded.remove(b'/');
    excluded.remove(0);
    for b in excluded.iter() {
        if plain_in_class(b) {
            out.push(char::from(b));
        } else if matches!(b, b'\\' | b']' | b'[' | b'^') {
            out.push('\\');
            out.push(char::from(b));
        } else {
            let _ = write!(out, "\\{b:03o}");
        }
    }
    out.push(']');
}

/// The pattern without its form, and whether it is a tree.
fn stem(sequence: &Sequence) -> (String, bool) {
    let (components, tree) = match sequence.components.split_last() {
        Some((Component::AnyDepth, rest)) => (rest, true),
        _ => (sequence.components.as_slice(), false),
    };
    let mut out = String::new();
    let mut slash = true;
    for c in components {
        if slash {
            out.push('/');
        }
        slash = true;
        match c {
            Component::AnyDepth => {
                out.push_str("{,**/}");
                slash = false;
            }
            Component::Name(name) => match name.as_literal() {
                Some(bytes) => bytes.iter().for_each(|b| byte(&mut out, *b)),
                None => {
                    for t in name.iter() {
                        match t {
                            Token::Byte(b) => byte(&mut out, *b),
                            Token::Any => out.push('?'),
                            Token::Star => out.push('*'),
                            Token::Class(set) => class(&mut out, set),
                        }
                    }
                }
            },
        }
    }
    (out, tree)
}

/// The pattern in AppArmor's syntax, quoted.
pub fn glob(sequence: &Sequence, form: Form) -> Option<String> {
    let (mut stem, tree) = stem(sequence);
    let root = stem.is_empty();
    let tail = match (root, tree, form) {
        (true, false, Form::File) => return None,
        (true, false, _) => "/",
        (true, true, Form::Both) => "/{,**}",
        (true, true, Form::File) => "/**[^/]",
        (true, true, Form::Directory) => "/{,**/}",
        (false, false, Form::Both) => "{,/}",
        (false, false, Form::File) => "",
        (false, false, Form::Directory) => "/",
        (false, true, Form::Both) => "{,/,/**}",
        (false, true, Form::File) => "{,/**[^/]}",
        (false, true, Form::Directory) => "/{,**/}",
    };
    // `*` takes a byte at least between `/` and `/` or the end, but none beside a group, where `/*{,/}` is `/`
    // too, and `/{,**/}*` as well.
    let last = sequence.components.iter().rev().find_map(|c| match c {
        Component::Name(name) => Some(name),
        Component::AnyDepth => None,
    });
    let all_star = last.is_some_and(Name::is_star);
    let grouped = tail.starts_with('{') || stem.ends_with("{,**/}*");
    if grouped && all_star && stem.ends_with('*') {
        stem.insert(stem.len() - 1, '?');
    }
    Some(["\"", &stem, tail, "\""].concat())
}

/// The attachment: one pattern that matches each of these programs.
fn attachment(list: &[Sequence]) -> Option<String> {
    let stems: Vec<String> = list
        .iter()
        .filter_map(|s| glob(s, Form::File))
        .map(|g| g.trim_matches('"').to_owned())
        .collect();
    match stems.as_slice() {
        [] => None,
        [one] => Some(format!("\"{one}\"")),
        many => {
            let rest: Vec<&str> = many
                .iter()
                .map(|s| s.strip_prefix('/').unwrap_or(s))
                .collect();
            Some(format!("\"/{{{}}}\"", rest.join(",")))
        }
    }
}

#[derive(Template)]
#[template(path = "apparmor/profile.apparmor", escape = "none")]
struct Text<'a> {
    comments: Vec<String>,
    abi: &'a str,
    name: &'a str,
    attachment: Option<String>,
    rules: &'a [String],
    files: Vec<String>,
}

/// The profile's text.
///
/// # Errors
/// The template fails, which would be a bug.
pub fn render(
    profile: &Profile,
    policy: &Policy,
    ledger: &Ledger,
    options: &Options,
) -> Result<String, Diagnostics> {
    let name = &policy.name;
    let usage = [
        format!("load: apparmor_parser -r THIS-FILE; start a program in it: aa-exec -p {name} -- COMMAND"),
        "try: apparmor_parser -r -C THIS-FILE (it only logs, but what an `audit deny` line names is refused)".to_owned(),
        "undo: apparmor_parser -R THIS-FILE".to_owned(),
    ];
    let comments = header::lines(policy, ledger, options, usage);
    let files = profile
        .files
        .iter()
        .filter_map(|r| {
            let glob = glob(&r.pattern, r.form)?;
            let deny = if r.deny { "audit deny " } else { "" };
            Some([deny, &glob, " ", r.rights].concat())
        })
        .collect();
    Text {
        comments,
        abi: &profile.abi,
        name: &policy.name,
        attachment: attachment(&profile.attachment),
        rules: &profile.rules,
        files,
    }
    .render()
    .map_err(|e| Diagnostic::error("E112", format!("the profile cannot be written: {e}")).into())
}
