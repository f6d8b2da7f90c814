//! Regular expressions over paths, as patterns of bytes.
//!
//! The syntax is POSIX extended, as in Apple's own profiles: `^ $ . [ ] ( ) | * + ? { }`, with a backslash before
//! special bytes. In brackets a backslash stands for itself. Without `^` and `$`, a match may begin and end anywhere. A
//! group may repeat if it is one byte of a set, or `/[^/]+`. The reader refuses other repeated groups.

use crate::policy::ByteSet;
use crate::semantics::{Step, steps_match};

/// The parts of a regular expression, before its ends are examined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    Start,
    End,
    Step(Step),
}

/// One alternative.
type Line = Vec<Item>;

/// The most alternatives that are written out.
const MAX_LINES: usize = 1024;
/// The longest alternative.
const MAX_LENGTH: usize = 4096;
const MAX_DEPTH: usize = 32;

struct Parser<'t> {
    text: &'t [u8],
    at: usize,
}

/// The patterns that match the paths in which the expression is found.
///
/// # Errors
/// What the reader does not understand, on one line.
pub(super) fn patterns(text: &[u8]) -> Result<Vec<Vec<Step>>, String> {
    let mut parser = Parser { text, at: 0 };
    let lines = parser.alternatives(0)?;
    if parser.at < text.len() {
        return Err("a `)` without its `(`".into());
    }
    let mut out = Vec::new();
    for line in lines {
        out.extend(of_paths(whole(&line)?));
    }
    Ok(out)
}

/// Removes the anchors, and adds what a missing anchor stands for.
fn whole(line: &[Item]) -> Result<Vec<Step>, String> {
    let inner = line.strip_prefix(&[Item::Start]);
    let mut out = Vec::new();
    if inner.is_none() {
        out.push(Step::Star(ByteSet::ALL));
    }
    let inner = inner.unwrap_or(line);
    let closed = inner.strip_suffix(&[Item::End]);
    for item in closed.unwrap_or(inner) {
        match item {
            Item::Step(step) => out.push(*step),
            Item::Start | Item::End => {
                return Err("`^` or `$` in the middle, where it never matches".into());
            }
        }
    }
    if closed.is_none() {
        out.push(Step::Star(ByteSet::ALL));
    }
    // The step for `(/[^/]+)*` ends where a name ends.
    let ends_within = |pair: &[Step]| {
        let after = pair[1];
        let fits = [Step::Byte(b'/'), Step::AnyDepth, Step::Star(ByteSet::ALL)];
        pair[0] == Step::AnyDepth && !fits.contains(&after)
    };
    if out.windows(2).any(ends_within) {
        return Err("`(/[^/]+)*` is read only before `/` or at the end".into());
    }
    Ok(out)
}

/// The same for paths in polc's form: the root is the empty string there, and `/` here.
pub(super) fn of_paths(steps: Vec<Step>) -> Vec<Vec<Step>> {
    let mut out = Vec::new();
    if steps_match(&steps, b"/") {
        out.push(Vec::new());
    }
    let optional = |s: &Step| matches!(s, Step::Star(_) | Step::AnyDepth);
    if !steps.iter().all(optional) {
        out.push(steps);
        return out;
    }
    // Everything but the empty string: one of the steps is the first that takes a byte.
    for (i, step) in steps.iter().enumerate() {
        let mut line = match step {
            Step::Star(set) => vec![Step::Set(*set), *step],
            _ => component().to_vec(),
        };
        if *step == Step::AnyDepth {
            line.push(Step::AnyDepth);
        }
        line.extend_from_slice(&steps[i + 1..]);
        out.push(line);
    }
    out
}

/// `/[^/]+`
fn component() -> [Step; 3] {
    let mut name = ByteSet::ALL;
    name.remove(b'/');
    [Step::Byte(b'/'), Step::Set(name), Step::Star(name)]
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn alternatives(&mut self, depth: usize) -> Result<Vec<Line>, String> {
        if depth > MAX_DEPTH {
            return Err("groups nest too deep".into());
        }
        let mut out = self.sequence(depth)?;
        while self.peek() == Some(b'|') {
            self.at += 1;
            out.extend(self.sequence(depth)?);
            if out.len() > MAX_LINES {
                return Err("too many alternatives".into());
            }
        }
        Ok(out)
    }

    fn sequence(&mut self, depth: usize) -> Result<Vec<Line>, String> {
        let mut out: Vec<Line> = vec![Vec::new()];
        while let Some(b) = self.peek() {
            if b == b'|' || (b == b')' && depth > 0) {
                break;
            }
            let part = self.repeated(depth)?;
            out = joined(&out, &part)?;
        }
        Ok(out)
    }

    fn repeated(&mut self, depth: usize) -> Result<Vec<Line>, String> {
        let mut part = self.one(depth)?;
        loop {
            match self.peek() {
                Some(b'*') => part = any_run(&part)?,
                Some(b'+') => part = joined(&part, &any_run(&part)?)?,
                Some(b'?') => part.push(Vec::new()),
                Some(b'{') => {
                    part = self.counted(&part)?;
                    continue;
                }
                _ => return Ok(part),
            }
            self.at += 1;
        }
    }

    /// `{m}`, `{m,}` or `{m,n}`
    fn counted(&mut self, part: &[Line]) -> Result<Vec<Line>, String> {
        let text = &self.text[self.at + 1..];
        let end = text
            .iter()
            .position(|b| *b == b'}')
            .ok_or("a `{` without its `}`")?;
        let inside = std::str::from_utf8(&text[..end]).unwrap_or("?");
        let number = |t: &str| -> Result<usize, String> {
            t.parse()
                .ok()
                .filter(|n| *n <= 255)
                .ok_or_else(|| format!("`{{{inside}}}` is no count"))
        };
        let (least, most) = match inside.split_once(',') {
            None => (number(inside)?, Some(number(inside)?)),
            Some((m, "")) => (number(m)?, None),
            Some((m, n)) => (number(m)?, Some(number(n)?)),
        };
        self.at += end + 2;
        let mut out: Vec<Line> = vec![Vec::new()];
        for _ in 0..least {
            out = joined(&out, part)?;
        }
        let Some(most) = most else {
            return joined(&out, &any_run(part)?);
        };
        if most < least {
            return Err(format!("`{{{inside}}}` is no count"));
        }
        let mut longer = out.clone();
        for _ in least..most {
            longer = joined(&longer, part)?;
            out.extend(longer.iter().cloned());
            if out.len() > MAX_LINES {
                return Err("too many alternatives".into());
            }
        }
        Ok(out)
    }

    fn one(&mut self, depth: usize) -> Result<Vec<Line>, String> {
        let Some(b) = self.peek() else {
            return Err("it ends too early".into());
        };
        self.at += 1;
        let step = match b {
            b'^' => Item::Start,
            b'$' => Item::End,
            b'.' => Item::Step(Step::Set(ByteSet::ALL)),
            b'[' => Item::Step(Step::Set(self.class()?)),
            b'(' => {
                if self.peek() == Some(b'?') {
                    return Err("`(?` is not read".into());
                }
                let inner = self.alternatives(depth + 1)?;
                if self.peek() != Some(b')') {
                    return Err("a `(` without its `)`".into());
                }
                self.at += 1;
                return Ok(inner);
            }
            b'\\' => match self.peek() {
                Some(b) if b.is_ascii_punctuation() => {
                    self.at += 1;
                    Item::Step(Step::Byte(b))
                }
                _ => return Err("a backslash before what is not special".into()),
            },
            b'*' | b'+' | b'?' | b'{' => {
                return Err(format!("`{}` repeats nothing", char::from(b)));
            }
            b')' => return Err("a `)` without its `(`".into()),
            b => Item::Step(Step::Byte(b)),
        };
        Ok(vec![vec![step]])
    }

    /// The class after a `[`.
    fn class(&mut self) -> Result<ByteSet, String> {
        let negated = self.peek() == Some(b'^');
        if negated {
            self.at += 1;
        }
        let mut set = ByteSet::EMPTY;
        let first = self.at;
        loop {
            let Some(b) = self.peek() else {
                return Err("a `[` without its `]`".into());
            };
            self.at += 1;
            if b == b']' && self.at - 1 > first {
                break;
            }
            if !b.is_ascii() {
                return Err("a class with a character that is not ASCII".into());
            }
            if b == b'[' && matches!(self.peek(), Some(b':' | b'.' | b'=')) {
                return Err("`[:…:]` in a class is not read".into());
            }
            let range =
                self.peek() == Some(b'-') && self.text.get(self.at + 1).is_some_and(|b| *b != b']');
            if !range {
                set.insert(b);
                continue;
            }
            let last = self.text[self.at + 1];
            self.at += 2;
            if !last.is_ascii() || last < b || last == b'[' {
                return Err("a range in a class that runs backwards".into());
            }
            (b..=last).for_each(|b| set.insert(b));
        }
        Ok(if negated { set.complement() } else { set })
    }
}

fn joined(left: &[Line], right: &[Line]) -> Result<Vec<Line>, String> {
    if left.len() * right.len() > MAX_LINES {
        return Err("too many alternatives".into());
    }
    let mut out = Vec::with_capacity(left.len() * right.len());
    for l in left {
        for r in right {
            if l.len() + r.len() > MAX_LENGTH {
                return Err("it is too long".into());
            }
            out.push(l.iter().chain(r).copied().collect());
        }
    }
    Ok(out)
}

/// Any number of these, also none.
fn any_run(part: &[Line]) -> Result<Vec<Line>, String> {
    let mut set = ByteSet::EMPTY;
    let mut bytes = true;
    for line in part {
        match line.as_slice() {
            [] => {}
            [Item::Step(Step::Byte(b))] => set.insert(*b),
            [Item::Step(Step::Set(s) | Step::Star(s))] => {
                s.iter().for_each(|b| set.insert(b));
            }
            _ => bytes = false,
        }
    }
    if bytes {
        return Ok(vec![vec![Item::Step(Step::Star(set))]]);
    }
    let name: Line = component().into_iter().map(Item::Step).collect();
    match part {
        [line] if *line == name => Ok(vec![vec![Item::Step(Step::AnyDepth)]]),
        [line] if line.as_slice() == [Item::Step(Step::AnyDepth)] => Ok(part.to_vec()),
        _ => Err("a group that repeats is read only if it is one byte or `/[^/]+`".into()),
    }
}
