//! From a policy's ordered rules to AppArmor's rule that deny wins.
//!
//! A path is allowed if some allow rule matches it, and no deny rule above that rule does. So polc writes each allow
//! without the denies above it. If no allow above a deny intersects it, it can become a deny of the profile. Any other
//! deny is cut out of the allows below it.

use super::groups::{Rights, groups};
use super::model::{Access, Origin, Piece, Profile};
use super::rights::{self, PathRule};
use crate::backend::loader;
use crate::diagnostics::Diagnostics;
use crate::fidelity::{Fidelity, Ledger};
use crate::policy::{Component, Objects, Operation, Policy, Protocol, Rule, Sequence};
use crate::semantics::{LedgerBuilder, Meaning, PathSet, SequenceIndex, TooLarge};
use std::borrow::Cow;
use std::collections::BTreeSet;

fn sequences_of<'a>(
    patterns: impl IntoIterator<Item = &'a crate::policy::PathPattern>,
) -> Vec<Sequence> {
    patterns
        .into_iter()
        .flat_map(|p| p.sequences.iter().cloned())
        .collect()
}

/// The rules of one right. `spoken` says for each rule whether it allows or denies the right. `None`: it is not about
/// it.
fn rules(policy: &Policy, spoken: &[Option<bool>]) -> Vec<PathRule> {
    let mut out = Vec::new();
    for (rule, allows) in policy.rules.iter().zip(spoken) {
        let Some(allows) = *allows else { continue };
        let (include, except) = match &rule.objects {
            Objects::Paths { paths, except } => (sequences_of(paths), sequences_of(except)),
            Objects::Commands { commands, except } => {
                // AppArmor sees only the program. To deny some argument lists denies nothing here, and to allow some
                // allows the program.
                let include = commands
                    .iter()
                    .filter(|c| allows || c.arguments.is_any())
                    .map(|c| &c.program);
                let out = except
                    .iter()
                    .filter(|c| !allows || c.arguments.is_any())
                    .map(|c| &c.program);
                (sequences_of(include), sequences_of(out))
            }
            _ => continue,
        };
        if !include.is_empty() {
            out.push(PathRule {
                origin: Origin::Rule(rule.id),
                include,
                except,
                allows,
            });
        }
    }
    if policy.default_action.permits() {
        out.push(PathRule {
            origin: Origin::Default,
            include: vec![Sequence::default().tree()],
            except: Vec::new(),
            allows: true,
        });
    }
    out
}

/// Lowers rights. If rules are about two rights in the same way, both are lowered once.
struct Lowering<'p> {
    policy: &'p Policy,
    /// What stays readable whatever rules leave out: the subject's own program.
    kept: &'p [Sequence],
    known: Vec<(Vec<Option<bool>>, Access)>,
}

impl Lowering<'_> {
    /// `speaks` says whether a rule allows or denies the right. `None`: it is not about it.
    fn of(&mut self, speaks: impl Fn(&Rule) -> Option<bool>) -> Access {
        let spoken: Vec<Option<bool>> = self.policy.rules.iter().map(speaks).collect();
        if let Some((_, access)) = self.known.iter().find(|k| k.0 == spoken) {
            return access.clone();
        }
        let access = rights::lower(&rules(self.policy, &spoken), self.kept);
        self.known.push((spoken, access.clone()));
        access
    }
}

fn one(operation: Operation) -> impl Fn(&Rule) -> Option<bool> {
    move |r| r.concerns_paths(operation).then(|| r.action.permits())
}

/// `w`: a rule allows it if it allows all of `all`, and denies it if it denies one of them.
fn write(all: &'static [Operation]) -> impl Fn(&Rule) -> Option<bool> {
    move |r| {
        let speaks = |o: &Operation| r.concerns_paths(*o);
        match r.action.permits() {
            true if all.iter().all(speaks) => Some(true),
            true if r.concerns_paths(Operation::Edit)
                && only_devices(r)
                && all.contains(&Operation::Edit) =>
            {
                Some(true)
            }
            false if all.iter().any(speaks) => Some(false),
            _ => None,
        }
    }
}

/// Devices are written, but not made or removed. So `w` is granted where editing is allowed.
fn only_devices(rule: &Rule) -> bool {
    let device = |s: &Sequence| {
        s.components
            .first()
            .and_then(Component::literal)
            .is_some_and(|n| n == b"dev")
    };
    match &rule.objects {
        Objects::Paths { paths, .. } => paths.iter().flat_map(|p| &p.sequences).all(device),
        _ => false,
    }
}

/// The directories above denied patterns. If one is moved away, denied paths move with it.
fn ancestors(deny: &[Sequence]) -> Vec<Sequence> {
    let mut out = BTreeSet::new();
    for s in deny {
        let mut above = s.components.as_slice();
        if above.last() == Some(&Component::AnyDepth) {
            above = &above[..above.len() - 1];
        }
        while let Some((_, rest)) = above.split_last() {
            above = rest;
            let holds = match above.last() {
                Some(Component::Name(name)) => !name.is_star(),
                _ => false,
            };
            if holds
                && !out.insert(Sequence {
                    components: above.to_vec(),
                })
            {
                break;
            }
        }
    }
    out.into_iter().collect()
}

const FILE_WRITE: &[Operation] = &[Operation::Edit, Operation::Create, Operation::Delete];
const DIRECTORY_WRITE: &[Operation] = &[Operation::Create, Operation::Delete];

pub fn lower(meaning: &Meaning<'_>, abi: &str) -> Result<(Profile, Ledger), Diagnostics> {
    let policy = meaning.policy();
    let attachment = policy
        .subject
        .executable
        .as_ref()
        .map(|e| e.sequences.clone())
        .unwrap_or_default();
    let mut rights = Lowering {
        policy,
        kept: &attachment,
        known: Vec::new(),
    };
    let mut read = rights.of(one(Operation::Read));
    let list = rights.of(one(Operation::List));
    let write_file = rights.of(write(FILE_WRITE));
    let mut write_directory = rights.of(write(DIRECTORY_WRITE));
    let execute = rights.of(one(Operation::Execute));

    // A directory is moved with everything beneath it, so it needs a tree. Paths that were cut out of a tree lie
    // beneath the directories that remain as single objects.
    write_directory
        .allow
        .retain(|p| p.pattern.components.last() == Some(&Component::AnyDepth));
    let mut moved = SequenceIndex::default();
    for piece in &write_directory.allow {
        moved.add(&piece.pattern);
    }
    let mut stay = denied(policy, DIRECTORY_WRITE);
    stay.extend(write_directory.deny.iter().map(|p| p.pattern.clone()));
    let above = ancestors(&stay).into_iter();
    let above = above.filter(|s| !moved.intersecting(s).is_empty());
    write_directory.deny.extend(above.map(|pattern| Piece {
        pattern,
        origin: Origin::Above,
    }));
    // The kernel maps the program itself by the rules of its own profile.
    read.allow.extend(attachment.iter().map(|pattern| Piece {
        pattern: pattern.clone(),
        origin: Origin::Subject,
    }));

    let mut ledger = LedgerBuilder::new(meaning, "apparmor");
    if ledger.is_asked() {
        file_entries(
            meaning,
            &mut ledger,
            &read,
            &list,
            &write_file,
            &write_directory,
            &execute,
        )?;
    }

    let files = groups([
        (Rights::READ, &read),
        (Rights::LIST, &list),
        (Rights::WRITE, &write_file),
        (Rights::MOVE, &write_directory),
        (Rights::EXECUTE, &execute),
    ]);
    let mut profile = Profile {
        abi: abi.to_owned(),
        attachment,
        rules: Vec::new(),
        files,
    };
    network(meaning, &mut ledger, &mut profile.rules);
    others(policy, &mut ledger, &mut profile.rules);
    ledger.syscalls_unenforced("only seccomp sees system calls by name");
    Ok((profile, ledger.finish()))
}

/// The patterns on which rules deny one of these operations, unless everything is denied anyway.
fn denied(policy: &Policy, operations: &[Operation]) -> Vec<Sequence> {
    let speaks = |r: &&Rule| !r.action.permits() && operations.iter().any(|o| r.concerns_paths(*o));
    policy
        .rules
        .iter()
        .filter(speaks)
        .filter_map(|r| match &r.objects {
            Objects::Paths { paths, .. } => Some(sequences_of(paths)),
            _ => None,
        })
        .flatten()
        .collect()
}

/// The paths on which files are allowed. The root is no file, so it causes no difference.
fn without_root(
    meaning: &Meaning<'_>,
    operation: Operation,
    files: &PathSet,
) -> Result<PathSet, TooLarge> {
    let permits = meaning.decisions(operation)?.allowed().contains(b"/");
    Ok(files.with_root(permits))
}

fn file_entries(
    meaning: &Meaning<'_>,
    ledger: &mut LedgerBuilder<'_, '_>,
    read: &Access,
    list: &Access,
    write_file: &Access,
    write_directory: &Access,
    execute: &Access,
) -> Result<(), TooLarge> {
    const CUT: &str = "deny always wins in AppArmor, and the pattern cannot be cut out of the deny";
    let reason = |_: Option<&Rule>, f: Fidelity| -> Cow<'static, str> {
        match f {
            Fidelity::Stricter => CUT.into(),
            _ => "the subject's own program must be readable".into(),
        }
    };
    let [contents, entries, file, directory] =
        Access::sets([read, list, write_file, write_directory])?;
    let files = without_root(meaning, Operation::Read, &contents)?;
    ledger.paths(Operation::Read, &files, &reason)?;
    ledger.paths(Operation::List, &entries, &reason)?;
    // Starting programs has an automaton of its own.
    let [started] = Access::sets([execute])?;
    let files = without_root(meaning, Operation::Execute, &started)?;
    ledger.paths(Operation::Execute, &files, &reason)?;
    let writing = |_: Option<&Rule>, f: Fidelity| -> Cow<'static, str> {
        match f {
            Fidelity::Stricter => {
                "`w` is edit, create and delete in one right: it is granted where all three are allowed"
                    .into()
            }
            _ => "`w` is edit, create, delete and metadata in one right".into(),
        }
    };
    let moving = |_: Option<&Rule>, f: Fidelity| -> Cow<'static, str> {
        match f {
            Fidelity::Stricter => {
                "moving a directory moves everything beneath it: only a directory in which everything may be deleted can be made or removed".into()
            }
            _ => "`w` is edit, create, delete and metadata in one right".into(),
        }
    };
    ledger.paths(
        Operation::Edit,
        &without_root(meaning, Operation::Edit, &file)?,
        &writing,
    )?;
    for operation in [Operation::Create, Operation::Delete] {
        ledger.paths(
            operation,
            &without_root(meaning, operation, &file)?,
            &writing,
        )?;
        ledger.paths(operation, &directory, &moving)?;
    }
    let metadata = |_: Option<&Rule>, _: Fidelity| -> Cow<'static, str> {
        "`w` covers mode and owner together with writing; times and extended attributes are not mediated".into()
    };
    let files = without_root(meaning, Operation::Metadata, &file)?;
    ledger.paths(Operation::Metadata, &files, &metadata)?;
    ledger.paths(Operation::Metadata, &directory, &metadata)?;
    ledger.paths(Operation::Metadata, &PathSet::all(), &metadata)?;
    // The kernel also asks for `r` on an object that is moved away (`apparmor_path_rename`).
    ledger.moved_away(&directory.intersection(&entries)?, &PathSet::empty())?;
    ledger.paths_unenforced(
        Operation::Connect,
        "mainline kernels do not mediate connecting to a socket by its path",
    )
}

fn network(meaning: &Meaning<'_>, ledger: &mut LedgerBuilder<'_, '_>, rules: &mut Vec<String>) {
    let (connect, bind) = (
        meaning.hosts(Operation::Connect),
        meaning.hosts(Operation::Bind),
    );
    let used = |p| connect.any_allowed(p) || bind.any_allowed(p);
    if meaning.policy().default_action.permits() {
        rules.push("network".to_owned());
    } else {
        for (protocol, kind) in [(Protocol::Tcp, "stream"), (Protocol::Udp, "dgram")] {
            if used(protocol) {
                rules.push(format!("network inet {kind}"));
                rules.push(format!("network inet6 {kind}"));
            }
        }
        if used(Protocol::Tcp) || used(Protocol::Udp) {
            // The C library asks for the host's addresses before it resolves a name.
            rules.push("network netlink raw".to_owned());
        }
        rules.push("network unix stream".to_owned());
        rules.push("network unix dgram".to_owned());
        rules.push("network unix seqpacket".to_owned());
    }
    let open = meaning.policy().default_action.permits();
    for operation in [Operation::Connect, Operation::Bind] {
        ledger.hosts(operation, |r| open || used(r.protocol), &|_, _| {
            "a profile sees families and types of sockets, not hosts and ports".into()
        });
    }
}

/// The rules about other things than files and hosts.
fn others(policy: &Policy, ledger: &mut LedgerBuilder<'_, '_>, rules: &mut Vec<String>) {
    for c in &policy.capabilities {
        rules.push(format!(
            "capability {}",
            c.trim_start_matches("CAP_").to_ascii_lowercase()
        ));
    }
    if policy.default_action.permits() {
        rules.extend(
            [
                "signal",
                "ptrace",
                "unix",
                "dbus",
                "mount",
                "umount",
                "pivot_root",
            ]
            .map(str::to_owned),
        );
    } else {
        rules.extend(
            [
                "signal (send, receive) peer=@{profile_name}",
                "signal (receive) peer=unconfined",
                "ptrace (read, readby, trace, tracedby) peer=@{profile_name}",
                "unix (create, bind, listen, getattr, setattr, getopt, setopt, shutdown)",
                "unix (connect, accept, send, receive) peer=(label=@{profile_name})",
            ]
            .map(str::to_owned),
        );
    }
    let limits = &policy.limits;
    for (name, word, value) in [
        ("processes", "nproc", limits.processes),
        ("open_files", "nofile", limits.open_files),
        ("cpu_time", "cpu", limits.cpu_time),
        ("file_size", "fsize", limits.file_size),
    ] {
        if let Some(n) = value {
            rules.push(format!("set rlimit {word} <= {n}"));
            let text = if word == "nproc" {
                "the kernel counts it for the whole user"
            } else {
                ""
            };
            ledger.setting(format!("limits.{name}"), Fidelity::Exact, text);
        }
    }
    for (name, set) in [
        ("memory", limits.memory.is_some()),
        ("cpus", limits.cpus.is_some()),
        ("wall_time", limits.wall_time.is_some()),
    ] {
        if set {
            ledger.setting(
                format!("limits.{name}"),
                Fidelity::Unenforced,
                "a profile has no such limit",
            );
        }
    }
    if policy.environment.pass.is_some() || !policy.environment.set.is_empty() {
        ledger.setting(
            "environment",
            Fidelity::Unenforced,
            "a profile does not change the environment",
        );
    }
    loader::tell(policy, ledger);
    if !policy.default_action.permits() {
        ledger.setting("hard links", Fidelity::Stricter, "no rule grants them");
    }
}
