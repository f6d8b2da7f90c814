//! Parses git's configuration files, as far as polc needs them.
//!
//! A library for git would be larger than polc. git itself obeys the files that it reads, but this code only reads
//! them.

/// One variable of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// `core` of `[core]`, in lower case.
    pub section: Vec<u8>,
    /// `x` of `[section "x"]`.
    pub subsection: Vec<u8>,
    /// The variable's name in lower case.
    pub name: Vec<u8>,
    /// Its value, without quotes and comments. Empty if there is none.
    pub value: Vec<u8>,
}

/// All variables, up to the first error at which git also stops.
pub(super) fn entries(text: &[u8]) -> Vec<Entry> {
    let mut reader = Reader {
        rest: text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text),
    };
    let mut out = Vec::new();
    let mut section = None;
    while let Some(byte) = reader.next() {
        match byte {
            b'#' | b';' => reader.skip_line(),
            b'[' => match reader.section() {
                Some(found) => section = Some(found),
                None => break,
            },
            b if b.is_ascii_alphabetic() => {
                let Some((section, subsection)) = &section else {
                    break;
                };
                let Some((name, value)) = reader.variable(b) else {
                    break;
                };
                out.push(Entry {
                    section: section.clone(),
                    subsection: subsection.clone(),
                    name,
                    value,
                });
            }
            b if b.is_ascii_whitespace() => {}
            _ => break,
        }
    }
    out
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    /// The next byte. Every line ends in `\n`, whatever the file has.
    fn next(&mut self) -> Option<u8> {
        if let Some(rest) = self.rest.strip_prefix(b"\r\n") {
            self.rest = rest;
            return Some(b'\n');
        }
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn skip_line(&mut self) {
        while self.next().is_some_and(|b| b != b'\n') {}
    }

    /// After a `[`: the section and its subsection.
    fn section(&mut self) -> Option<(Vec<u8>, Vec<u8>)> {
        let mut name = Vec::new();
        loop {
            match self.next()? {
                b']' => break,
                b if b == b' ' || b == b'\t' => return self.subsection(name),
                b if b.is_ascii_alphanumeric() || b == b'-' || b == b'.' => {
                    name.push(b.to_ascii_lowercase());
                }
                _ => return None,
            }
        }
        // The old form, `[section.subsection]`.
        let dot = name.iter().position(|b| *b == b'.');
        let subsection = dot.map_or(Vec::new(), |at| name.split_off(at).split_off(1));
        Some((name, subsection))
    }

    fn subsection(&mut self, section: Vec<u8>) -> Option<(Vec<u8>, Vec<u8>)> {
        let mut byte = self.next()?;
        while byte == b' ' || byte == b'\t' {
            byte = self.next()?;
        }
        if byte != b'"' {
            return None;
        }
        let mut out = Vec::new();
        loop {
            match self.next()? {
                b'"' => break,
                b'\n' => return None,
                b'\\' => out.push(self.next().filter(|b| *b != b'\n')?),
                b => out.push(b),
            }
        }
        (self.next()? == b']').then_some((section, out))
    }

    /// A variable whose name begins with this byte.
    fn variable(&mut self, first: u8) -> Option<(Vec<u8>, Vec<u8>)> {
        let mut name = vec![first.to_ascii_lowercase()];
        let mut ended = false;
        loop {
            match self.next() {
                Some(b) if !ended && (b.is_ascii_alphanumeric() || b == b'-') => {
                    name.push(b.to_ascii_lowercase());
                }
                Some(b' ' | b'\t') => ended = true,
                Some(b'=') => return Some((name, self.value()?)),
                Some(b'\n') | None => return Some((name, Vec::new())),
                Some(_) => return None,
            }
        }
    }

    fn value(&mut self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let (mut quoted, mut comment, mut blanks) = (false, false, 0usize);
        loop {
            let byte = match self.next() {
                None | Some(b'\n') if quoted => return None,
                None | Some(b'\n') => return Some(out),
                Some(b) => b,
            };
            if comment {
                continue;
            }
            if byte.is_ascii_whitespace() && !quoted {
                blanks += usize::from(!out.is_empty());
                continue;
            }
            if !quoted && (byte == b'#' || byte == b';') {
                comment = true;
                continue;
            }
            out.extend(std::iter::repeat_n(b' ', std::mem::take(&mut blanks)));
            match byte {
                b'\\' => match self.next()? {
                    b'\n' => {}
                    b't' => out.push(b'\t'),
                    b'b' => out.push(8),
                    b'n' => out.push(b'\n'),
                    b @ (b'\\' | b'"') => out.push(b),
                    _ => return None,
                },
                b'"' => quoted = !quoted,
                b => out.push(b),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::entries;

    fn shown(text: &str) -> Vec<String> {
        let text_of = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        entries(text.as_bytes())
            .iter()
            .map(|e| {
                format!(
                    "{}|{}|{}={}",
                    text_of(&e.section),
                    text_of(&e.subsection),
                    text_of(&e.name),
                    text_of(&e.value)
                )
            })
            .collect()
    }

    #[test]
    fn values_are_read_as_git_reads_them() {
        let text = "\u{feff}# c\n[Core]\n\tHooksPath = a b  # c\n bare\n[include]path=\"x ;y\"z\r\n\
                    [includeIf \"gitdir:~/\\\"w\\\\/\"]\n path = one\\\n two\\t\\\"\n[a.B]x=1\n";
        assert_eq!(
            shown(text),
            [
                "core||hookspath=a b",
                "core||bare=",
                "include||path=x ;yz",
                "includeif|gitdir:~/\"w\\/|path=one two\t\"",
                "a|b|x=1",
            ]
        );
    }

    #[test]
    fn what_git_refuses_ends_the_file() {
        for text in [
            "x = 1",
            "[a\n]x=1",
            "[a]\n1=2",
            "[a \"b]\nx=1",
            "[a]x=\"y\n",
            "[a]x=\\q\n",
            "[a]x y\n",
        ] {
            assert!(shown(text).is_empty(), "{text}: {:?}", shown(text));
        }
        assert_eq!(shown("[a]x=1\n]"), ["a||x=1"]);
    }
}
