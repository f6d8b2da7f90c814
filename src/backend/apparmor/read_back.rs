//! Reads a profile back, and evaluates it as the kernel does.
//!
//! Sources: apparmor.d(5), and the parser's `parser_lex.l`, `parser_yacc.y`, `parser_misc.c` (escapes) and
//! `parser_regex.c` (patterns) of 3.0.8. `security/apparmor/{lsm,file}.c` of Linux 6.1 say what a call asks and what a
//! compiled right means (`map_old_perms`). The reader shares nothing with the lowering.
//! `tests/native/apparmor/reading.rs` compares every reading with the automatons that parsers 3.0.8 and 4.1.0 compile.
//!
//! - Deny beats allow, in any order of the rules.
//! - The name of a directory ends in `/`. `*` and `?` never match a `/`, but `**` and `[^…]` do. A `*` or `**` that is
//!   a whole component matches at least one byte, unless a group begins or ends there.
//! - `r` opens a file for reading, or a directory for listing. `m` maps a file as code, and `ix` includes `m`.
//! - `w` is for opening to write, making, removing, mode and owner. `a` is for opening to append. Nothing asks about
//!   times and extended attributes. Moving an object away also takes `r`.
//! - `k` locks an open file. The language lets every reader and writer lock, so a file without `k` lacks a way to read
//!   or to edit.
//! - `l` makes a hard link. The compiled rule refuses a link that would have more rights than its file, for files of
//!   the own user. For files of others, `fs.protected_hardlinks` refuses it, if it is on.
//! - `owner` rules are for files of the own user. Both kinds of files are compared.
//! - For addresses, only the family and the type of the socket count. Unix sockets are not checked by path.
//! - Started programs stay in the profile (`ix`). The reader refuses a profile that lets one leave it, and a profile
//!   that denies nothing (`complain`).
//! - `capability`, `signal`, `ptrace`, `unix`, `dbus`, `mount`, `pivot_root` and limits decide none of the operations.
//!   The reader parses them, and no more. It does not know the variables of `tunables/global`.

mod glob;
mod profile;
mod scan;
#[cfg(test)]
mod tests;
mod words;

use crate::backend::{
    Allowed, Answers, Artifact, Clause, Confines, Deciders, Deciding, Evaluate, Form, HostCuts,
    OnPaths,
};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::fidelity::{Object, show_bytes};
use crate::policy::{Address, Cidr, Operation, Platform, Protocol};
use crate::semantics::{Case, PathSet, Step, StepsIndex, TooLarge};
use profile::{FileRule, NetworkRule, Profile, Rights};
use scan::Scanner;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::OnceLock;

/// A profile that was read back.
pub(super) struct Reading {
    profile: Profile,
    /// For the text of rules in answers.
    text: Vec<u8>,
    /// The offset at which each line begins.
    lines: Vec<usize>,
    /// The rules by the names that they match.
    by_name: OnceLock<StepsIndex>,
    /// Whether some rule is only for files of the own user.
    owners: bool,
    /// The objects of each right, for files of others and for the user's own.
    sets: [Sets; 2],
    answers: Answers,
}

/// The objects of one form that a right is granted on, for each right that was asked.
#[derive(Default)]
struct Sets {
    /// `None`: the sets are too large together.
    together: OnceLock<Option<[PathSet; ASKED.len()]>>,
    alone: [OnceLock<Result<PathSet, TooLarge>>; ASKED.len()],
    programs: OnceLock<Result<PathSet, TooLarge>>,
}

/// The rights that share an automaton, each with the form of its objects. Starting programs is not among them: the
/// policy's decisions have a separate automaton for that too.
const ASKED: [Way; 8] = [
    (Form::File, Rights::READ),
    (Form::Directory, Rights::READ),
    (Form::File, Rights::WRITE),
    (Form::File, Rights::APPEND),
    (Form::Directory, Rights::WRITE),
    (Form::File, Rights::MAP),
    (Form::File, Rights::LINK),
    (Form::File, Rights::LOCK),
];

/// Patterns that are allowed (`true`) or denied, each with the asked rights that it is about, one bit each.
type Patterns = Vec<(bool, u16, Vec<Vec<Step>>)>;

/// Reads it.
///
/// # Errors
/// The reader does not understand the profile.
pub(super) fn read(artifact: &Artifact) -> Result<Reading, Diagnostics> {
    let text = artifact.bytes.clone();
    let profile = profile::read(&text).map_err(|fault| {
        let (line, text) = place(&text, &line_starts(&text), fault.at);
        Diagnostic::error(
            "E115",
            format!("`{}`, line {line}: {}: `{text}`", show_bytes(artifact.file_name.as_bytes()), fault.message),
        )
        .help("`polc emit apparmor` makes a profile anew; what was added by hand can be written as it writes it")
    })?;
    let owners = profile.files.iter().any(|r| r.owner);
    Ok(Reading {
        profile,
        lines: line_starts(&text),
        text,
        by_name: OnceLock::new(),
        owners,
        sets: Default::default(),
        answers: Answers::default(),
    })
}

/// The offsets at which lines begin.
fn line_starts(text: &[u8]) -> Vec<usize> {
    let ends = text.iter().enumerate().filter(|(_, b)| **b == b'\n');
    std::iter::once(0)
        .chain(ends.map(|(at, _)| at + 1))
        .collect()
}

/// The number of the line at an offset, from 1, and its text.
fn place(text: &[u8], lines: &[usize], at: usize) -> (usize, String) {
    let line = lines.partition_point(|start| *start <= at).max(1);
    let from = lines.get(line - 1).copied().unwrap_or_default();
    let end = lines.get(line).map_or(text.len(), |next| next - 1);
    (line, show_bytes(text[from..end].trim_ascii()))
}

/// Whether the text looks like a profile.
pub(super) fn recognises(artifact: &Artifact) -> bool {
    let mut scan = Scanner {
        text: &artifact.bytes,
        at: 0,
    };
    scan.skip();
    if scan.keyword(b"abi") {
        return scan.take(b"<");
    }
    scan.take(b"#include <")
        || scan.take(b"include <")
        || (scan.keyword(b"profile") && !scan.take(b":"))
}

/// Whose files, if a profile tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Own,
    Others,
}

/// A way to do something: the form of the object, and a right that is enough.
type Way = (Form, Rights);

/// The ways to do an operation.
fn ways(operation: Operation) -> &'static [Way] {
    const FILE_AND_DIRECTORY: &[Way] = &[
        (Form::File, Rights::WRITE),
        (Form::Directory, Rights::WRITE),
    ];
    match operation {
        Operation::Read => &[(Form::File, Rights::READ)],
        Operation::List => &[(Form::Directory, Rights::READ)],
        Operation::Edit => &[(Form::File, Rights::WRITE), (Form::File, Rights::APPEND)],
        Operation::Create | Operation::Delete | Operation::Metadata => FILE_AND_DIRECTORY,
        Operation::Execute => &[(Form::File, Rights::EXECUTE)],
        _ => &[],
    }
}

/// The name of the way of a right. An operation has only one way, except for appending.
fn opened_by(right: Rights) -> &'static str {
    match right {
        Rights::APPEND => "append",
        _ => "",
    }
}

impl Reading {
    fn concerned(&self, whose: Whose, right: Rights) -> impl Iterator<Item = &FileRule> {
        self.profile
            .files
            .iter()
            .filter(move |r| r.rights.has(right) && (!r.owner || whose == Whose::Own))
    }

    /// The patterns of these rights.
    fn patterns(&self, ways: &[Way], whose: Whose) -> Patterns {
        let mut out = Patterns::new();
        let all = ways.iter().fold(Rights::default(), |all, w| all.with(w.1));
        for rule in self.concerned(whose, all) {
            let asked = |form: Form| -> u16 {
                let ways = ways.iter().enumerate();
                let bits = ways.filter(|(_, w)| w.0 == form && rule.rights.has(w.1));
                bits.map(|(bit, _)| 1 << bit).sum()
            };
            let (files, directories) = (asked(Form::File), asked(Form::Directory));
            let mut add = |steps: Vec<Step>, asked: u16| {
                let same =
                    |(allow, of, _): &&mut (bool, u16, _)| *allow != rule.deny && *of == asked;
                match out.iter_mut().find(same) {
                    Some((_, _, list)) => list.push(steps),
                    None => out.push((!rule.deny, asked, vec![steps])),
                }
            };
            let mut both = match directories {
                0 => Vec::new(),
                _ => rule.glob.directories(),
            };
            if files != 0 {
                for steps in rule.glob.files() {
                    let known = both.iter().position(|d| *d == steps);
                    known.map(|at| both.swap_remove(at));
                    let directories = known.map_or(0, |_| directories);
                    add(steps, files | directories);
                }
            }
            both.into_iter().for_each(|steps| add(steps, directories));
        }
        // Deny wins.
        out.sort_by_key(|(allow, ..)| *allow);
        out
    }

    fn made<const N: usize>(&self, ways: [Way; N], whose: Whose) -> Result<[PathSet; N], TooLarge> {
        let patterns = self.patterns(&ways, whose);
        let cases = patterns.iter().map(|(allow, sets, list)| Case {
            include: list.as_slice(),
            except: &[],
            sets: *sets,
            allows: *allow,
        });
        PathSet::family(cases, false)
    }

    /// The paths of one form that a right is granted on.
    fn set(&self, way: Way, whose: Whose) -> Result<PathSet, TooLarge> {
        let sets = &self.sets[usize::from(whose == Whose::Own)];
        let alone = || self.made([way], whose).map(|[set]| set);
        let Some(at) = ASKED.iter().position(|w| *w == way) else {
            return sets.programs.get_or_init(alone).clone();
        };
        match sets.together.get_or_init(|| self.made(ASKED, whose).ok()) {
            Some(sets) => Ok(sets[at].clone()),
            None => sets.alone[at].get_or_init(alone).clone(),
        }
    }

    /// Where files can be read and mapped as code. `None`: wherever they can be read.
    fn mapped(&self, whose: Whose) -> Result<Option<PathSet>, TooLarge> {
        let read = self.set((Form::File, Rights::READ), whose)?;
        let mapped = read.intersection(&self.set((Form::File, Rights::MAP), whose)?)?;
        // If owners are told apart, both kinds of files need the same number of sets.
        Ok((self.owners || !read.equals(&mapped)?).then_some(mapped))
    }

    /// Where files can be opened by a right and locked. `None`: wherever they can be opened.
    fn locked(&self, right: Rights, whose: Whose) -> Result<Option<PathSet>, TooLarge> {
        let opened = self.set((Form::File, right), whose)?;
        let locked = opened.intersection(&self.set((Form::File, Rights::LOCK), whose)?)?;
        Ok((self.owners || !opened.equals(&locked)?).then_some(locked))
    }

    /// The name of a way, with whose files it is about. One name stands for both if the profile does not tell them
    /// apart.
    fn named(&self, form: Form, way: &str, whose: Whose) -> Vec<String> {
        [Whose::Others, Whose::Own]
            .into_iter()
            .filter(|w| !self.owners || *w == whose)
            .map(|w| format!("{form:?} {way} {w:?}"))
            .collect()
    }

    /// What the profile allows on the files of one kind of owner.
    fn allowed(&self, operation: Operation, whose: Whose) -> Result<Vec<Allowed>, TooLarge> {
        let mut out: Vec<Allowed> = Vec::new();
        for (form, right) in ways(operation).iter().copied() {
            let mut paths = self.set((form, right), whose)?;
            let ways = self.named(form, opened_by(right), whose);
            // `w` includes appending. So appending is a separate way only if a rule is about `a` alone.
            if let (Rights::APPEND, false, Some(write)) = (right, self.owners, out.last_mut())
                && write.paths.equals(&paths)?
            {
                write.ways.extend(ways);
                continue;
            }
            let links = operation == Operation::Create && form == Form::File;
            if links && self.concerned(whose, Rights::LINK).any(|r| !r.deny) {
                paths = paths.union(&self.set((form, Rights::LINK), whose)?)?;
            }
            out.push(Allowed { form, ways, paths });
        }
        match operation {
            Operation::Read => {
                let ways = self.named(Form::File, "map", whose);
                match self.mapped(whose)? {
                    Some(paths) => out.push(Allowed {
                        form: Form::File,
                        ways,
                        paths,
                    }),
                    None => out.iter_mut().for_each(|a| a.ways.extend(ways.clone())),
                }
                self.lock(Rights::READ, whose, &mut out)?;
            }
            // A program that may write may append.
            Operation::Edit => self.lock(Rights::APPEND, whose, &mut out)?,
            Operation::Delete => {
                let write = self.set((Form::Directory, Rights::WRITE), whose)?;
                let read = self.set((Form::Directory, Rights::READ), whose)?;
                out.push(Allowed {
                    form: Form::Moved,
                    ways: self.named(Form::Moved, "", whose),
                    paths: write.intersection(&read)?,
                });
            }
            // Nothing asks about times and extended attributes.
            Operation::Metadata => out.push(Allowed {
                form: Form::Either,
                ways: self.named(Form::Either, "times", whose),
                paths: PathSet::all(),
            }),
            _ => {}
        }
        Ok(out)
    }

    /// Adds the way to lock files that a right opens. It joins the way to open them if both have the same paths.
    fn lock(&self, right: Rights, whose: Whose, out: &mut Vec<Allowed>) -> Result<(), TooLarge> {
        let ways = self.named(Form::File, "lock", whose);
        let opens = self.named(Form::File, opened_by(right), whose);
        let opened = |a: &&mut Allowed| opens.iter().any(|o| a.ways.contains(o));
        match (self.locked(right, whose)?, out.iter_mut().find(opened)) {
            (Some(paths), _) => out.push(Allowed {
                form: Form::File,
                ways,
                paths,
            }),
            (None, Some(same)) => same.ways.extend(ways),
            (None, None) => {}
        }
        Ok(())
    }

    /// The rule on sockets that decides, and whether sockets may be made.
    fn socket(&self, family: &str, kind: &str) -> (bool, Option<&NetworkRule>) {
        let about =
            |of: &Option<Vec<u8>>, word: &str| of.as_ref().is_none_or(|f| f == word.as_bytes());
        let of = |deny: bool| {
            self.profile
                .network
                .iter()
                .find(|r| r.deny == deny && about(&r.family, family) && about(&r.kind, kind))
        };
        match (of(true), of(false)) {
            (Some(deny), _) => (false, Some(deny)),
            (None, allow) => (allow.is_some(), allow),
        }
    }

    /// For each family of the address: whether it may be used, and the rule that decides.
    fn sockets(&self, object: &Object) -> Vec<(bool, Option<&NetworkRule>)> {
        let Object::Host(spec) = object else {
            return Vec::new();
        };
        let kind = match spec.protocol {
            Some(Protocol::Udp) => "dgram",
            _ => "stream",
        };
        let families: &[&str] = match &spec.address {
            Address::Ip(IpAddr::V4(_)) => &["inet"],
            Address::Ip(IpAddr::V6(_)) => &["inet6"],
            Address::Name(_) => &["inet", "inet6"],
        };
        families.iter().map(|f| self.socket(f, kind)).collect()
    }

    fn written(&self, span: (usize, usize)) -> Clause {
        let (line, _) = place(&self.text, &self.lines, span.0);
        Clause {
            artifact: 0,
            line,
            text: show_bytes(&self.text[span.0..span.1]),
        }
    }
}

impl Reading {
    fn answer(&self, operation: Operation) -> Result<OnPaths, TooLarge> {
        if ways(operation).is_empty() {
            return Ok(OnPaths::Silent);
        }
        let mut out = self.allowed(operation, Whose::Others)?;
        if self.owners {
            out.extend(self.allowed(operation, Whose::Own)?);
        }
        Ok(OnPaths::Allows(out))
    }
}

impl Evaluate for Reading {
    fn platform(&self) -> Platform {
        Platform::Linux
    }

    fn paths(&self, operation: Operation) -> Result<OnPaths, TooLarge> {
        self.answers.of(operation, || self.answer(operation))
    }

    fn host_cuts(&self, operation: Operation) -> Option<HostCuts> {
        let block = |address| Cidr { address, prefix: 0 };
        matches!(operation, Operation::Connect | Operation::Bind).then(|| HostCuts {
            blocks: vec![
                block(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
                block(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
            ],
            ..HostCuts::default()
        })
    }

    fn allows(&self, operation: Operation, object: &Object) -> Option<bool> {
        let path = match object {
            Object::Host(_) => return Some(self.sockets(object).iter().any(|s| s.0)),
            Object::Path(path) => path,
            Object::Command(words) => words.first()?,
            Object::Syscall(_) | Object::Tool(_) => return None,
        };
        match self.paths(operation).ok()? {
            OnPaths::Silent => None,
            OnPaths::Allows(forms) => Some(forms.iter().any(|f| f.paths.contains(path))),
        }
    }

    fn others(&self) -> BTreeSet<String> {
        self.profile.others.clone()
    }

    fn confines(&self) -> Result<Confines, TooLarge> {
        let attached = self.profile.attached.iter();
        let steps: Vec<Vec<Step>> = attached.flat_map(|g| g.files()).collect();
        let case = (steps.as_slice(), [].as_slice(), true);
        Ok(Confines {
            programs: Some(PathSet::first_match_except([case], false)?),
            ..Confines::unsaid()
        })
    }

    fn deciders(&self, operation: Operation, answer: &Allowed) -> Option<Deciders> {
        let links = operation == Operation::Create && answer.form == Form::File;
        if links
            && self
                .profile
                .files
                .iter()
                .any(|r| r.rights.has(Rights::LINK) && !r.deny)
        {
            // Two rights are needed, each by its own rules.
            return None;
        }
        let (whose, right) = [Whose::Others, Whose::Own].into_iter().find_map(|whose| {
            let named = |way| self.named(answer.form, way, whose);
            let is = |names: Vec<String>| names.iter().any(|n| answer.ways.contains(n));
            let own = ways(operation).iter().filter(|w| w.0 == answer.form);
            let right = own.map(|w| w.1).find(|right| is(named(opened_by(*right))));
            // If two rights are needed, no single rule decides.
            right.map(|r| (whose, r))
        })?;
        let rules = |deny| self.concerned(whose, right).filter(move |r| r.deny == deny);
        // Deny wins.
        let list: Vec<Deciding<Vec<Step>>> = rules(true)
            .chain(rules(false))
            .map(|rule| {
                let names = match answer.form {
                    Form::Directory => rule.glob.directories(),
                    _ => rule.glob.files(),
                };
                (names, Vec::new(), Some(self.written(rule.span)))
            })
            .collect();
        Deciders::of(&list)
    }

    fn clause(&self, operation: Operation, object: &Object) -> Option<Clause> {
        let path = match object {
            Object::Host(_) => {
                let rules = self.sockets(object);
                let decides = rules.iter().find(|s| s.0).or(rules.first())?.1?;
                return Some(self.written(decides.span));
            }
            Object::Path(path) => path,
            Object::Command(words) => words.first()?,
            Object::Syscall(_) | Object::Tool(_) => return None,
        };
        let by_name = self.by_name.get_or_init(|| {
            let mut index = StepsIndex::default();
            for (number, rule) in self.profile.files.iter().enumerate() {
                let each = rule.glob.alternatives().iter();
                each.for_each(|steps| index.add(steps, number));
            }
            index
        });
        let mut denies = None;
        for (form, right) in ways(operation) {
            let mut name = path.clone();
            if *form == Form::Directory && !name.ends_with(b"/") {
                name.push(b'/');
            }
            let candidates = by_name.candidates(&name);
            let of = |deny: bool| {
                let rules = candidates.iter().map(|n| &self.profile.files[*n]);
                let concerned = |r: &&FileRule| r.deny == deny && r.rights.has(*right);
                rules.filter(concerned).find(|r| r.glob.matches(&name))
            };
            match (of(true), of(false)) {
                (Some(deny), _) => denies = denies.or(Some(deny)),
                (None, Some(allow)) => return Some(self.written(allow.span)),
                (None, None) => {}
            }
        }
        denies.map(|r| self.written(r.span))
    }
}
