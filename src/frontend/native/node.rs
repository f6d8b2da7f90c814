//! A tree of YAML nodes in which each node, keys too, knows its place.
//!
//! The library's events tell a quoted scalar from a plain one, two equal keys from one, and where in the file a byte of
//! a scalar is. Its deserialiser does not, and it stops at the first error. An alias is a reference to the node that it
//! names, never a copy. While the tree is built, polc counts the nodes that a reader could visit. So a few lines of
//! aliases cannot make a file of billions of nodes.

use crate::diagnostics::{Diagnostic, codes};
use crate::policy::{FileId, Span};
use rustc_hash::FxHashMap;
use serde_saphyr::granit_parser::{self, Event, Parser, ScalarStyle, StructureStyle};
use std::rc::Rc;

/// The largest file that polc reads, in bytes.
pub(crate) const MAX_BYTES: usize = 4 << 20;
/// The most nodes of a file, with aliases followed.
const MAX_NODES: u64 = 500_000;
/// The deepest nesting; the language needs six.
const MAX_DEPTH: usize = 48;

/// One node.
#[derive(Debug)]
pub(crate) struct Node {
    /// The whole node if it is a scalar or a short list in brackets. Otherwise its first entry.
    pub span: Span,
    /// What it is.
    pub kind: Kind,
    /// The number of nodes in it, with itself, and with aliases followed.
    weight: u64,
}

/// What a node is.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A text, as it came out of YAML.
    Scalar(Scalar),
    /// `[a, b]`.
    List(Vec<Rc<Node>>),
    /// `{a: b}`, in the order of the file, equal keys kept.
    Map(Vec<(Rc<Node>, Rc<Node>)>),
}

/// A scalar.
#[derive(Debug)]
pub(crate) struct Scalar {
    /// Its text without escapes.
    pub text: String,
    /// Whether it has no quotes, is not a block, and has no tag `!!str`. Then it may be a number or a boolean.
    pub plain: bool,
    /// The number of bytes in the span before the text, if the file has the text unchanged.
    verbatim: Option<usize>,
}

/// The type of a plain scalar in YAML 1.2, with the words that YAML 1.1 took for booleans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    /// A text.
    Text,
    /// Nothing.
    Null,
    /// A boolean.
    Bool,
    /// A number.
    Number,
}

impl Type {
    /// The word in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Null => "nothing",
            Self::Bool => "a boolean",
            Self::Number => "a number",
        }
    }
}

impl Scalar {
    /// The type in YAML.
    pub fn resolve(&self) -> Type {
        if !self.plain {
            return Type::Text;
        }
        match self.text.as_str() {
            "" | "~" | "null" | "Null" | "NULL" => return Type::Null,
            t if t.len() <= 5
                && ["true", "false", "yes", "no", "on", "off"]
                    .iter()
                    .any(|w| t.eq_ignore_ascii_case(w)) =>
            {
                return Type::Bool;
            }
            _ => {}
        }
        if is_number(&self.text) {
            Type::Number
        } else {
            Type::Text
        }
    }
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if [".inf", ".nan"]
        .iter()
        .any(|w| unsigned.eq_ignore_ascii_case(w))
    {
        return true;
    }
    if let Some(hex) = unsigned.strip_prefix("0x") {
        return !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit());
    }
    if let Some(octal) = unsigned.strip_prefix("0o") {
        return !octal.is_empty() && octal.bytes().all(|b| (b'0'..=b'7').contains(&b));
    }
    unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.bytes().any(|b| b.is_ascii_digit())
        && unsigned
            .bytes()
            .all(|b| b.is_ascii_digit() || b"._eE+-".contains(&b))
        && unsigned.replace('_', "").parse::<f64>().is_ok()
}

impl Node {
    /// The scalar, if it is one.
    pub fn scalar(&self) -> Option<&Scalar> {
        if let Kind::Scalar(s) = &self.kind {
            Some(s)
        } else {
            None
        }
    }

    /// The word in messages.
    pub fn type_name(&self) -> &'static str {
        match &self.kind {
            Kind::Scalar(s) => s.resolve().name(),
            Kind::List(_) => "a list",
            Kind::Map(_) => "a mapping",
        }
    }

    /// The value of a key, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Rc<Node>> {
        let Kind::Map(entries) = &self.kind else {
            return None;
        };
        entries
            .iter()
            .find(|(k, _)| k.scalar().is_some_and(|s| s.text == key))
            .map(|(_, v)| v)
    }

    /// The place of a key in this mapping.
    pub fn key_span(&self, key: &str) -> Option<Span> {
        let Kind::Map(entries) = &self.kind else {
            return None;
        };
        entries
            .iter()
            .find(|(k, _)| k.scalar().is_some_and(|s| s.text == key))
            .map(|(k, _)| k.span)
    }

    /// The place of the bytes `from..to` of a scalar's text. If the file has them in another form (escapes, folded
    /// lines), it is the place of the whole scalar.
    pub fn part(&self, from: usize, to: usize) -> Span {
        let Some((scalar, before)) = self.scalar().and_then(|s| s.verbatim.map(|v| (s, v))) else {
            return self.span;
        };
        let from = floor_char(&scalar.text, from);
        let to = ceil_char(&scalar.text, to.max(from));
        let head = &scalar.text[..from];
        let newlines = head.bytes().filter(|b| *b == b'\n').count();
        if newlines > 0 {
            return self.span;
        }
        let start = self.span.start + before + from;
        Span {
            file: self.span.file,
            start,
            end: (self.span.start + before + to).max(start),
            line: self.span.line,
            column: self
                .span
                .column
                .saturating_add(u32::try_from(before + head.chars().count()).unwrap_or(u32::MAX)),
        }
    }
}

fn floor_char(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn ceil_char(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

enum Open {
    List {
        start: granit_parser::Span,
        flow: bool,
        anchor: usize,
        items: Vec<Rc<Node>>,
    },
    Map {
        start: granit_parser::Span,
        flow: bool,
        anchor: usize,
        key: Option<Rc<Node>>,
        entries: Vec<(Rc<Node>, Rc<Node>)>,
    },
}

/// Parses the text of one file.
///
/// # Errors
/// An error in the YAML. There is only one, because the text after it cannot be trusted.
pub(crate) fn parse(file: FileId, text: &str) -> Result<Rc<Node>, Box<Diagnostic>> {
    let start_of_file = Span {
        file,
        start: 0,
        end: 0,
        line: 1,
        column: 1,
    };
    if text.len() > MAX_BYTES {
        return Err(Box::new(
            Diagnostic::error(
                codes::TOO_LARGE,
                // polc reads a file only one byte further than this.
                format!("the file has more than {MAX_BYTES} bytes, the most that a policy has"),
            )
            .at(start_of_file, "")
            .help("split it, and `include` the parts"),
        ));
    }
    if let Some(at) = text.find('\0') {
        return Err(Box::new(
            Diagnostic::error(codes::SYNTAX, "a NUL byte in the file")
                .at(place_of(file, text, at, at + 1), "not text")
                .help("a policy is a YAML file in UTF-8"),
        ));
    }
    Builder {
        file,
        text,
        anchors: FxHashMap::default(),
        open: Vec::new(),
        root: None,
        nodes: 0,
    }
    .run()
}

/// For a line such as `message: a: b`, the key and the text. YAML takes the second `: ` for another key.
fn text_with_colon(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start_matches([' ', '-', '{']).trim_end();
    let (key, text) = line.split_once(": ")?;
    let text = text.trim_start();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_text =
        text.contains(": ") && !text.starts_with(['"', '\'', '[', '{', '|', '>', '&', '*']);
    (is_text && key.chars().all(plain) && !text.contains('"')).then_some((key, text))
}

/// The span of some bytes of a text. It counts lines and columns, so it is only for few places.
pub(crate) fn place_of(file: FileId, text: &str, start: usize, end: usize) -> Span {
    let start = floor_char(text, start);
    let head = &text[..start];
    let line_start = head.rfind('\n').map_or(0, |i| i + 1);
    Span {
        file,
        start,
        end: ceil_char(text, end.max(start)),
        line: u32::try_from(head.bytes().filter(|b| *b == b'\n').count() + 1).unwrap_or(u32::MAX),
        column: u32::try_from(head[line_start..].chars().count() + 1).unwrap_or(u32::MAX),
    }
}

struct Builder<'a> {
    file: FileId,
    text: &'a str,
    anchors: FxHashMap<usize, Rc<Node>>,
    open: Vec<Open>,
    root: Option<Rc<Node>>,
    nodes: u64,
}

impl Builder<'_> {
    fn run(mut self) -> Result<Rc<Node>, Box<Diagnostic>> {
        let mut options = granit_parser::options! {
            emit_unresolved_aliases: true,
            flow_nesting_limit: MAX_DEPTH,
            block_nesting_limit: MAX_DEPTH,
            simple_key_max_lookahead: 1024,
        };
        options.set_emit_comments(false);
        let text = self.text;
        let mut documents = 0;
        for event in Parser::new_from_str_with_options(text, options) {
            let (event, span) = event.map_err(|e| Box::new(self.syntax(&e)))?;
            if let Some(tag) = event.tag()
                && !tag.is_yaml_core_schema_tag("str")
            {
                let place = span
                    .tag_span()
                    .map_or_else(|| self.span(&span), |s| self.span(&s));
                return Err(Box::new(
                    Diagnostic::error(
                        codes::YAML_FEATURE,
                        format!("the tag `{}` is not part of the language", tag.original()),
                    )
                    .at(place, "a tag")
                    .help("leave it out"),
                ));
            }
            match event {
                Event::DocumentStart(..) => {
                    documents += 1;
                    if documents == 2 {
                        return Err(Box::new(
                            Diagnostic::error(
                                codes::SEVERAL_DOCUMENTS,
                                "a policy is one YAML document",
                            )
                            .at(self.span(&span), "a second one begins here")
                            .help("put it in a file of its own"),
                        ));
                    }
                }
                Event::Scalar(value, style, anchor, tag) => {
                    let place = self.span(&span);
                    let raw = text.get(place.start..place.end).unwrap_or_default();
                    let before = usize::from(style != ScalarStyle::Plain);
                    let verbatim = match style {
                        ScalarStyle::Literal | ScalarStyle::Folded => None,
                        _ => (raw.get(before..before + value.len()) == Some(&*value)
                            && raw.len() == value.len() + 2 * before)
                            .then_some(before),
                    };
                    let node = Rc::new(Node {
                        span: place,
                        kind: Kind::Scalar(Scalar {
                            text: value.into_owned(),
                            plain: style == ScalarStyle::Plain && tag.is_none(),
                            verbatim,
                        }),
                        weight: 1,
                    });
                    self.add(node, anchor)?;
                }
                Event::SequenceStart(style, anchor, _) => self.open.push(Open::List {
                    start: span,
                    flow: style == StructureStyle::Flow,
                    anchor,
                    items: Vec::new(),
                }),
                Event::MappingStart(style, anchor, _) => self.open.push(Open::Map {
                    start: span,
                    flow: style == StructureStyle::Flow,
                    anchor,
                    key: None,
                    entries: Vec::new(),
                }),
                Event::SequenceEnd | Event::MappingEnd => self.close(&span)?,
                Event::Alias(id) => match self.anchors.get(&id) {
                    Some(node) => {
                        let node = Rc::clone(node);
                        self.add(node, 0)?;
                    }
                    None => {
                        return Err(Box::new(
                            Diagnostic::error(
                                codes::YAML_FEATURE,
                                "an alias inside the node that it names",
                            )
                            .at(self.span(&span), "this would never end"),
                        ));
                    }
                },
                Event::UnresolvedAlias(name) => {
                    return Err(Box::new(
                        Diagnostic::error(
                            codes::SYNTAX,
                            format!("there is no anchor `&{name}` before this alias"),
                        )
                        .at(self.span(&span), "unknown")
                        .help("a text that begins with `*` is quoted: `\"*.example.org\"`"),
                    ));
                }
                _ => {}
            }
        }
        self.root
            .filter(|r| !matches!(&r.kind, Kind::Scalar(s) if s.resolve() == Type::Null))
            .ok_or_else(|| {
                Box::new(
                    Diagnostic::error(codes::EMPTY_FILE, "the file is empty")
                        .at(place_of(self.file, text, 0, 0), "")
                        .help("`polc init` writes a policy to start from"),
                )
            })
    }

    fn close(&mut self, end: &granit_parser::Span) -> Result<(), Box<Diagnostic>> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        let (start, flow, anchor, kind, weight, first) = match open {
            Open::List {
                start,
                flow,
                anchor,
                items,
            } => {
                let weight = items.iter().fold(1u64, |w, n| w.saturating_add(n.weight));
                let first = items.first().map(|n| n.span);
                (start, flow, anchor, Kind::List(items), weight, first)
            }
            Open::Map {
                start,
                flow,
                anchor,
                entries,
                ..
            } => {
                let weight = entries.iter().fold(1u64, |w, (k, v)| {
                    w.saturating_add(k.weight).saturating_add(v.weight)
                });
                let first = entries.first().map(|(k, _)| k.span);
                (start, flow, anchor, Kind::Map(entries), weight, first)
            }
        };
        let mut span = self.span(&start);
        if flow {
            let end = self.span(end).end;
            // If a node has many lines, only its bracket is marked.
            let inner = self.text.get(span.start..end).unwrap_or_default();
            span.end = if inner.contains('\n') {
                span.start + 1
            } else {
                end
            };
        } else if let Some(first) = first {
            span = first;
        }
        self.add(Rc::new(Node { span, kind, weight }), anchor)
    }

    fn add(&mut self, node: Rc<Node>, anchor: usize) -> Result<(), Box<Diagnostic>> {
        // A new container counts itself. Its contents were counted when they came. An alias counts everything that it
        // names.
        self.nodes = self
            .nodes
            .saturating_add(match (&node.kind, Rc::strong_count(&node)) {
                (_, 2..) => node.weight,
                _ => 1,
            });
        if self.nodes > MAX_NODES {
            return Err(Box::new(
                Diagnostic::error(
                    codes::TOO_LARGE,
                    format!("the file has more than {MAX_NODES} nodes, aliases followed"),
                )
                .at(node.span, "counted up to here"),
            ));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { key, entries, .. }) => match key.take() {
                None => *key = Some(node),
                Some(k) => entries.push((k, node)),
            },
        }
        Ok(())
    }

    fn span(&self, span: &granit_parser::Span) -> Span {
        let start = floor_char(self.text, span.start.byte_offset().unwrap_or(0));
        let end = ceil_char(
            self.text,
            span.end.byte_offset().unwrap_or(start).max(start),
        );
        Span {
            file: self.file,
            start,
            end,
            line: u32::try_from(span.start.line()).unwrap_or(u32::MAX),
            column: u32::try_from(span.start.col().saturating_add(1)).unwrap_or(u32::MAX),
        }
    }

    fn syntax(&self, e: &granit_parser::ScanError) -> Diagnostic {
        use granit_parser::ErrorKind as K;
        let at = e.marker().byte_offset().unwrap_or(0).min(self.text.len());
        let mut d = Diagnostic::error(codes::SYNTAX, format!("not valid YAML: {}", e.info()))
            .at(place_of(self.file, self.text, at, at + 1), "");
        let line_start = self.text[..floor_char(self.text, at)]
            .rfind('\n')
            .map_or(0, |i| i + 1);
        let line = self.text[line_start..].lines().next().unwrap_or_default();
        if line.starts_with([' ', '\t']) && line.trim_start_matches(' ').starts_with('\t') {
            d = d.help("YAML does not take tabs for indentation: use blanks");
        } else if matches!(e.kind(), K::RecursionLimitExceeded) {
            d.code = codes::TOO_LARGE;
            d.message = format!("the file nests deeper than {MAX_DEPTH} levels");
            return d;
        } else if let Some((key, text)) = text_with_colon(line) {
            d = d.help(format!(
                "a text with `: ` in it is quoted: `{key}: \"{text}\"`"
            ));
        }
        // The parser finds a bracket without an end only far after it.
        let open = self.open.iter().rev().find_map(|o| match o {
            Open::List {
                start, flow: true, ..
            }
            | Open::Map {
                start, flow: true, ..
            } => Some(self.span(start)),
            _ => None,
        });
        if let Some(open) = open {
            d = d.and_at(
                Span {
                    end: open.start + 1,
                    ..open
                },
                "this is still open",
            );
        }
        d
    }
}
