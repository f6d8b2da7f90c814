//! A profile as data, and its text.

use super::moving;
use crate::backend::Options;
use crate::backend::header;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::fidelity::{Ledger, show_bytes};
use crate::policy::{Component, Operation, OperationSet, Policy, RuleId, Sequence, Token};
use askama::Template;
use rustc_hash::FxHashSet;
use std::fmt::Write;

/// A filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// One of these patterns, by index in [`Profile::patterns`].
    Patterns(Vec<u32>),
    /// What a rule of the policy matches: a number in [`Profile::named`].
    Named(u32),
    /// Any of these.
    Any(Vec<Filter>),
    /// All of these.
    All(Vec<Filter>),
    /// Not this.
    Not(Box<Filter>),
    /// The object is a directory.
    Directory,
    /// A network peer or local address: `(remote tcp "*:443")`.
    Network {
        /// `remote` or `local`.
        side: &'static str,
        /// `tcp`, `udp` or `ip`.
        protocol: &'static str,
        /// `*` or `localhost`.
        host: &'static str,
        /// `None`: every port.
        port: Option<u16>,
    },
}

/// One rule: operations and the filter under which they are allowed (or denied).
#[derive(Debug, Clone)]
pub struct ProfileRule {
    pub comment: &'static str,
    pub allow: bool,
    pub operations: Vec<&'static str>,
    pub filter: Filter,
}

/// A filter that is written once, under a name, and used by that name.
#[derive(Debug, Clone)]
pub struct NamedFilter {
    /// The rule of the policy that it is what matches; `None`: a rule of polc's own.
    pub rule: Option<RuleId>,
    /// What sets it apart from others of the rule, at the end of its name; the whole name where it is polc's own.
    pub part: &'static str,
    pub filter: Filter,
}

/// A profile.
#[derive(Debug, Clone)]
pub struct Profile {
    pub default_allow: bool,
    /// The filters with names, in the order of the policy's rules.
    pub named: Vec<NamedFilter>,
    pub rules: Vec<ProfileRule>,
    /// The patterns of all filters. Most are in many filters, and each is written once for all.
    pub patterns: Vec<Sequence>,
    /// Fixed rules for what the policy has no objects for: forks, signals to the subject's own processes, sysctl, Mach.
    pub with_base: bool,
}

impl Filter {
    /// Gives the filters with names the numbers that they have in the end.
    pub fn renumber(&mut self, numbers: &[u32]) {
        match self {
            Self::Named(n) => *n = numbers.get(*n as usize).copied().unwrap_or(*n),
            Self::Any(list) | Self::All(list) => list.iter_mut().for_each(|f| f.renumber(numbers)),
            Self::Not(f) => f.renumber(numbers),
            Self::Patterns(_) | Self::Directory | Self::Network { .. } => {}
        }
    }

    /// Whether the filter matches a path, for tests: by the meaning of SBPL's filters, in the model.
    #[cfg(test)]
    pub fn matches(&self, profile: &Profile, path: &[u8], directory: bool) -> bool {
        match self {
            Self::Named(n) => profile.named[*n as usize]
                .filter
                .matches(profile, path, directory),
            Self::Patterns(list) => {
                let p = crate::policy::PathPattern {
                    text: String::new(),
                    sequences: list
                        .iter()
                        .map(|n| profile.patterns[*n as usize].clone())
                        .collect(),
                };
                crate::semantics::matches_path(&p, path)
            }
            Self::Any(list) => list.iter().any(|f| f.matches(profile, path, directory)),
            Self::All(list) => list.iter().all(|f| f.matches(profile, path, directory)),
            Self::Not(f) => !f.matches(profile, path, directory),
            Self::Directory => directory,
            Self::Network { .. } => false,
        }
    }
}

/// The most bytes in a string of SBPL.
const MAX_STRING: usize = 1024;

fn string(text: &[u8]) -> Result<String, String> {
    if text.len() > MAX_STRING {
        return Err(format!(
            "`{}…` is longer than {MAX_STRING} bytes, as long as a path or pattern can be on macOS",
            show_bytes(&text[..60])
        ));
    }
    let text = std::str::from_utf8(text).map_err(|_| {
        format!(
            "`{}` is not UTF-8, and names on macOS are",
            show_bytes(text)
        )
    })?;
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() && c.is_ascii() => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    Ok(out)
}

/// A regular expression that matches exactly the paths of the sequence. Bytes of a name that is not UTF-8 stay
/// unchanged, and [`string`] refuses them.
fn regex(sequence: &Sequence) -> Vec<u8> {
    let mut out = b"^".to_vec();
    for component in &sequence.components {
        let Component::Name(tokens) = component else {
            out.extend_from_slice(b"(/[^/]+)*");
            continue;
        };
        out.push(b'/');
        if tokens.iter().all(|t| *t == Token::Star) {
            // No name is empty, so the root (`/`) is not one of its own children.
            out.extend_from_slice(b"[^/]+");
            continue;
        }
        for t in tokens.iter() {
            match t {
                Token::Byte(b) => {
                    if b"\\^$.[]|()*+?{}".contains(b) {
                        out.push(b'\\');
                    }
                    out.push(*b);
                }
                Token::Any => out.extend_from_slice(b"[^/]"),
                Token::Star => out.extend_from_slice(b"[^/]*"),
                Token::Class(set) => {
                    // A class with the bytes of non-ASCII text is a negated class.
                    let negated = (0x80..=0xf4).all(|b| set.contains(b));
                    let mut members = if negated { set.complement() } else { *set };
                    members.remove(0);
                    if negated {
                        // Names on macOS never have these bytes, because they are not UTF-8.
                        (0xf5..=0xff).for_each(|b| members.remove(b));
                    }
                    let mut inside = Vec::new();
                    // In brackets there are no escapes: `]` must come first, `^` must not, and `-` comes last.
                    if members.contains(b']') {
                        inside.push(b']');
                    }
                    for (lo, hi) in members.ranges() {
                        for b in lo..=hi {
                            if !b"]^-".contains(&b) {
                                inside.push(b);
                            }
                        }
                    }
                    if members.contains(b'^') {
                        inside.push(b'^');
                    }
                    if members.contains(b'-') {
                        inside.push(b'-');
                    }
                    if inside == b"^" && !negated {
                        out.extend_from_slice(b"\\^");
                        continue;
                    }
                    out.push(b'[');
                    if negated {
                        out.push(b'^');
                    }
                    out.extend_from_slice(&inside);
                    out.push(b']');
                }
            }
        }
    }
    if sequence.components.is_empty() {
        out.push(b'/');
    }
    out.push(b'$');
    out
}

/// The width that lists of names and paths are wrapped at.
const WIDTH: usize = 110;

/// A pattern as the word of a filter and its string.
fn pattern(sequence: &Sequence) -> Result<(&'static str, String), String> {
    if let Some(path) = sequence.as_literal() {
        return Ok(("literal", string(&path)?));
    }
    if let Some(path) = sequence.as_literal_tree() {
        return Ok(("subpath", string(&path)?));
    }
    Ok(("regex", string(&regex(sequence))?))
}

fn indent(out: &mut String, depth: usize) {
    out.push('\n');
    for _ in 0..depth {
        out.push_str("  ");
    }
}

/// A list with this word before it, on as few lines as its parts need.
fn write_list<'t>(
    out: &mut String,
    word: &str,
    parts: impl IntoIterator<Item = &'t str>,
    depth: usize,
) {
    indent(out, depth);
    let _ = write!(out, "({word}");
    let mut column = 2 * depth + 1 + word.len();
    for part in parts {
        let width = 1 + part.chars().count();
        if column + width > WIDTH && column > 2 * depth + 1 + word.len() {
            indent(out, depth + 1);
            column = 2 * depth + 1 + width;
        } else {
            out.push(' ');
            column += width;
        }
        out.push_str(part);
    }
    out.push(')');
}

/// Writes filters.
struct Writer<'p> {
    patterns: &'p [Sequence],
    /// By the number of a filter with a name.
    names: Vec<String>,
}

impl Writer<'_> {
    /// Strings of one word stand together.
    fn patterns(&self, out: &mut String, list: &[u32], depth: usize) -> Result<(), String> {
        let mut by_word: [(&str, Vec<String>); 3] =
            ["subpath", "literal", "regex"].map(|word| (word, Vec::new()));
        for number in list {
            let (word, text) = pattern(&self.patterns[*number as usize])?;
            for (of, texts) in &mut by_word {
                if *of == word && !texts.contains(&text) {
                    texts.push(text);
                    break;
                }
            }
        }
        let used: Vec<_> = by_word.iter().filter(|(_, t)| !t.is_empty()).collect();
        let depth = match used.len() {
            1 => depth,
            _ => {
                indent(out, depth);
                out.push_str("(require-any");
                depth + 1
            }
        };
        for (word, texts) in &used {
            write_list(out, word, texts.iter().map(String::as_str), depth);
        }
        if used.len() != 1 {
            out.push(')');
        }
        Ok(())
    }

    fn group(
        &self,
        out: &mut String,
        word: &str,
        list: &[Filter],
        depth: usize,
    ) -> Result<(), String> {
        if let [one] = list {
            return self.filter(out, one, depth);
        }
        let name = |f: &Filter| match f {
            Filter::Named(n) => Some(self.names[*n as usize].as_str()),
            _ => None,
        };
        let names: Vec<&str> = list.iter().filter_map(name).collect();
        if names.len() == list.len() {
            write_list(out, word, names, depth);
            return Ok(());
        }
        indent(out, depth);
        let _ = write!(out, "({word}");
        for f in list {
            self.filter(out, f, depth + 1)?;
        }
        out.push(')');
        Ok(())
    }

    fn filter(&self, out: &mut String, filter: &Filter, depth: usize) -> Result<(), String> {
        match filter {
            Filter::Patterns(list) => self.patterns(out, list, depth)?,
            Filter::Named(n) => {
                indent(out, depth);
                out.push_str(&self.names[*n as usize]);
            }
            Filter::Any(list) => self.group(out, "require-any", list, depth)?,
            Filter::All(list) => self.group(out, "require-all", list, depth)?,
            Filter::Not(f) => {
                indent(out, depth);
                out.push_str("(require-not");
                self.filter(out, f, depth + 1)?;
                out.push(')');
            }
            Filter::Directory => {
                indent(out, depth);
                out.push_str("(vnode-type DIRECTORY)");
            }
            Filter::Network {
                side,
                protocol,
                host,
                port,
            } => {
                indent(out, depth);
                let port = port.map_or_else(|| "*".to_owned(), |p| p.to_string());
                let _ = write!(out, "({side} {protocol} \"{host}:{port}\")");
            }
        }
        Ok(())
    }
}

/// A name for each filter that has one. Scheme reads letters of either case as the same.
fn names(named: &[NamedFilter], policy: &Policy) -> Vec<String> {
    let mut taken: FxHashSet<String> = FxHashSet::default();
    let plain = |c: char| match c {
        c if c.is_ascii_alphanumeric() || "/_.-".contains(c) => c.to_ascii_lowercase(),
        _ => '-',
    };
    let mut out = Vec::with_capacity(named.len());
    for (at, n) in named.iter().enumerate() {
        let mut name = match n.rule {
            Some(id) => format!("rule-{}", policy.rule(id).name),
            None => "polc".to_owned(),
        };
        name = name.chars().map(plain).collect();
        name.push_str(n.part);
        if taken.contains(&name) {
            let _ = write!(name, "-{at}");
        }
        while !taken.insert(name.clone()) {
            name.push('-');
        }
        out.push(name);
    }
    out
}

/// What a filter with a name is of: `credentials/ssh (builtin:credentials:12): deny read, write`.
fn heading(named: &NamedFilter, policy: &Policy) -> String {
    let Some(id) = named.rule else {
        return match named.part {
            moving::PART => "directories above what is denied: neither renamed nor replaced",
            _ => "the runtime base: what dyld and every program need to start",
        }
        .to_owned();
    };
    let rule = policy.rule(id);
    let whole = |set: OperationSet| set.iter().all(|o| rule.operations.contains(o));
    let mut words: Vec<&str> = Vec::new();
    for o in rule.operations.iter() {
        let word = match o {
            Operation::List if rule.operations.contains(Operation::Read) => continue,
            o if OperationSet::WRITE.contains(o) && whole(OperationSet::WRITE) => "write",
            o => o.name(),
        };
        if !words.contains(&word) {
            words.push(word);
        }
    }
    format!(
        "{} ({}): {} {}",
        show_bytes(rule.name.as_bytes()),
        policy.sources.place(rule.span),
        rule.action,
        words.join(", ")
    )
}

#[derive(Template)]
#[template(path = "sbpl/profile.sb", escape = "none")]
struct Text<'a> {
    comments: Vec<String>,
    default: &'a str,
    with_base: bool,
    without_links: bool,
    named: Vec<String>,
    rules: Vec<String>,
}

/// Whether SBPL can certainly hold the pattern. Does not write it.
fn fits(sequence: &Sequence) -> bool {
    // At most this much is written for each byte and each `**`.
    let longest = sequence.components.iter().try_fold(16, |sum, c| match c {
        Component::AnyDepth => Some(sum + 9),
        Component::Name(_) => {
            let name = c.literal().filter(|name| name.is_ascii())?;
            Some(sum + 1 + 2 * name.len())
        }
    });
    longest.is_some_and(|n| n <= MAX_STRING)
}

/// That SBPL can hold every pattern of the policy.
fn fitting(policy: &Policy) -> Result<(), Diagnostics> {
    let mut refused = Diagnostics {
        items: Vec::new(),
        sources: policy.sources.clone(),
    };
    for rule in &policy.rules {
        if let Some(message) = rule
            .sequences()
            .into_iter()
            .filter(|s| !fits(s))
            .find_map(|s| pattern(s).err())
        {
            refused.items.push(
                Diagnostic::error(
                    "E110",
                    format!("SBPL cannot express the rule `{}`: {message}", rule.name),
                )
                .at(rule.span, "in this rule")
                .help("leave the target `sbpl` out, or name a directory above it"),
            );
        }
    }
    if refused.items.is_empty() {
        Ok(())
    } else {
        Err(refused)
    }
}

/// The profile's text.
///
/// # Errors
/// SBPL cannot hold a name.
pub fn render(
    profile: &Profile,
    policy: &Policy,
    ledger: &Ledger,
    options: &Options,
) -> Result<String, Diagnostics> {
    fitting(policy)?;
    let usage =
        ["run: sandbox-exec -f THIS-FILE COMMAND; nothing is installed, it ends with the program"];
    let comments = header::lines(policy, ledger, options, usage.map(str::to_owned));
    let writer = Writer {
        patterns: &profile.patterns,
        names: names(&profile.named, policy),
    };
    let refused = |message| Diagnostic::error("E110", message);
    let mut named = Vec::with_capacity(profile.named.len());
    let mut above: Option<Option<RuleId>> = None;
    for (n, name) in profile.named.iter().zip(&writer.names) {
        let mut out = String::new();
        // What is told of a rule stands once above its parts.
        if n.rule.is_none() || above != Some(n.rule) {
            let _ = writeln!(out, ";; {}", heading(n, policy));
        }
        above = Some(n.rule);
        let _ = write!(out, "(define {name}");
        writer.filter(&mut out, &n.filter, 1).map_err(refused)?;
        out.push(')');
        named.push(out);
    }
    let mut rules = Vec::new();
    for r in &profile.rules {
        let mut out = format!(
            "; {}\n({} {}",
            r.comment,
            if r.allow { "allow" } else { "deny" },
            r.operations.join(" ")
        );
        writer.filter(&mut out, &r.filter, 1).map_err(refused)?;
        out.push(')');
        rules.push(out);
    }
    let default = if profile.default_allow {
        "allow"
    } else {
        "deny"
    };
    // `(deny default)` itself refuses links and clones. If they are denied for all files, it does not matter which of
    // the two names a filter would check.
    let about_files = |o: &&str| o.starts_with("file-") || o.starts_with("process-exec");
    let without_links = profile.default_allow
        && profile
            .rules
            .iter()
            .any(|r| !r.allow && r.operations.iter().any(about_files));
    Text {
        comments,
        default,
        with_base: profile.with_base,
        without_links,
        named,
        rules,
    }
    .render()
    .map_err(|e| Diagnostic::error("E112", format!("the profile cannot be written: {e}")).into())
}

#[cfg(test)]
pub fn regex_text(sequence: &Sequence) -> String {
    String::from_utf8_lossy(&regex(sequence)).into_owned()
}
