//! Random policies through every back-end and back: what the artifact's bytes say is what the ledger claims.
//!
//! `POLC_RANDOM=N` makes N policies for each back-end in place of the usual number.

use crate::generated::policy;
use crate::ledgers::faults;
use polc::backend;
use polc::frontend::{LoadOptions, load};
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

/// How many policies go through each back-end.
fn cases() -> u32 {
    let asked = std::env::var("POLC_RANDOM").ok();
    asked.and_then(|n| n.parse().ok()).unwrap_or(3000)
}

fn through(id: &str) {
    let backend = backend::find(id).unwrap();
    let mut runner = TestRunner::new(Config {
        cases: cases(),
        failure_persistence: None,
        ..Config::default()
    });
    let mut seen = 0u32;
    let mut valid = 0u32;
    let result = runner.run(&policy(), |text| {
        // Some random rules are wrong; those are the front-end's to refuse.
        let Ok(loaded) = load("random.yaml", &text, &LoadOptions::default()) else {
            return Ok(());
        };
        let found = faults("random", &loaded.policy, backend.id());
        if found.is_empty() {
            Ok(())
        } else {
            Err(TestCaseError::fail(format!("{}\n{text}", found.join("\n"))))
        }
    });
    for _ in 0..50 {
        use proptest::strategy::ValueTree;
        let text = policy().new_tree(&mut runner).unwrap().current();
        seen += 1;
        valid += u32::from(load("random.yaml", &text, &LoadOptions::default()).is_ok());
    }
    assert!(
        valid * 2 > seen,
        "most random policies are refused: {valid} of {seen}"
    );
    match result {
        Ok(()) => crate::report(&format!(
            "random policies through {id}: {}, and no ledger that its artifact does not bear out",
            cases()
        )),
        Err(TestError::Fail(why, _)) => panic!("{why}"),
        Err(e) => panic!("{e}"),
    }
}

#[test]
fn landlock() {
    through("landlock");
}

#[test]
fn seccomp() {
    through("seccomp");
}

#[test]
fn sbpl() {
    through("sbpl");
}

#[test]
fn apparmor() {
    through("apparmor");
}

#[test]
fn tetragon() {
    through("tetragon");
}

#[test]
fn selinux() {
    through("selinux");
}
