//! Places in the files that a policy was read from.

use std::sync::Arc;

/// The index of a file in [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct FileId(pub u32);

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Span {
    /// Which file.
    pub file: FileId,
    /// Byte offset of the start.
    pub start: usize,
    /// Byte offset of the end, not included.
    pub end: usize,
    /// Line of the start, from 1.
    pub line: u32,
    /// Column of the start, from 1, in characters.
    pub column: u32,
}

/// One file: its name as the user gave it (`builtin:credentials` for a built-in one) and its text.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// For messages.
    pub name: String,
    /// The whole text.
    pub text: Arc<str>,
}

/// The files of a policy.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    files: Vec<SourceFile>,
}

impl Sources {
    /// Adds a file.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<Arc<str>>) -> FileId {
        let id = FileId(u32::try_from(self.files.len()).unwrap_or(u32::MAX));
        self.files.push(SourceFile {
            name: name.into(),
            text: text.into(),
        });
        id
    }

    /// Appends the files of another policy. Returns the number to add to the file ids of its places.
    pub fn append(&mut self, other: Self) -> u32 {
        let by = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        self.files.extend(other.files);
        by
    }

    /// The file, if there is one with this id.
    #[must_use]
    pub fn get(&self, id: FileId) -> Option<&SourceFile> {
        self.files.get(id.0 as usize)
    }

    /// `name:line` of a span, for one-line messages.
    #[must_use]
    pub fn place(&self, span: Span) -> String {
        match self.get(span.file) {
            Some(f) => format!("{}:{}", visible(&f.name), span.line),
            None => "<unknown>".to_owned(),
        }
    }
}

/// Makes control characters visible. A policy's text may bring them into a message, and a terminal must not obey them.
pub(crate) fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control()
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
        {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}
