//! How long it takes to prove what layers keep, and how that grows. Everything is measured in one run, so that the
//! ratios hold on any machine: `cargo bench --bench proof`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use polc::backend::{self, Options};
use polc::frontend::{LoadOptions, load};
use polc::policy::Policy;
use polc::proof::{compare, disagreements};
use polc::semantics::Meaning;
use std::fmt::Write;
use std::time::{Duration, Instant};

const HEAD: &str = "version: 1\nname: scale\n\
    subject: {home: /home/agent, workspace: /workspace, tmp: /tmp}\nrules:\n";

/// Trees that are allowed, with exceptions, and trees that are denied, below two floating patterns.
fn trees(rules: usize) -> String {
    let mut out = String::from(HEAD);
    out.push_str(
        "  - {name: env, action: deny, operations: [read, write], \
         paths: ['/workspace/**/.env', '/workspace/**/.git/hooks/**']}\n",
    );
    for i in 0..rules {
        let tree = format!("/workspace/p{}/src/m{i}", i % 97);
        let rule = match i % 3 {
            0 => format!("action: deny, operations: [read, write], paths: ['{tree}/**']"),
            1 => format!(
                "action: allow, operations: [read, write], paths: ['{tree}/**'], \
                 except: ['{tree}/vendor/**']"
            ),
            _ => format!("action: allow, operations: [read, write], paths: ['{tree}/**']"),
        };
        let _ = writeln!(out, "  - {{name: r{i}, {rule}}}");
    }
    out
}

/// Patterns that float, each with everything beneath: 2^n sets of them can hold of a path.
fn floating(rules: usize) -> String {
    let mut out = String::from(HEAD);
    for i in 0..rules {
        let _ = writeln!(
            out,
            "  - {{name: r{i}, action: deny, operations: [read], paths: ['/**/secret{i}/**']}}"
        );
    }
    out.push_str("  - {name: rest, action: allow, operations: [read], paths: ['/**']}\n");
    out
}

/// Compiles a policy for a target, reads the artifact back, compares it with the policy, and holds the ledger
/// against that. `None`: the target refuses the policy.
fn proven(policy: &Policy, backend: &dyn backend::Backend) -> Option<Duration> {
    let start = Instant::now();
    let meaning = Meaning::new(policy);
    let options = Options::default();
    let compiled = backend.compile(&meaning, &options).ok()?;
    let read = backend.read_back(&compiled.artifacts, &options).ok()?;
    let comparison = compare(&meaning, read.as_ref());
    let wrong = disagreements(&compiled.ledger, &comparison);
    assert!(wrong.is_empty(), "{}: {wrong:?}", backend.id());
    Some(start.elapsed())
}

fn main() {
    let options = LoadOptions::default();
    for (name, sizes, text) in [
        ("trees", [100usize, 1_000], trees as fn(usize) -> String),
        ("floating patterns", [30, 300], floating),
    ] {
        let [small, large] = sizes;
        println!("{name:<22} {small:>12} {large:>12} {:>14}", "ratio");
        let loaded: Result<Vec<_>, _> = sizes
            .iter()
            .map(|n| load("b.yaml", &text(*n), &options).map(|l| l.policy))
            .collect();
        let Ok(policies) = loaded else {
            println!("the generated policy does not load");
            return;
        };
        let mut all = [Some(Duration::ZERO); 2];
        for b in backend::all() {
            let times = [0, 1].map(|i| proven(&policies[i], *b));
            let shown = times.map(|t| {
                t.map_or("refused".to_owned(), |t| {
                    format!("{:.1} ms", t.as_secs_f64() * 1e3)
                })
            });
            for (sum, time) in all.iter_mut().zip(times) {
                *sum = sum.zip(time).map(|(a, b)| a + b).or(*sum);
            }
            let ratio = match times {
                [Some(a), Some(b)] => format!("{:.1}", b.as_secs_f64() / a.as_secs_f64()),
                _ => "-".to_owned(),
            };
            println!(
                "{:<22} {:>12} {:>12} {ratio:>14}",
                b.id(),
                shown[0],
                shown[1]
            );
        }
        let [a, b] = all.map(|t| t.unwrap_or_default().as_secs_f64() * 1e3);
        println!(
            "{:<22} {:>12} {:>12} {:>14.1}\n",
            "all of them",
            format!("{a:.1} ms"),
            format!("{b:.1} ms"),
            b / a
        );
    }
}
