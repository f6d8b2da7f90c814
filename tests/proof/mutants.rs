//! Every artifact in `snapshots/`, changed a little: does `verify` notice?
//!
//! A line is left out, a path made wider, an action turned round. A mutant is *noticed* if its reader refuses
//! it, or `verify` tells a difference. Each mutant is compared with the original besides, way by way: where they
//! differ, `verify` has to tell it, unless the mutant is nearer to the policy wherever it differs. What reads the
//! same has to mean the same: where another way to tell that is at hand (a rule above that grants as much, the automata
//! that apparmor_parser makes), it has to agree.
//!
//! `POLC_MUTANTS=N` makes N of each artifact in place of the usual number.

use super::compiled;
use polc::backend::{self, Artifact, Backend, Evaluate, Form, OnPaths, Options};
use polc::fidelity::Object;
use polc::frontend::{LoadOptions, load_path};
use polc::policy::{Operation, Policy, syscalls};
use polc::proof::{compare_unaccounted, subjects};
use polc::semantics::{HostSpace, Meaning, PathSet, decide};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn wanted() -> usize {
    let asked = std::env::var("POLC_MUTANTS").ok();
    asked.and_then(|n| n.parse().ok()).unwrap_or(9)
}

/// One change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Dropped,
    Widened,
    Flipped,
}

struct Mutant {
    kind: Kind,
    line: usize,
    was: String,
    bytes: Vec<u8>,
}

/// What the line says turned round, in the language of the target.
fn flipped(id: &str, line: &str) -> Option<String> {
    let pairs: &[(&str, &str)] = match id {
        "seccomp" => &[
            ("SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"),
            ("SCMP_ACT_ERRNO", "SCMP_ACT_ALLOW"),
        ],
        "apparmor" => &[
            ("deny ", ""),
            ("\" r,", "\" w,"),
            ("\" w,", "\" r,"),
            ("\" wk,", "\" r,"),
        ],
        "sbpl" => &[
            ("(allow ", "(deny "),
            ("(deny ", "(allow "),
            ("require-not", "require-any"),
        ],
        "landlock" => &[("write_file", "read_file"), ("make_reg", "remove_file")],
        "selinux" => &[
            ("neverallow ", "allow "),
            ("allow unconfined_t ", "neverallow unconfined_t "),
            ("{ read ", "{ write "),
            (" read", " write"),
            ("_none_t:s0", "_exec_t:s0"),
            ("_rl_t:s0", "_none_t:s0"),
            ("system_r", "unconfined_r"),
            ("attribute ", "type "),
            (":dir ", ":file "),
        ],
        "tetragon" => &[
            ("NotPrefix", "Prefix"),
            ("Prefix", "NotPrefix"),
            ("NotEqual", "Equal"),
            ("Override", "NoPost"),
        ],
        _ => &[],
    };
    pairs
        .iter()
        .find(|(from, _)| line.contains(from))
        .map(|(from, to)| line.replacen(from, to, 1))
}

/// The last name of the first path taken off.
fn widened(line: &str) -> Option<String> {
    // A path in quotes, or what a file context begins with.
    let (start, end) = match line.starts_with('/') {
        true => (0, line.find("/.*").or(line.find('\t'))?),
        false => {
            let start = line.find("\"/")? + 1;
            (start, start + line[start..].find('"')?)
        }
    };
    let path = &line[start..end];
    let cut = path.trim_end_matches('/').rfind('/').filter(|c| *c > 0)?;
    Some(format!(
        "{}{}{}",
        &line[..start],
        &path[..cut],
        &line[end..]
    ))
}

fn is_comment(id: &str, line: &str) -> bool {
    let line = line.trim_start();
    match id {
        "sbpl" => line.is_empty() || line.starts_with(';'),
        "landlock" | "seccomp" => line.is_empty(),
        _ => line.is_empty() || (line.starts_with('#') && !line.starts_with("#include")),
    }
}

/// Mutants of one artifact, spread over its lines, always the same ones.
fn mutants(id: &str, artifact: &Artifact) -> Vec<Mutant> {
    let Ok(text) = std::str::from_utf8(&artifact.bytes) else {
        return Vec::new();
    };
    let lines: Vec<&str> = text.lines().collect();
    let candidates: Vec<usize> = (0..lines.len())
        .filter(|i| !is_comment(id, lines[*i]))
        .collect();
    let count = wanted().min(candidates.len());
    let mut out = Vec::new();
    for n in 0..count {
        let at = candidates[n * candidates.len() / count];
        let with = |new: Option<String>| {
            let mut all: Vec<String> = lines.iter().map(|l| (*l).to_owned()).collect();
            match new {
                Some(line) => all[at] = line,
                None => {
                    all.remove(at);
                }
            }
            (all.join("\n") + "\n").into_bytes()
        };
        let choices = [
            (Kind::Dropped, Some(with(None))),
            (Kind::Widened, widened(lines[at]).map(|l| with(Some(l)))),
            (Kind::Flipped, flipped(id, lines[at]).map(|l| with(Some(l)))),
        ];
        let mut possible: Vec<(Kind, Vec<u8>)> = choices
            .into_iter()
            .filter_map(|(k, b)| b.map(|b| (k, b)))
            .collect();
        let (kind, bytes) = possible.swap_remove(n % possible.len());
        out.push(Mutant {
            kind,
            line: at + 1,
            was: lines[at].trim().to_owned(),
            bytes,
        });
    }
    out
}

/// How a mutant stands to the artifact that it was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// It means the same.
    None,
    /// It means something else, and wherever it does it agrees with the policy, as the original does not: what its
    /// target loses is less.
    Nearer,
    /// It means something else, and not what the policy does.
    Real,
}

/// What there is in both of one way to do an operation.
fn by_way(answer: OnPaths) -> BTreeMap<String, PathSet> {
    let OnPaths::Allows(forms) = answer else {
        return BTreeMap::new();
    };
    let mut out = BTreeMap::new();
    // Moving a directory takes rights that have ways of their own.
    for form in forms.into_iter().filter(|f| f.form != Form::Moved) {
        for way in form.ways {
            let twice = out.insert(way.clone(), form.paths.clone());
            assert!(twice.is_none(), "two answers for `{way}`");
        }
    }
    out
}

/// Told without what `verify` tells it by, as far as that can be.
fn change(policy: &Meaning<'_>, original: &dyn Evaluate, mutant: &dyn Evaluate) -> Change {
    let mut change = Change::None;
    let (was, is) = (original.confines().unwrap(), mutant.confines().unwrap());
    let programs = [&was, &is].map(|c| c.programs.clone().unwrap_or_else(PathSet::empty));
    if original.others() != mutant.others()
        || (&was.namespace, &was.labels) != (&is.namespace, &is.labels)
        || programs[0]
            .difference_witness(&programs[1])
            .unwrap()
            .is_some()
    {
        return Change::Real;
    }
    for operation in Operation::ON_PATHS {
        let meant = policy.decisions(operation).unwrap().allowed();
        let was = by_way(original.paths(operation).unwrap());
        let is = by_way(mutant.paths(operation).unwrap());
        let all = PathSet::all();
        let mut seen: Vec<(&PathSet, &PathSet)> = Vec::new();
        for way in was.keys().chain(is.keys()).collect::<BTreeSet<_>>() {
            // What a layer says nothing of happens.
            let (was, is) = (was.get(way).unwrap_or(&all), is.get(way).unwrap_or(&all));
            let same = |a: &PathSet, b: &PathSet| std::ptr::eq(a.dfa(), b.dfa());
            if seen.iter().any(|(a, b)| same(a, was) && same(b, is)) {
                continue;
            }
            seen.push((was, is));
            if was.difference_witness(is).unwrap().is_none() {
                continue;
            }
            change = Change::Nearer;
            let more = is.difference(was).unwrap();
            let less = was.difference(is).unwrap();
            if !more.is_subset(meant).unwrap() || less.common_witness(meant).unwrap().is_some() {
                return Change::Real;
            }
        }
    }
    let mut one = |operation: Operation, object: Object| {
        let answer = |of: &dyn Evaluate| of.allows(operation, &object).unwrap_or(true);
        let (was, is) = (answer(original), answer(mutant));
        if was == is {
            return true;
        }
        change = Change::Nearer;
        decide(policy.policy(), operation, &object).action.permits() == is
    };
    for operation in [Operation::Connect, Operation::Bind] {
        let (x, y) = (original.host_cuts(operation), mutant.host_cuts(operation));
        let (mut x, y) = (x.unwrap_or_default(), y.unwrap_or_default());
        x.ports.extend(y.ports);
        x.blocks.extend(y.blocks);
        x.names.extend(y.names);
        let space = HostSpace::new(policy.policy(), operation);
        for region in space.split(&x.ports, &x.blocks, &x.names) {
            if !one(operation, Object::Host(region.sample)) {
                return Change::Real;
            }
        }
    }
    for name in syscalls::all() {
        if !one(Operation::Syscall, Object::Syscall(name.to_owned())) {
            return Change::Real;
        }
    }
    change
}

/// Whether directories are moved away that were not: what is beneath goes with them, wherever that is nearer to
/// the policy for the directory itself.
fn moves_more(original: &dyn Evaluate, mutant: &dyn Evaluate) -> bool {
    let moved = |of: &dyn Evaluate| {
        let mut all = PathSet::empty();
        if let OnPaths::Allows(forms) = of.paths(Operation::Delete).unwrap() {
            for form in forms.iter().filter(|f| f.form == Form::Moved) {
                all = all.union(&form.paths).unwrap();
            }
        }
        all
    };
    !moved(mutant).is_subset(&moved(original)).unwrap()
}

/// What `verify` says of it.
fn told(meaning: &Meaning<'_>, original: &dyn Evaluate, mutant: &dyn Evaluate) -> bool {
    let comparison = compare_unaccounted(meaning, mutant, original);
    !comparison.is_equal()
        || original.others() != mutant.others()
        || !subjects(mutant, original).unwrap().is_empty()
}

/// Another opinion on whether a mutant that was not noticed means the same; `None`: there is none at hand.
fn really_same(id: &str, all: &[Artifact], original: &[u8], mutant: &Mutant) -> Option<bool> {
    match id {
        "landlock" => {
            let parse = |b: &[u8]| serde_json::from_slice::<serde_json::Value>(b).unwrap();
            Some(reach(&parse(original)) == reach(&parse(&mutant.bytes)))
        }
        "seccomp" => {
            // The default refuses: what is allowed are the entries that allow.
            let allowed = |bytes: &[u8]| {
                let file: serde_json::Value = serde_json::from_slice(bytes).unwrap();
                let mut out: Vec<(String, String)> = Vec::new();
                for entry in file["syscalls"].as_array().unwrap() {
                    if entry["action"] == "SCMP_ACT_ALLOW" {
                        for name in entry["names"].as_array().unwrap() {
                            let mut args = entry["args"].clone();
                            for arg in args.as_array_mut().into_iter().flatten() {
                                // What it is where it is not there.
                                if arg["valueTwo"].is_null() {
                                    arg["valueTwo"] = 0.into();
                                }
                                arg.sort_all_objects();
                            }
                            out.push((name.to_string(), args.to_string()));
                        }
                    }
                }
                out.sort();
                (file["defaultAction"].to_string(), out)
            };
            Some(allowed(original) == allowed(&mutant.bytes))
        }
        "apparmor" => compiled::same(original, &mutant.bytes),
        "selinux" => {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let [te, fc] = [".te", ".fc"].map(|end| {
                let mut all = all.iter();
                text(&all.find(|a| a.file_name.ends_with(end)).unwrap().bytes)
            });
            let changed = text(&mutant.bytes);
            Some(match original == te.as_bytes() {
                true => statements(&te) == statements(&changed),
                false => labels(&statements(&te), &fc, &changed),
            })
        }
        _ => None,
    }
}

/// What a module says, permission by permission, without what it only requires: that takes nothing and gives
/// nothing, and a build fails where it is missing.
fn statements(module: &str) -> BTreeSet<String> {
    let begin = module.find("require {").unwrap_or_default();
    let end = begin + module[begin..].find("\n}").unwrap_or_default();
    let said = module[..begin].lines().chain(module[end..].lines());
    let mut out = BTreeSet::new();
    for line in said.filter(|l| !l.starts_with('#')) {
        let line = line.trim().trim_end_matches(';');
        match line.split_once(" { ") {
            Some((head, list)) => {
                let words = list.trim_end_matches('}').split_whitespace();
                out.extend(words.map(|w| format!("{head} {w}")));
            }
            None => drop(out.insert(line.to_owned())),
        }
    }
    out.retain(|l| !l.is_empty() && l != "}" && !l.starts_with("module "));
    // What every file is granted need not be granted once more on a type of the base policy.
    let general: Vec<String> = out
        .iter()
        .filter_map(|l| Some(l.split_once(" non_security_file_type:")?.1.to_owned()))
        .collect();
    let own: Vec<String> = out
        .iter()
        .filter_map(|l| Some(l.strip_prefix("type ")?.to_owned()))
        .collect();
    out.retain(|l| {
        let rule = l.strip_prefix("allow ").and_then(|l| l.split_once(' '));
        let target = rule.and_then(|(_, r)| r.split_once(':'));
        target.is_none_or(|(target, what)| {
            let base = target != "non_security_file_type" && !own.iter().any(|t| t == target);
            !(base && general.iter().any(|g| g == what))
        })
    });
    out
}

/// Whether two lists of file contexts give each path that one of them names, and what lies beneath it, types of the
/// same rights. Entries are literal paths, and those with all that lies beneath.
fn labels(module: &BTreeSet<String>, before: &str, after: &str) -> bool {
    fn read(text: &str) -> BTreeMap<&str, &str> {
        text.lines().filter_map(|l| l.split_once('\t')).collect()
    }
    let (before, after) = (read(before), read(after));
    let rights = |entries: &BTreeMap<&str, &str>, path: &str| -> BTreeSet<String> {
        let own = entries.get(path).copied();
        let mut above = path.match_indices('/').map(|(at, _)| &path[..at]).rev();
        let beneath = || above.find_map(|p| entries.get(format!("{p}/.*").as_str()).copied());
        let context = own.or_else(beneath);
        let label = context.map_or("non_security_file_type", |c| {
            c.split(':').nth(2).unwrap_or_default()
        });
        let head = format!(" {label}:");
        let held = module.iter().filter(|l| l.starts_with("allow "));
        let held = held.filter_map(|l| l.split_once(&head).map(|(_, what)| what.to_owned()));
        let mut held: BTreeSet<String> = held.collect();
        // No program is started that cannot be read.
        if !held.contains("file read") {
            held.retain(|what| !what.starts_with("file execute"));
        }
        held.remove("file getattr"); // of every file
        held
    };
    let mut paths = before
        .keys()
        .chain(after.keys())
        .map(|p| p.trim_end_matches("/.*"));
    paths.all(|p| {
        let same = |path: &str| rights(&before, path) == rights(&after, path);
        same(p) && same(&format!("{p}/z")) && same(&format!("{p}/z/z"))
    })
}

/// What each path of a ruleset is granted, with everything that is granted above it.
fn reach(ruleset: &serde_json::Value) -> Vec<(String, Vec<String>)> {
    let empty = Vec::new();
    let list = |v: &serde_json::Value| -> Vec<String> {
        v.as_array()
            .unwrap_or(&empty)
            .iter()
            .filter_map(|x| x.as_str().map(str::to_owned))
            .collect()
    };
    let rules: Vec<(Vec<String>, Vec<String>)> = ruleset["pathBeneath"]
        .as_array()
        .unwrap_or(&empty)
        .iter()
        .map(|r| (list(&r["parent"]), list(&r["allowedAccess"])))
        .collect();
    let above = |path: &str, over: &str| {
        over == "/" || path == over || path.strip_prefix(over).is_some_and(|r| r.starts_with('/'))
    };
    let mut out: Vec<(String, Vec<String>)> = Vec::new();
    for path in rules.iter().flat_map(|r| &r.0) {
        let rights = rules
            .iter()
            .filter(|r| r.0.iter().any(|over| above(path, over)))
            .flat_map(|r| r.1.clone());
        let mut rights: Vec<String> = rights.collect();
        rights.sort();
        rights.dedup();
        // A program is opened for reading when it is started.
        if !rights.iter().any(|r| r == "read_file") {
            rights.retain(|r| r != "execute");
        }
        // A path that has no more than what is above it adds nothing.
        let inherited = rules
            .iter()
            .filter(|r| r.0.iter().any(|over| over != path && above(path, over)))
            .flat_map(|r| r.1.clone())
            .collect::<Vec<_>>();
        if rights.iter().any(|r| !inherited.contains(r)) {
            out.push((path.clone(), rights));
        }
    }
    out.sort();
    out.dedup();
    out
}

/// The folder of a policy's artifacts is called as its file.
fn policy_of(folder: &Path) -> Option<Policy> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let name = format!("{}.yaml", folder.file_name()?.to_string_lossy());
    let file = [
        root.join("policies").join(&name),
        root.join("tests/policies").join(&name),
    ]
    .into_iter()
    .find(|f| f.is_file())?;
    Some(load_path(&file, &LoadOptions::default()).unwrap().policy)
}

fn folders() -> Vec<PathBuf> {
    let snapshots = Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots");
    let mut out: Vec<PathBuf> = std::fs::read_dir(snapshots)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.is_dir())
        .collect();
    out.sort();
    assert!(out.len() > 20);
    out
}

fn noticed(id: &str) {
    let backend: &'static dyn Backend = backend::find(id).unwrap();
    let (mut total, mut refused, mut different, mut nearer) = (0usize, 0usize, 0usize, 0usize);
    let mut unnoticed: Vec<String> = Vec::new();
    let mut equivalent = 0usize;
    for folder in folders() {
        let Some(policy) = policy_of(&folder) else {
            continue;
        };
        let policy = policy.seen_by(backend.platform());
        let meaning = Meaning::new(&policy);
        let Ok(made) = backend.compile(&meaning, &Options::default()) else {
            continue;
        };
        let options = Options {
            files: made.files.clone(),
            ..Options::default()
        };
        let original = backend.read_back(&made.artifacts, &options).unwrap();
        for (i, artifact) in made.artifacts.iter().enumerate() {
            for mutant in mutants(id, artifact) {
                total += 1;
                let mut all = made.artifacts.clone();
                all[i].bytes.clone_from(&mutant.bytes);
                let Ok(read) = backend.read_back(&all, &options) else {
                    refused += 1;
                    continue;
                };
                let place = format!(
                    "{}:{}: {:?}: {}",
                    artifact.file_name, mutant.line, mutant.kind, mutant.was
                );
                let read_as = original.as_meant(&policy);
                let read_as = read_as.as_ref().map(Meaning::new);
                let meaning = read_as.as_ref().unwrap_or(&meaning);
                let change = change(meaning, original.as_ref(), read.as_ref());
                let told = told(meaning, original.as_ref(), read.as_ref());
                match change {
                    Change::Real if told => {
                        different += 1;
                        continue;
                    }
                    Change::Real => {
                        unnoticed.push(format!("{place}: `verify` does not tell it"));
                        continue;
                    }
                    Change::Nearer if told && moves_more(original.as_ref(), read.as_ref()) => {
                        different += 1;
                        continue;
                    }
                    _ if told => {
                        unnoticed.push(format!("{place}: `verify` tells of {change:?}"));
                        continue;
                    }
                    Change::Nearer => {
                        nearer += 1;
                        continue;
                    }
                    Change::None => {}
                }
                match really_same(id, &made.artifacts, &artifact.bytes, &mutant) {
                    Some(false) => unnoticed.push(place),
                    _ => equivalent += 1,
                }
            }
        }
    }
    let changed = total - equivalent - nearer;
    crate::report(&format!(
        "mutation score of {id}: {} of {changed} changes of meaning are noticed ({different} by what they mean, {refused} as \
         they cannot be read); of {total} mutants {equivalent} mean the same and {nearer} are nearer to the policy",
        different + refused
    ));
    assert!(total > 100, "{id}: only {total} mutants");
    assert!(
        unnoticed.is_empty(),
        "{} of {total} mutants of {id} are not noticed\n{}",
        unnoticed.len(),
        unnoticed[..unnoticed.len().min(40)].join("\n")
    );
    // Most lines of an artifact say something; were they not noticed, the readers would look at little.
    assert!(
        (different + refused) * 10 >= total * 6,
        "{id}: {} of {total} mutants are noticed",
        different + refused
    );
}

#[test]
fn landlock() {
    noticed("landlock");
}

#[test]
fn seccomp() {
    noticed("seccomp");
}

#[test]
fn apparmor() {
    noticed("apparmor");
}

#[test]
fn sbpl() {
    noticed("sbpl");
}

#[test]
fn tetragon() {
    noticed("tetragon");
}

#[test]
fn selinux() {
    noticed("selinux");
}
