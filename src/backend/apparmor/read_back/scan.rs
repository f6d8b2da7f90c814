//! Splits the text of a profile into words.

/// A byte of a name, either as in the text or taken literally because of a backslash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sym {
    pub byte: u8,
    /// It stands for itself.
    pub escaped: bool,
}

/// What is wrong, and the offset.
#[derive(Debug)]
pub(super) struct Fault {
    pub at: usize,
    pub message: String,
}

pub(super) fn fault<T>(at: usize, message: impl Into<String>) -> Result<T, Fault> {
    Err(Fault {
        at,
        message: message.into(),
    })
}

/// A position in the text.
pub(super) struct Scanner<'t> {
    pub text: &'t [u8],
    pub at: usize,
}

fn blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Bytes that are special in patterns. After a backslash they stand for themselves.
const SPECIAL: &[u8] = b"*?[]{}^,\\";

/// Bytes that may be in a name without quotes.
fn in_word(byte: u8) -> bool {
    !blank(byte) && !matches!(byte, b'"' | b'!' | b',')
}

impl<'t> Scanner<'t> {
    pub fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn peek_at(&self, offset: usize) -> Option<u8> {
        self.text.get(self.at + offset).copied()
    }

    pub fn starts_with(&self, what: &[u8]) -> bool {
        self.text[self.at..].starts_with(what)
    }

    /// Skips blanks and comments. `#include` is not a comment.
    pub fn skip(&mut self) {
        while let Some(byte) = self.peek() {
            if blank(byte) {
                self.at += 1;
            } else if byte == b'#'
                && !(self.starts_with(b"#include")
                    && self
                        .peek_at(8)
                        .is_none_or(|b| blank(b) || b == b'<' || b == b'"'))
            {
                while self.peek().is_some_and(|b| b != b'\n') {
                    self.at += 1;
                }
            } else {
                return;
            }
        }
    }

    /// Takes these bytes if they come next.
    pub fn take(&mut self, what: &[u8]) -> bool {
        self.skip();
        let found = self.starts_with(what);
        if found {
            self.at += what.len();
        }
        found
    }

    /// Takes a word of letters, digits and `_` if it comes next and ends there.
    pub fn keyword(&mut self, word: &[u8]) -> bool {
        self.skip();
        let ends = |b: u8| !(b.is_ascii_alphanumeric() || b == b'_');
        let found = self.starts_with(word) && self.peek_at(word.len()).is_none_or(ends);
        if found {
            self.at += word.len();
        }
        found
    }

    /// Takes the letters, digits, `_` and `-` that come next. There may be none.
    pub fn name(&mut self) -> &'t [u8] {
        self.skip();
        let from = self.at;
        while self
            .peek()
            .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        {
            self.at += 1;
        }
        &self.text[from..self.at]
    }

    /// The end of a rule.
    pub fn end(&mut self) -> Result<(), Fault> {
        if self.take(b",") {
            Ok(())
        } else {
            fault(self.at, "a rule that goes on where polc expects its end")
        }
    }

    /// A path or a name, with or without quotes. Escapes are removed as the parser does it (`processunquoted` in
    /// `parser_misc.c`).
    pub fn word(&mut self) -> Result<Vec<Sym>, Fault> {
        self.skip();
        let from = self.at;
        let quoted = self.peek() == Some(b'"');
        if quoted {
            self.at += 1;
        }
        let mut out = Vec::new();
        loop {
            match self.peek() {
                None if quoted => return fault(from, "a `\"` is not closed"),
                None => break,
                Some(b'"') if quoted => {
                    self.at += 1;
                    break;
                }
                Some(b'\n' | b'\r') if quoted => {
                    return fault(from, "a name over several lines");
                }
                Some(b'\\') => {
                    let at = self.at;
                    out.push(self.escape()?);
                    // In the parser's lexer, the second of two backslashes escapes the next byte.
                    let twice = self.text[at..self.at] == *b"\\\\";
                    if twice && self.peek().is_some_and(|b| !in_word(b)) {
                        return fault(at, "two backslashes at the end of a name: write `\\134`");
                    }
                }
                Some(b',') if !quoted => {
                    // A comma is part of the name if the name goes on after it.
                    if !self.peek_at(1).is_some_and(in_word) {
                        break;
                    }
                    self.at += 1;
                    out.push(Sym {
                        byte: b',',
                        escaped: false,
                    });
                }
                Some(byte) => {
                    if !quoted && !in_word(byte) {
                        break;
                    }
                    self.at += 1;
                    out.push(Sym {
                        byte,
                        escaped: false,
                    });
                }
            }
        }
        if out.is_empty() {
            return fault(from, "a name is missing here");
        }
        Ok(out)
    }

    /// The byte after a backslash.
    fn escape(&mut self) -> Result<Sym, Fault> {
        let from = self.at;
        self.at += 1;
        let Some(byte) = self.peek() else {
            return fault(from, "a backslash with nothing behind it");
        };
        let number = |from: usize, length: usize, base: u32| {
            let digits = self.slice(from, length);
            let all = digits.len() == length && digits.iter().all(u8::is_ascii_hexdigit);
            let text = std::str::from_utf8(digits).ok().filter(|_| all)?;
            u8::from_str_radix(text, base).ok()
        };
        let (length, value) = match byte {
            b'0'..=b'7' => (3, number(0, 3, 8)),
            b'd' => (4, number(1, 3, 10)),
            b'x' => (3, number(1, 2, 16)),
            b'a' => (1, Some(7)),
            b'e' => (1, Some(0x1b)),
            b'f' => (1, Some(0x0c)),
            b'n' => (1, Some(b'\n')),
            b'r' => (1, Some(b'\r')),
            b't' => (1, Some(b'\t')),
            b'"' | b'@' => (1, Some(byte)),
            _ if SPECIAL.contains(&byte) => (1, Some(byte)),
            _ => (1, None),
        };
        let Some(value) = value.filter(|v| *v != 0) else {
            return fault(
                from,
                "a backslash before what needs none, or a number that is not `\\ooo`, `\\dNNN` or `\\xHH`",
            );
        };
        self.at += length;
        // The parser keeps the backslash before bytes that are special in patterns, and only there. In a class, `\055`
        // is the `-` of a range.
        Ok(Sym {
            byte: value,
            escaped: byte == b'@' || SPECIAL.contains(&value),
        })
    }

    fn slice(&self, from: usize, length: usize) -> &'t [u8] {
        let from = (self.at + from).min(self.text.len());
        &self.text[from..(from + length).min(self.text.len())]
    }
}
