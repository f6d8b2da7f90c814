//! Compares whom an artifact confines with whom it should confine.

use crate::backend::{Confines, Evaluate};
use crate::fidelity::show_bytes;
use crate::semantics::TooLarge;
use std::collections::BTreeMap;

/// A program, or a pod, that one of two artifacts confines and the other does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// Which, in words that go behind "confines".
    pub what: String,
    /// Whether the artifact that was found confines it; else the one that the compiler makes does.
    pub by_found: bool,
}

/// The difference between whom an artifact confines and whom the one does that the compiler makes of the policy.
///
/// # Errors
/// Patterns of programs are too many to compare.
pub fn subjects(found: &dyn Evaluate, fresh: &dyn Evaluate) -> Result<Vec<Bound>, TooLarge> {
    let (found, fresh) = (found.confines()?, fresh.confines()?);
    let mut out = Vec::new();
    for (one, other, by_found) in [(&fresh, &found, false), (&found, &fresh, true)] {
        if let (Some(own), Some(others)) = (&one.programs, &other.programs)
            && let Some(path) = own.excess_witness(others)?
        {
            let what = format!("the program `{}`", show_bytes(&path));
            out.push(Bound { what, by_found });
        }
        if let Some((namespace, labels)) = pod(one, other) {
            let mut what = format!("pods of the namespace `{namespace}`");
            if !labels.is_empty() {
                let all: Vec<String> = labels.iter().map(|(k, v)| format!("`{k}={v}`")).collect();
                what += &format!(" with {}", all.join(", "));
            }
            out.push(Bound { what, by_found });
        }
    }
    Ok(out)
}

/// A pod that one selects and the other does not: the one with no more labels than it takes.
fn pod<'c>(one: &'c Confines, other: &Confines) -> Option<(&'c str, &'c BTreeMap<String, String>)> {
    let namespace = match (&one.namespace, &other.namespace) {
        (Some(own), _) => own,
        (None, Some(theirs)) if theirs == "default" => "kube-system",
        (None, _) => "default",
    };
    let in_other = other.namespace.as_deref().is_none_or(|n| n == namespace);
    let labelled = other
        .labels
        .iter()
        .all(|(k, v)| one.labels.get(k) == Some(v));
    (!(in_other && labelled)).then_some((namespace, &one.labels))
}
