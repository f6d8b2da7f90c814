//! Parses the rules of a profile.

use super::glob::Glob;
use super::scan::{Fault, Scanner, Sym, fault};
use super::words::{CAPABILITIES, FAMILIES, KINDS, LIMITS, OTHERS};
use std::collections::{BTreeMap, BTreeSet};

/// The rights of a rule, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Rights(pub u8);

impl Rights {
    pub const READ: Self = Self(1);
    pub const WRITE: Self = Self(2);
    pub const APPEND: Self = Self(4);
    pub const EXECUTE: Self = Self(8);
    pub const MAP: Self = Self(16);
    pub const LINK: Self = Self(32);
    pub const LOCK: Self = Self(64);
    /// All rights, as in the rule `file,`.
    pub const ALL: Self = Self(127);

    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn add(&mut self, other: Self) {
        *self = self.with(other);
    }
}

/// A rule on files.
#[derive(Debug)]
pub(super) struct FileRule {
    pub deny: bool,
    /// The rule is only for files of the user that the process runs as.
    pub owner: bool,
    pub glob: Glob,
    pub rights: Rights,
    /// The offsets of its beginning and its end.
    pub span: (usize, usize),
}

/// A rule on sockets. `None`: any.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NetworkRule {
    pub deny: bool,
    pub family: Option<Vec<u8>>,
    pub kind: Option<Vec<u8>>,
    pub span: (usize, usize),
}

/// A profile.
#[derive(Debug, Default)]
pub(super) struct Profile {
    pub files: Vec<FileRule>,
    pub network: Vec<NetworkRule>,
    /// The programs that the profile is attached to.
    pub attached: Vec<Glob>,
    /// The header without those programs, and the rules that are about no file and no host. Unneeded blanks are
    /// removed.
    pub others: BTreeSet<String>,
}

/// The most names that one name may expand to by variables.
const MAX_EXPANDED: usize = 4096;

struct Reader<'t> {
    scan: Scanner<'t>,
    variables: BTreeMap<Vec<u8>, Vec<Vec<Sym>>>,
    profile: Profile,
}

/// Reads the text of a file with one profile.
pub(super) fn read(text: &[u8]) -> Result<Profile, Fault> {
    let mut reader = Reader {
        scan: Scanner { text, at: 0 },
        variables: BTreeMap::new(),
        profile: Profile::default(),
    };
    reader.preamble()?;
    reader.header()?;
    while !reader.scan.take(b"}") {
        reader.rule()?;
    }
    reader.scan.skip();
    if reader.scan.peek().is_some() {
        return fault(
            reader.scan.at,
            "something behind the profile: polc reads files of one profile",
        );
    }
    Ok(reader.profile)
}

/// Whether a word is in a list.
fn one_of(list: &[&str], word: &[u8]) -> bool {
    list.iter().any(|w| w.as_bytes() == word)
}

impl<'t> Reader<'t> {
    fn preamble(&mut self) -> Result<(), Fault> {
        let mut abi = false;
        loop {
            self.scan.skip();
            let at = self.scan.at;
            if self.scan.keyword(b"abi") {
                if !(self.scan.take(b"<abi/3.0>") || self.scan.take(b"<abi/4.0>")) || abi {
                    return fault(at, "an `abi` that polc does not know, or a second one");
                }
                self.scan.end()?;
                abi = true;
            } else if self.scan.keyword(b"include") || self.scan.take(b"#include") {
                if !self.scan.take(b"<tunables/global>") {
                    return fault(at, "an `include`: polc does not read other files");
                }
            } else if self.scan.starts_with(b"@{") {
                self.variable()?;
            } else {
                if !abi {
                    return fault(
                        at,
                        "no `abi` rule above the profile: what it mediates is up to the parser",
                    );
                }
                return Ok(());
            }
        }
    }

    /// `@{NAME} = VALUE…`, or `+=`.
    fn variable(&mut self) -> Result<(), Fault> {
        let at = self.scan.at;
        self.scan.at += 2;
        let name = self.scan.name().to_vec();
        if name.is_empty() || !self.scan.take(b"}") {
            return fault(at, "a variable without a name");
        }
        let adds = self.scan.take(b"+=");
        if !adds && !self.scan.take(b"=") {
            return fault(at, "a variable that gets no value");
        }
        if adds != self.variables.contains_key(&name) {
            return fault(
                at,
                "a variable that gets its first value twice, or in another file",
            );
        }
        // The values end with the line.
        let line = |scan: &mut Scanner<'_>| {
            while scan
                .peek()
                .is_some_and(|b| matches!(b, b' ' | b'\t' | b'\r'))
            {
                scan.at += 1;
            }
            scan.peek().is_some_and(|b| !matches!(b, b'\n' | b'#'))
        };
        let mut values = Vec::new();
        while line(&mut self.scan) {
            let at = self.scan.at;
            let word = self.scan.word()?;
            if self.scan.peek() == Some(b',') {
                return fault(self.scan.at, "a comma behind the value of a variable");
            }
            values.extend(self.expanded(at, word)?);
        }
        if values.is_empty() {
            return fault(at, "a variable that gets no value");
        }
        self.variables.entry(name).or_default().extend(values);
        Ok(())
    }

    /// A name, with variables replaced by their values.
    fn expanded(&self, at: usize, word: Vec<Sym>) -> Result<Vec<Vec<Sym>>, Fault> {
        let mut out = vec![Vec::new()];
        let mut rest = word.as_slice();
        let is = |s: Option<&Sym>, byte| s.is_some_and(|s: &Sym| s.byte == byte && !s.escaped);
        while let Some((first, behind)) = rest.split_first() {
            if !(is(Some(first), b'@') && is(behind.first(), b'{')) {
                out.iter_mut().for_each(|s: &mut Vec<Sym>| s.push(*first));
                rest = behind;
                continue;
            }
            let Some(end) = behind.iter().position(|s| is(Some(s), b'}')) else {
                return fault(at, "a `@{` without its `}`");
            };
            let name: Vec<u8> = behind[1..end].iter().map(|s| s.byte).collect();
            let Some(values) = self.variables.get(&name) else {
                let name = crate::fidelity::show_bytes(&name);
                return fault(
                    at,
                    format!("the variable `@{{{name}}}`, which is not defined in this file"),
                );
            };
            if out.len() * values.len() > MAX_EXPANDED {
                return fault(at, "more values of variables than polc reads");
            }
            out = values
                .iter()
                .flat_map(|v| out.iter().map(|o| [o.as_slice(), v.as_slice()].concat()))
                .collect();
            rest = &behind[end + 1..];
        }
        Ok(out)
    }

    /// `profile NAME [ATTACHMENT] [flags=(…)] {`, or `/PATH … {`.
    fn header(&mut self) -> Result<(), Fault> {
        self.scan.skip();
        let at = self.scan.at;
        let named = self.scan.keyword(b"profile");
        self.scan.skip();
        let path = |s: &Scanner<'_>| {
            s.peek().is_some_and(|b| b == b'/' || b == b'"') || s.starts_with(b"@{")
        };
        if !named && !path(&self.scan) {
            return fault(at, "no profile where polc expects one");
        }
        let name = self.scan.word()?;
        let text: Vec<u8> = name.iter().map(|s| s.byte).collect();
        if text.windows(2).any(|w| w == b"//") || text.starts_with(b":") || text.starts_with(b"^") {
            return fault(at, "a profile within another one or in a namespace");
        }
        self.scan.skip();
        let mut head = vec![(at, self.scan.at)];
        if named && path(&self.scan) {
            let at = self.scan.at;
            let word = self.scan.word()?;
            self.profile.attached = self.globs(at, word)?;
            head.push((self.scan.at, self.scan.at));
        } else if text.starts_with(b"/") || text.starts_with(b"@{") {
            self.profile.attached = self.globs(at, name)?;
        }
        if self.scan.keyword(b"flags") {
            let at = self.scan.at;
            if !self.scan.take(b"=") || !self.scan.take(b"(") {
                return fault(at, "flags that are not `flags=(…)`");
            }
            while !self.scan.take(b")") {
                let at = self.scan.at;
                let flag = self.scan.name();
                if !one_of(
                    &["attach_disconnected", "mediate_deleted", "enforce", "audit"],
                    flag,
                ) {
                    return fault(
                        at,
                        "a flag that changes what the profile denies, or that polc does not know",
                    );
                }
                self.scan.take(b",");
            }
        }
        if self.scan.take(b"{") {
            if let Some(last) = head.last_mut() {
                last.1 = self.scan.at;
            }
            self.note(&head);
            Ok(())
        } else {
            fault(
                self.scan.at,
                "a profile without its `{`, or with more in front of it than polc reads",
            )
        }
    }

    fn globs(&self, at: usize, word: Vec<Sym>) -> Result<Vec<Glob>, Fault> {
        let mut out = Vec::new();
        for syms in self.expanded(at, word)? {
            if syms.first().is_none_or(|s| s.byte != b'/') {
                return fault(at, "a path that does not begin with `/`");
            }
            match Glob::parse(&syms) {
                Ok(glob) => out.push(glob),
                Err(wrong) => return fault(at, wrong),
            }
        }
        Ok(out)
    }

    fn rule(&mut self) -> Result<(), Fault> {
        self.scan.skip();
        let from = self.scan.at;
        if self.scan.peek().is_none() {
            return fault(from, "the end of the file where polc expects a rule or `}`");
        }
        // The parser takes these words in this order only.
        self.scan.keyword(b"audit");
        let deny = self.scan.keyword(b"deny");
        if !deny {
            self.scan.keyword(b"allow");
        }
        let owner = self.scan.keyword(b"owner");
        self.scan.skip();
        let at = self.scan.at;
        if let Some(words) = self.file(deny)? {
            let (globs, rights) = words;
            let span = (from, self.scan.at);
            self.scan.end()?;
            let rules = globs.into_iter().map(|glob| FileRule {
                deny,
                owner,
                glob,
                rights,
                span,
            });
            self.profile.files.extend(rules);
            return Ok(());
        }
        if owner {
            return fault(at, "an `owner` before what is no rule on files");
        }
        let word = self.scan.name();
        let hosts = self.profile.network.len();
        match word {
            b"network" => self.network(deny, from),
            b"capability" => {
                self.words(CAPABILITIES)?;
                self.scan.end()
            }
            b"set" if !deny => self.limit(),
            _ => match OTHERS.iter().find(|o| o.0.as_bytes() == word) {
                Some((_, words, conditions)) => {
                    self.conditions(words, conditions)?;
                    self.scan.end()
                }
                None => fault(at, "a rule that polc does not know"),
            },
        }?;
        // Nothing else is compared for families that are not those of hosts.
        let new = &self.profile.network[hosts..];
        let of_hosts = |n: &NetworkRule| matches!(n.family.as_deref(), Some(b"inet" | b"inet6"));
        if new.is_empty() || !new.iter().all(of_hosts) {
            self.note(&[(from, self.scan.at)]);
        }
        Ok(())
    }

    /// Keeps the text of a rule, by its parts.
    fn note(&mut self, parts: &[(usize, usize)]) {
        let parts = parts.iter().map(|(from, to)| &self.scan.text[*from..*to]);
        let text = parts.map(String::from_utf8_lossy).collect::<String>();
        let words: Vec<&str> = text.split_whitespace().collect();
        self.profile.others.insert(words.join(" "));
    }

    /// Takes the words of a list, as many as come.
    fn words(&mut self, list: &[&str]) -> Result<Vec<&'t [u8]>, Fault> {
        let mut out = Vec::new();
        loop {
            self.scan.skip();
            let at = self.scan.at;
            let word = self.scan.name();
            if word.is_empty() {
                return Ok(out);
            }
            if !one_of(list, word) {
                return fault(at, "a word that polc does not know here");
            }
            out.push(word);
        }
    }

    fn network(&mut self, deny: bool, from: usize) -> Result<(), Fault> {
        self.scan.skip();
        let at = self.scan.at;
        let all: Vec<&str> = FAMILIES.iter().chain(KINDS).copied().collect();
        let words = self.words(&all)?;
        let (family, kind) = match words.as_slice() {
            [] => (None, None),
            [one] if one_of(FAMILIES, one) && *one != b"packet" => (Some(*one), None),
            [one] if *one != b"packet" => (None, Some(*one)),
            [family, kind] if one_of(FAMILIES, family) && one_of(KINDS, kind) => {
                (Some(*family), Some(*kind))
            }
            _ => {
                return fault(
                    at,
                    "a `network` rule that is not a family and a type of socket",
                );
            }
        };
        let span = (from, self.scan.at);
        self.scan.end()?;
        self.profile.network.push(NetworkRule {
            deny,
            family: family.map(<[u8]>::to_vec),
            kind: kind.map(<[u8]>::to_vec),
            span,
        });
        Ok(())
    }

    /// `set rlimit NAME <= VALUE,`.
    fn limit(&mut self) -> Result<(), Fault> {
        let at = self.scan.at;
        let known = self.scan.keyword(b"rlimit") && one_of(LIMITS, self.scan.name());
        if !known || !self.scan.take(b"<=") || self.scan.name().is_empty() {
            return fault(at, "a limit that polc does not know");
        }
        self.scan.end()
    }

    /// `WORD`, `(WORD, …)`, `KEY=VALUE`, `KEY=(…)`, in any number.
    fn conditions(&mut self, words: &[&str], keys: &[&str]) -> Result<(), Fault> {
        loop {
            self.scan.skip();
            let at = self.scan.at;
            if self.scan.take(b"(") {
                while !self.scan.take(b")") {
                    self.condition(words, keys)?;
                    self.scan.take(b",");
                }
            } else if self.scan.peek().is_some_and(|b| b.is_ascii_alphabetic()) {
                self.condition(words, keys)?;
            } else {
                return Ok(());
            }
            if self.scan.at == at {
                return fault(at, "a condition that polc does not know");
            }
        }
    }

    fn condition(&mut self, words: &[&str], keys: &[&str]) -> Result<(), Fault> {
        self.scan.skip();
        let at = self.scan.at;
        let name = self.scan.name();
        if !self.scan.take(b"=") {
            return if one_of(words, name) {
                Ok(())
            } else {
                fault(at, "a word that polc does not know here")
            };
        }
        if !one_of(keys, name) {
            return fault(at, "a condition that polc does not know");
        }
        if !self.scan.take(b"(") {
            return self.value(at);
        }
        while !self.scan.take(b")") {
            self.scan.skip();
            let at = self.scan.at;
            let one = self.scan.name();
            let nested = self.scan.take(b"=");
            if one.is_empty() || (nested && !one_of(keys, one)) {
                return fault(at, "a condition that polc does not know");
            }
            if nested {
                self.value(at)?;
            }
            self.scan.take(b",");
        }
        Ok(())
    }

    /// A value up to a blank, a comma or a bracket.
    fn value(&mut self, at: usize) -> Result<(), Fault> {
        let ends = |b: u8| b.is_ascii_whitespace() || b",()\"#".contains(&b);
        let from = self.scan.at;
        while self.scan.peek().is_some_and(|b| !ends(b)) {
            self.scan.at += 1;
        }
        if self.scan.at == from {
            return fault(at, "a condition without a value that polc can read");
        }
        Ok(())
    }

    /// A rule on files, without its comma. `None`: it is another kind of rule.
    fn file(&mut self, deny: bool) -> Result<Option<(Vec<Glob>, Rights)>, Fault> {
        let path = |s: &Scanner<'_>| {
            s.peek().is_some_and(|b| b == b'/' || b == b'"') || s.starts_with(b"@{")
        };
        let at = self.scan.at;
        let file = self.scan.keyword(b"file");
        self.scan.skip();
        if file && self.scan.peek() == Some(b',') {
            if deny {
                return fault(at, "`deny file`, which the parser refuses");
            }
            // The parser writes it as `/{**,}`.
            let everything = b"/{**,}".map(|byte| Sym {
                byte,
                escaped: false,
            });
            return match Glob::parse(&everything) {
                Ok(glob) => Ok(Some((vec![glob], Rights::ALL))),
                Err(wrong) => fault(at, wrong),
            };
        }
        let start = self.scan.at;
        let first = if path(&self.scan) {
            None
        } else {
            let letters = self.scan.name();
            self.scan.skip();
            if letters.is_empty() || !path(&self.scan) {
                if file {
                    return fault(at, "a `file` rule without a path");
                }
                self.scan.at = at;
                return Ok(None);
            }
            Some((start, letters))
        };
        if file && self.scan.peek() == Some(b',') {
            return fault(at, "a `file` rule without a path");
        }
        let place = self.scan.at;
        let word = self.scan.word()?;
        let globs = self.globs(place, word)?;
        self.scan.skip();
        let (place, letters) = match first {
            Some(first) => first,
            None => (self.scan.at, self.scan.name()),
        };
        let rights = rights(place, letters, deny)?;
        self.scan.skip();
        if self.scan.starts_with(b"->") {
            return fault(self.scan.at, "a rule with `->`: another profile, or a link");
        }
        Ok(Some((globs, rights)))
    }
}

/// The rights that the letters of a rule stand for.
fn rights(at: usize, letters: &[u8], deny: bool) -> Result<Rights, Fault> {
    let mut out = Rights::default();
    let mut rest = letters;
    let mut append = false;
    let mut write = false;
    while let Some((letter, behind)) = rest.split_first() {
        rest = behind;
        match letter {
            b'r' => out.add(Rights::READ),
            b'w' => {
                write = true;
                // A program that may write may append.
                out.add(Rights::WRITE);
                out.add(Rights::APPEND);
            }
            b'a' => {
                append = true;
                out.add(Rights::APPEND);
            }
            b'm' => out.add(Rights::MAP),
            b'l' => out.add(Rights::LINK),
            b'k' => out.add(Rights::LOCK),
            b'x' if deny => out.add(Rights::EXECUTE),
            b'i' if !deny && behind.first() == Some(&b'x') => {
                rest = &behind[1..];
                out.add(Rights::EXECUTE);
                // As `process_dfa_entry` does in parser_regex.c.
                out.add(Rights::MAP);
            }
            b'p' | b'P' | b'c' | b'C' | b'u' | b'U' => {
                return fault(
                    at,
                    "a program that is started in another profile, or in none: what it may do is not in this file",
                );
            }
            _ => {
                return fault(
                    at,
                    "rights that polc does not know: `r`, `w`, `a`, `m`, `k`, `l`, and `ix` (`x` in a deny)",
                );
            }
        }
    }
    if write && append {
        return fault(at, "`w` and `a` in one rule, which the parser refuses");
    }
    if letters.is_empty() {
        return fault(at, "a rule without rights");
    }
    Ok(out)
}
