//! How long compiling takes, and how it grows. Everything is measured in one run, so that the ratios hold
//! on any machine: `cargo bench --bench compile`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use polc::backend::{self, Options};
use polc::frontend::{LoadOptions, load, load_builtin};
use polc::policy::Operation;
use polc::semantics::Meaning;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// A policy of this many rules: trees, exceptions, hosts and commands, below two floating patterns.
fn generated(rules: usize) -> String {
    let mut out = String::from(
        "version: 1\nname: scale\nsubject: {home: /home/agent, workspace: /workspace, tmp: /tmp}\nrules:\n\
         \x20 - {name: env, action: deny, operations: [read, write], paths: ['/workspace/**/.env', '/workspace/**/.git/hooks/**']}\n",
    );
    for i in 0..rules {
        let tree = format!("/workspace/p{}/src/m{i}", i % 97);
        let rule = match i % 10 {
            0 | 3 | 6 => format!("action: deny, operations: [read, write], paths: ['{tree}/**']"),
            7 => format!(
                "action: allow, operations: [read, write], paths: ['{tree}/**'], except: ['{tree}/vendor/**']"
            ),
            8 => format!(
                "action: allow, operations: [connect], hosts: ['h{i}.example.org:443', '10.{}.{}.0/24:8080']",
                i % 250,
                i / 250
            ),
            9 => format!("action: allow, commands: ['tool{i} **', 'git sub{i} *']"),
            _ => format!("action: allow, operations: [read, write], paths: ['{tree}/**']"),
        };
        let _ = writeln!(out, "  - {{name: r{i}, {rule}}}");
    }
    out.push_str(
        "  - {name: rest, action: allow, operations: [read, write], paths: ['/workspace/**']}\n",
    );
    out
}

/// The shortest of several runs: what the work takes when nothing else gets in the way.
fn shortest(runs: usize, mut work: impl FnMut()) -> Duration {
    let one = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    (0..runs).map(|_| one(&mut work)).min().unwrap_or_default()
}

fn main() {
    let options = LoadOptions::default();
    let sizes = [10usize, 1_000, 10_000];
    println!(
        "{:<22} {:>12} {:>12} {:>12} {:>14}",
        "rules", "10", "1,000", "10,000", "10,000 / 1,000"
    );
    let texts = sizes.map(generated);
    let line = |name: &str, times: Vec<Option<Duration>>| {
        let shown: Vec<String> = times
            .iter()
            .map(|t| {
                t.map_or("refused".to_owned(), |t| {
                    format!("{:.2} ms", t.as_secs_f64() * 1e3)
                })
            })
            .collect();
        let ratio = match (times[1], times[2]) {
            (Some(a), Some(b)) => format!("{:.1}", b.as_secs_f64() / a.as_secs_f64()),
            _ => "-".to_owned(),
        };
        println!(
            "{name:<22} {:>12} {:>12} {:>12} {ratio:>14}",
            shown[0], shown[1], shown[2]
        );
    };
    line(
        "load",
        texts
            .iter()
            .map(|t| Some(shortest(3, || drop(load("b.yaml", t, &options)))))
            .collect(),
    );
    let policies: Vec<_> = texts
        .iter()
        .map(|t| load("b.yaml", t, &options).map(|l| l.policy))
        .collect();
    let Ok(policies) = policies.into_iter().collect::<Result<Vec<_>, _>>() else {
        println!("the generated policy does not load");
        return;
    };
    let decide_all = |meaning: &Meaning<'_>| {
        Operation::ON_PATHS
            .into_iter()
            .all(|o| meaning.decisions(o).is_ok())
    };
    line(
        "decide every operation",
        policies
            .iter()
            .map(|p| Some(shortest(2, || assert!(decide_all(&Meaning::new(p))))))
            .collect(),
    );
    for b in backend::all() {
        let times = policies.iter().map(|p| {
            let meaning = Meaning::new(p);
            // The decided sets are shared by all targets: they are not this one's.
            decide_all(&meaning);
            let fine = b.compile(&meaning, &Options::default()).is_ok();
            fine.then(|| shortest(2, || drop(b.compile(&meaning, &Options::default()))))
        });
        line(b.id(), times.collect());
    }

    let Ok(policy) = load_builtin("coding-agent", &options).map(|l| l.policy) else {
        return;
    };
    let meaning = Meaning::new(&policy);
    let Ok(decisions) = meaning.decisions(Operation::Read) else {
        return;
    };
    let paths: [&[u8]; 3] = [
        b"/workspace/src/module/deep/file.rs",
        b"/home/agent/.ssh/id_ed25519",
        b"/usr/lib/x86_64-linux-gnu/libc.so.6",
    ];
    const ROUNDS: u32 = 100_000;
    let time = shortest(3, || {
        for _ in 0..ROUNDS {
            for p in paths {
                std::hint::black_box(decisions.verdict(std::hint::black_box(p)));
            }
        }
    });
    let each = time.as_secs_f64() / f64::from(ROUNDS * 3);
    println!(
        "\na decision on a path of coding-agent: {:.0} ns, {:.1} million a second",
        each * 1e9,
        1e-6 / each
    );
}
