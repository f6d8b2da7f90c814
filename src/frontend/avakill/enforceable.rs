//! What a kernel layer can keep of a rule's conditions, for one kind of tool.
//!
//! AvaKill looks at the arguments of a call. A kernel sees a path, a program or a host. For a rule and a kind of tool
//! there are three answers:
//!
//! - The rule never matches: the condition needs an argument that the tool does not have.
//! - The rule is kept: the condition is about the object itself.
//! - The rule is kept in part. The action decides in which direction: see [`super::lower`].

use super::file::Conditions;
use super::tools::{Kind, kind_of_argument};
use crate::policy::{ByteSet, Component, Host, HostPattern, PathPattern, Sequence, Token};

/// What a kernel layer can keep of the conditions of a rule.
#[derive(Debug, Default)]
pub(super) struct Enforceable {
    /// The rule cannot match a tool of this kind.
    pub never: bool,
    /// A negated condition is about an argument that tools of this kind do not have, so it always holds.
    pub absent: bool,
    /// Conditions that a kernel layer cannot see.
    pub unseen: Vec<String>,
    /// Only these files.
    pub paths: Option<Vec<PathPattern>>,
    /// None of these files.
    pub except: Vec<PathPattern>,
    /// Only these programs.
    pub commands: Option<Vec<String>>,
    /// Only these peers.
    pub hosts: Option<Vec<HostPattern>>,
    /// None of these peers.
    pub except_hosts: Vec<HostPattern>,
}

/// The most texts of one condition that become patterns. Each matches anywhere in a path, which is expensive.
const MAX_TEXTS: usize = 16;

/// What can be kept of the conditions of a rule, for one kind of tool.
pub(super) fn enforceable(kind: Kind, c: &Conditions) -> Enforceable {
    let mut out = Enforceable::default();
    let other = |argument: &str| kind_of_argument(argument).is_some_and(|k| k != kind);
    for (argument, texts) in &c.args_match {
        if other(argument) {
            out.never = true;
        } else if let (Kind::Web, None, Some(h)) = (kind, &out.hosts, hosts_of(argument, texts)) {
            out.hosts = Some(h);
        } else if let (Kind::File, None, Some(p)) = (kind, &out.paths, patterns_of(argument, texts))
        {
            out.paths = Some(p);
        } else {
            out.unseen.push(format!("`args_match` on `{argument}`"));
        }
    }
    for (argument, texts) in &c.args_not_match {
        if other(argument) {
            out.absent = true;
        } else if let (Kind::Web, Some(h)) = (kind, hosts_of(argument, texts)) {
            out.except_hosts.extend(h);
        } else if let (Kind::File, Some(p)) = (kind, patterns_of(argument, texts)) {
            out.except.extend(p);
        } else {
            out.unseen.push(format!("`args_not_match` on `{argument}`"));
        }
    }
    // A tool with a path argument that is not a command works on files.
    let on_commands = |argument: &str| kind_of_argument(argument) == Some(Kind::Shell);
    for (argument, trees) in &c.path_match {
        match kind {
            Kind::File if on_commands(argument) || other(argument) => out.never = true,
            Kind::File => {
                // Two conditions are about the directory of a file. One is kept, and the other makes it narrower.
                if out.paths.is_some() {
                    out.unseen.push(format!(
                        "`path_match` on `{argument}` together with another condition on paths"
                    ));
                }
                out.paths = Some(trees.iter().map(|t| PathPattern::tree(t)).collect());
            }
            Kind::Shell if on_commands(argument) => {
                out.unseen.push(format!("`path_match` on `{argument}`"))
            }
            Kind::Shell | Kind::Web => out.never = true,
        }
    }
    for (argument, trees) in &c.path_not_match {
        match kind {
            Kind::File if on_commands(argument) || other(argument) => out.absent = true,
            Kind::File => out
                .except
                .extend(trees.iter().map(|t| PathPattern::tree(t))),
            Kind::Shell if on_commands(argument) => {
                out.unseen.push(format!("`path_not_match` on `{argument}`"))
            }
            Kind::Shell | Kind::Web => out.absent = true,
        }
    }
    if c.path_not_match.len() > 1 {
        // The condition fails only if all arguments lie in their trees.
        out.unseen
            .push("`path_not_match` on several arguments".to_owned());
    }
    if c.shell_safe && kind == Kind::Shell {
        out.unseen.push("`shell_safe`".to_owned());
    }
    if !c.commands.is_empty() {
        if kind == Kind::Shell {
            out.commands = Some(c.commands.clone());
        } else {
            out.never = true;
        }
    }
    if !c.content_scan.is_empty() {
        out.unseen.push("`content_scan`".to_owned());
    }
    out
}

/// The hosts that texts in a URL name, if each text names one. A URL with such a host contains the text. So a denial of
/// these hosts denies nothing that the file allows, and an allowance allows nothing that the file denies.
fn hosts_of(argument: &str, texts: &[String]) -> Option<Vec<HostPattern>> {
    if kind_of_argument(argument) != Some(Kind::Web) || texts.is_empty() {
        return None;
    }
    let mut out = Vec::new();
    for t in texts {
        // `*` is an ordinary character there, and no host in a URL has one.
        if t.contains('*') {
            continue;
        }
        let t = t.to_ascii_lowercase();
        let bare = t
            .strip_prefix("https://")
            .or_else(|| t.strip_prefix("http://"));
        let with_scheme = bare.is_some();
        let t = bare.unwrap_or(&t);
        let (name, only_below) = match t.strip_prefix('.') {
            Some(name) => (name, true),
            None => (t, false),
        };
        let name = name.strip_suffix('/').unwrap_or(name);
        let fine = |label: &str| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        // A name without a dot, or with a path after it, is more or less than a host.
        if !name.contains('.') || !name.split('.').all(fine) {
            return None;
        }
        let host = HostPattern::parse(name).ok()?;
        let below = !with_scheme && !matches!(host.host, Host::Addresses(_));
        if below {
            out.push(HostPattern::parse(&format!("*.{name}")).ok()?);
        }
        if !only_below {
            out.push(host);
        }
    }
    Some(out)
}

/// Patterns for the paths with one of these texts in a name, in any case of ASCII letters. Texts with a `/`, and texts
/// that most paths contain, are left to the gate.
fn patterns_of(argument: &str, texts: &[String]) -> Option<Vec<PathPattern>> {
    let lower = argument.to_ascii_lowercase();
    let of_a_path = kind_of_argument(argument) == Some(Kind::File)
        && (lower.contains("path") || lower.contains("file"));
    if !of_a_path || texts.is_empty() || texts.len() > MAX_TEXTS {
        return None;
    }
    texts.iter().map(|t| containing(t)).collect()
}

fn containing(text: &str) -> Option<PathPattern> {
    let letters = text.bytes().filter(u8::is_ascii_alphanumeric).count();
    if letters < 2
        || text.len() < 3
        || !text.is_ascii()
        || text.contains(['/', '\0', '*', '?', '~', '$'])
    {
        return None;
    }
    let mut name = vec![Token::Star];
    for b in text.bytes() {
        let (low, high) = (b.to_ascii_lowercase(), b.to_ascii_uppercase());
        name.push(if low == high {
            Token::Byte(b)
        } else {
            let mut set = ByteSet::EMPTY;
            set.insert(low);
            set.insert(high);
            Token::Class(set)
        });
    }
    name.push(Token::Star);
    let sequence = Sequence {
        components: vec![
            Component::AnyDepth,
            Component::Name(name.into()),
            Component::AnyDepth,
        ],
    };
    Some(PathPattern {
        text: sequence.to_string(),
        sequences: vec![sequence],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::matches_path;

    #[test]
    fn a_text_in_a_path_is_a_pattern_where_it_says_enough() {
        let p = containing(".env").unwrap();
        for path in ["/w/.env", "/w/.ENV.local", "/w/x.env/y"] {
            assert!(matches_path(&p, path.as_bytes()), "{path}");
        }
        assert!(!matches_path(&p, b"/w/env") && !matches_path(&p, b"/"));
        assert_eq!(PathPattern::parse(&p.text).unwrap().sequences, p.sequences);
        for little in [".", "/", "a/b", "..", ".x", "*.pem", ""] {
            assert!(containing(little).is_none(), "{little}");
        }
    }

    #[test]
    fn a_text_in_a_url_is_a_host_where_it_names_one() {
        let of = |t: &str| {
            hosts_of("url", &[t.to_owned()])
                .map(|h| h.into_iter().map(|h| h.text).collect::<Vec<_>>())
        };
        assert_eq!(of("Docs.RS/").unwrap(), ["*.docs.rs", "docs.rs"]);
        assert_eq!(of("https://docs.rs").unwrap(), ["docs.rs"]);
        assert_eq!(of(".docs.rs").unwrap(), ["*.docs.rs"]);
        assert!(of("*.docs.rs").unwrap().is_empty());
        assert_eq!(of("169.254.169.254").unwrap(), ["169.254.169.254"]);
        assert_eq!(of("localhost"), None);
        assert_eq!(of("github.com/acme"), None);
        assert_eq!(hosts_of("query", &["docs.rs".to_owned()]), None);
    }
}
