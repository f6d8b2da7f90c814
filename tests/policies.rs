//! Every policy of the repository loads, and decides its own tests as they say.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use polc::frontend::{LoadOptions, load_builtin, load_path};
use std::path::Path;

fn load_all() -> Vec<(String, polc::policy::Policy)> {
    let mut out = Vec::new();
    for b in polc::frontend::builtin::policies()
        .iter()
        .chain(polc::frontend::builtin::rule_sets())
    {
        let loaded = load_builtin(b.name, &LoadOptions::default()).unwrap_or_else(|e| {
            panic!(
                "{}",
                polc::diagnostics::render(&e, polc::diagnostics::Style::Plain)
            )
        });
        out.push((b.name.to_owned(), loaded.policy));
    }
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policies");
    for e in std::fs::read_dir(dir).unwrap() {
        let path = e.unwrap().path();
        let loaded = load_path(&path, &LoadOptions::default()).unwrap_or_else(|e| {
            panic!(
                "{}",
                polc::diagnostics::render(&e, polc::diagnostics::Style::Plain)
            )
        });
        out.push((path.display().to_string(), loaded.policy));
    }
    out
}

#[test]
fn every_policy_loads() {
    assert!(load_all().len() > 20);
}

#[test]
fn every_policy_decides_its_own_tests_as_they_say() {
    let mut wrong = Vec::new();
    let mut asked = 0;
    for (name, policy) in load_all() {
        for t in &policy.tests {
            asked += 1;
            let got = polc::semantics::decide_query(&policy, &t.query);
            if got.action != t.expect {
                let by = got.rule.map_or("the default", |r| &policy.rule(r).name);
                wrong.push(format!(
                    "{name}: {} expected {}, got {} by {by}: {:?}",
                    policy.sources.place(t.span),
                    t.expect,
                    got.action,
                    t.query
                ));
            }
        }
    }
    assert!(asked > 300, "{asked}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
