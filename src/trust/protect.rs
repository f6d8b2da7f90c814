//! The rule that comes before those of every policy that starts a program.
//!
//! A program that can write to the state directory could trust its own policy for the next start. A program that can
//! change the policy's files could choose what the user is asked next. So this rule denies both, whatever the policy
//! allows.

use super::directory;
use crate::fidelity::Object;
use crate::frontend::FileRead;
use crate::policy::{Action, Objects, Operation, OperationSet, PathPattern, Policy, Rule, Span};
use crate::semantics::decide;
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The rule's name.
pub const RULE: &str = "polc/state";

/// Makes the state directory if the policy would let the program make it, because only an existing directory can be
/// protected. If polc cannot make it, a program of the same user cannot either.
pub fn claim(policy: &Policy, state: &Path) {
    let inner = state.join("trust");
    let writable = [state, inner.as_path()].into_iter().any(|path| {
        let object = Object::Path(path.as_os_str().as_bytes().to_vec());
        [Operation::Create, Operation::Delete]
            .into_iter()
            .any(|o| decide(policy, o, &object).action.permits())
    });
    if writable && !inner.exists() {
        // If this fails, polc reports it like every file that does not exist at start.
        let _ = directory::make(&inner);
    }
}

/// Puts the rule before those of the policy, which was read from these files. `states` are the directories where polc
/// keeps its state. They may not exist.
pub fn protect(policy: &mut Policy, states: &[PathBuf], files: &[FileRead]) {
    let bytes = |p: &PathBuf| p.as_os_str().as_bytes().to_vec();
    let trees: BTreeSet<Vec<u8>> = states
        .iter()
        .flat_map(|s| names(s))
        .map(|p| bytes(&p))
        .collect();
    let literals: BTreeSet<Vec<u8>> = files
        .iter()
        .flat_map(|f| names(&f.named).into_iter().chain([f.path.clone()]))
        .map(|p| bytes(&p))
        .collect();
    let trees = trees.iter().map(|p| PathPattern::tree(p));
    let paths: Vec<PathPattern> = trees
        .chain(literals.iter().map(|p| PathPattern::literal(p)))
        .collect();
    if paths.is_empty() {
        return;
    }
    let Some(write) = OperationSet::from_word("write") else {
        return;
    };
    let objects = Objects::Paths {
        paths,
        except: Vec::new(),
    };
    let file = policy
        .sources
        .add("polc's own rules", format!("name: {RULE}\n"));
    let rule = Rule {
        message: Some(
            "polc keeps its state here, and the policy in force: no policy can allow changing them"
                .to_owned(),
        ),
        span: Span {
            file,
            start: 6,
            end: 6 + RULE.len(),
            line: 1,
            column: 7,
        },
        ..Rule::new(RULE, Action::Deny, write, objects)
    };
    policy.put_first(rule);
}

/// The names of a path: with the links in its directories followed, and with the last link followed too. A part that
/// does not exist stays unchanged.
pub(super) fn names(path: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
        out.push(resolved(parent).join(name));
    }
    let end = resolved(path);
    if !out.contains(&end) {
        out.push(end);
    }
    out
}

fn resolved(path: &Path) -> PathBuf {
    if let Ok(real) = std::fs::canonicalize(path) {
        return real;
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => resolved(parent).join(name),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frontend::{LoadOptions, load};
    use std::os::unix::fs::symlink;

    #[test]
    fn nothing_that_decides_what_is_trusted_can_be_written() {
        let top = tempfile::tempdir().unwrap();
        let top = top.path().canonicalize().unwrap();
        for d in ["repo", "shared", "home"] {
            std::fs::create_dir(top.join(d)).unwrap();
        }
        std::fs::write(top.join("shared/p.yaml"), "").unwrap();
        symlink("../shared/p.yaml", top.join("repo/polc.yaml")).unwrap();
        symlink("repo", top.join("link")).unwrap();
        let text = "version: 1\nname: open\ndefault_action: allow\nrules:\n  - name: all\n    action: allow\n    operations: [write]\n    paths: [/**]\n";
        let mut policy = load("p.yaml", text, &LoadOptions::default())
            .unwrap()
            .policy;
        let before = policy.rules[0].clone();
        let read = FileRead {
            named: top.join("link/polc.yaml"),
            path: top.join("shared/p.yaml"),
            bytes: text.as_bytes().into(),
        };
        protect(&mut policy, &[top.join("home/.local/state/polc")], &[read]);
        assert_eq!(policy.rules[1].name, before.name);
        assert_eq!(policy.rules[1].id.0, 1);
        assert!(policy.is_own(policy.rules[0].id) && !policy.is_own(policy.rules[1].id));
        let decision = |operation, path: &Path| {
            let object = Object::Path(path.as_os_str().as_bytes().to_vec());
            decide(&policy, operation, &object)
        };
        for path in [
            "repo/polc.yaml",
            "shared/p.yaml",
            "home/.local/state/polc",
            "home/.local/state/polc/trust/x.json",
        ] {
            for operation in [
                Operation::Edit,
                Operation::Create,
                Operation::Delete,
                Operation::Metadata,
            ] {
                let d = decision(operation, &top.join(path));
                assert_eq!(
                    (d.action, d.rule),
                    (Action::Deny, Some(policy.rules[0].id)),
                    "{path}"
                );
            }
            assert_eq!(
                decision(Operation::Read, &top.join(path)).action,
                Action::Allow
            );
        }
        for path in ["repo/other", "shared/p.yaml.new", "home/.local/state/polcx"] {
            assert_eq!(
                decision(Operation::Edit, &top.join(path)).action,
                Action::Allow
            );
        }
        let place = policy.decider(Some(policy.rules[0].id));
        assert_eq!(place, "rule `polc/state` at polc's own rules:1");
    }
}
