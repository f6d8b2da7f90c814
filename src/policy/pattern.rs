//! Path patterns and word patterns: their syntax, and their form in the compiler.
//!
//! The parser expands a pattern into [`Sequence`]s without braces, so everything after the front-end handles only four
//! tokens. [`PathPattern::MAX_SEQUENCES`] limits the number of sequences, and [`PathPattern::MAX_LENGTH`] the length of
//! each.

use super::name::Name;
use super::syntax::{Parser, components, fail, merge_stars};
use std::fmt;

/// A set of bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ByteSet([u64; 4]);

impl ByteSet {
    /// No byte.
    pub const EMPTY: Self = Self([0; 4]);
    /// Every byte.
    pub const ALL: Self = Self([u64::MAX; 4]);

    /// Adds one byte.
    pub fn insert(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    /// Removes one byte.
    pub fn remove(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] &= !(1 << (byte & 63));
    }

    /// Whether `byte` is a member.
    #[must_use]
    pub fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] & (1 << (byte & 63)) != 0
    }

    /// All bytes that are not members.
    #[must_use]
    pub fn complement(&self) -> Self {
        Self(self.0.map(|w| !w))
    }

    /// Members of both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut out = *self;
        for (a, b) in out.0.iter_mut().zip(other.0) {
            *a &= b;
        }
        out
    }

    /// The members, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u8> + '_ {
        (0..=255u8).filter(|b| self.contains(*b))
    }

    /// Maximal runs of members, ascending, both ends included.
    #[must_use]
    pub fn ranges(&self) -> Vec<(u8, u8)> {
        let mut out: Vec<(u8, u8)> = Vec::new();
        for b in self.iter() {
            match out.last_mut() {
                Some((_, hi)) if *hi as u16 + 1 == u16::from(b) => *hi = b,
                _ => out.push((b, b)),
            }
        }
        out
    }

    /// A bit for each byte that begins or ends a run: either it or the byte before is a member, but not both.
    #[must_use]
    pub fn boundaries(&self) -> [u64; 4] {
        let mut before = 0;
        self.0.map(|word| {
            let shifted = word << 1 | before;
            before = word >> 63;
            word ^ shifted
        })
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0 == [0; 4]
    }
}

impl fmt::Debug for ByteSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ranges()).finish()
    }
}

/// One token of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Token {
    /// This byte.
    Byte(u8),
    /// `?`: any one byte. In a path, not `/`.
    Any,
    /// `*`: any run of bytes, also the empty one. In a path, without `/`.
    Star,
    /// `[…]`: one byte of a class. A class never contains `/` or NUL.
    Class(ByteSet),
}

/// One component of a path pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Component {
    /// `**`: any number of components, also none.
    AnyDepth,
    /// A name with wildcards. It is never empty.
    Name(Name),
}

impl Component {
    /// The bytes of a name without wildcards.
    #[must_use]
    pub fn literal(&self) -> Option<&[u8]> {
        match self {
            Self::AnyDepth => None,
            Self::Name(name) => name.as_literal(),
        }
    }
}

/// A path pattern without braces: its components. No components: `/` itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Sequence {
    /// The components from the root on.
    pub components: Vec<Component>,
}

impl Sequence {
    /// The sequence that matches only this absolute path: bytes without a trailing `/`. `/` is the root.
    #[must_use]
    pub fn literal(path: &[u8]) -> Self {
        let components = path
            .split(|b| *b == b'/')
            .filter(|c| !c.is_empty())
            .map(|c| Component::Name(Name::literal(c)))
            .collect();
        Self { components }
    }

    /// The same with `/**` after it: the object and everything beneath.
    #[must_use]
    pub fn tree(mut self) -> Self {
        if self.components.last() != Some(&Component::AnyDepth) {
            self.components.push(Component::AnyDepth);
        }
        self
    }

    /// The path, if there is no wildcard. The root is `/`.
    #[must_use]
    pub fn as_literal(&self) -> Option<Vec<u8>> {
        join(&self.components)
    }

    /// The path `/a/b` of a sequence `/a/b/**` without other wildcards. The root is `/`.
    #[must_use]
    pub fn as_literal_tree(&self) -> Option<Vec<u8>> {
        let (last, init) = self.components.split_last()?;
        if *last != Component::AnyDepth {
            return None;
        }
        join(init)
    }

    /// The components before the first wildcard.
    pub fn literal_names(&self) -> impl Iterator<Item = &[u8]> {
        self.components.iter().map_while(Component::literal)
    }

    /// The same as a path. The root is `/`.
    #[must_use]
    pub fn literal_prefix(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for name in self.literal_names() {
            out.push(b'/');
            out.extend_from_slice(name);
        }
        if out.is_empty() {
            out.push(b'/');
        }
        out
    }
}

fn join(components: &[Component]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for component in components {
        out.push(b'/');
        out.extend_from_slice(component.literal()?);
    }
    if out.is_empty() {
        out.push(b'/');
    }
    Some(out)
}

impl fmt::Display for Sequence {
    /// In the syntax of the language.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.components.is_empty() {
            return f.write_str("/");
        }
        for c in &self.components {
            f.write_str("/")?;
            match c {
                Component::AnyDepth => f.write_str("**")?,
                Component::Name(tokens) => f.write_str(&display_tokens(tokens))?,
            }
        }
        Ok(())
    }
}

/// Bytes as literal text of the language. Special bytes are escaped, and UTF-8 stays.
#[must_use]
pub fn escape_literal(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '*' | '?' | '[' | ']' | '{' | '}' | ',' | '\\' | '$' | '~' => {
                    out.push('\\');
                    out.push(c);
                }
                c if (c as u32) < 0x20 || c == '\x7f' => {
                    out.push_str(&format!("\\x{:02x}", c as u32))
                }
                c => out.push(c),
            }
        }
        for b in chunk.invalid() {
            out.push_str(&format!("\\x{b:02x}"));
        }
    }
    out
}

fn display_tokens(tokens: &[Token]) -> String {
    let mut out = String::new();
    let mut bytes = Vec::new();
    for t in tokens {
        if let Token::Byte(b) = t {
            bytes.push(*b);
            continue;
        }
        out.push_str(&escape_literal(&bytes));
        bytes.clear();
        match t {
            Token::Byte(_) => {}
            Token::Any => out.push('?'),
            Token::Star => out.push('*'),
            Token::Class(set) => {
                // A class with most bytes is easier to read if it is negated. '/' and NUL are never members.
                let negated = set.contains(0xff);
                let mut shown = if negated { set.complement() } else { *set };
                if negated {
                    shown.remove(b'/');
                    shown.remove(0);
                }
                out.push_str(if negated { "[!" } else { "[" });
                for (lo, hi) in shown.ranges() {
                    for (i, b) in (if lo == hi { vec![lo] } else { vec![lo, hi] })
                        .into_iter()
                        .enumerate()
                    {
                        if i == 1 {
                            out.push('-');
                        }
                        if b.is_ascii_alphanumeric() {
                            out.push(char::from(b));
                        } else {
                            out.push_str(&format!("\\x{b:02x}"));
                        }
                    }
                }
                out.push(']');
            }
        }
    }
    out.push_str(&escape_literal(&bytes));
    out
}

/// A path pattern. It matches what one of its sequences matches.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PathPattern {
    /// The text in the policy, with expanded variables.
    pub text: String,
    /// The alternatives without braces, without repetition, in the order of the text.
    pub sequences: Vec<Sequence>,
}

/// The error in a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PatternError {
    /// Byte offset in the text.
    pub offset: usize,
    /// One line.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl PathPattern {
    /// The most alternatives that the braces of one pattern may make.
    pub const MAX_SEQUENCES: usize = 1024;
    /// The most bytes in a pattern's text. Linux takes paths with less than 4,096 bytes.
    pub const MAX_LENGTH: usize = 4096 * 4;

    /// Parses the syntax of the language, after `~` and `${…}` have been expanded.
    ///
    /// # Errors
    /// The error, and its place.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.len() > Self::MAX_LENGTH {
            return fail(
                0,
                format!("the pattern is longer than {} bytes", Self::MAX_LENGTH),
                None,
            );
        }
        let mut parser = Parser::new(text, true);
        let forms = parser.alternatives(0)?;
        let mut sequences: Vec<Sequence> = Vec::with_capacity(forms.len());
        for items in &forms {
            let sequence = components(&parser, items, sequences.last())?;
            sequences.push(sequence);
        }
        if sequences.len() > 1 {
            let mut seen = rustc_hash::FxHashSet::default();
            let repeated: Vec<bool> = sequences.iter().map(|s| !seen.insert(s)).collect();
            let mut repeated = repeated.into_iter();
            sequences.retain(|_| repeated.next() != Some(true));
        }
        Ok(Self {
            text: text.to_owned(),
            sequences,
        })
    }

    /// The pattern that matches only this path.
    #[must_use]
    pub fn literal(path: &[u8]) -> Self {
        Self {
            text: escape_literal(path),
            sequences: vec![Sequence::literal(path)],
        }
    }

    /// The pattern for this path and everything beneath.
    #[must_use]
    pub fn tree(path: &[u8]) -> Self {
        let sequence = Sequence::literal(path).tree();
        Self {
            text: sequence.to_string(),
            sequences: vec![sequence],
        }
    }
}

impl From<Sequence> for PathPattern {
    fn from(sequence: Sequence) -> Self {
        Self {
            text: sequence.to_string(),
            sequences: vec![sequence],
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A pattern for one word: `*` is any run of bytes, `?` one byte, `[…]` a class. `/` is an ordinary byte.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WordPattern {
    /// The alternatives without braces.
    pub alternatives: Vec<Vec<Token>>,
}

impl WordPattern {
    /// Parses a glob with `*`, `?`, `[…]`, `{…}` and `\` (tool names).
    ///
    /// # Errors
    /// The error, and its place.
    pub fn parse_glob(text: &str) -> Result<Self, PatternError> {
        let mut parser = Parser::new(text, false);
        let mut alternatives = Vec::new();
        for items in parser.alternatives(0)? {
            let tokens = items.into_iter().filter_map(|(_, i)| parser.token(i));
            let mut tokens: Vec<Token> = tokens.collect();
            merge_stars(&mut tokens);
            if !alternatives.contains(&tokens) {
                alternatives.push(tokens);
            }
        }
        Ok(Self { alternatives })
    }

    /// A word of a command without the shell's quotes. Only `*` is special. `literal[i]` says that byte `i` was quoted,
    /// and stands for itself.
    #[must_use]
    pub fn from_word(bytes: &[u8], literal: &[bool]) -> Self {
        let mut tokens: Vec<Token> = bytes
            .iter()
            .enumerate()
            .map(|(i, b)| {
                if *b == b'*' && !literal.get(i).copied().unwrap_or(false) {
                    Token::Star
                } else {
                    Token::Byte(*b)
                }
            })
            .collect();
        merge_stars(&mut tokens);
        Self {
            alternatives: vec![tokens],
        }
    }

    /// Any word.
    #[must_use]
    pub fn any() -> Self {
        Self {
            alternatives: vec![vec![Token::Star]],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        PathPattern::parse(text)
            .unwrap()
            .sequences
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn braces_expand_across_slashes() {
        assert_eq!(
            shown("/a/{b,c/{d,e},}x"),
            ["/a/bx", "/a/c/dx", "/a/c/ex", "/a/x"]
        );
        assert_eq!(shown("{,/a}/b"), ["/b", "/a/b"]);
        assert_eq!(shown("/a/{**,b}/c"), ["/a/**/c", "/a/b/c"]);
        assert_eq!(shown("/{*,a}*"), ["/*", "/a*"]);
        assert_eq!(shown("/"), ["/"]);
    }

    #[test]
    fn what_is_special_can_be_named() {
        let p = PathPattern::parse(r"/\*\{\xff\x0a ]").unwrap();
        assert_eq!(p.sequences[0].as_literal().unwrap(), b"/*{\xff\n ]");
        assert_eq!(
            PathPattern::parse(&p.sequences[0].to_string())
                .unwrap()
                .sequences,
            p.sequences
        );
        let class = PathPattern::parse("/[]a-c-]").unwrap();
        let Component::Name(t) = &class.sequences[0].components[0] else {
            panic!()
        };
        let Token::Class(set) = t[0] else { panic!() };
        assert_eq!(
            set.iter().collect::<Vec<_>>(),
            b"-]abc"
                .to_vec()
                .into_iter()
                .collect::<std::collections::BTreeSet<_>>()
                .into_iter()
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_class_of_one_byte_is_that_byte() {
        let p = PathPattern::parse("/srv/[*]/a[{]b[]]").unwrap();
        assert_eq!(p.sequences[0].as_literal().unwrap(), b"/srv/*/a{b]");
        assert!(PathPattern::parse("/srv/[.][.]/a").is_err());
        let two = PathPattern::parse("/srv/[*?]").unwrap();
        assert!(two.sequences[0].as_literal().is_none());
    }

    #[test]
    fn what_is_not_a_path_is_refused() {
        for bad in [
            "a", "", "/a//b", "/a/", "//", "/a/../b", "/.", "/a**", "/**a", "/[", "/[z-a]", "/{a",
            "/a}", "/\\", "/\\xg0", "/\\x00", "/[ä]", "/[^a]", "/[--0]", "{,/a}",
        ] {
            assert!(PathPattern::parse(bad).is_err(), "{bad}");
        }
        assert!(PathPattern::parse(&format!("/{}", "{a,b}".repeat(11))).is_err());
    }
}
