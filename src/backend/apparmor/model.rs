//! A profile as data, and its text.

use super::braces::globs;
use crate::backend::Options;
use crate::backend::header;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::fidelity::{Ledger, show_bytes};
use crate::policy::{ByteSet, Component, Name, Policy, RuleId, Sequence, Token};
use crate::semantics::{Case, PathSet, TooLarge};
use askama::Template;
use rustc_hash::FxHashMap;
use std::fmt::Write;

/// Where a file rule is from. In the order of the profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// The subject's own program.
    Subject,
    /// A rule of the policy.
    Rule(RuleId),
    /// Its default.
    Default,
    /// The directories above what rules deny.
    Above,
}

/// A pattern, and where it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub pattern: Sequence,
    pub origin: Origin,
}

/// What one right is granted and denied on, by AppArmor's rule: deny wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    pub allow: Vec<Piece>,
    pub deny: Vec<Piece>,
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
            let [deny, allow] = [&right.deny, &right.allow]
                .map(|list| -> Vec<Sequence> { list.iter().map(|p| p.pattern.clone()).collect() });
            let cases = [(deny.as_slice(), false), (allow.as_slice(), true)];
            *set = PathSet::first_match(cases, false)?;
        }
        Ok(sets)
    }
}

/// Patterns by the rights that have them, a bit for each.
fn by_rights<const N: usize>(rights: [&[Piece]; N]) -> Vec<(u16, Vec<&Sequence>)> {
    let mut order: Vec<(&Sequence, u16)> = Vec::new();
    let mut known: FxHashMap<&Sequence, usize> = FxHashMap::default();
    for (bit, pieces) in rights.into_iter().enumerate() {
        for Piece { pattern, .. } in pieces {
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

/// File rules that differ in their patterns alone.
#[derive(Debug, Clone)]
pub struct FileRule {
    pub deny: bool,
    pub patterns: Vec<Sequence>,
    pub form: Form,
    /// Such as `rmk`.
    pub rights: String,
}

/// The file rules of one rule of the policy.
#[derive(Debug, Clone)]
pub struct Group {
    pub origin: Origin,
    pub rules: Vec<FileRule>,
}

/// A profile.
#[derive(Debug, Clone)]
pub struct Profile {
    pub abi: String,
    pub attachment: Vec<Sequence>,
    /// Whole lines without their comma: network, capability, signal, … polc writes all of them, without names from the
    /// policy.
    pub rules: Vec<String>,
    pub files: Vec<Group>,
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

/// Whether a class is written by what is not in it.
pub fn is_negated(set: &ByteSet) -> bool {
    set.iter().count() > 128
}

/// Letters and digits, neighbours as a range.
fn ranges(out: &mut String, set: &ByteSet) {
    out.push('[');
    let mut members = set.iter().peekable();
    while let Some(first) = members.next() {
        let mut last = first;
        while let Some(next) = members.next_if(|b| b.checked_sub(last) == Some(1)) {
            last = next;
        }
        out.push(char::from(first));
        if last > first.saturating_add(1) {
            out.push('-');
        }
        if last > first {
            out.push(char::from(last));
        }
    }
    out.push(']');
}

fn class(out: &mut String, set: &ByteSet) {
    // Most of the bytes: a negated class. Only bytes that stand for themselves there go into one; the
    // others are alternatives beside it.
    if !is_negated(set) {
        let mut members = set.iter();
        if let (Some(one), None) = (members.next(), members.next()) {
            return byte(out, one);
        }
        if set
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"._".contains(&b))
        {
            return ranges(out, set);
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

/// A pattern in AppArmor's syntax: its components, and what tells its form.
pub struct Glob {
    /// Between slashes. `{,**/}NAME` is a name below any number of directories.
    pub components: Vec<String>,
    pub tail: &'static str,
}

impl Glob {
    /// `None`: it has no such form, as the root is no file.
    pub fn of(sequence: &Sequence, form: Form) -> Option<Self> {
        let (parts, tree) = match sequence.components.split_last() {
            Some((Component::AnyDepth, rest)) => (rest, true),
            _ => (sequence.components.as_slice(), false),
        };
        let mut components = Vec::new();
        let mut begun = String::new();
        for part in parts {
            match part {
                Component::AnyDepth => begun.push_str("{,**/}"),
                Component::Name(name) => {
                    write_name(&mut begun, name);
                    components.push(std::mem::take(&mut begun));
                }
            }
        }
        let root = components.is_empty();
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
        Some(Self { components, tail })
    }

    /// Quoted.
    pub fn alone(&self) -> String {
        let mut out = "\"".to_owned();
        for component in &self.components {
            out.push('/');
            out.push_str(component);
        }
        out.push_str(self.tail);
        out.push('"');
        out
    }
}

fn write_name(out: &mut String, name: &Name) {
    if let Some(bytes) = name.as_literal() {
        return bytes.iter().for_each(|b| byte(out, *b));
    }
    if name.is_star() {
        // `*` alone takes a byte at least between `/` and `/` or the end, but none beside a group, where
        // `/*{,/}` is `/` too, and `/{,**/}*` as well.
        return out.push_str("?*");
    }
    for t in name.iter() {
        match t {
            Token::Byte(b) => byte(out, *b),
            Token::Any => out.push('?'),
            Token::Star => out.push('*'),
            Token::Class(set) => class(out, set),
        }
    }
}

/// One pattern, quoted.
pub fn glob(sequence: &Sequence, form: Form) -> Option<String> {
    Some(Glob::of(sequence, form)?.alone())
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

/// A comment, and the rules below it.
struct Lines {
    comment: String,
    rules: Vec<String>,
}

/// What stands above the rules: which rule of the policy they are from, where it is and what it says.
fn comment(policy: &Policy, origin: Origin) -> String {
    let said = |name: &str, place: String, what: String| {
        format!(
            "{} ({}): {what}",
            show_bytes(name.as_bytes()),
            show_bytes(place.as_bytes())
        )
    };
    match origin {
        Origin::Subject => "the subject's own program".to_owned(),
        Origin::Above => {
            "directories above what is denied: moved away, they would take it along".to_owned()
        }
        Origin::Default => said(
            "default_action",
            policy.sources.place(policy.default_span),
            policy.default_action.to_string(),
        ),
        Origin::Rule(id) => {
            let rule = policy.rule(id);
            let what = format!("{} {}", rule.action, rule.operations.words().join(", "));
            said(&rule.name, policy.sources.place(rule.span), what)
        }
    }
}

fn lines_of(policy: &Policy, group: &Group) -> Lines {
    let mut rules = Vec::new();
    for rule in &group.rules {
        let deny = if rule.deny { "audit deny " } else { "" };
        let globs = globs(&rule.patterns, rule.form).into_iter();
        rules.extend(globs.map(|glob| [deny, &glob, " ", &rule.rights].concat()));
    }
    Lines {
        comment: comment(policy, group.origin),
        rules,
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
    groups: Vec<Lines>,
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
    let groups = profile.files.iter().map(|g| lines_of(policy, g)).collect();
    Text {
        comments,
        abi: &profile.abi,
        name: &policy.name,
        attachment: attachment(&profile.attachment),
        rules: &profile.rules,
        groups,
    }
    .render()
    .map_err(|e| Diagnostic::error("E112", format!("the profile cannot be written: {e}")).into())
}
