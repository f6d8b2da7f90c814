//! Layers together are as tight as the tightest of them, and no tighter than what each refuses.

use crate::corpus::policies;
use polc::backend::{self, Artifact, Backend, Options};
use polc::fidelity::Fidelity;
use polc::policy::Policy;
use polc::proof::{Cell, Coverage, coverage};
use polc::semantics::{Meaning, decide};

fn fidelity(cell: &Cell) -> Fidelity {
    cell.fidelity.expect("compared")
}

/// Rows whose last column cannot be what the layers come to.
fn faults(file: &str, policy: &Policy) -> Vec<String> {
    // Those of one kernel. SBPL's is another, on which objects have further names.
    let layers: Vec<(&'static dyn Backend, Options)> = backend::all()
        .iter()
        .filter(|b| b.id() != "sbpl")
        .map(|b| (*b, Options::default()))
        .collect();
    let meaning = Meaning::new(policy);
    let table = coverage(&meaning, &layers, &[]).unwrap();
    let mut out = Vec::new();
    let name = |rule: Option<polc::policy::RuleId>| {
        rule.map_or("default_action", |r| policy.rule(r).name.as_str())
    };
    for row in &table.rows {
        // A rule for macOS alone is none of these layers'.
        let Some(joint) = &row.together else {
            assert!(row.cells.iter().all(Option::is_none));
            continue;
        };
        let together = fidelity(joint);
        // A directory that may be moved away with what is denied beneath it is told of the rule for the directory,
        // where a layer would refuse what is beneath: one that says nothing leaves that to the rule beneath.
        let leaks = joint
            .witnesses
            .iter()
            .any(|w| w.layer_allows && !decide(policy, row.operation, &w.object).action.permits());
        let of = |f: fn(Fidelity) -> bool| {
            row.cells
                .iter()
                .position(|c| c.as_ref().is_some_and(|c| f(fidelity(c))))
        };
        if let Some(at) = of(|f| !f.leaks())
            && leaks
        {
            out.push(format!(
                "{file}: `{}` {}: {} alone lets nothing through, and together they let {:?}",
                name(row.rule),
                row.operation,
                table.layers[at].id,
                joint.witnesses.first()
            ));
        }
        // What one of them refuses, they refuse.
        let refuses = |f| matches!(f, Fidelity::Stricter | Fidelity::Mixed);
        if let Some(at) = of(refuses)
            && !refuses(together)
        {
            out.push(format!(
                "{file}: `{}` {}: {} refuses what is allowed, and together they are {together:?}",
                name(row.rule),
                row.operation,
                table.layers[at].id
            ));
        }
    }
    // A gap is told once.
    for (i, gap) in table.gaps.iter().enumerate() {
        let same = |g: &polc::proof::Gap| {
            (g.rule, g.operation, &g.object) == (gap.rule, gap.operation, &gap.object)
        };
        if table.gaps[..i].iter().any(same) {
            out.push(format!("{file}: {} {} twice", gap.operation, gap.object));
        }
    }
    // A layer alone is together with none.
    for layer in layers {
        let alone = coverage(&meaning, std::slice::from_ref(&layer), &[]).unwrap();
        for row in alone.rows {
            let (Some(own), Some(together)) = (&row.cells[0], &row.together) else {
                continue;
            };
            let (own, together) = (fidelity(own), fidelity(together));
            if own != together {
                out.push(format!(
                    "{file}: `{}` {}: {} is {own:?}, and alone in the table {together:?}",
                    name(row.rule),
                    row.operation,
                    layer.0.id()
                ));
            }
        }
    }
    out
}

#[test]
fn layers_together_are_what_they_are_alone() {
    let mut all = Vec::new();
    for (file, policy) in policies() {
        all.extend(faults(&file, &policy));
    }
    assert!(
        all.is_empty(),
        "{} faults\n{}",
        all.len(),
        all[..all.len().min(40)].join("\n")
    );
}

/// What an artifact says but for its comments, which tell of its ledger.
fn said(artifact: &Artifact) -> String {
    let text = String::from_utf8_lossy(&artifact.bytes);
    let comment = |l: &&str| l.starts_with('#') || l.starts_with(';');
    text.lines()
        .filter(|l| !comment(l))
        .map(|l| format!("{l}\n"))
        .collect()
}

#[test]
fn without_ledgers_artifacts_and_the_table_are_the_same() {
    for (file, policy) in policies() {
        let (with, without) = (
            Meaning::new(&policy),
            Meaning::new(&policy).without_ledgers(),
        );
        let mut layers: Vec<(&'static dyn Backend, Options)> = Vec::new();
        for b in backend::all() {
            let options = Options::default();
            let id = b.id();
            match (b.compile(&with, &options), b.compile(&without, &options)) {
                (Ok(a), Ok(b)) => {
                    let same = |x: &Artifact, y: &Artifact| said(x) == said(y);
                    assert_eq!(a.artifacts.len(), b.artifacts.len(), "{file} {id}");
                    let mut pairs = a.artifacts.iter().zip(&b.artifacts);
                    assert!(pairs.all(|(x, y)| same(x, y)), "{file} {id}");
                    assert_eq!(a.files, b.files, "{file} {id}");
                    assert!(!a.ledger.entries.is_empty(), "{file} {id}");
                    assert!(b.ledger.entries.is_empty(), "{file} {id}");
                }
                (a, b) => assert!(a.is_err() && b.is_err(), "{file} {id}"),
            }
            layers.push((*b, options));
        }
        let [a, b] = [&with, &without].map(|m| coverage(m, &layers[2..], &layers[..2]).unwrap());
        assert_eq!(
            format!("{:?} {:?}", a.rows, a.gaps),
            format!("{:?} {:?}", b.rows, b.gaps),
            "{file}"
        );
        let refused =
            |c: &Coverage| -> Vec<_> { c.layers.iter().map(|l| l.refused.clone()).collect() };
        assert_eq!(refused(&a), refused(&b), "{file}");
    }
}
