//! The syntax of patterns: braces, wildcards, classes and escapes.

use super::name::Name;
use super::pattern::{ByteSet, Component, PathPattern, PatternError, Sequence, Token};

pub(super) fn fail<T>(
    offset: usize,
    message: impl Into<String>,
    help: impl Into<Option<&'static str>>,
) -> Result<T, PatternError> {
    Err(PatternError {
        offset,
        message: message.into(),
        help: help.into().map(str::to_owned),
    })
}

/// A piece of text. It is small, because braces copy it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Item {
    Slash,
    DoubleStar,
    Byte(u8),
    Any,
    Star,
    /// Its index in [`Parser::classes`].
    Class(u32),
}

/// Items with their offsets in the text.
pub(super) type Items = Vec<(u32, Item)>;

pub(super) struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    /// Whether `/` separates components.
    path: bool,
    cost: usize,
    classes: Vec<ByteSet>,
}

impl<'a> Parser<'a> {
    const MAX_NESTING: usize = 32;

    pub(super) fn new(text: &'a str, path: bool) -> Self {
        Self {
            text: text.as_bytes(),
            at: 0,
            path,
            cost: 0,
            classes: Vec::new(),
        }
    }

    /// The token of an item, if it is one.
    pub(super) fn token(&self, item: Item) -> Option<Token> {
        match item {
            Item::Slash | Item::DoubleStar => None,
            Item::Byte(b) => Some(Token::Byte(b)),
            Item::Any => Some(Token::Any),
            Item::Star => Some(Token::Star),
            Item::Class(n) => Some(Token::Class(self.classes[n as usize])),
        }
    }

    /// Every form without braces of the text up to the next `,` or `}` of an open brace, or up to the end.
    pub(super) fn alternatives(&mut self, depth: usize) -> Result<Vec<Items>, PatternError> {
        let mut first = Vec::new();
        if depth == 0 {
            first.reserve(self.text.len().min(128));
        }
        let mut forms: Vec<Items> = vec![first];
        while let Some(&b) = self.text.get(self.at) {
            let offset = self.at;
            let item = match b {
                b',' | b'}' if depth > 0 => break,
                b'}' => {
                    return fail(
                        offset,
                        "a `}` without its `{`",
                        "write `\\}` for the character itself",
                    );
                }
                b'{' => {
                    if depth == Self::MAX_NESTING {
                        return fail(offset, "braces nest too deep", None);
                    }
                    self.at += 1;
                    let mut choices = Vec::new();
                    loop {
                        choices.extend(self.alternatives(depth + 1)?);
                        match self.text.get(self.at) {
                            Some(b',') => self.at += 1,
                            Some(_) => break,
                            None => {
                                return fail(
                                    offset,
                                    "a `{` without its `}`",
                                    "write `\\{` for the character itself",
                                );
                            }
                        }
                    }
                    self.at += 1;
                    if forms.len() * choices.len() > PathPattern::MAX_SEQUENCES {
                        return fail(
                            offset,
                            format!(
                                "the braces make more than {} alternatives",
                                PathPattern::MAX_SEQUENCES
                            ),
                            "write several patterns, or a `*`",
                        );
                    }
                    let mut next = Vec::with_capacity(forms.len() * choices.len());
                    for f in &forms {
                        for c in &choices {
                            // Most of the remaining texts are short.
                            let rest = self.text.len().saturating_sub(self.at).min(128);
                            let mut joined = Vec::with_capacity(f.len() + c.len() + rest);
                            joined.extend_from_slice(f);
                            joined.extend_from_slice(c);
                            self.cost += joined.len();
                            if self.cost > 4 * PathPattern::MAX_LENGTH * 64 {
                                return fail(
                                    offset,
                                    "the braces make a pattern that is too large",
                                    "write several patterns",
                                );
                            }
                            next.push(joined);
                        }
                    }
                    forms = next;
                    continue;
                }
                b'[' => self.class()?,
                b'*' => {
                    if self.text.get(self.at + 1) == Some(&b'*') && self.path {
                        self.at += 2;
                        Item::DoubleStar
                    } else {
                        self.at += 1;
                        Item::Star
                    }
                }
                b'?' => {
                    self.at += 1;
                    Item::Any
                }
                _ => match self.byte()? {
                    b'/' if self.path => Item::Slash,
                    b => Item::Byte(b),
                },
            };
            for f in &mut forms {
                f.push((offset as u32, item));
            }
        }
        Ok(forms)
    }

    /// One literal byte. It may be escaped.
    fn byte(&mut self) -> Result<u8, PatternError> {
        let offset = self.at;
        let b = self.text[self.at];
        self.at += 1;
        let value = if b == b'\\' {
            match self.text.get(self.at) {
                None => {
                    return fail(
                        offset,
                        "a `\\` with nothing behind it",
                        "write `\\\\` for the character itself",
                    );
                }
                Some(b'x') => {
                    let digits = self.text.get(self.at + 1..self.at + 3).unwrap_or_default();
                    let value = std::str::from_utf8(digits)
                        .ok()
                        .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
                    match value
                        .and_then(|d| u8::from_str_radix(d, 16).ok())
                        .filter(|_| digits.len() == 2)
                    {
                        Some(v) => {
                            self.at += 3;
                            v
                        }
                        None => {
                            return fail(
                                offset,
                                "`\\x` needs two hexadecimal digits",
                                "write `\\x0a`, or `\\\\x` for a backslash",
                            );
                        }
                    }
                }
                Some(&b) => {
                    self.at += 1;
                    b
                }
            }
        } else {
            b
        };
        if value == 0 {
            return fail(offset, "a NUL byte, which no name can hold", None);
        }
        Ok(value)
    }

    fn class(&mut self) -> Result<Item, PatternError> {
        let open = self.at;
        self.at += 1;
        let negated = match self.text.get(self.at) {
            Some(b'!') => {
                self.at += 1;
                true
            }
            Some(b'^') => {
                return fail(
                    self.at,
                    "`[^` is not how this language negates a class",
                    "write `[!…]`, or `[\\^…]` for the character itself",
                );
            }
            _ => false,
        };
        let mut set = ByteSet::EMPTY;
        let mut first = true;
        loop {
            let at = self.at;
            match self.text.get(at) {
                None => {
                    return fail(
                        open,
                        "a `[` without its `]`",
                        "write `\\[` for the character itself",
                    );
                }
                Some(b']') if !first => {
                    self.at += 1;
                    break;
                }
                _ => {}
            }
            first = false;
            let lo = self.class_byte(at)?;
            let mut hi = lo;
            if self.text.get(self.at) == Some(&b'-')
                && self.text.get(self.at + 1).is_some_and(|b| *b != b']')
            {
                self.at += 1;
                hi = self.class_byte(self.at)?;
                if hi < lo {
                    return fail(at, "a range whose end is before its start", None);
                }
            }
            for b in lo..=hi {
                set.insert(b);
            }
        }
        if self.path && set.contains(b'/') {
            return fail(
                open,
                "a class cannot hold `/`",
                "a `/` is only between components; split the range around it",
            );
        }
        if negated {
            set = set.complement();
        }
        if self.path {
            set.remove(b'/');
        }
        set.remove(0);
        if set.is_empty() {
            return fail(open, "a class that no byte is in", None);
        }
        // `[*]` is the byte `*`. As a class it would count as a wildcard, which some targets cannot express.
        let mut members = set.iter();
        if let (Some(only), None) = (members.next(), members.next()) {
            return Ok(Item::Byte(only));
        }
        self.classes.push(set);
        Ok(Item::Class(self.classes.len() as u32 - 1))
    }

    fn class_byte(&mut self, at: usize) -> Result<u8, PatternError> {
        if self.text[at] >= 0x80 {
            return fail(
                at,
                "a class holds bytes, and this character is more than one",
                "write braces: `{ä,ö}`",
            );
        }
        self.byte()
    }
}

pub(super) fn merge_stars(tokens: &mut Vec<Token>) {
    tokens.dedup_by(|a, b| *a == Token::Star && *b == Token::Star);
}

/// The components of one form. `before` is the previous form, which mostly begins with the same names.
pub(super) fn components(
    parser: &Parser<'_>,
    items: &Items,
    before: Option<&Sequence>,
) -> Result<Sequence, PatternError> {
    match items.first() {
        Some((_, Item::Slash)) => {}
        first => {
            return fail(
                first.map_or(0, |f| f.0 as usize),
                "a path must be absolute",
                "begin it with `/`, `~/` or `${workspace}/`",
            );
        }
    }
    if items.len() == 1 {
        return Ok(Sequence::default());
    }
    let mut out = Vec::new();
    let mut literal: Vec<u8> = Vec::new();
    for part in items[1..].split(|(_, i)| *i == Item::Slash) {
        let Some(&(offset, _)) = part.first() else {
            let at = items.last().map_or(0, |i| i.0 as usize);
            return if items.last().is_some_and(|(_, i)| *i == Item::Slash) {
                fail(
                    at,
                    "a path must not end in `/`",
                    "`/a` is the object itself, `/a/**` it and everything beneath",
                )
            } else {
                fail(
                    items[0].0 as usize,
                    "a path must not hold `//`",
                    "write one `/`",
                )
            };
        };
        if let [(_, Item::DoubleStar)] = part {
            // Two of these in a row mean the same as one.
            if out.last() != Some(&Component::AnyDepth) {
                out.push(Component::AnyDepth);
            }
            continue;
        }
        if let Some((at, _)) = part.iter().find(|(_, i)| *i == Item::DoubleStar) {
            return fail(
                *at as usize,
                "`**` must be a whole component",
                "write `/**/` between slashes, or `*` within a name",
            );
        }
        let byte = |(_, item): &(u32, Item)| match item {
            Item::Byte(b) => Some(*b),
            _ => None,
        };
        literal.clear();
        literal.extend(part.iter().map_while(byte));
        let component = if literal.len() < part.len() {
            let mut tokens: Vec<Token> = part.iter().filter_map(|i| parser.token(i.1)).collect();
            merge_stars(&mut tokens);
            Component::Name(tokens.into())
        } else if matches!(literal.as_slice(), b"." | b"..") {
            return fail(
                offset as usize,
                "a path must not hold `.` or `..` as a component",
                "write the path that it leads to",
            );
        } else {
            let known = before.and_then(|s| s.components.get(out.len()));
            match known.filter(|c| c.literal() == Some(&literal)) {
                Some(same) => same.clone(),
                None => Component::Name(Name::literal(&literal)),
            }
        };
        out.push(component);
    }
    Ok(Sequence { components: out })
}
