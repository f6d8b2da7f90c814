//! A profile as data, and its text.

use crate::backend::Options;
use crate::backend::header;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::fidelity::{Ledger, show_bytes};
use crate::policy::{Component, Policy, Sequence, Token};
use askama::Template;
use std::cell::OnceCell;
use std::fmt::Write;

/// A filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// One of these patterns, by index in [`Profile::patterns`].
    Patterns(Vec<u32>),
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

/// A profile.
#[derive(Debug, Clone)]
pub struct Profile {
    pub default_allow: bool,
    pub rules: Vec<ProfileRule>,
    /// The patterns of all filters. Most are in many filters, and each is written once for all.
    pub patterns: Vec<Sequence>,
    /// Fixed rules for what the policy has no objects for: forks, signals to the subject's own processes, sysctl, Mach.
    pub with_base: bool,
}

impl Filter {
    /// Whether another filter has the same text.
    pub fn says(&self, other: &Self, patterns: &[Sequence]) -> bool {
        let all = |a: &[Self], b: &[Self]| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.says(b, patterns))
        };
        match (self, other) {
            (Self::Patterns(a), Self::Patterns(b)) => {
                let same = |(a, b): (&u32, &u32)| patterns[*a as usize] == patterns[*b as usize];
                a.len() == b.len() && a.iter().zip(b).all(same)
            }
            (Self::Any(a), Self::Any(b)) | (Self::All(a), Self::All(b)) => all(a, b),
            (Self::Not(a), Self::Not(b)) => a.says(b, patterns),
            (Self::Directory, Self::Directory) => true,
            (Self::Network { .. }, Self::Network { .. }) => self == other,
            _ => false,
        }
    }

    /// Whether the filter matches a path, by the model of SBPL's filters. For tests.
    #[cfg(test)]
    pub fn matches(&self, patterns: &[Sequence], path: &[u8], directory: bool) -> bool {
        match self {
            Self::Patterns(list) => {
                let p = crate::policy::PathPattern {
                    text: String::new(),
                    sequences: list.iter().map(|n| patterns[*n as usize].clone()).collect(),
                };
                crate::semantics::matches_path(&p, path)
            }
            Self::Any(list) => list.iter().any(|f| f.matches(patterns, path, directory)),
            Self::All(list) => list.iter().all(|f| f.matches(patterns, path, directory)),
            Self::Not(f) => !f.matches(patterns, path, directory),
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

/// Patterns. Each is written where it is first needed.
struct Written<'p> {
    patterns: &'p [Sequence],
    texts: Vec<OnceCell<Result<String, String>>>,
}

impl<'p> Written<'p> {
    fn new(patterns: &'p [Sequence]) -> Self {
        Self {
            patterns,
            texts: vec![OnceCell::new(); patterns.len()],
        }
    }

    fn pattern(&self, number: u32) -> Result<&str, String> {
        let number = number as usize;
        let text = self.texts[number].get_or_init(|| pattern(&self.patterns[number]));
        text.as_deref().map_err(Clone::clone)
    }
}

fn pattern(sequence: &Sequence) -> Result<String, String> {
    if let Some(path) = sequence.as_literal() {
        return Ok(format!("(literal {})", string(&path)?));
    }
    if let Some(path) = sequence.as_literal_tree() {
        return Ok(format!("(subpath {})", string(&path)?));
    }
    Ok(format!("(regex {})", string(&regex(sequence))?))
}

fn indent(out: &mut String, depth: usize) {
    out.push('\n');
    for _ in 0..depth {
        out.push_str("  ");
    }
}

fn write_filter(
    out: &mut String,
    filter: &Filter,
    written: &Written<'_>,
    depth: usize,
) -> Result<(), String> {
    let group = |out: &mut String, word: &str, list: &[Filter]| -> Result<(), String> {
        if let [one] = list {
            return write_filter(out, one, written, depth);
        }
        indent(out, depth);
        let _ = write!(out, "({word}");
        for f in list {
            write_filter(out, f, written, depth + 1)?;
        }
        out.push(')');
        Ok(())
    };
    match filter {
        Filter::Patterns(list) => {
            if let [one] = list.as_slice() {
                indent(out, depth);
                out.push_str(written.pattern(*one)?);
                return Ok(());
            }
            indent(out, depth);
            out.push_str("(require-any");
            for s in list {
                indent(out, depth + 1);
                out.push_str(written.pattern(*s)?);
            }
            out.push(')');
        }
        Filter::Any(list) => group(out, "require-any", list)?,
        Filter::All(list) => group(out, "require-all", list)?,
        Filter::Not(f) => {
            indent(out, depth);
            out.push_str("(require-not");
            write_filter(out, f, written, depth + 1)?;
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

#[derive(Template)]
#[template(path = "sbpl/profile.sb", escape = "none")]
struct Text<'a> {
    comments: Vec<String>,
    default: &'a str,
    with_base: bool,
    without_links: bool,
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

/// Checks that SBPL can hold every pattern of the policy.
fn names(policy: &Policy) -> Result<(), Diagnostics> {
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
    names(policy)?;
    let usage =
        ["run: sandbox-exec -f THIS-FILE COMMAND; nothing is installed, it ends with the program"];
    let comments = header::lines(policy, ledger, options, usage.map(str::to_owned));
    let written = Written::new(&profile.patterns);
    let mut rules = Vec::new();
    for r in &profile.rules {
        let mut out = format!(
            "; {}\n({} {}",
            r.comment,
            if r.allow { "allow" } else { "deny" },
            r.operations.join(" ")
        );
        write_filter(&mut out, &r.filter, &written, 1)
            .map_err(|message| Diagnostic::error("E110", message))?;
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
        rules,
    }
    .render()
    .map_err(|e| Diagnostic::error("E112", format!("the profile cannot be written: {e}")).into())
}

#[cfg(test)]
pub fn regex_text(sequence: &Sequence) -> String {
    String::from_utf8_lossy(&regex(sequence)).into_owned()
}
