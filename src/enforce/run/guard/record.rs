//! What was refused, for the report at the end of the run: by rule, with the paths.

use super::judge::Denied;
use crate::fidelity::show_bytes;
use crate::policy::{Operation, Policy, RuleId};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

/// The most refusals that are kept.
const MOST: usize = 2000;
/// How many paths the report names for one rule.
const NAMED: usize = 5;

/// What was refused, by rule.
type ByRule = BTreeMap<Option<RuleId>, BTreeSet<(Vec<u8>, Operation)>>;

/// What was refused so far.
#[derive(Debug, Default)]
pub struct Record(Mutex<ByRule>);

impl Record {
    /// Notes a refusal.
    pub fn denied(&self, denied: Denied) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.values().map(BTreeSet::len).sum::<usize>() < MOST {
            let paths = all.entry(denied.rule).or_default();
            paths.insert((denied.path, denied.operation));
        }
    }

    /// The report at the end. Empty: there is nothing to report. If no rule mentions an object, it is only counted:
    /// programs try many paths.
    #[must_use]
    pub fn told(&self, policy: &Policy) -> String {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = String::new();
        for (rule, refused) in all.iter().filter(|(rule, _)| rule.is_some()) {
            let mut by_path: BTreeMap<&[u8], Vec<&str>> = BTreeMap::new();
            for (path, operation) in refused {
                by_path.entry(path).or_default().push(operation.name());
            }
            let mut names: Vec<String> = by_path
                .iter()
                .take(NAMED)
                .map(|(path, operations)| {
                    format!("{} `{}`", operations.join(" and "), show_bytes(path))
                })
                .collect();
            if let more @ 1.. = by_path.len().saturating_sub(NAMED) {
                names.push(format!("{more} more"));
            }
            let message = rule.and_then(|id| policy.rule(id).message.as_ref());
            let message = message.map_or_else(String::new, |m| {
                format!(": {}", show_bytes(m.replace('\n', " ").as_bytes()))
            });
            let _ = writeln!(
                out,
                "polc: refused: {}: denied by {}{message}",
                names.join(", "),
                policy.decider(*rule)
            );
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frontend::{LoadOptions, load};

    #[test]
    fn refusals_are_told_by_rule() {
        let text = "version: 1\nname: t\nrules:\n  - {name: env, action: deny, operations: [write], paths: [\"/w/**/.env\"], message: it stays}\n";
        let policy = load("p.yaml", text, &LoadOptions::default())
            .unwrap()
            .policy;
        let record = Record::default();
        assert_eq!(record.told(&policy), "");
        let rule = Some(policy.rules[0].id);
        let denied = |operation, path: &str, rule| Denied {
            operation,
            path: path.as_bytes().to_vec(),
            rule,
        };
        record.denied(denied(Operation::Create, "/w/.env", rule));
        record.denied(denied(Operation::Delete, "/w/.env", rule));
        record.denied(denied(Operation::Delete, "/x", None));
        for i in 0..6 {
            record.denied(denied(Operation::Edit, &format!("/w/{i}/.env"), rule));
        }
        assert_eq!(
            record.told(&policy),
            "polc: refused: create and delete `/w/.env`, edit `/w/0/.env`, edit `/w/1/.env`, edit `/w/2/.env`, \
             edit `/w/3/.env`, 2 more: denied by rule `env` at p.yaml:4: it stays\n"
        );
    }
}
