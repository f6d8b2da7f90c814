//! An artifact confines whom its policy names.

use crate::corpus::policies;
use polc::backend::{self, Evaluate, OnPaths, Options};
use polc::policy::{Operation, Policy};
use polc::semantics::{Meaning, PathSet};

fn read(policy: &Policy, id: &str) -> Option<Box<dyn Evaluate>> {
    let backend = backend::find(id).unwrap();
    let made = backend
        .compile(&Meaning::new(policy), &Options::default())
        .ok()?;
    Some(
        backend
            .read_back(&made.artifacts, &Options::default())
            .unwrap(),
    )
}

#[test]
fn programs_are_those_of_the_policy() {
    let mut compared = 0;
    for (file, policy) in policies() {
        let wanted = match &policy.subject.executable {
            Some(pattern) => PathSet::of(&pattern.sequences).unwrap(),
            None => PathSet::empty(),
        };
        for id in ["apparmor", "selinux", "tetragon"] {
            let Some(read) = read(&policy, id) else {
                continue;
            };
            let confines = read.confines().unwrap();
            let Some(found) = confines.programs else {
                // Without anything to refuse there is no selector that says for whom.
                let silent = |o| matches!(read.paths(o).unwrap(), OnPaths::Silent);
                assert!(
                    id == "tetragon" && Operation::ON_PATHS.into_iter().all(silent),
                    "{file} {id}"
                );
                continue;
            };
            // A TracingPolicy without programs is for all of some pods.
            if id == "tetragon" && policy.subject.executable.is_none() {
                assert!(found.is_all(), "{file}");
                assert!(
                    !confines.labels.is_empty() || confines.namespace.is_some(),
                    "{file}"
                );
                continue;
            }
            assert_eq!(
                found.excess_witness(&wanted).unwrap(),
                None,
                "{file} {id}: too many"
            );
            assert_eq!(
                wanted.excess_witness(&found).unwrap(),
                None,
                "{file} {id}: too few"
            );
            compared += usize::from(!wanted.is_empty());
        }
    }
    assert!(compared > 20, "{compared}");
}
