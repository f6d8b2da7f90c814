//! Parses the text of a profile into lists, words and strings.

use crate::fidelity::show_bytes;
use std::borrow::Cow;

/// What is wrong, and the line.
#[derive(Debug)]
pub(super) struct Fault {
    pub line: usize,
    pub message: String,
}

pub(super) fn fault<T>(line: usize, message: impl Into<String>) -> Result<T, Fault> {
    Err(Fault {
        line,
        message: message.into(),
    })
}

/// A list, a word or a string.
#[derive(Debug)]
pub(super) struct Node<'t> {
    pub kind: Kind<'t>,
    /// From 1.
    pub line: usize,
    /// Its range in the text.
    pub range: std::ops::Range<usize>,
}

#[derive(Debug)]
pub(super) enum Kind<'t> {
    List(Vec<Node<'t>>),
    Word(&'t str),
    Text(Cow<'t, [u8]>),
}

/// The deepest nesting of lists. The parser is recursive.
const MAX_DEPTH: usize = 64;

struct Reader<'t> {
    text: &'t str,
    at: usize,
    line: usize,
}

/// Parses everything in the text.
pub(super) fn parse(text: &str) -> Result<Vec<Node<'_>>, Fault> {
    let mut reader = Reader {
        text,
        at: 0,
        line: 1,
    };
    let mut out = Vec::new();
    while let Some(node) = reader.node(0)? {
        out.push(node);
    }
    match reader.peek() {
        None => Ok(out),
        Some(_) => fault(reader.line, "a `)` without its `(`"),
    }
}

impl<'t> Reader<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let b = self.peek()?;
        self.at += 1;
        if b == b'\n' {
            self.line += 1;
        }
        Some(b)
    }

    /// Skips blanks and comments.
    fn skip(&mut self) {
        while let Some(b) = self.peek() {
            if b == b';' {
                while self.peek().is_some_and(|b| b != b'\n') {
                    self.next();
                }
            } else if b.is_ascii_whitespace() {
                self.next();
            } else {
                break;
            }
        }
    }

    /// The next node. `None`: the list or the text ends.
    fn node(&mut self, depth: usize) -> Result<Option<Node<'t>>, Fault> {
        self.skip();
        let (line, start) = (self.line, self.at);
        let kind = match self.peek() {
            None | Some(b')') => return Ok(None),
            Some(b'(') => {
                if depth == MAX_DEPTH {
                    return fault(line, format!("lists nest deeper than {MAX_DEPTH}"));
                }
                self.next();
                let mut items = Vec::new();
                while let Some(item) = self.node(depth + 1)? {
                    items.push(item);
                }
                if self.next() != Some(b')') {
                    return fault(line, "a `(` without its `)`");
                }
                Kind::List(items)
            }
            Some(b'"') => {
                self.next();
                Kind::Text(self.string(line)?)
            }
            Some(b'#') if self.text.as_bytes().get(self.at + 1) == Some(&b'"') => {
                self.next();
                self.next();
                Kind::Text(self.raw(line)?.into())
            }
            Some(_) => Kind::Word(self.word(line)?),
        };
        Ok(Some(Node {
            kind,
            line,
            range: start..self.at,
        }))
    }

    fn word(&mut self, line: usize) -> Result<&'t str, Fault> {
        let start = self.at;
        while let Some(b) = self.peek() {
            if b.is_ascii_whitespace() || b"();\"".contains(&b) {
                break;
            }
            if !(b.is_ascii_alphanumeric() || b"-*_+.:/?".contains(&b)) {
                return fault(
                    line,
                    format!(
                        "`{}` is no word of this language that polc reads",
                        show_bytes(self.rest(24))
                    ),
                );
            }
            self.next();
        }
        Ok(&self.text[start..self.at])
    }

    fn rest(&self, most: usize) -> &[u8] {
        let rest = &self.text.as_bytes()[self.at..];
        &rest[..rest.len().min(most)]
    }

    fn string(&mut self, line: usize) -> Result<Cow<'t, [u8]>, Fault> {
        let rest = &self.text.as_bytes()[self.at..];
        // Most strings have no escapes.
        let plain = rest
            .iter()
            .position(|b| matches!(b, b'"' | b'\\' | b'\n'))
            .unwrap_or(rest.len());
        self.at += plain;
        if self.peek() == Some(b'"') {
            self.at += 1;
            return Ok(Cow::Borrowed(&rest[..plain]));
        }
        let mut out = rest[..plain].to_vec();
        loop {
            match self.next() {
                None => return fault(line, "a string without its end"),
                Some(b'"') => return Ok(Cow::Owned(out)),
                Some(b'\\') => out.push(match self.next() {
                    Some(b @ (b'"' | b'\\')) => b,
                    Some(b'n') => b'\n',
                    Some(b'r') => b'\r',
                    Some(b't') => b'\t',
                    Some(b'x') => self.hex()?,
                    other => {
                        let shown = other.map_or_else(String::new, |b| show_bytes(&[b]));
                        return fault(
                            self.line,
                            format!("`\\{shown}` is no escape that polc reads"),
                        );
                    }
                }),
                Some(b) => out.push(b),
            }
        }
    }

    fn hex(&mut self) -> Result<u8, Fault> {
        let digits = self.text.get(self.at..self.at + 2);
        let value = digits
            .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|d| u8::from_str_radix(d, 16).ok());
        match value {
            Some(value) => {
                self.at += 2;
                Ok(value)
            }
            None => fault(self.line, "`\\x` takes two digits"),
        }
    }

    /// `#"…"`: a backslash stands for itself, except before a quote.
    fn raw(&mut self, line: usize) -> Result<Vec<u8>, Fault> {
        let mut out = Vec::new();
        loop {
            match self.next() {
                None => return fault(line, "a string without its end"),
                Some(b'"') => return Ok(out),
                Some(b'\\') if self.peek() == Some(b'"') => {
                    self.next();
                    out.push(b'"');
                }
                Some(b) => out.push(b),
            }
        }
    }
}
