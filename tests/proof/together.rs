//! Layers together are never looser than the strictest of them.

use crate::corpus::policies;
use polc::backend::{self, Backend, Target};
use polc::policy::Policy;
use polc::proof::coverage;
use polc::semantics::Meaning;

/// Rows where the layers together let something through though one of them alone does not.
fn faults(file: &str, policy: &Policy) -> Vec<String> {
    // Those of one kernel. SBPL's is another, on which objects have further names.
    let layers: Vec<(&'static dyn Backend, Target)> = backend::all()
        .iter()
        .filter(|b| b.id() != "sbpl")
        .map(|b| (*b, Target::default()))
        .collect();
    let table = coverage(&Meaning::new(policy), &layers, &[]).unwrap();
    let mut out = Vec::new();
    for row in &table.rows {
        let together = row.together.fidelity.expect("compared");
        let tight = |(_, cell): &(usize, &polc::proof::Cell)| {
            cell.fidelity.is_some_and(|f| !f.leaks())
        };
        if let Some((at, _)) = row.cells.iter().enumerate().find(tight)
            && together.leaks()
        {
            let rule = row.rule.map_or("default_action", |r| &policy.rule(r).name);
            out.push(format!(
                "{file}: `{rule}` {}: {} alone lets nothing through, and together they let {:?}",
                row.operation,
                table.layers[at].id,
                row.together.witnesses.first()
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
    out
}

#[test]
fn layers_together_are_no_looser_than_one_alone() {
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
