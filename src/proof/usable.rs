//! The policy's own tests, asked of an artifact: whether what the policy allows still works there.

use crate::backend::{Backend, Evaluate};
use crate::fidelity::{Fidelity, Ledger, Object};
use crate::policy::{Action, Operation, Policy, PolicyTest, Query, RuleId, Span};
use crate::semantics::{Decision, decide};

/// The operations and objects of a question.
#[must_use]
pub fn parts(query: &Query) -> Vec<(Operation, Object)> {
    match query {
        Query::Path(operations, path) => operations
            .iter()
            .map(|o| (o, Object::Path(path.clone())))
            .collect(),
        Query::Host(o, spec) => vec![(*o, Object::Host(spec.clone()))],
        Query::Command(words) => {
            let mut words = words.clone();
            // As the policy reads it; a layer knows paths only.
            if let Some(program) = words.first_mut().filter(|p| !p.contains(&b'/')) {
                program.splice(..0, *b"/usr/bin/");
            }
            vec![(Operation::Execute, Object::Command(words))]
        }
        Query::Syscall(name) => vec![(Operation::Syscall, Object::Syscall(name.clone()))],
        Query::Tool(name) => vec![(Operation::Tool, Object::Tool(name.clone()))],
    }
}

/// One part of a test, and what a layer answers.
#[derive(Debug, Clone)]
pub struct Answer<'p> {
    /// The test.
    pub test: &'p PolicyTest,
    /// The operation.
    pub operation: Operation,
    /// The object.
    pub object: Object,
    /// What the policy says.
    pub decision: Decision,
    /// Whether the layer lets it happen; `None`: it says nothing of it.
    pub allows: Option<bool>,
}

impl Answer<'_> {
    /// Whether the layer refuses what the test, and the policy, allow.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.test.expect == Action::Allow
            && self.decision.action.permits()
            && self.allows == Some(false)
    }
}

/// The tests that are for a layer and its platform.
fn tests_for<'p>(policy: &'p Policy, layer: &dyn Backend) -> impl Iterator<Item = &'p PolicyTest> {
    let (id, platform) = (layer.id(), layer.platform());
    let here = move |t: &&PolicyTest| t.platforms.is_none_or(|all| all.contains(platform));
    policy
        .tests
        .iter()
        .filter(move |t| t.is_for(id))
        .filter(here)
}

/// Asks a layer the tests that are for it. The policy's own answers are those that it gives on the layer's platform.
#[must_use]
pub fn answers<'p>(
    policy: &'p Policy,
    layer: &dyn Backend,
    read: &dyn Evaluate,
) -> Vec<Answer<'p>> {
    let seen = policy.seen_by(layer.platform());
    let mut out = Vec::new();
    for test in tests_for(policy, layer) {
        for (operation, object) in parts(&test.query) {
            out.push(Answer {
                test,
                operation,
                decision: decide(&seen, operation, &object),
                allows: read.allows(operation, &object),
                object,
            });
        }
    }
    out
}

/// What a test allows and a layer refuses.
#[derive(Debug, Clone)]
pub struct Refused {
    /// The layer, by the name of its target.
    pub layer: &'static str,
    /// Where the test stands.
    pub test: Span,
    /// The operation.
    pub operation: Operation,
    /// The object.
    pub object: Object,
    /// The rule that allows it; `None`: the default.
    pub rule: Option<RuleId>,
    /// Why, in the words of the ledger; empty: the ledger does not say.
    pub reason: String,
}

impl Refused {
    /// One line, no capital, no full stop.
    #[must_use]
    pub fn line(&self, policy: &Policy) -> String {
        let why = if self.reason.is_empty() {
            String::new()
        } else {
            format!(": {}", self.reason)
        };
        format!(
            "{} refuses {} {}, which the test at {} allows, by {}{why}",
            self.layer,
            self.operation,
            self.object,
            policy.sources.place(self.test),
            policy.decider(self.rule),
        )
    }
}

/// What the `allow` tests name and a layer refuses; the reasons are the ledger's.
#[must_use]
pub fn refused(
    policy: &Policy,
    layer: &dyn Backend,
    read: &dyn Evaluate,
    ledger: &Ledger,
) -> Vec<Refused> {
    answers(policy, layer, read)
        .into_iter()
        .filter(Answer::is_refused)
        .map(|a| Refused {
            layer: layer.id(),
            test: a.test.span,
            operation: a.operation,
            rule: a.decision.rule,
            reason: ledger
                .entries
                .iter()
                .find(|e| e.rule == a.decision.rule && e.operation == a.operation)
                .map_or_else(String::new, |e| e.reason.to_string()),
            object: a.object,
        })
        .collect()
}

/// Whether an `allow` test is about anything of which the ledger says that the layer refuses some: if not, none of them
/// fails, and the artifact need not be read.
#[must_use]
pub fn may_refuse(policy: &Policy, layer: &dyn Backend, ledger: &Ledger) -> bool {
    let seen = policy.seen_by(layer.platform());
    let asked = tests_for(policy, layer).filter(|t| t.expect == Action::Allow);
    let mut asked = asked.flat_map(|t| parts(&t.query));
    asked.any(|(operation, object)| {
        let rule = decide(&seen, operation, &object).rule;
        ledger
            .entries
            .iter()
            .filter(|e| e.rule == rule && e.operation == operation)
            .any(|e| matches!(e.fidelity, Fidelity::Stricter | Fidelity::Mixed))
    })
}
