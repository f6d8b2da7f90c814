//! Expands `~` and `${…}` to text that a pattern matches literally.

use super::node::Node;
use super::reader::{Report, nearest, quoted};
use crate::diagnostics::{Diagnostic, codes};
use crate::policy::{GitFiles, Subject, escape_literal};
use std::borrow::Cow;

/// The variables of the language.
pub(crate) const VARIABLES: [&str; 3] = ["home", "workspace", "tmp"];

/// The variables of a repository. Each may stand for several paths, or for none.
pub(crate) const GIT_VARIABLES: [&str; 4] =
    ["git_dir", "git_common_dir", "git_hooks", "git_config"];

/// The use of a pattern. It decides what `${git_hooks}` and `${git_config}` stand for in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// The rule allows something, so the names from the repository's own configuration are left out.
    Allowing,
    /// Every other use.
    Other,
}

/// The paths that a variable of a repository stands for.
pub(crate) fn git_values<'s>(subject: &'s Subject, name: &str, used: Use) -> &'s [Vec<u8>] {
    let files = |f: &'s GitFiles| match used {
        Use::Allowing => f.trusted.as_slice(),
        Use::Other => f.all.as_slice(),
    };
    match name {
        "git_dir" => &subject.git.dir,
        "git_common_dir" => &subject.git.common_dir,
        "git_hooks" => files(&subject.git.hooks),
        "git_config" => files(&subject.git.config),
        _ => &[],
    }
}

/// Sets the paths that a variable of a repository stands for.
pub(crate) fn set_git(subject: &mut Subject, name: &str, paths: Vec<Vec<u8>>) {
    let files = |paths: Vec<Vec<u8>>| GitFiles {
        trusted: paths.clone(),
        all: paths,
    };
    match name {
        "git_dir" => subject.git.dir = paths,
        "git_common_dir" => subject.git.common_dir = paths,
        "git_hooks" => subject.git.hooks = files(paths),
        "git_config" => subject.git.config = files(paths),
        _ => {}
    }
}

/// The subjects for each value of the repository's variable at the beginning of a text. Without such a variable, this
/// is the subject unchanged. Without a repository, there are none.
pub(crate) fn for_each_value<'s>(
    text: &str,
    subject: &'s Subject,
    used: Use,
) -> Vec<Cow<'s, Subject>> {
    let name = text
        .strip_prefix("${")
        .and_then(|t| t.split_once('}'))
        .map(|(name, _)| name)
        .filter(|name| GIT_VARIABLES.contains(name));
    let Some(name) = name else {
        return vec![Cow::Borrowed(subject)];
    };
    git_values(subject, name, used)
        .iter()
        .map(|value| {
            let mut one = subject.clone();
            set_git(&mut one, name, vec![value.clone()]);
            Cow::Owned(one)
        })
        .collect()
}

/// The value of a variable, if the subject gives one.
pub(crate) fn value<'s>(subject: &'s Subject, name: &str) -> Option<&'s [u8]> {
    match name {
        "home" => subject.home.as_deref(),
        "workspace" => subject.workspace.as_deref(),
        "tmp" => subject.tmp.as_deref(),
        _ => git_values(subject, name, Use::Other)
            .first()
            .map(Vec::as_slice),
    }
}

/// A text with expanded variables, and the origin of each piece.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Expanded {
    pub text: String,
    /// (Offset in `text`, offset in the original, whether the piece is unchanged), ascending.
    pieces: Vec<(usize, usize, bool)>,
}

impl Expanded {
    /// The offset in the original for an offset in the text.
    pub fn origin(&self, at: usize) -> usize {
        let i = self.pieces.partition_point(|p| p.0 <= at);
        match i.checked_sub(1).map(|i| self.pieces[i]) {
            Some((start, original, true)) => original + (at - start),
            Some((_, original, false)) => original,
            None => at,
        }
    }
}

/// The error in a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExpandError {
    pub code: &'static str,
    pub from: usize,
    pub to: usize,
    pub message: String,
    pub help: Option<String>,
    /// A replacement for `from..to`.
    pub replacement: Option<String>,
}

/// How a value is inserted, and what else is special.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A path pattern: values are escaped, and `\` escapes the next byte.
    Pattern,
    /// Literal text: values stay unchanged, `\$` is a `$`, and `~` is not special.
    Text,
    /// A path: `~/` and `${…}` are special only at its beginning.
    Path,
}

/// Expands a text.
///
/// # Errors
/// The first variable that cannot be expanded.
pub(crate) fn expand(text: &str, subject: &Subject, mode: Mode) -> Result<Expanded, ExpandError> {
    let mut out = Expanded::default();
    out.pieces.push((0, 0, true));
    let bytes = text.as_bytes();
    let mut at = 0;
    if mode != Mode::Text && bytes.first() == Some(&b'~') {
        let name: usize = text[1..].find('/').map_or(text.len(), |i| i + 1);
        if name > 1 {
            return Err(ExpandError {
                code: codes::TILDE_USER,
                from: 0,
                to: name,
                message: format!(
                    "{} names another user's home directory",
                    quoted(&text[..name])
                ),
                help: Some(
                    "write the path out; a name that begins with `~` is written `\\~`".to_owned(),
                ),
                replacement: None,
            });
        }
        put(&mut out, "home", "~", (0, 1), text, subject, mode)?;
        at = 1;
        out.pieces.push((out.text.len(), at, true));
    }
    if mode != Mode::Text
        && let Some(wrong) = environment_variable(text)
    {
        return Err(wrong);
    }
    while at < bytes.len() {
        let rest = &text[at..];
        if mode == Mode::Pattern && rest.starts_with('\\') {
            let next = rest[1..].chars().next().map_or(1, |c| 1 + c.len_utf8());
            out.text.push_str(&rest[..next]);
            at += next;
        } else if mode == Mode::Text && rest.starts_with("\\$") {
            out.text.push('$');
            at += 2;
            out.pieces.push((out.text.len(), at, true));
        } else if rest.starts_with("${") && (mode != Mode::Path || at == 0) {
            let Some(end) = rest.find('}') else {
                return Err(ExpandError {
                    code: codes::UNKNOWN_VARIABLE,
                    from: at,
                    to: text.len(),
                    message: "a `${` without its `}`".to_owned(),
                    help: Some(format!(
                        "write {} for the characters themselves",
                        themselves(mode)
                    )),
                    replacement: None,
                });
            };
            let name = &rest[2..end];
            put(
                &mut out,
                name,
                &rest[..=end],
                (at, at + end + 1),
                text,
                subject,
                mode,
            )?;
            at += end + 1;
            out.pieces.push((out.text.len(), at, true));
        } else {
            let next = rest.chars().next().map_or(1, char::len_utf8);
            out.text.push_str(&rest[..next]);
            at += next;
        }
    }
    Ok(out)
}

/// A path that begins like a shell's, `$HOME/x`. No path of the language begins with a `$` alone.
fn environment_variable(text: &str) -> Option<ExpandError> {
    let rest = text.strip_prefix('$')?;
    let length = rest
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(rest.len());
    let name = rest.get(..length).filter(|n| !n.is_empty())?;
    let near = known_as(name).or_else(|| nearest(&name.to_ascii_lowercase(), VARIABLES));
    Some(ExpandError {
        code: codes::UNKNOWN_VARIABLE,
        from: 0,
        to: length + 1,
        message: format!(
            "{} is not expanded: the policy would mean something else for each caller",
            quoted(&text[..length + 1])
        ),
        help: near.is_none().then(|| {
            "write the path out, or begin it with `${home}`, `${workspace}` or `${tmp}`".to_owned()
        }),
        replacement: near.map(|n| format!("${{{n}}}")),
    })
}

/// Our variable for a variable of the environment, or for another tool's word.
fn known_as(name: &str) -> Option<&'static str> {
    match name {
        "HOME" => Some("home"),
        "TMPDIR" => Some("tmp"),
        "PWD" | "cwd" | "repo" | "project" => Some("workspace"),
        _ => None,
    }
}

/// How to write the text `${` itself.
fn themselves(mode: Mode) -> &'static str {
    match mode {
        // With a `\` before the `$`, the braces would stay, and they are alternatives.
        Mode::Pattern => "`$\\{…\\}`",
        Mode::Text | Mode::Path => "`\\${`",
    }
}

fn put(
    out: &mut Expanded,
    name: &str,
    written: &str,
    (from, to): (usize, usize),
    text: &str,
    subject: &Subject,
    mode: Mode,
) -> Result<(), ExpandError> {
    let error = |code, message: String, help: Option<String>, replacement: Option<String>| {
        Err(ExpandError {
            code,
            from,
            to,
            message,
            help,
            replacement,
        })
    };
    let is_git = GIT_VARIABLES.contains(&name);
    if is_git && (mode != Mode::Pattern || from > 0) {
        return error(
            codes::UNKNOWN_VARIABLE,
            format!("`{written}` can only be at the beginning of a path pattern"),
            Some("it can have several values, or none".to_owned()),
            None,
        );
    }
    if !is_git && !VARIABLES.contains(&name) {
        let known = VARIABLES.into_iter().chain(GIT_VARIABLES);
        let near = nearest(name, known).or_else(|| known_as(name));
        return error(
            codes::UNKNOWN_VARIABLE,
            format!("unknown variable {}", quoted(written)),
            near.is_none().then(|| {
                format!(
                    "it is `${{home}}`, `${{workspace}}`, `${{tmp}}`, `${{git_dir}}`, `${{git_common_dir}}`, `${{git_hooks}}` or `${{git_config}}`; write {} for the characters themselves",
                    themselves(mode)
                )
            }),
            near.map(|n| format!("${{{n}}}")),
        );
    }
    let Some(value) = value(subject, name) else {
        if is_git {
            return error(
                codes::UNDEFINED_VARIABLE,
                format!("`{written}` has no value: the workspace is no repository"),
                Some(format!(
                    "it stands at the beginning of a path; `--set {name}=PATH` sets it"
                )),
                None,
            );
        }
        return error(
            codes::UNDEFINED_VARIABLE,
            format!("`{written}` has no value: the policy has no `subject.{name}`"),
            Some(format!(
                "add `subject: {{{name}: auto}}`, or a path in place of `auto`"
            )),
            None,
        );
    };
    // The root directory and a `/` after it are one `/`.
    let value = if value == b"/" && text[to..].starts_with('/') {
        b""
    } else {
        value
    };
    out.pieces.push((out.text.len(), from, false));
    match mode {
        Mode::Pattern => out.text.push_str(&escape_literal(value)),
        Mode::Text | Mode::Path => match std::str::from_utf8(value) {
            Ok(v) => out.text.push_str(v),
            Err(_) => {
                return error(
                    codes::BAD_SUBJECT_PATH,
                    format!("the value of `{written}` is not UTF-8, and stands in a text"),
                    None,
                    None,
                );
            }
        },
    }
    Ok(())
}

/// Expands the text of a node, and reports an error at its place.
pub(crate) fn expand_node(
    node: &Node,
    text: &str,
    subject: &Subject,
    mode: Mode,
    report: &mut Report,
) -> Option<Expanded> {
    match expand(text, subject, mode) {
        Ok(e) => Some(e),
        Err(e) => {
            let span = node.part(e.from, e.to);
            let mut d = Diagnostic::error(e.code, e.message).at(span, "");
            if let Some(h) = e.help {
                d = d.help(h);
            }
            if let Some(r) = e.replacement
                && span.end - span.start == e.to - e.from
            {
                let t = format!("did you mean `{r}`?");
                d = d.suggest(span, r, t);
            }
            report.push(d);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::PathPattern;

    fn subject() -> Subject {
        Subject {
            home: Some(b"/h/*{a,b}".to_vec()),
            workspace: Some(b"/w\xff".to_vec()),
            tmp: Some(b"/".to_vec()),
            ..Subject::default()
        }
    }

    fn literal(t: &str) -> Option<Vec<u8>> {
        let e = expand(t, &subject(), Mode::Pattern).unwrap();
        PathPattern::parse(&e.text).unwrap().sequences[0].as_literal()
    }

    #[test]
    fn values_are_literal_text() {
        assert_eq!(literal("~/x").unwrap(), b"/h/*{a,b}/x");
        assert_eq!(literal("~").unwrap(), b"/h/*{a,b}");
        assert_eq!(literal("${workspace}/x").unwrap(), b"/w\xff/x");
        assert_eq!(literal("${tmp}/x").unwrap(), b"/x");
        assert_eq!(literal("${tmp}").unwrap(), b"/");
        assert_eq!(literal("/a/~/~b").unwrap(), b"/a/~/~b");
        assert_eq!(literal(r"/a/$\{home\}").unwrap(), b"/a/${home}");
    }

    #[test]
    fn an_offset_leads_back() {
        let t = "${home}/[x/~";
        let e = expand(t, &subject(), Mode::Pattern).unwrap();
        let at = PathPattern::parse(&e.text).unwrap_err().offset;
        assert_eq!(&t[e.origin(at)..=e.origin(at)], "[");
        // An offset inside a value leads to the variable.
        assert_eq!(e.origin(2), 0);
    }

    #[test]
    fn texts_keep_what_is_special_in_patterns() {
        let s = Subject {
            home: Some(b"/h*".to_vec()),
            ..Subject::default()
        };
        assert_eq!(
            expand(r"~:${home}\n\${home} $USER", &s, Mode::Text)
                .unwrap()
                .text,
            r"~:/h*\n${home} $USER"
        );
        assert!(
            expand("${workspace}", &subject(), Mode::Text).is_err(),
            "bytes that are not UTF-8 in a text"
        );
    }
}
