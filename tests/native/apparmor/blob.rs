//! Reads the binary policy that `apparmor_parser` hands to the kernel, and walks its automata as the
//! kernel does.
//!
//! The facts are those of the kernel's `security/apparmor/policy_unpack.c` (the stream of tagged
//! values), `match.c` (the tables) and `file.c` (what an accepting state's bits mean), 6.1. The code
//! shares nothing with polc: it is the second opinion on what a profile means.

use std::collections::BTreeMap;

/// A value of the stream, with the name that came before it.
#[derive(Debug)]
struct Item<'a> {
    name: Option<&'a [u8]>,
    value: Value<'a>,
}

#[derive(Debug)]
enum Value<'a> {
    Number(u64),
    Text(&'a [u8]),
    /// Where in the stream it begins: the automaton in it is aligned to the stream.
    Blob(usize, &'a [u8]),
    /// A struct, list or array.
    Group(Vec<Item<'a>>),
    End(u8),
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

const STRUCT: u8 = 7;
const ARRAY: u8 = 11;

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(n).filter(|e| *e <= self.bytes.len());
        let end = end.ok_or_else(|| format!("the stream ends inside a value at {}", self.at))?;
        let part = &self.bytes[self.at..end];
        self.at = end;
        Ok(part)
    }

    fn number(&mut self, n: usize) -> Result<u64, String> {
        let bytes = self.take(n)?;
        Ok(bytes.iter().rev().fold(0, |v, b| v << 8 | u64::from(*b)))
    }

    fn text(&mut self) -> Result<&'a [u8], String> {
        let n = self.number(2)? as usize;
        let bytes = self.take(n)?;
        bytes
            .strip_suffix(b"\0")
            .ok_or_else(|| format!("a string without its end at {}", self.at))
    }

    fn item(&mut self) -> Result<Item<'a>, String> {
        let mut tag = self.number(1)? as u8;
        let mut name = None;
        if tag == 4 {
            name = Some(self.text()?);
            tag = self.number(1)? as u8;
        }
        let value = match tag {
            0..=3 => Value::Number(self.number(1 << tag)?),
            5 => Value::Text(self.text()?),
            6 => {
                let n = self.number(4)? as usize;
                let at = self.at;
                Value::Blob(at, self.take(n)?)
            }
            STRUCT | 9 | ARRAY => {
                if tag == ARRAY {
                    self.number(2)?;
                }
                let mut items = Vec::new();
                loop {
                    let item = self.item()?;
                    match item.value {
                        Value::End(end) if end == tag + 1 => break,
                        Value::End(end) => return Err(format!("{tag} ended by {end}")),
                        _ => items.push(item),
                    }
                }
                Value::Group(items)
            }
            8 | 10 | 12 => Value::End(tag),
            other => return Err(format!("unknown tag {other} at {}", self.at)),
        };
        Ok(Item { name, value })
    }
}

/// A packed automaton: rows share `next` and `check`, as in flex's tables.
#[derive(Debug)]
pub struct Dfa {
    accept: Vec<u32>,
    base: Vec<u32>,
    default: Vec<u32>,
    next: Vec<u32>,
    check: Vec<u32>,
    classes: Option<Vec<u32>>,
}

/// A state of a profile's file rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct State(u32);

/// The state that matches nothing any more.
const NOMATCH: u32 = 0;
/// Where an automaton starts that does not say where.
const START: u32 = 1;
const DIFF_ENCODE: u32 = 1 << 31;

impl Dfa {
    fn read(stream_offset: usize, blob: &[u8]) -> Result<Self, String> {
        // The automaton begins at the next multiple of 8, counted from a start that the blob's end
        // shifts; the kernel computes it so.
        let from = stream_offset.wrapping_sub((stream_offset + blob.len()) & 7);
        let pad = from.next_multiple_of(8) - from;
        let mut rest = blob
            .get(pad..)
            .ok_or("an automaton shorter than its padding")?;
        let big = |bytes: &[u8]| bytes.iter().fold(0u32, |v, b| v << 8 | u32::from(*b));
        let cut = |bytes: &mut &[u8], n: usize| -> Result<Vec<u8>, String> {
            let (head, tail) = bytes
                .split_at_checked(n)
                .ok_or("an automaton that is cut short")?;
            *bytes = tail;
            Ok(head.to_vec())
        };
        let head = cut(&mut rest, 16)?;
        if big(&head[..4]) != 0x1B5E_783D {
            return Err("an automaton without its magic number".into());
        }
        if big(&head[12..14]) & !3 != 0 {
            return Err("an automaton with unknown flags".into());
        }
        cut(&mut rest, big(&head[4..8]) as usize - 16)?;
        let mut tables: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        while !rest.is_empty() {
            let head = cut(&mut rest, 12)?;
            let (id, width) = (big(&head[..2]), big(&head[2..4]) as usize);
            let length = big(&head[8..12]) as usize;
            if !matches!(width, 1 | 2 | 4) {
                return Err(format!("a table of width {width}"));
            }
            let data = cut(&mut rest, length * width)?;
            let end = 12 + length * width;
            cut(&mut rest, end.next_multiple_of(8) - end)?;
            let values = data.chunks(width).map(big).collect();
            if tables.insert(id, values).is_some() {
                return Err(format!("table {id} twice"));
            }
        }
        let mut table = |id: u32| tables.remove(&id).ok_or(format!("no table {id}"));
        let (accept, base, check) = (table(1)?, table(2)?, table(3)?);
        let (default, next) = (table(4)?, table(8)?);
        let classes = table(5).ok();
        let states = base.len();
        let sound = accept.len() == states
            && default.len() == states
            && next.len() == check.len()
            && classes.as_ref().is_none_or(|c| c.len() == 256)
            && [&default, &next, &check]
                .iter()
                .all(|t| t.iter().all(|s| (*s as usize) < states))
            && base
                .iter()
                .all(|b| (*b & 0x00ff_ffff) as usize + 255 < next.len());
        if !sound {
            return Err("tables that do not fit each other".into());
        }
        Ok(Self {
            accept,
            base,
            default,
            next,
            check,
            classes,
        })
    }

    fn step(&self, mut state: u32, byte: u8) -> u32 {
        let class = match &self.classes {
            Some(classes) => classes[usize::from(byte)] as usize,
            None => usize::from(byte),
        };
        loop {
            let base = self.base[state as usize];
            let at = (base & 0x00ff_ffff) as usize + class;
            if self.check[at] == state {
                return self.next[at];
            }
            state = self.default[state as usize];
            if base & DIFF_ENCODE == 0 {
                return state;
            }
        }
    }

    fn walk(&self, start: u32, bytes: &[u8]) -> u32 {
        if start == NOMATCH {
            return NOMATCH;
        }
        bytes
            .iter()
            .fold(start, |state, byte| self.step(state, *byte))
    }

    fn accept(&self, state: u32) -> u32 {
        self.accept[state as usize]
    }
}

/// What a profile grants on a file to a process that owns it, or that does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::struct_excessive_bools)] // the kernel's own bits
pub struct Rights {
    /// Open for reading; read a directory.
    pub read: bool,
    /// Open for writing, create, delete, change mode and owner.
    pub write: bool,
    /// Open for appending.
    pub append: bool,
    /// Start it.
    pub exec: bool,
    /// Map it as code.
    pub mmap: bool,
    /// Be the new name of a hard link (the pair with the target is checked apart).
    pub link: bool,
    /// Lock it.
    pub lock: bool,
    /// How execution changes profile: `ix` keeps this one.
    pub inherit: bool,
    /// The transition's index bits, as compiled: 0 none, 1 unconfined, 2 the executable's name,
    /// 3 a child of that name, 4… a named one.
    pub transition: u8,
}

impl Rights {
    fn of(bits: u32) -> Self {
        Self {
            exec: bits & 0x01 != 0,
            write: bits & 0x02 != 0,
            read: bits & 0x04 != 0,
            append: bits & 0x08 != 0,
            link: bits & 0x10 != 0,
            lock: bits & 0x20 != 0,
            mmap: bits & 0x40 != 0,
            inherit: bits & 0x200 != 0,
            transition: (bits >> 10 & 0xf) as u8,
        }
    }
}

/// The rights on one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilePerms {
    /// Of a process whose file system user owns the file.
    pub owner: Rights,
    /// Of every other.
    pub other: Rights,
}

/// A profile of a binary policy.
#[derive(Debug)]
pub struct Profile {
    /// Its name, as the kernel lists it.
    pub name: Vec<u8>,
    attachment: Option<Dfa>,
    policy: Option<(Dfa, u32)>,
    files: Option<(Dfa, u32)>,
    /// The capabilities that it keeps, bit by number.
    pub capabilities: u64,
    /// Enforce is 0, complain 1, kill 2, unconfined 3.
    pub mode: u64,
}

/// Reads all profiles of a binary policy.
pub fn read(blob: &[u8]) -> Result<Vec<Profile>, String> {
    let mut reader = Reader { bytes: blob, at: 0 };
    let mut profiles = Vec::new();
    while reader.at < blob.len() {
        let item = reader.item()?;
        match (item.name, item.value) {
            (Some(b"profile"), Value::Group(items)) => profiles.push(Profile::read(&items)?),
            (Some(b"version"), Value::Number(v)) if (5..=8).contains(&(v & 0x3ff)) => {}
            (Some(b"namespace"), Value::Text(_)) => {}
            (name, _) => {
                let name = String::from_utf8_lossy(name.unwrap_or_default()).into_owned();
                return Err(format!(
                    "`{name}` at the top of the policy, or a new version of it"
                ));
            }
        }
    }
    Ok(profiles)
}

/// The profiles of a binary policy, and its bytes without the automata of their file rules.
pub fn split(blob: &[u8]) -> Result<(Vec<u8>, Vec<Profile>), String> {
    let mut reader = Reader { bytes: blob, at: 0 };
    let mut rest = Vec::new();
    let mut kept = 0;
    while reader.at < blob.len() {
        let Value::Group(items) = reader.item()?.value else {
            continue;
        };
        // Behind the flags; the one before them is of the attachment.
        let flags = items.iter().position(|i| i.name == Some(b"flags"));
        for item in &items[flags.unwrap_or(items.len())..] {
            if let (Some(b"aadfa"), Value::Blob(at, bytes)) = (item.name, &item.value) {
                // Its length stands before it.
                rest.extend_from_slice(&blob[kept..at - 4]);
                kept = at + bytes.len();
            }
        }
    }
    rest.extend_from_slice(&blob[kept..]);
    Ok((rest, read(blob)?))
}

impl Profile {
    fn read(items: &[Item<'_>]) -> Result<Self, String> {
        let Some(Value::Text(name)) = items.first().map(|i| &i.value) else {
            return Err("a profile without a name".into());
        };
        let mut profile = Self {
            name: name.to_vec(),
            attachment: None,
            policy: None,
            files: None,
            capabilities: 0,
            mode: 0,
        };
        let mut after_flags = false;
        let mut plain = Vec::new();
        for item in &items[1..] {
            match (item.name, &item.value) {
                (Some(b"aadfa"), Value::Blob(at, bytes)) => {
                    let dfa = Dfa::read(*at, bytes)?;
                    if after_flags {
                        profile.files = Some((dfa, START));
                    } else {
                        profile.attachment = Some(dfa);
                    }
                }
                (Some(b"dfa_start"), Value::Number(n)) => {
                    let files = profile
                        .files
                        .as_mut()
                        .ok_or("a start before its automaton")?;
                    files.1 = u32::try_from(*n).map_err(|e| e.to_string())?;
                }
                (Some(b"flags"), Value::Group(flags)) => {
                    after_flags = true;
                    if let Some(Value::Number(mode)) = flags.get(1).map(|i| &i.value) {
                        profile.mode = *mode;
                    }
                }
                (Some(b"policydb"), Value::Group(parts)) => {
                    let mut start = START;
                    let mut found = None;
                    for part in parts {
                        match (part.name, &part.value) {
                            (Some(b"aadfa"), Value::Blob(at, bytes)) => {
                                found = Some(Dfa::read(*at, bytes)?);
                            }
                            (Some(b"start"), Value::Number(n)) => {
                                start = u32::try_from(*n).map_err(|e| e.to_string())?;
                            }
                            // A newer parser's table of permissions: the states then hold indices.
                            (name, _) => {
                                let name = String::from_utf8_lossy(name.unwrap_or_default());
                                return Err(format!("`{name}` in the policy's automaton"));
                            }
                        }
                    }
                    profile.policy = found.map(|dfa| (dfa, start));
                }
                (Some(b"caps64"), Value::Group(upper)) => {
                    if let Some(Value::Number(n)) = upper.first().map(|i| &i.value) {
                        profile.capabilities |= n << 32;
                    }
                }
                (None, Value::Number(n)) if after_flags => plain.push(*n),
                // Before the flags: the weight of the attachment.
                (None, Value::Number(_)) => {}
                (
                    Some(
                        b"rename" | b"attach" | b"disconnected" | b"path_flags" | b"capsx"
                        | b"xattrs" | b"rlimits" | b"secmark" | b"xtable" | b"data",
                    ),
                    _,
                ) => {}
                (name, value) => {
                    let name = String::from_utf8_lossy(name.unwrap_or_default());
                    return Err(format!("`{name}` in a profile: {value:?}"));
                }
            }
        }
        profile.capabilities |= plain.first().ok_or("a profile without capabilities")?;
        Ok(profile)
    }

    fn file_rules(&self) -> Option<(&Dfa, u32)> {
        match (&self.files, &self.policy) {
            (Some((dfa, start)), _) => Some((dfa, *start)),
            // No automaton of their own: file rules are class 2 of the policy's.
            (None, Some((dfa, start))) => Some((dfa, dfa.step(*start, 2))),
            (None, None) => None,
        }
    }

    /// The bits of the state that a path ends in.
    pub fn bits(&self, path: &[u8]) -> u32 {
        let rules = self.file_rules();
        rules.map_or(0, |(dfa, start)| dfa.accept(dfa.walk(start, path)))
    }

    /// Where the file rules begin.
    pub fn start(&self) -> State {
        State(self.file_rules().map_or(NOMATCH, |(_, start)| start))
    }

    /// One byte further in the file rules.
    pub fn step(&self, state: State, byte: u8) -> State {
        match self.file_rules() {
            Some((dfa, _)) if state.0 != NOMATCH => State(dfa.step(state.0, byte)),
            _ => State(NOMATCH),
        }
    }

    /// Bytes of one class lead to the same places everywhere in the file rules.
    pub fn class(&self, byte: u8) -> u8 {
        let classes = self.file_rules().and_then(|(dfa, _)| dfa.classes.as_ref());
        classes.map_or(byte, |c| c[usize::from(byte)] as u8)
    }

    /// The rights of a process that does not own the file on a path that ends here.
    pub fn rights(&self, state: State) -> Rights {
        let bits = self.file_rules().map_or(0, |(dfa, _)| dfa.accept(state.0));
        Rights::of(bits >> 14)
    }

    /// The rights of a process that owns the file on a path that ends here.
    pub fn own_rights(&self, state: State) -> Rights {
        let bits = self.file_rules().map_or(0, |(dfa, _)| dfa.accept(state.0));
        Rights::of(bits)
    }

    /// The rights on a path. Directories carry a trailing slash, as the kernel names them.
    pub fn permissions(&self, path: &[u8]) -> FilePerms {
        let bits = self.bits(path);
        FilePerms {
            owner: Rights::of(bits),
            other: Rights::of(bits >> 14),
        }
    }

    /// Whether a hard link named `link` to `target` may be made, by the target's owner or another.
    ///
    /// Parser 3.0.8 compiles the test that the link gets no more rights than its target into the
    /// owner's half alone: another's link is not held to it (the sysctl `protected_hardlinks` may).
    pub fn link(&self, owner: bool, link: &[u8], target: &[u8]) -> bool {
        let half = |bits: u32| Rights::of(if owner { bits } else { bits >> 14 });
        let Some((dfa, start)) = &self.files else {
            return false;
        };
        let first = dfa.walk(*start, link);
        let rights = half(dfa.accept(first));
        let second = half(dfa.accept(dfa.walk(dfa.step(first, 0), target)));
        if !rights.link || !second.link {
            return false;
        }
        // The second half's lock bit asks that the link gets no right that the target lacks.
        let target = half(self.bits(target));
        let more = |has: fn(&Rights) -> bool| has(&rights) && !has(&target);
        !second.lock
            || !(more(|r| r.read)
                || more(|r| r.write)
                || more(|r| r.append)
                || more(|r| r.exec)
                || more(|r| r.lock)
                || more(|r| r.mmap)
                || (rights.exec
                    && (rights.inherit, rights.transition) != (target.inherit, target.transition)))
    }

    /// Whether the profile attaches by itself to a program that is started from this path.
    pub fn attaches(&self, program: &[u8]) -> bool {
        self.attachment
            .as_ref()
            .is_some_and(|dfa| dfa.accept(dfa.walk(START, program)) & 1 != 0)
    }

    /// Whether a socket of this family and type may be made; `None`: sockets are not mediated.
    pub fn network(&self, family: u16, kind: u16) -> Option<bool> {
        let (dfa, start) = self.policy.as_ref()?;
        let class = dfa.step(*start, 14);
        if class == NOMATCH {
            return None;
        }
        let [a, b] = family.to_be_bytes();
        let [c, d] = kind.to_be_bytes();
        Some(dfa.accept(dfa.walk(class, &[a, b, c, d])) & 0x7f != 0)
    }
}
