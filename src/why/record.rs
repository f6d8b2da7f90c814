//! Lines of a log: audit records, as auditd, `dmesg`, `journalctl` and syslog show them.
//!
//! A program may have chosen a text in a record, such as a file name. The kernel writes it in double quotes if it is
//! plain, and else as hexadecimal digits without quotes (`audit_log_untrustedstring`). So quotes never nest, and a
//! value is never more than one word. A program cannot turn its own name into a field.

use std::borrow::Cow;

/// One line: its fields, in order.
#[derive(Debug, Clone)]
pub(super) struct Record<'l> {
    fields: Vec<(&'l [u8], Value<'l>)>,
    line: &'l [u8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value<'l> {
    Quoted(&'l [u8]),
    Bare(&'l [u8]),
}

impl<'l> Record<'l> {
    /// Parses a line. auditd adds a second, interpreted copy of some fields after a byte 0x1d, which is left out.
    pub(super) fn parse(line: &'l [u8]) -> Self {
        let line = line.split(|b| *b == 0x1d).next().unwrap_or_default();
        let mut fields = Vec::new();
        let mut rest = line;
        while let Some(at) = rest.iter().position(|b| *b == b'=' || *b == b' ') {
            let (word, behind) = rest.split_at(at);
            let Some((separator, after)) = behind.split_first() else {
                break;
            };
            if *separator == b' ' {
                rest = after;
                continue;
            }
            // `msg='op=…'`: a text of a program in user space. It contains no fields of the record.
            let (value, next) = match after.split_first() {
                Some((quote @ (b'"' | b'\''), inner)) => {
                    let (text, behind) = split_before(inner, *quote);
                    (Value::Quoted(text), behind.get(1..).unwrap_or_default())
                }
                _ => {
                    let (text, behind) = split_before(after, b' ');
                    (Value::Bare(text), behind)
                }
            };
            fields.push((word, value));
            rest = next;
        }
        Self { fields, line }
    }

    fn value(&self, key: &str) -> Option<Value<'l>> {
        self.fields
            .iter()
            .find(|(k, _)| *k == key.as_bytes())
            .map(|(_, v)| *v)
    }

    /// A field, unchanged.
    pub(super) fn raw(&self, key: &str) -> Option<&'l [u8]> {
        match self.value(key)? {
            Value::Quoted(v) | Value::Bare(v) => Some(v),
        }
    }

    /// A field as text, if it is UTF-8.
    pub(super) fn word(&self, key: &str) -> Option<&'l str> {
        std::str::from_utf8(self.raw(key)?).ok()
    }

    /// A number: decimal, or hexadecimal after `0x`.
    pub(super) fn number(&self, key: &str) -> Option<u64> {
        let word = self.word(key)?;
        match word.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => word.parse().ok(),
        }
    }

    /// A text that a program may have chosen: in quotes, or as hexadecimal digits. `None`: it is absent, or the kernel
    /// wrote `(null)` or `?`.
    pub(super) fn untrusted(&self, key: &str) -> Option<Cow<'l, [u8]>> {
        match self.value(key)? {
            Value::Quoted(v) => Some(Cow::Borrowed(v)),
            Value::Bare(b"(null)" | b"?" | b"") => None,
            Value::Bare(v) => Some(match from_hex(v) {
                Some(bytes) => Cow::Owned(bytes),
                None => Cow::Borrowed(v),
            }),
        }
    }

    /// The type: the name or the number after `type=`. auditd writes an unknown type as `UNKNOWN[1423]`.
    pub(super) fn kind(&self) -> Option<&'l str> {
        let word = self.word("type")?;
        Some(
            word.strip_prefix("UNKNOWN[")
                .and_then(|w| w.strip_suffix(']'))
                .unwrap_or(word),
        )
    }

    /// The event of the record: the text between `audit(` and `)`.
    pub(super) fn event(&self) -> Option<&'l [u8]> {
        let rest = after(self.line, b"audit(")?;
        let (event, behind) = split_before(rest, b')');
        (event.len() < 64 && !behind.is_empty()).then_some(event)
    }

    /// The whole line.
    pub(super) fn line(&self) -> &'l [u8] {
        self.line
    }
}

/// The offset of `needle`.
pub(super) fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len()).position(|w| w == needle)
}

/// The text after the first `needle`.
pub(super) fn after<'t>(text: &'t [u8], needle: &[u8]) -> Option<&'t [u8]> {
    text.get(find(text, needle)? + needle.len()..)
}

/// The text before the first `byte`, and the rest with the byte. Without such a byte, everything comes before it.
fn split_before(text: &[u8], byte: u8) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|b| *b == byte).unwrap_or(text.len()))
}

fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || text.is_empty() {
        return None;
    }
    let digit = |b: u8| {
        char::from(b)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    let (pairs, _) = text.as_chunks::<2>();
    pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_text_makes_no_fields() {
        let r = Record::parse(
            br#"audit: type=1400 audit(1.2:3): name="/a b path=/c" comm="x" path=2F0A"#,
        );
        assert_eq!(r.raw("name"), Some(&b"/a b path=/c"[..]));
        assert_eq!(r.untrusted("path").as_deref(), Some(&b"/\n"[..]));
        assert_eq!(r.event(), Some(&b"1.2:3"[..]));
        assert_eq!(r.kind(), Some("1400"));
    }

    #[test]
    fn an_open_quote_ends_with_the_line() {
        let r = Record::parse(b"type=AVC name=\"/a");
        assert_eq!(r.raw("name"), Some(&b"/a"[..]));
        let r = Record::parse(b"type=UNKNOWN[1423] path=(null) comm=");
        assert_eq!(
            (r.kind(), r.untrusted("path"), r.untrusted("comm")),
            (Some("1423"), None, None)
        );
    }
}
