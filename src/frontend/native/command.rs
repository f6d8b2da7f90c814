//! Commands: split into words as a POSIX shell splits them, without expansion.
//!
//! The rules for quotes come from the Shell Command Language of POSIX.1-2017, section 2.2. `\` keeps the next
//! character, and single quotes keep everything. In double quotes, `\` is special only before `$`, a backtick, `"`, `\`
//! and newline.

use super::expand::{GIT_VARIABLES, Mode, expand};
use crate::diagnostics::codes;
use crate::policy::{ArgumentPattern, CommandPattern, PathPattern, Subject, WordPattern};

/// A word without its quotes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Word {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Which of them were quoted.
    pub literal: Vec<bool>,
    /// Its offset in the text.
    pub from: usize,
    /// The offset of its end.
    pub to: usize,
}

/// The error in a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommandError {
    pub code: &'static str,
    pub from: usize,
    pub to: usize,
    pub message: String,
    pub help: Option<String>,
    pub replacement: Option<String>,
}

fn fail<T>(
    from: usize,
    to: usize,
    message: impl Into<String>,
    help: &str,
) -> Result<T, CommandError> {
    Err(CommandError {
        code: codes::BAD_COMMAND,
        from,
        to,
        message: message.into(),
        help: (!help.is_empty()).then(|| help.to_owned()),
        replacement: None,
    })
}

const OPERATORS: [&str; 15] = [
    "|", "||", "|&", ";", ";;", "&", "&&", "<", ">", ">>", "<<", "2>", "2>&1", "&>", "!",
];

/// Splits a command.
///
/// # Errors
/// A quote that is not closed, an empty command, or a word that a shell would take for an operator.
pub(crate) fn split(text: &str) -> Result<Vec<Word>, CommandError> {
    let bytes = text.as_bytes();
    let mut words = Vec::new();
    let mut word: Option<Word> = None;
    let mut at = 0;
    while at < bytes.len() {
        let b = bytes[at];
        if matches!(b, b' ' | b'\t' | b'\n') {
            if let Some(mut w) = word.take() {
                w.to = at;
                words.push(w);
            }
            at += 1;
            continue;
        }
        let w = word.get_or_insert_with(|| Word {
            from: at,
            ..Word::default()
        });
        let mut push = |b: u8, literal: bool| {
            w.bytes.push(b);
            w.literal.push(literal);
        };
        match b {
            b'\\' => match bytes.get(at + 1) {
                None => {
                    return fail(
                        at,
                        at + 1,
                        "a `\\` with nothing behind it",
                        "write `\\\\` for the character itself",
                    );
                }
                // An escaped newline continues the line, and vanishes.
                Some(b'\n') => at += 2,
                Some(&next) => {
                    push(next, true);
                    at += 2;
                }
            },
            b'\'' => {
                let Some(len) = text[at + 1..].find('\'') else {
                    return fail(
                        at,
                        text.len(),
                        "a `'` is not closed",
                        "write `\\'` for the character itself",
                    );
                };
                for b in &bytes[at + 1..at + 1 + len] {
                    push(*b, true);
                }
                at += len + 2;
            }
            b'"' => {
                let open = at;
                at += 1;
                loop {
                    match bytes.get(at) {
                        None => {
                            return fail(
                                open,
                                text.len(),
                                "a `\"` is not closed",
                                "write `\\\"` for the character itself",
                            );
                        }
                        Some(b'"') => {
                            at += 1;
                            break;
                        }
                        Some(b'\\')
                            if bytes.get(at + 1).is_some_and(|n| {
                                matches!(n, b'$' | b'`' | b'"' | b'\\' | b'\n')
                            }) =>
                        {
                            if bytes[at + 1] != b'\n' {
                                push(bytes[at + 1], true);
                            }
                            at += 2;
                        }
                        Some(&b) => {
                            push(b, true);
                            at += 1;
                        }
                    }
                }
            }
            b => {
                push(b, false);
                at += 1;
            }
        }
    }
    if let Some(mut w) = word.take() {
        w.to = bytes.len();
        words.push(w);
    }
    if words.is_empty() {
        return fail(
            0,
            text.len(),
            "a command is empty",
            "write a program, such as `git status`",
        );
    }
    for w in &words {
        if w.bytes.contains(&0) {
            return fail(w.from, w.to, "a NUL byte, which no argument can hold", "");
        }
        let raw = &text[w.from..w.to];
        if OPERATORS.contains(&raw) {
            return fail(
                w.from,
                w.to,
                format!("`{raw}` needs a shell, and a command is one program with its arguments"),
                "write each command on its own; quote it where the argument itself is meant",
            );
        }
    }
    Ok(words)
}

/// Whether the first word is a path.
fn is_path(w: &Word) -> bool {
    w.bytes.contains(&b'/')
        || (w.bytes.first() == Some(&b'~') && w.literal.first() == Some(&false))
        || (w.bytes.starts_with(b"${") && w.literal.first() == Some(&false))
}

/// The first word as a pattern, with its quoted bytes escaped.
fn as_pattern(w: &Word) -> Result<String, CommandError> {
    let mut out = Vec::new();
    for (b, literal) in w.bytes.iter().zip(&w.literal) {
        if *literal
            && b.is_ascii_punctuation()
            && *b != b'/'
            && *b != b'.'
            && *b != b'-'
            && *b != b'_'
        {
            out.push(b'\\');
        }
        out.push(*b);
    }
    String::from_utf8(out).or_else(|_| fail(w.from, w.to, "the program's name is not UTF-8", ""))
}

/// The variable of a repository at the beginning of a program.
fn of_repository(program: &str) -> Option<&'static str> {
    let name = program.strip_prefix("${")?.split_once('}')?.0;
    GIT_VARIABLES.into_iter().find(|v| *v == name)
}

/// The place of a variable in an argument, which is not expanded there.
pub(crate) fn unexpanded(text: &str) -> Option<(usize, usize)> {
    let words = split(text).ok()?;
    words.iter().skip(1).find_map(|w| {
        let raw = &text[w.from..w.to];
        super::expand::VARIABLES
            .iter()
            .any(|v| raw.contains(&format!("${{{v}}}")))
            .then_some((w.from, w.to))
    })
}

/// Parses a command pattern.
///
/// # Errors
/// The error, and its place.
pub(crate) fn pattern(text: &str, subject: &Subject) -> Result<CommandPattern, CommandError> {
    let words = split(text)?;
    let Some((first, rest)) = words.split_first() else {
        return fail(0, text.len(), "a command is empty", "");
    };
    let base_name = !is_path(first);
    let program = as_pattern(first)?;
    let program = if base_name {
        if program == "**" {
            return fail(
                first.from,
                first.to,
                "`**` means arguments, and the first word is the program",
                "any program is `*`",
            );
        }
        if program.is_empty() {
            return fail(first.from, first.to, "the program's name is empty", "");
        }
        PathPattern::parse(&format!("/**/{program}"))
    } else if let Some(name) = of_repository(&program) {
        return fail(
            first.from,
            first.to,
            format!("`${{{name}}}` can only be used in `paths`"),
            "it can have several values, or none",
        );
    } else {
        let expanded = expand(&program, subject, Mode::Pattern).map_err(|e| CommandError {
            code: e.code,
            from: first.from,
            to: first.to,
            message: e.message,
            help: e.help,
            replacement: None,
        })?;
        PathPattern::parse(&expanded.text)
    };
    let program = program.or_else(|e| {
        let help = if e.message.contains("absolute") {
            "a program is a path from `/`, or a name without `/`".to_owned()
        } else {
            e.help.unwrap_or_default()
        };
        fail(
            first.from,
            first.to,
            format!("the program's path: {}", e.message),
            &help,
        )
    })?;
    let mut arguments = ArgumentPattern {
        words: Vec::new(),
        rest: false,
    };
    for (i, w) in rest.iter().enumerate() {
        let double = w.bytes == b"**" && w.literal.iter().all(|l| !l);
        if double && i + 1 == rest.len() {
            arguments.rest = true;
        } else if double {
            return Err(CommandError {
                code: codes::BAD_COMMAND,
                from: w.from,
                to: w.to,
                message: "`**` is any number of arguments, so it must be the last word".to_owned(),
                help: Some("one argument, whatever it is, is `*`".to_owned()),
                replacement: Some("*".to_owned()),
            });
        } else {
            arguments
                .words
                .push(WordPattern::from_word(&w.bytes, &w.literal));
        }
    }
    Ok(CommandPattern {
        text: text.to_owned(),
        program,
        base_name,
        arguments,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Token;
    use proptest::prelude::*;
    use std::process::Command;

    fn words(t: &str) -> Vec<String> {
        split(t)
            .unwrap()
            .into_iter()
            .map(|w| String::from_utf8(w.bytes).unwrap())
            .collect()
    }

    #[test]
    fn quotes_are_the_shells() {
        assert_eq!(
            words(r#"git commit -m "it's \"so\" \n" 'a\b' c\ d"e"'f'"#),
            ["git", "commit", "-m", r#"it's "so" \n"#, r"a\b", "c def"]
        );
        assert_eq!(words("a '' \"\""), ["a", "", ""]);
        assert_eq!(words("a\\\nb"), ["ab"]);
        assert_eq!(
            words("echo $HOME ${x} $(id) `id` ~ {a,b}"),
            ["echo", "$HOME", "${x}", "$(id)", "`id`", "~", "{a,b}"]
        );
    }

    #[test]
    fn what_is_quoted_is_literal() {
        let p = pattern(r#"git add '*' \* "a*" b* *"#, &Subject::default()).unwrap();
        let stars: Vec<bool> = p
            .arguments
            .words
            .iter()
            .map(|w| w.alternatives[0].contains(&Token::Star))
            .collect();
        assert_eq!(stars, [false, false, false, false, true, true]);
        assert!(!p.arguments.rest && p.base_name);
        let p = pattern("/opt/'my [x]'/* -- '**' **", &Subject::default()).unwrap();
        assert!(p.arguments.rest && !p.base_name);
        assert_eq!(p.program.sequences[0].literal_prefix(), b"/opt/my [x]");
        assert_eq!(p.arguments.words.len(), 2);
        assert!(!p.arguments.words[1].alternatives[0].contains(&Token::Star));
    }

    #[test]
    fn the_program_takes_variables_and_the_arguments_do_not() {
        let subject = Subject {
            home: Some(b"/h [1]".to_vec()),
            ..Subject::default()
        };
        for t in ["~/bin/x", "${home}/bin/x"] {
            let p = pattern(&format!("{t} ${{home}}"), &subject).unwrap();
            assert_eq!(
                p.program.sequences[0].as_literal().unwrap(),
                b"/h [1]/bin/x"
            );
            assert_eq!(p.arguments.words[0].alternatives[0].len(), "${home}".len());
        }
        assert!(
            pattern("'~/bin/x'", &subject).is_err(),
            "a quoted `~` is no home directory"
        );
        assert!(pattern("~/bin/x", &Subject::default()).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

        /// Compares with a real shell.
        #[test]
        fn as_sh_splits(text in "[ab*'\" \\\\-]{1,14}") {
            let escapes = text.bytes().rev().take_while(|b| *b == b'\\').count();
            prop_assume!(escapes % 2 == 0 && !text.trim().is_empty());
            let script = format!("set -f; printf '%s\\0' {text}");
            let Ok(out) = Command::new("/bin/sh").arg("-c").arg(&script).output() else {
                assert!(std::env::var_os("CI").is_none(), "no /bin/sh");
                println!("skipped: no /bin/sh");
                return Ok(());
            };
            match split(&text) {
                Ok(words) => {
                    prop_assert!(out.status.success(), "sh refuses {text:?}");
                    let mut expected = Vec::new();
                    for w in words {
                        expected.extend(w.bytes);
                        expected.push(0);
                    }
                    prop_assert_eq!(expected, out.stdout);
                }
                Err(_) => prop_assert!(!out.status.success(), "sh takes {text:?}"),
            }
        }
    }
}
