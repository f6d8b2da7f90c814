//! Compares who is confined by an artifact with who should be.

use crate::backend::{Confines, Evaluate};
use crate::fidelity::show_bytes;
use crate::semantics::TooLarge;
use std::collections::BTreeMap;

/// A program or a pod that only one of two artifacts confines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// The program or the pod, in words that follow "confines".
    pub what: String,
    /// Whether the given artifact confines it. Otherwise the compiler's artifact does.
    pub by_found: bool,
}

/// Compares who is confined by an artifact with who is confined by the compiler's artifact for the policy.
///
/// # Errors
/// There are too many patterns of programs to compare.
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

/// A pod that only one of them selects, with as few labels as possible.
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
