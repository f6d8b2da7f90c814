//! Reads a ruleset in the landlockconfig format back, and evaluates it as the kernel does.
//!
//! Sources: Documentation/userspace-api/landlock.rst and security/landlock/{fs,net}.c of Linux 6.12, and the format's
//! schema. The reader shares nothing with the lowering.
//!
//! - A right that is not handled is not restricted.
//! - A rule on a directory reaches the directory itself and everything beneath. A rule on any other object reaches only
//!   that object. The ruleset does not say which it is. The reader takes an entry for a directory if it has a right for
//!   directories alone, or if [`Options::files`] does not name it.
//! - Making, removing and moving are checked on the directory above. A rule on D is for what lies beneath D, not for D.
//! - Reading a file is `read_file`, and listing a directory is `read_dir`. A program needs `execute`. It also needs
//!   `read_file`, because the kernel opens it to read it.
//! - Changing contents is `write_file` if a file is opened for writing, and `truncate` if it is cut. Before ABI 3,
//!   cutting is not restricted.
//! - A file keeps the rules above it, wherever it is moved. A move to a place with more rights is refused (`refer`). So
//!   no rule can be avoided by moving a directory.
//! - Mode, owner, times, attributes and unix sockets by path are not checked. For addresses, only TCP ports are.

use crate::backend::{
    Allowed, Answers, Artifact, Clause, Deciders, Deciding, Evaluate, Form, HostCuts, OnPaths,
    Options,
};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::fidelity::{Object, show_bytes};
use crate::policy::{Component, Operation, Platform, Protocol, Sequence, Token};
use crate::semantics::{PathSet, TooLarge};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// An error in an artifact.
fn refuse(message: String) -> Diagnostics {
    Diagnostic::error("E115", message)
        .help("`polc emit landlock` makes a ruleset anew; what was added by hand can be written as it writes it")
        .into()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    abi: u32,
    #[serde(default)]
    ruleset: Vec<Handled>,
    #[serde(default, rename = "pathBeneath")]
    path_beneath: Vec<PathBeneath>,
    #[serde(default, rename = "netPort")]
    net_port: Vec<NetPort>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Handled {
    #[serde(default, rename = "handledAccessFs")]
    fs: Vec<Right>,
    #[serde(default, rename = "handledAccessNet")]
    net: Vec<NetRight>,
    #[serde(default)]
    scoped: Vec<Scope>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PathBeneath {
    #[serde(rename = "allowedAccess")]
    allowed: Vec<Right>,
    parent: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NetPort {
    #[serde(rename = "allowedAccess")]
    allowed: Vec<NetRight>,
    port: Vec<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Right {
    Execute,
    WriteFile,
    ReadFile,
    ReadDir,
    RemoveDir,
    RemoveFile,
    MakeChar,
    MakeDir,
    MakeReg,
    MakeSock,
    MakeFifo,
    MakeBlock,
    MakeSym,
    Refer,
    Truncate,
    IoctlDev,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum NetRight {
    BindTcp,
    ConnectTcp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Scope {
    AbstractUnixSocket,
    Signal,
}

impl Right {
    /// The first ABI that has it, from the table in landlock.rst.
    fn since(self) -> u32 {
        match self {
            Self::Refer => 2,
            Self::Truncate => 3,
            Self::IoctlDev => 5,
            _ => 1,
        }
    }

    /// Whether the kernel takes it for an object that is no directory.
    fn fits_files(self) -> bool {
        matches!(
            self,
            Self::Execute | Self::WriteFile | Self::ReadFile | Self::Truncate | Self::IoctlDev
        )
    }
}

/// A rule: rights on one path.
struct Grant {
    path: Vec<u8>,
    rights: BTreeSet<Right>,
    directory: bool,
    line: usize,
    text: String,
}

impl Grant {
    fn clause(&self) -> Clause {
        Clause {
            artifact: 0,
            line: self.line,
            text: self.text.clone(),
        }
    }
}

/// A ruleset that was read back.
pub(super) struct Ruleset {
    handled: BTreeSet<Right>,
    handled_net: BTreeSet<NetRight>,
    scoped: Vec<Scope>,
    grants: Vec<Grant>,
    ports: BTreeMap<u16, BTreeSet<NetRight>>,
    answers: Answers,
}

/// Reads it.
///
/// # Errors
/// The reader does not understand the ruleset.
pub(super) fn read(artifact: &Artifact, options: &Options) -> Result<Ruleset, Diagnostics> {
    let name = &artifact.file_name;
    let text = std::str::from_utf8(&artifact.bytes).map_err(|e| {
        refuse(format!(
            "`{name}` is not UTF-8, at byte {}",
            e.valid_up_to()
        ))
    })?;
    let file: File = serde_json::from_str(text)
        .map_err(|e| refuse(format!("`{name}` is not a ruleset that polc can read: {e}")))?;
    let mut handled: BTreeSet<Right> = BTreeSet::new();
    let mut handled_net: BTreeSet<NetRight> = BTreeSet::new();
    for part in &file.ruleset {
        handled.extend(&part.fs);
        handled_net.extend(&part.net);
        if !part.scoped.is_empty() && file.abi < 6 {
            return Err(refuse(format!(
                "`{name}` has scopes, which ABI {} does not know",
                file.abi
            )));
        }
    }
    if let Some(new) = handled.iter().find(|r| r.since() > file.abi) {
        return Err(refuse(format!(
            "`{name}` handles `{}`, which ABI {} does not know",
            word(new),
            file.abi
        )));
    }
    if !handled_net.is_empty() && file.abi < 4 {
        return Err(refuse(format!(
            "`{name}` handles ports, which ABI {} does not know",
            file.abi
        )));
    }
    let files: BTreeSet<&[u8]> = options.files.iter().map(Vec::as_slice).collect();
    let mut lines = Lines::new(text);
    let mut grants = Vec::new();
    for rule in &file.path_beneath {
        let rights: BTreeSet<Right> = rule.allowed.iter().copied().collect();
        if let Some(strange) = rights.iter().find(|r| !handled.contains(*r)) {
            return Err(refuse(format!(
                "`{name}` grants `{}`, which it does not handle: the kernel refuses that",
                word(strange)
            )));
        }
        for parent in &rule.parent {
            if parent.contains("${") {
                return Err(refuse(format!(
                    "`{name}` has the path `{}`, with a variable, which polc does not read",
                    show_bytes(parent.as_bytes())
                )));
            }
            let path = parent.as_bytes();
            let canonical = path == b"/"
                || (path.starts_with(b"/")
                    && path[1..]
                        .split(|b| *b == b'/')
                        .all(|c| !c.is_empty() && c != b"." && c != b".."));
            if !canonical || path.contains(&0) {
                return Err(refuse(format!(
                    "`{name}` has the path `{}`, which is not absolute and plain",
                    show_bytes(path)
                )));
            }
            let directory = rights.iter().any(|r| !r.fits_files()) || !files.contains(path);
            grants.push(Grant {
                path: path.to_vec(),
                rights: rights.clone(),
                directory,
                line: lines.of(parent),
                text: format!("{}: {}", show_bytes(path), words(&rights)),
            });
        }
    }
    let mut ports: BTreeMap<u16, BTreeSet<NetRight>> = BTreeMap::new();
    for rule in &file.net_port {
        for port in &rule.port {
            let port = u16::try_from(*port)
                .map_err(|_| refuse(format!("`{name}` has the port {port}, which is none")))?;
            if let Some(strange) = rule.allowed.iter().find(|r| !handled_net.contains(*r)) {
                return Err(refuse(format!(
                    "`{name}` grants `{}`, which it does not handle",
                    word(strange)
                )));
            }
            ports.entry(port).or_default().extend(&rule.allowed);
        }
    }
    Ok(Ruleset {
        scoped: file
            .ruleset
            .iter()
            .flat_map(|p| p.scoped.iter().copied())
            .collect(),
        handled,
        handled_net,
        grants,
        ports,
        answers: Answers::default(),
    })
}

fn words(rights: &BTreeSet<Right>) -> String {
    let names: Vec<String> = rights.iter().map(word).collect();
    names.join(" ")
}

/// The name in the format.
fn word(right: &impl Serialize) -> String {
    match serde_json::to_value(right) {
        Ok(serde_json::Value::String(s)) => s,
        _ => String::new(),
    }
}

/// Finds the lines of texts that come in order.
struct Lines<'t> {
    text: &'t str,
    at: usize,
    line: usize,
}

impl<'t> Lines<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            at: 0,
            line: 1,
        }
    }

    /// The line of the next string with this value. 0: it is written in another form.
    fn of(&mut self, value: &str) -> usize {
        let Ok(written) = serde_json::to_string(value) else {
            return 0;
        };
        let Some(found) = self.text[self.at..].find(&written) else {
            return 0;
        };
        let passed = &self.text[self.at..self.at + found];
        self.line += passed.bytes().filter(|b| *b == b'\n').count();
        self.at += found + written.len();
        self.line
    }
}

/// Which objects a rule on a path reaches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    /// The object itself and the directories above it.
    Object,
    /// The directories above it.
    Above,
}

impl Ruleset {
    fn restricts(&self, right: Right) -> bool {
        self.handled.contains(&right)
    }

    /// The rules that grant a right, each with the paths on which it does.
    fn granting(&self, right: Right, asks: Asks) -> impl Iterator<Item = (&Grant, Sequence)> {
        let all = self.grants.iter();
        let all = all.filter(move |g| g.rights.contains(&right));
        let all = all.filter(move |g| g.directory || asks == Asks::Object);
        all.map(move |g| {
            let mut s = Sequence::literal(&g.path);
            if asks == Asks::Above {
                s.components.push(Component::Name([Token::Star].into()));
            }
            (g, if g.directory { s.tree() } else { s })
        })
    }

    /// The paths on which a right is granted.
    fn held(&self, right: Right, asks: Asks) -> Result<PathSet, TooLarge> {
        if !self.restricts(right) {
            return Ok(PathSet::all());
        }
        let sequences: Vec<Sequence> = self.granting(right, asks).map(|g| g.1).collect();
        PathSet::of(&sequences)
    }

    /// One answer if all rights agree. Otherwise one for each right, because each is a way to do it.
    fn any_of(&self, rights: &[Right], asks: Asks) -> Result<OnPaths, TooLarge> {
        if !rights.iter().any(|r| self.restricts(*r)) {
            return Ok(OnPaths::Silent);
        }
        let mut seen: Vec<BTreeSet<&[u8]>> = Vec::new();
        let mut out: Vec<Allowed> = Vec::new();
        for right in rights {
            let way = word(right);
            let granted = |g: &&Grant| g.rights.contains(right);
            let paths: BTreeSet<&[u8]> = if self.restricts(*right) {
                let granted = self.grants.iter().filter(granted);
                granted.map(|g| g.path.as_slice()).collect()
            } else {
                // No path has this name.
                BTreeSet::from([b"".as_slice()])
            };
            match seen.iter().position(|s| *s == paths) {
                Some(at) => out[at].ways.push(way),
                None => {
                    seen.push(paths);
                    out.push(Allowed {
                        form: Form::Either,
                        ways: vec![way],
                        paths: self.held(*right, asks)?,
                    });
                }
            }
        }
        Ok(OnPaths::Allows(out))
    }

    /// The rule that grants the right and is closest to a path.
    fn grant(&self, right: Right, path: &[u8]) -> Option<&Grant> {
        let reaches = |g: &&Grant| {
            let beneath = g.path == b"/"
                || path
                    .strip_prefix(g.path.as_slice())
                    .is_some_and(|rest| rest.starts_with(b"/"));
            g.rights.contains(&right) && (g.path == path || (g.directory && beneath))
        };
        self.grants
            .iter()
            .filter(reaches)
            .max_by_key(|g| g.path.len())
    }
}

/// The rights of an operation. Each is a way to do it.
fn rights_of(operation: Operation) -> (&'static [Right], Asks) {
    match operation {
        Operation::Read => (&[Right::ReadFile], Asks::Object),
        Operation::List => (&[Right::ReadDir], Asks::Object),
        Operation::Edit => (&[Right::WriteFile, Right::Truncate], Asks::Object),
        Operation::Execute => (&[Right::Execute], Asks::Object),
        Operation::Create => (
            &[
                Right::MakeReg,
                Right::MakeDir,
                Right::MakeSym,
                Right::MakeFifo,
                Right::MakeSock,
                Right::MakeChar,
                Right::MakeBlock,
            ],
            Asks::Above,
        ),
        Operation::Delete => (&[Right::RemoveFile, Right::RemoveDir], Asks::Above),
        _ => (&[], Asks::Object),
    }
}

impl Ruleset {
    fn answer(&self, operation: Operation) -> Result<OnPaths, TooLarge> {
        let (rights, asks) = rights_of(operation);
        match operation {
            Operation::Execute => {
                if !self.restricts(Right::Execute) && !self.restricts(Right::ReadFile) {
                    return Ok(OnPaths::Silent);
                }
                let started = self.held(Right::Execute, asks)?;
                let read = self.held(Right::ReadFile, asks)?;
                Ok(OnPaths::either(started.intersection(&read)?))
            }
            Operation::List => {
                if !self.restricts(Right::ReadDir) {
                    return Ok(OnPaths::Silent);
                }
                // An object that is no directory has no entries. So listing it is allowed wherever it may be read.
                let files: Vec<Sequence> = self
                    .grants
                    .iter()
                    .filter(|g| !g.directory && g.rights.contains(&Right::ReadFile))
                    .map(|g| Sequence::literal(&g.path))
                    .collect();
                let listed = self.held(Right::ReadDir, asks)?;
                Ok(OnPaths::either(listed.union(&PathSet::of(&files)?)?))
            }
            _ => self.any_of(rights, asks),
        }
    }
}

impl Evaluate for Ruleset {
    fn platform(&self) -> Platform {
        Platform::Linux
    }

    fn paths(&self, operation: Operation) -> Result<OnPaths, TooLarge> {
        self.answers.of(operation, || self.answer(operation))
    }

    fn host_cuts(&self, operation: Operation) -> Option<HostCuts> {
        let right = net_right(operation)?;
        self.handled_net.contains(&right).then(|| HostCuts {
            ports: self
                .ports
                .keys()
                .flat_map(|p| [Some(*p), p.checked_add(1)])
                .flatten()
                .collect(),
            ..HostCuts::default()
        })
    }

    fn allows(&self, operation: Operation, object: &Object) -> Option<bool> {
        let program;
        let path = match object {
            Object::Host(spec) => {
                let right = net_right(operation)?;
                if !self.handled_net.contains(&right) {
                    return None;
                }
                let granted = |r: &BTreeSet<NetRight>| r.contains(&right);
                let udp = spec.protocol != Some(Protocol::Tcp);
                return Some(udp || self.ports.get(&spec.port).is_some_and(granted));
            }
            Object::Path(path) => path,
            Object::Command(words) => {
                program = words.first()?;
                program
            }
            Object::Syscall(_) | Object::Tool(_) => return None,
        };
        match self.paths(operation).ok()? {
            OnPaths::Silent => None,
            OnPaths::Allows(forms) => Some(forms.iter().any(|f| f.paths.contains(path))),
        }
    }

    fn others(&self) -> BTreeSet<String> {
        // No operation takes `refer` or the right for device commands.
        let kept = |r: &&Right| matches!(r, Right::Refer | Right::IoctlDev);
        let mut out: BTreeSet<String> = self
            .scoped
            .iter()
            .map(|s| format!("scoped {}", word(s)))
            .collect();
        out.extend(
            self.handled
                .iter()
                .filter(kept)
                .map(|r| format!("handled {}", word(r))),
        );
        for grant in &self.grants {
            let rights = grant.rights.iter().filter(kept);
            out.extend(rights.map(|r| format!("{} {}", word(r), show_bytes(&grant.path))));
        }
        out
    }

    fn deciders(&self, operation: Operation, answer: &Allowed) -> Option<Deciders> {
        let (rights, asks) = rights_of(operation);
        let named = |r: &&Right| rights.len() == 1 || answer.ways.contains(&word(*r));
        let right = *rights.iter().find(named)?;
        if !self.restricts(right) {
            return None;
        }
        let mut granting: Vec<(&Grant, Sequence)> = self.granting(right, asks).collect();
        // Any rule is enough. The answer names the one closest to the path.
        granting.sort_by_key(|(grant, _)| std::cmp::Reverse(grant.path.len()));
        let list: Vec<Deciding<Sequence>> = granting
            .into_iter()
            .map(|(grant, paths)| (vec![paths], Vec::new(), Some(grant.clause())))
            .collect();
        Deciders::of(&list)
    }

    fn clause(&self, operation: Operation, object: &Object) -> Option<Clause> {
        let path = match object {
            Object::Path(path) => path,
            Object::Command(words) => words.first()?,
            _ => return None,
        };
        let (rights, asks) = rights_of(operation);
        let asked: &[u8] = if asks == Asks::Above {
            let end = path.iter().rposition(|b| *b == b'/')?;
            if end == 0 { b"/" } else { &path[..end] }
        } else {
            path
        };
        let grant = rights.iter().find_map(|r| self.grant(*r, asked))?;
        Some(grant.clause())
    }
}

fn net_right(operation: Operation) -> Option<NetRight> {
    match operation {
        Operation::Connect => Some(NetRight::ConnectTcp),
        Operation::Bind => Some(NetRight::BindTcp),
        _ => None,
    }
}

/// Whether the text looks like one: JSON with a key that no other target has.
pub(super) fn recognises(artifact: &Artifact) -> bool {
    let Ok(serde_json::Value::Object(root)) = serde_json::from_slice(&artifact.bytes) else {
        return artifact.file_name.ends_with(".landlock.json");
    };
    ["ruleset", "pathBeneath", "netPort"]
        .iter()
        .any(|k| root.contains_key(*k))
}

#[cfg(test)]
mod tests;
