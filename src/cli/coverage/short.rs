//! What a summary says instead of one line for each gap and each refusal: how many there are, and one example.

use super::{closers, name};
use polc::policy::{Operation, Policy};
use polc::proof::{Coverage, Gap, Refused};

/// The gaps of each operation that the same layers would close.
pub(super) fn gaps(policy: &Policy, table: &Coverage) -> Vec<String> {
    let mut groups: Vec<(Operation, String, Vec<&Gap>)> = Vec::new();
    for gap in &table.gaps {
        let closers = closers(table, gap);
        match groups
            .iter_mut()
            .find(|g| g.0 == gap.operation && g.1 == closers)
        {
            Some(group) => group.2.push(gap),
            None => groups.push((gap.operation, closers, vec![gap])),
        }
    }
    let short = |(operation, closers, all): (Operation, String, Vec<&Gap>)| {
        let first = all.first()?;
        let rule = name(policy, first.rule);
        let object = &first.object;
        let text = match all.len() {
            1 => format!("{operation} {object} (denied by {rule})"),
            n => format!("{operation} denied by {n} rules, such as {object} ({rule})"),
        };
        Some(format!("{text}; {closers}"))
    };
    groups.into_iter().filter_map(short).collect()
}

/// The refusals of each layer.
pub(super) fn refused(table: &Coverage) -> Vec<String> {
    let mut groups: Vec<(&str, Vec<&Refused>)> = Vec::new();
    for refused in &table.refused {
        match groups.iter_mut().find(|g| g.0 == refused.layer) {
            Some(group) => group.1.push(refused),
            None => groups.push((refused.layer, vec![refused])),
        }
    }
    let short = |(layer, all): (&str, Vec<&Refused>)| {
        let first = all.first()?;
        let (operation, object) = (first.operation, &first.object);
        Some(match all.len() {
            1 => format!("{layer} refuses {operation} {object}"),
            n => format!("{layer} refuses what {n} tests allow, such as {operation} {object}"),
        })
    };
    groups.into_iter().filter_map(short).collect()
}
