//! Names of path patterns.

use super::pattern::Token;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

/// A name in a path pattern, as tokens. It is never empty. Most names have no wildcard: these are stored as bytes, and
/// their tokens are made when they are needed.
#[derive(Clone)]
pub struct Name(Arc<Spelling>);

enum Spelling {
    Literal {
        bytes: Box<[u8]>,
        tokens: OnceLock<Box<[Token]>>,
    },
    Glob(Box<[Token]>),
}

impl Name {
    /// A name that matches only these bytes.
    #[must_use]
    pub fn literal(bytes: &[u8]) -> Self {
        Self(Arc::new(Spelling::Literal {
            bytes: bytes.into(),
            tokens: OnceLock::new(),
        }))
    }

    /// The bytes that it matches. `None`: it has a wildcard.
    #[must_use]
    pub fn as_literal(&self) -> Option<&[u8]> {
        match &*self.0 {
            Spelling::Literal { bytes, .. } => Some(bytes),
            Spelling::Glob(_) => None,
        }
    }

    /// Whether it matches every name.
    #[must_use]
    pub fn is_star(&self) -> bool {
        match &*self.0 {
            Spelling::Literal { .. } => false,
            Spelling::Glob(tokens) => tokens.iter().all(|t| *t == Token::Star),
        }
    }
}

impl Deref for Name {
    type Target = [Token];

    fn deref(&self) -> &[Token] {
        match &*self.0 {
            Spelling::Literal { bytes, tokens } => {
                tokens.get_or_init(|| bytes.iter().map(|b| Token::Byte(*b)).collect())
            }
            Spelling::Glob(tokens) => tokens,
        }
    }
}

impl From<&[Token]> for Name {
    fn from(tokens: &[Token]) -> Self {
        let byte = |t: &Token| match t {
            Token::Byte(b) => Some(*b),
            _ => None,
        };
        match tokens.iter().map(byte).collect::<Option<Vec<u8>>>() {
            Some(bytes) => Self::literal(&bytes),
            None => Self(Arc::new(Spelling::Glob(tokens.into()))),
        }
    }
}

impl From<Vec<Token>> for Name {
    fn from(tokens: Vec<Token>) -> Self {
        tokens.as_slice().into()
    }
}

impl<const N: usize> From<[Token; N]> for Name {
    fn from(tokens: [Token; N]) -> Self {
        tokens.as_slice().into()
    }
}

impl FromIterator<Token> for Name {
    fn from_iter<I: IntoIterator<Item = Token>>(tokens: I) -> Self {
        tokens.into_iter().collect::<Vec<_>>().into()
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        match (&*self.0, &*other.0) {
            (Spelling::Literal { bytes: a, .. }, Spelling::Literal { bytes: b, .. }) => a == b,
            (Spelling::Glob(a), Spelling::Glob(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match &*self.0 {
            Spelling::Literal { bytes, .. } => bytes.hash(state),
            Spelling::Glob(tokens) => tokens.hash(state),
        }
    }
}

/// In the order of the tokens.
impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.as_literal(), other.as_literal()) {
            (Some(a), Some(b)) => a.cmp(b),
            _ => self[..].cmp(&other[..]),
        }
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self[..].fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_its_tokens_are() {
        let of = |text: &str| -> Name {
            let token = |c: char| match c {
                '*' => Token::Star,
                '?' => Token::Any,
                c => Token::Byte(c as u8),
            };
            text.chars().map(token).collect()
        };
        let names = ["a", "ab", "a*", "a?", "b", "*", "", "?b", "aa"].map(of);
        for a in &names {
            for b in &names {
                assert_eq!(a.cmp(b), a[..].cmp(&b[..]), "{a:?} {b:?}");
                assert_eq!(a == b, a[..] == b[..]);
            }
        }
        assert_eq!(of("ab"), Name::literal(b"ab"));
        assert_eq!(of("ab").as_literal(), Some(&b"ab"[..]));
        assert_eq!(of("a*").as_literal(), None);
    }
}
