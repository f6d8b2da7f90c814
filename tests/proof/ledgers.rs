//! No ledger claims more, or less, than its artifact's bytes bear out.

use crate::corpus::policies;
use polc::backend::{self, Evaluate, OnPaths, Options};
use polc::fidelity::{Entry, Fidelity, Ledger, Object, Witness};
use polc::frontend::{LoadOptions, load};
use polc::policy::{Action, Operation, Policy};
use polc::proof::{Comparison, Disagreement, compare, disagreements};
use polc::semantics::{Decision, Meaning, decide};
use std::collections::BTreeMap;

/// Options that make other artifacts of the same policy.
fn variants(backend: &str) -> Vec<BTreeMap<&'static str, String>> {
    let of = |list: &[(&'static str, &str)]| {
        let pairs = list.iter().map(|(k, v)| (*k, (*v).to_owned()));
        pairs.collect::<BTreeMap<_, _>>()
    };
    match backend {
        "landlock" => ["6", "1", "2", "3", "4"]
            .iter()
            .map(|abi| of(&[("abi", abi)]))
            .chain([of(&[("abi", "6"), ("holes", "closed")])])
            .collect(),
        "seccomp" => vec![of(&[]), of(&[("arch", "aarch64")]), of(&[("bpf", "")])],
        "apparmor" => vec![of(&[]), of(&[("apparmor-abi", "4.0")])],
        "sbpl" => vec![of(&[]), of(&[("proxy-port", "3128")])],
        _ => vec![of(&[])],
    }
}

/// What one target of one policy gets wrong, one line each.
pub fn faults(file: &str, policy: &Policy, id: &str) -> Vec<String> {
    let backend = backend::find(id).unwrap();
    let whole = Meaning::new(policy);
    let meaning = whole.on(backend.platform());
    let mut out = Vec::new();
    for values in variants(id) {
        let shown: Vec<String> = values.iter().map(|(k, v)| format!("--{k} {v}")).collect();
        let shown = shown.join(" ");
        let mut options = Options {
            values,
            ..Options::default()
        };
        // A policy that the target cannot hold is refused; which ones is pinned by the snapshots.
        let Ok(made) = backend.compile(meaning, &options) else {
            continue;
        };
        options.files = made.files.clone();
        let read = match backend.read_back(&made.artifacts, &options) {
            Ok(read) => read,
            Err(e) => {
                out.push(format!("{file} {id} {shown}: {e}"));
                continue;
            }
        };
        let comparison = compare(meaning, read.as_ref());
        assert!(
            !comparison.is_unknown(),
            "{file} {id}: could not be compared"
        );
        let found = contradictions(meaning, &made.ledger, read.as_ref(), &comparison);
        out.extend(found.iter().map(|f| format!("{file} {id} {shown}: {f}")));
    }
    out
}

/// What a ledger claims and its artifact does not bear out: entries, and the witnesses that they give.
fn contradictions(
    meaning: &Meaning<'_>,
    ledger: &Ledger,
    read: &dyn Evaluate,
    comparison: &Comparison,
) -> Vec<String> {
    let policy = meaning.policy();
    let found = disagreements(ledger, comparison);
    let mut out: Vec<String> = found.iter().map(|d| line(policy, d)).collect();
    let as_meant = read.as_meant(policy);
    let meant = as_meant.as_ref().unwrap_or(policy);
    for entry in ledger
        .entries
        .iter()
        .filter(|e| e.operation != Operation::Tool)
    {
        let rule = entry
            .rule
            .map_or("default_action", |r| &policy.rule(r).name);
        let name = format!("`{rule}` {}: the ledger", entry.operation);
        let shows = |looser: bool| entry.witnesses.iter().any(|w| w.layer_allows == looser);
        let (stricter, looser) = match entry.fidelity {
            Fidelity::Exact => (false, false),
            Fidelity::Stricter => (true, false),
            Fidelity::Looser | Fidelity::Unenforced => (false, true),
            Fidelity::Mixed => (true, true),
        };
        if (shows(false), shows(true)) != (stricter, looser) {
            let word = entry.fidelity.name();
            out.push(format!(
                "{name} says {word} and shows {:?}",
                entry.witnesses
            ));
        }
        for w in &entry.witnesses {
            if !decides(meant, entry, w) {
                out.push(format!(
                    "{name} shows {}, which another rule decides, or otherwise",
                    w.object
                ));
            }
            if !bears_out(read, entry.operation, w) {
                let does = if w.layer_allows { "allows" } else { "denies" };
                out.push(format!(
                    "{name} shows that the artifact {does} {}, and it does not",
                    w.object
                ));
            }
        }
    }
    out
}

/// Whether the rule of the entry decides the witness, as it says.
fn decides(policy: &Policy, entry: &Entry, witness: &Witness) -> bool {
    let Decision { action, rule } = decide(policy, entry.operation, &witness.object);
    // A directory that is moved away takes along what the policy denies beneath it.
    let moved = entry.operation == Operation::Delete && witness.layer_allows && action.permits();
    rule == entry.rule && (action == witness.policy || moved)
}

/// Whether the artifact does with the object what the witness says, in some way and for some form.
fn bears_out(read: &dyn Evaluate, operation: Operation, witness: &Witness) -> bool {
    let path = match &witness.object {
        Object::Path(path) => path,
        Object::Command(words) => &words[0],
        _ => {
            let allows = read.allows(operation, &witness.object).unwrap_or(true);
            return allows == witness.layer_allows;
        }
    };
    match read.paths(operation).unwrap() {
        OnPaths::Silent => witness.layer_allows,
        OnPaths::Allows(forms) => forms
            .iter()
            .any(|f| f.paths.contains(path) == witness.layer_allows),
    }
}

fn line(policy: &Policy, d: &Disagreement) -> String {
    let rule = d.rule.map_or("default_action", |r| &policy.rule(r).name);
    let word = |f: Option<polc::fidelity::Fidelity>| f.map_or("nothing", |f| f.name());
    let shown = d.shown.as_ref().map_or_else(String::new, |s| {
        let says = if s.looser() { "allows" } else { "denies" };
        let clause = s
            .clause
            .as_ref()
            .map_or_else(String::new, |c| format!(" by line {}: {}", c.line, c.text));
        format!(
            "; the artifact {says} {} ({:?}){clause}",
            s.witness.object, s.form
        )
    });
    format!(
        "`{rule}` {}: the ledger claims {}, found {}{shown}",
        d.operation,
        word(d.claimed),
        word(d.found)
    )
}

fn all(id: &str) {
    let mut faults_found = Vec::new();
    for (file, policy) in policies() {
        faults_found.extend(faults(&file, &policy, id));
    }
    assert!(
        faults_found.is_empty(),
        "{} faults\n{}",
        faults_found.len(),
        faults_found[..faults_found.len().min(60)].join("\n")
    );
}

#[test]
fn landlock() {
    all("landlock");
}

#[test]
fn seccomp() {
    all("seccomp");
}

#[test]
fn sbpl() {
    all("sbpl");
}

#[test]
fn apparmor() {
    all("apparmor");
}

#[test]
fn tetragon() {
    all("tetragon");
}

#[test]
fn selinux() {
    all("selinux");
}

/// What macOS keeps in /private has two names, and a rule may speak of the one where another speaks of the other.
#[test]
fn a_profile_and_names_in_private() {
    let head = "version: 1\nname: p\nsubject: {home: /home/a, workspace: /w, tmp: /tmp}\nrules:\n";
    let allow = "{name: a, action: allow, operations: [read, write]";
    for rules in [
        // The runtime base reads /private/var/db/dyld.
        format!("- {allow}, paths: ['/**'], except: ['/var/**']}}"),
        format!(
            "- {{name: d, action: deny, operations: [read, write], paths: ['/private/etc']}}\n  - {allow}, paths: ['/etc/**']}}"
        ),
        format!(
            "- {{name: d, action: deny, operations: [write], paths: ['/etc/a']}}\n  - {allow}, paths: ['/private/**']}}"
        ),
        format!("- {allow}, paths: ['/private/tmp/**'], except: ['/[st]*/x/**']}}"),
    ] {
        let text = format!("{head}  {rules}\n");
        let policy = load("p.yaml", &text, &LoadOptions::default())
            .unwrap()
            .policy;
        assert_eq!(
            faults("p", &policy, "sbpl"),
            Vec::<String>::new(),
            "{rules}"
        );
    }
}

/// A ledger that was made to lie is found out: the checks above can fail.
#[test]
fn a_ledger_with_a_fault_planted_is_found_out() {
    let (_, policy) = policies()
        .into_iter()
        .find(|(file, _)| file == "policies/coding-agent.yaml")
        .unwrap();
    let whole = Meaning::new(&policy);
    for id in ["landlock", "apparmor", "selinux", "sbpl", "tetragon"] {
        let backend = backend::find(id).unwrap();
        let meaning = whole.on(backend.platform());
        let made = backend.compile(meaning, &Options::default()).unwrap();
        let options = Options {
            files: made.files.clone(),
            ..Options::default()
        };
        let read = backend.read_back(&made.artifacts, &options).unwrap();
        let comparison = compare(meaning, read.as_ref());
        let found = |ledger: &Ledger| contradictions(meaning, ledger, read.as_ref(), &comparison);
        assert_eq!(found(&made.ledger), Vec::<String>::new(), "{id}");
        let entry_of = |fidelity: Fidelity| {
            let decided = |e: &&Entry| {
                let account = comparison.account(e.rule, e.operation);
                account.is_some_and(|a| a.decides) && e.operation != Operation::Tool
            };
            let mut all = made.ledger.entries.iter().filter(decided);
            let entry = all.find(|e| e.fidelity == fidelity);
            let entry = entry.unwrap_or_else(|| panic!("{id}: nothing is {fidelity:?}"));
            (entry.rule, entry.operation)
        };
        let (exact, looser) = (entry_of(Fidelity::Exact), entry_of(Fidelity::Looser));
        let with = |at: (Option<_>, Operation), change: &dyn Fn(&mut Entry)| {
            let mut ledger = made.ledger.clone();
            let mut all = ledger.entries.iter_mut();
            let entry = all.find(|e| (e.rule, e.operation) == at);
            change(entry.unwrap());
            found(&ledger)
        };
        // Exact where the comparison finds a difference, with and without its witnesses.
        let lies = with(looser, &|e| e.fidelity = Fidelity::Exact);
        assert!(
            lies.iter()
                .any(|l| l.contains("claims exact, found looser; the artifact allows")),
            "{id}: {lies:?}"
        );
        let lies = with(looser, &|e| {
            e.fidelity = Fidelity::Exact;
            e.witnesses.clear();
        });
        assert!(!lies.is_empty(), "{id}");
        // Looser where nothing is, without a witness and with one that is made up.
        let lies = with(exact, &|e| e.fidelity = Fidelity::Looser);
        assert!(
            lies.iter()
                .any(|l| l.contains("claims looser, found exact")),
            "{id}: {lies:?}"
        );
        assert!(
            lies.iter().any(|l| l.contains("says looser and shows []")),
            "{id}: {lies:?}"
        );
        let made_up = |layer_allows| Witness {
            object: Object::Path(b"/nowhere/that/is".to_vec()),
            policy: Action::Deny,
            layer_allows,
        };
        let lies = with(exact, &|e| {
            e.fidelity = Fidelity::Looser;
            e.witnesses = vec![made_up(true)];
        });
        assert!(
            lies.iter()
                .any(|l| l.contains("which another rule decides")),
            "{id}: {lies:?}"
        );
        // Looser as it says, with a witness that shows nothing, or none.
        let lies = with(looser, &|e| e.witnesses.clear());
        assert!(
            lies.iter().any(|l| l.contains("says looser and shows []")),
            "{id}: {lies:?}"
        );
        let lies = with(looser, &|e| e.witnesses = vec![made_up(true)]);
        assert!(!lies.is_empty(), "{id}");
        let lies = with(looser, &|e| e.witnesses[0].policy = Action::Allow);
        assert!(!lies.is_empty(), "{id}");
        // The wrong direction.
        let lies = with(looser, &|e| e.fidelity = Fidelity::Stricter);
        assert!(!lies.is_empty(), "{id}");
        // Nothing at all is said of something.
        let mut ledger = made.ledger.clone();
        ledger.entries.retain(|e| (e.rule, e.operation) != looser);
        let lies = found(&ledger);
        assert!(
            lies.iter().any(|l| l.contains("claims nothing")),
            "{id}: {lies:?}"
        );
    }
}
