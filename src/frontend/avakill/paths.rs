//! Paths as AvaKill writes them: literal text with `~`, `$VARIABLE` and `__workspace__`, relative ones too.

use crate::policy::Subject;

/// What is wrong with a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadPath {
    /// Whether a variable is the reason.
    pub variable: bool,
    /// One line.
    pub message: String,
    /// What to do.
    pub help: &'static str,
}

fn bad<T>(variable: bool, message: String, help: &'static str) -> Result<T, BadPath> {
    Err(BadPath {
        variable,
        message,
        help,
    })
}

/// The path as bytes: absolute, without `.`, `..`, `//`, and without a `/` at its end.
///
/// AvaKill expands variables from the environment of its own process, and resolves relative paths from its own
/// directory. A compiler has neither. It knows the variables for the subject's home, workspace and temporary directory.
/// Relative paths start at the workspace. It does not follow symbolic links, because the file system is that of another
/// machine or time.
///
/// # Errors
/// A variable without a value here, another user's home, or not a path.
pub(super) fn absolute(
    text: &str,
    subject: &Subject,
    workspace: Option<&[u8]>,
) -> Result<Vec<u8>, BadPath> {
    const ELSEWHERE: &str = "write the path out: an artifact must not depend on the environment of the one who compiles it";
    let Some(workspace) = workspace.or(subject.workspace.as_deref()) else {
        return bad(
            true,
            "the workspace is not known".to_owned(),
            "say where it is with `--set workspace=PATH`",
        );
    };
    if text.is_empty() {
        return bad(
            false,
            "an empty path matches nothing".to_owned(),
            "leave it out",
        );
    }
    if text.contains('\0') {
        return bad(false, "a path must not hold a NUL byte".to_owned(), "");
    }
    let home = || match &subject.home {
        Some(h) => Ok(h.as_slice()),
        None => bad(
            true,
            "the home directory is not known".to_owned(),
            "say where it is with `--set home=PATH`",
        ),
    };
    let mut out: Vec<u8> = Vec::new();
    let mut rest = text;
    if let Some(after) = rest.strip_prefix('~') {
        if !after.is_empty() && !after.starts_with('/') {
            return bad(
                true,
                format!("`{text}` names another user's home directory"),
                "write the path out",
            );
        }
        out.extend(home()?);
        rest = after;
    }
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("__workspace__") {
            out.extend(workspace);
            rest = after;
            continue;
        }
        if c == '$' {
            let (name, after) = variable(&rest[1..]);
            if !name.is_empty() {
                match name {
                    "HOME" => out.extend(home()?),
                    "PWD" | "AVAKILL_WORKSPACE" => out.extend(workspace),
                    "TMPDIR" => match &subject.tmp {
                        Some(t) => out.extend(t),
                        None => {
                            return bad(
                                true,
                                "the temporary directory is not known".to_owned(),
                                "say where it is with `--set tmp=PATH`",
                            );
                        }
                    },
                    _ => {
                        return bad(
                            true,
                            format!("the variable `${name}` has no value here"),
                            ELSEWHERE,
                        );
                    }
                }
                rest = after;
                continue;
            }
        }
        let length = c.len_utf8();
        out.extend(&rest.as_bytes()[..length]);
        rest = &rest[length..];
    }
    if out.first() != Some(&b'/') {
        let relative = std::mem::take(&mut out);
        out.extend(workspace);
        out.push(b'/');
        out.extend(relative);
    }
    Ok(normal(&out))
}

/// The name after a `$`, with or without braces, and the rest.
fn variable(text: &str) -> (&str, &str) {
    let end = |t: &str| {
        t.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(t.len())
    };
    if let Some(inner) = text.strip_prefix('{') {
        return match inner.split_once('}') {
            Some((name, after)) if end(name) == name.len() => (name, after),
            _ => ("", text),
        };
    }
    text.split_at(end(text))
}

fn normal(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            p => parts.push(p),
        }
    }
    let mut out = Vec::with_capacity(path.len());
    for p in parts {
        out.push(b'/');
        out.extend(p);
    }
    if out.is_empty() {
        out.push(b'/');
    }
    out
}

/// Whether `tree` is `path`, or contains it.
pub(super) fn holds(tree: &[u8], path: &[u8]) -> bool {
    tree == b"/"
        || path
            .strip_prefix(tree)
            .is_some_and(|r| r.is_empty() || r[0] == b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject() -> Subject {
        Subject {
            home: Some(b"/home/a".to_vec()),
            workspace: Some(b"/w".to_vec()),
            tmp: Some(b"/tmp".to_vec()),
            ..Subject::default()
        }
    }

    #[test]
    fn expands_as_the_peer_does() {
        let to = |t: &str| String::from_utf8(absolute(t, &subject(), None).unwrap()).unwrap();
        assert_eq!(to("~/"), "/home/a");
        assert_eq!(to("$HOME/.ssh/"), "/home/a/.ssh");
        assert_eq!(to("${HOME}x"), "/home/ax");
        assert_eq!(to("__workspace__/src/../vendor//x/"), "/w/vendor/x");
        assert_eq!(to("."), "/w");
        assert_eq!(to("../x"), "/x");
        assert_eq!(to("/"), "/");
        assert_eq!(to("/a/$"), "/a/$");
        assert_eq!(to("/a/*[\"x"), "/a/*[\"x");
        assert_eq!(
            absolute("__workspace__", &subject(), Some(b"/other")).unwrap(),
            b"/other"
        );
    }

    #[test]
    fn what_has_no_value_is_an_error() {
        for text in ["$SECRETS/x", "${SECRETS}", "~root/x", "", "/a\0b"] {
            assert!(absolute(text, &subject(), None).is_err(), "{text:?}");
        }
        assert!(absolute("~/x", &Subject::default(), Some(b"/w")).is_err());
    }

    #[test]
    fn a_tree_ends_at_a_slash() {
        assert!(holds(b"/etc", b"/etc/ssh") && holds(b"/etc", b"/etc") && holds(b"/", b"/x"));
        assert!(!holds(b"/etc", b"/etcetera"));
    }
}
