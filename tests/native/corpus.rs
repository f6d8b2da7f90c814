//! Every artifact in `snapshots/`, handed to its target's own tool.
//!
//! The files there are what `polc emit all -o snapshots/POLICY` writes; a policy that is added is
//! checked here without a line more.

use crate::policies::policies;
use crate::runc::As;
use crate::{apparmor, runc, schema, selinux, tool};
use polc::backend::Options;
use polc::frontend::{LoadOptions, load};
use polc::policy::{Platform, Policy};
use polc::semantics::Meaning;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The artifacts of a back-end whose names end so, sorted: those of `snapshots/`, and where that folder
/// is not there, the same made now, in a folder that lives as long as the result.
struct Artifacts {
    files: Vec<PathBuf>,
    _made: Option<tempfile::TempDir>,
}

fn artifacts(backend: &str, end: &str) -> Option<Artifacts> {
    let Some(found) = polc::backend::find(backend) else {
        eprintln!("skipped: no back-end {backend} yet");
        return None;
    };
    let snapshots = Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots");
    let made = (!snapshots.is_dir()).then(|| tool::folder("artifacts"));
    if let Some(made) = &made {
        for (file, policy) in policies() {
            let folder = made.path().join(file.replace('/', "-"));
            std::fs::create_dir(&folder).unwrap();
            let compiled = found.compile(&Meaning::new(&policy), &Options::default());
            let compiled = match compiled {
                Ok(compiled) => compiled,
                Err(_) if may_be_refused(&file) => continue,
                Err(e) => panic!("{file}: {:?}", e.items),
            };
            for artifact in compiled.artifacts {
                std::fs::write(folder.join(artifact.file_name), artifact.bytes).unwrap();
            }
        }
    }
    let top = made.as_ref().map_or(&*snapshots, |m| m.path());
    let mut files = Vec::new();
    for folder in std::fs::read_dir(top).unwrap() {
        let folder = folder.unwrap().path();
        if !folder.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(folder).unwrap() {
            let file = file.unwrap().path();
            if file.to_string_lossy().ends_with(end) {
                files.push(file);
            }
        }
    }
    files.sort();
    // A few are refused; a back-end that refuses most of them has not been checked.
    let (count, all) = (files.len(), policies().len());
    assert!(
        count * 4 >= all * 3,
        "{count} *{end} in {} for {all} policies",
        top.display()
    );
    Some(Artifacts { files, _made: made })
}

/// Whether a target may refuse the policy: those that are hard on purpose may hold what it has no words
/// for, and an error is the right answer then. What is shipped must compile for every target.
fn may_be_refused(file: &str) -> bool {
    file.starts_with("tests/")
}

/// Runs a check over all items on every processor, and reports all failures at once.
fn each<'a, T: Sync>(items: &'a [T], check: impl Fn(&'a T) -> Result<(), String> + Sync) {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(words) = check(item) {
                        failures.lock().unwrap().push(words);
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    assert!(
        failures.is_empty(),
        "{} of {} fail:\n\n{}",
        failures.len(),
        items.len(),
        failures.join("\n\n")
    );
}

fn short(file: &Path) -> String {
    let parts: Vec<_> = file
        .iter()
        .rev()
        .take(2)
        .map(|p| p.to_string_lossy())
        .collect();
    parts.into_iter().rev().collect::<Vec<_>>().join("/")
}

fn json(file: &Path) -> Result<Value, String> {
    let bytes = std::fs::read(file).map_err(|e| e.to_string())?;
    serde_json::from_slice(&bytes).map_err(|e| format!("{}: {e}", short(file)))
}

#[test]
fn apparmor_parser_compiles_every_profile() {
    let Some(found) = artifacts("apparmor", ".apparmor") else {
        return;
    };
    let Some(parser) = apparmor::parser() else {
        return;
    };
    each(&found.files, |file| {
        let blob = apparmor::compile(&parser, file)?;
        let profiles = apparmor::blob::read(&blob).map_err(|e| format!("{}: {e}", short(file)))?;
        for profile in profiles {
            if profile.mode != 0 {
                let name = profile.name.escape_ascii();
                return Err(format!("{}: `{name}` does not enforce", short(file)));
            }
        }
        Ok(())
    });
}

/// The policies as a platform sees them.
fn seen_by(platform: Platform) -> Vec<(String, Policy)> {
    let seen = |(name, policy): (String, Policy)| (name, policy.seen_by(platform).into_owned());
    policies().into_iter().map(seen).collect()
}

#[test]
fn the_compiled_profile_means_what_the_ledger_says() {
    let Some(backend) = polc::backend::find("apparmor") else {
        eprintln!("skipped: no back-end apparmor yet");
        return;
    };
    let Some(parser) = apparmor::parser() else {
        return;
    };
    each(&seen_by(backend.platform()), |(name, policy)| {
        let meaning = Meaning::new(policy);
        let compiled = backend.compile(&meaning, &Options::default());
        let compiled = match compiled {
            Ok(compiled) => compiled,
            Err(_) if may_be_refused(name) => return Ok(()),
            Err(e) => return Err(format!("{name}: {:?}", e.items)),
        };
        let blob = apparmor::compile_text(&parser, &compiled.artifacts[0].bytes)?;
        let profiles = apparmor::blob::read(&blob)?;
        let faults = apparmor::meaning::compare(&meaning, &profiles[0], &compiled.ledger);
        match faults.is_empty() {
            true => Ok(()),
            false => Err(format!("{name}:\n  {}", faults.join("\n  "))),
        }
    });
}

/// Trees at the top whose own names are escaped in file contexts, with things of one byte in them.
const FIRST_NAMES: &str = r#"
version: 1
name: first-names
default_action: allow
rules:
  - {name: within, action: allow, operations: [read], paths: ['/é/t/b/**', '/a b/t/b/**', "/q'#/t/b", '/a)b/t/b/**']}
  - {name: trees, action: deny, operations: [read, write], paths: ['/é/t/**', '/a b/t/**', "/q'#/**", '/a)b/**', '/~/t/b']}
"#;

#[test]
fn the_linked_module_means_what_the_ledger_says() {
    let Some(backend) = polc::backend::find("selinux") else {
        eprintln!("skipped: no back-end selinux yet");
        return;
    };
    let Some(tools) = selinux::tools() else {
        return;
    };
    let mut policies = seen_by(backend.platform());
    let loaded = load("first-names", FIRST_NAMES, &LoadOptions::default());
    policies.push(("first-names".to_owned(), loaded.unwrap().policy));
    let done = Mutex::new(Vec::new());
    each(&policies, |(name, policy)| {
        let meaning = Meaning::new(policy);
        let compiled = backend.compile(&meaning, &Options::default());
        let compiled = match compiled {
            Ok(compiled) => compiled,
            Err(_) if may_be_refused(name) => return Ok(()),
            Err(e) => return Err(format!("{name}: {:?}", e.items)),
        };
        let dir = tool::folder("selinux");
        let mut te = None;
        for artifact in &compiled.artifacts {
            let file = dir.path().join(&artifact.file_name);
            std::fs::write(&file, &artifact.bytes).map_err(|e| e.to_string())?;
            te = te.or(artifact.file_name.ends_with(".te").then_some(file));
        }
        let te = te.ok_or("no .te")?;
        let module = tools.build(&te, &te.with_extension("fc"))?;
        let contexts = tools
            .contexts(&[&module], dir.path())
            .map_err(|e| format!("{name}: {e}"))?;
        let places = selinux::meaning::all_places(&meaning);
        let paths: Vec<&[u8]> = places.iter().map(Vec::as_slice).collect();
        let files = tools.labels(&contexts, "file", &paths)?;
        let directories = tools.labels(&contexts, "dir", &paths)?;
        let types = files.into_iter().zip(directories).map(|(f, d)| [f, d]);
        let labels: BTreeMap<_, _> = places.iter().cloned().zip(types).collect();
        done.lock()
            .unwrap()
            .push((name, meaning, compiled.ledger, module, labels));
        Ok(())
    });
    let done = done.into_inner().unwrap();
    let modules: Vec<_> = done.iter().map(|d| &d.3).collect();
    let dir = tool::folder("meaning");
    let policy = tools.link(&modules, dir.path()).unwrap();
    let domains: Vec<&str> = modules.iter().flat_map(|m| m.domains()).collect();
    let answers = tools.ask(&policy, &domains).unwrap();
    each(&done, |(name, meaning, ledger, module, labels)| {
        let domain = module.domains().first().copied().ok_or("no domain")?;
        let faults = selinux::meaning::compare(meaning, ledger, &answers[domain], labels);
        match faults.is_empty() {
            true => Ok(()),
            false => Err(format!("{name}:\n  {}", faults.join("\n  "))),
        }
    });
}

#[test]
fn selinux_modules_link_with_the_reference_policy() {
    let Some(found) = artifacts("selinux", ".te") else {
        return;
    };
    let Some(tools) = selinux::tools() else {
        return;
    };
    let built = Mutex::new(BTreeMap::new());
    each(&found.files, |te| {
        let module = tools.build(te, &te.with_extension("fc"))?;
        let dir = tool::folder("contexts");
        tools
            .contexts(&[&module], dir.path())
            .map_err(|e| format!("{}: {e}", short(te)))?;
        built.lock().unwrap().insert(te.clone(), module);
        Ok(())
    });
    let built = built.into_inner().unwrap();
    // One link for all of them, for a link takes seconds; names that come twice go to a further one.
    let mut rounds: Vec<Vec<(&PathBuf, &selinux::Module)>> = Vec::new();
    for (file, module) in &built {
        let free = rounds
            .iter_mut()
            .find(|r| r.iter().all(|(_, m)| m.name != module.name));
        match free {
            Some(round) => round.push((file, module)),
            None => rounds.push(vec![(file, module)]),
        }
    }
    each(&rounds, |round| {
        let modules: Vec<_> = round.iter().map(|(_, m)| *m).collect();
        let dir = tool::folder("link");
        let policy = match tools.link(&modules, dir.path()) {
            Ok(policy) => policy,
            Err(words) => {
                // Which of them is it?
                let alone = round.iter().find_map(|(file, module)| {
                    let dir = tool::folder("alone");
                    let error = tools.link(&[module], dir.path()).err()?;
                    Some(format!("{}: {error}", short(file)))
                });
                return Err(alone.unwrap_or(format!("only together: {words}")));
            }
        };
        let domains: Vec<&str> = modules.iter().flat_map(|m| m.domains()).collect();
        let answers = tools.ask(&policy, &domains)?;
        for (file, module) in round {
            let (types, domains) = (module.types(), module.domains());
            // A domain that no program of its own enters confines nobody.
            let entered = |domain: &&str| {
                types
                    .iter()
                    .any(|t| answers[*domain].allows(t, "file", "entrypoint"))
            };
            if domains.is_empty() || !domains.iter().all(entered) {
                return Err(format!("{}: no entry point into {domains:?}", short(file)));
            }
        }
        Ok(())
    });
}

#[test]
fn containers_start_with_every_seccomp_profile() {
    let Some(found) = artifacts("seccomp", ".seccomp.json") else {
        return;
    };
    let Some(runc) = runc::runc() else { return };
    // What no container's default profile lets even an administrator do.
    let probes = [
        ("mount", "mount -t tmpfs none /tmp"),
        ("a user namespace", "unshare -U true"),
        ("a mount namespace", "unshare -m true"),
    ];
    for (what, probe) in probes {
        let open = runc.run(&Value::Null, As::Root, true, probe);
        assert!(
            open.ok(),
            "{what} fails without a profile too: {}",
            open.words()
        );
    }
    each(&found.files, |file| {
        let seccomp = json(file)?;
        runc.starts(&seccomp)
            .map_err(|e| format!("{}: {e}", short(file)))?;
        for (what, probe) in probes {
            if runc.run(&seccomp, As::Root, true, probe).ok() {
                return Err(format!("{}: lets {what} through", short(file)));
            }
        }
        Ok(())
    });
}

#[test]
fn schemas_accept_every_artifact() {
    let Some(schemas) = schema::schemas() else {
        return;
    };
    type Check<'a> = &'a (dyn Fn(&Path) -> Result<(), String> + Sync);
    let all: [(&str, &str, Check<'_>); 3] = [
        ("tetragon", ".tetragon.yaml", &|file| {
            let text = std::fs::read_to_string(file).map_err(|e| e.to_string())?;
            // A policy that denies nothing that the target knows of has no object, only a header.
            match text.lines().all(|l| l.is_empty() || l.starts_with('#')) {
                true => Ok(()),
                false => schemas.tetragon(&text),
            }
        }),
        ("seccomp", ".seccomp.json", &|file| {
            schemas.seccomp(&json(file)?)
        }),
        ("landlock", ".landlock.json", &|file| {
            schemas.landlock(&json(file)?)
        }),
    ];
    for (backend, end, check) in all {
        let Some(found) = artifacts(backend, end) else {
            continue;
        };
        each(&found.files, |file| {
            check(file).map_err(|e| format!("{}: {e}", short(file)))
        });
    }
}
