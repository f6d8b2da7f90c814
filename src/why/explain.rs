//! Asks the policy about a refusal.

use super::change::change;
pub use super::change::{Change, allowing};
use super::{Access, Denial, Layer, Log, one};
use crate::backend;
use crate::fidelity::{Entry, Fidelity, Ledger, Object, show_bytes};
use crate::policy::{Action, Objects, Operation, OperationSet, Platform, Policy, RuleId};
use crate::semantics::{Decision, Meaning, decide};
use std::collections::HashMap;

/// What decides: a rule, or the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The rule; `None`: the default.
    pub rule: Option<RuleId>,
    /// Its name, or `default_action`.
    pub name: String,
    /// `file:line`.
    pub place: String,
    /// The text of the rule's author for the person who is refused.
    pub message: Option<String>,
}

impl Place {
    fn of(policy: &Policy, rule: Option<RuleId>) -> Self {
        match rule.and_then(|id| policy.rules.get(id.0 as usize)) {
            Some(r) => Self {
                rule,
                name: r.name.clone(),
                place: policy.sources.place(r.span),
                message: r.message.clone(),
            },
            None => Self {
                rule: None,
                name: "default_action".to_owned(),
                place: policy.sources.place(policy.default_span),
                message: None,
            },
        }
    }
}

/// What the policy says about one refused operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// It refuses (or asks, which a layer cannot).
    Refuses(Action, Place),
    /// It allows. The layer refuses for another reason, which the text explains.
    Allows(Place, String),
    /// The record has too little information. The text says what is missing, and what to do.
    Unknown(String),
}

/// One refusal, explained.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The refusal.
    pub denial: Denial,
    /// How many times it happened.
    pub count: u64,
    /// The policy's answer for each operation. `None`: for all of them.
    pub rulings: Vec<(Option<Operation>, Ruling)>,
    /// Whether the refusing profile, type or policy has this policy's name. `None`: it has no name, or the name is
    /// unknown.
    pub ours: Option<bool>,
    /// The change that would allow it, if the policy refuses.
    pub change: Option<Change>,
}

impl Finding {
    /// Whether the record has enough information to name the rule.
    #[must_use]
    pub fn is_explained(&self) -> bool {
        !self
            .rulings
            .iter()
            .any(|(_, r)| matches!(r, Ruling::Unknown(_)))
    }
}

/// Asks the policy about every refusal of a log.
#[must_use]
pub fn explain(meaning: &Meaning<'_>, log: &Log) -> Vec<Finding> {
    explain_each(meaning, meaning, log)
}

/// The same if artifacts were made for other paths than the caller's. Refusals of AppArmor, SELinux and Tetragon are
/// checked against the policy as `polc emit` reads it. The others are checked against the policy as `polc run` reads
/// it.
#[must_use]
pub fn explain_each(here: &Meaning<'_>, emitted: &Meaning<'_>, log: &Log) -> Vec<Finding> {
    // All of them are Linux's.
    let [here, emitted] = [here, emitted].map(|meaning| meaning.on(Platform::Linux));
    let ledgers = |meaning| Ledgers {
        meaning,
        made: HashMap::new(),
    };
    let (mut here, mut emitted) = (ledgers(here), ledgers(emitted));
    log.denials
        .iter()
        .map(|(denial, count)| {
            let ledgers = match denial.layer {
                Layer::AppArmor | Layer::SeLinux | Layer::Tetragon => &mut emitted,
                Layer::Landlock | Layer::Seccomp | Layer::Egress => &mut here,
            };
            finding(ledgers, denial, *count)
        })
        .collect()
}

struct Ledgers<'m, 'p> {
    meaning: &'m Meaning<'p>,
    made: HashMap<Layer, Option<Ledger>>,
}

impl Ledgers<'_, '_> {
    fn entry(
        &mut self,
        layer: Layer,
        rule: Option<RuleId>,
        operation: Operation,
    ) -> Option<&Entry> {
        let meaning = self.meaning;
        self.made
            .entry(layer)
            .or_insert_with(|| {
                let backend = backend::find(layer.name())?;
                let made = backend.compile(meaning, &backend::Options::default());
                made.ok().map(|c| c.ledger)
            })
            .as_ref()?
            .entries
            .iter()
            .find(|e| e.rule == rule && e.operation == operation)
    }
}

fn finding(ledgers: &mut Ledgers<'_, '_>, denial: &Denial, count: u64) -> Finding {
    let policy = ledgers.meaning.policy();
    let mut rulings: Vec<(Option<Operation>, Ruling)> = Vec::new();
    let mut ask = |operations: OperationSet, object: &Object| {
        for operation in operations.iter() {
            let decision = decide(policy, operation, object);
            rulings.push((
                Some(operation),
                ruling(ledgers, denial, operation, decision),
            ));
        }
    };
    match &denial.access {
        Access::Known(set, object) => ask(*set, object),
        Access::Within(set, directory) => {
            // A name that only `*` and `**` match. No rule names it.
            let mut path = directory.clone();
            if path != b"/" {
                path.push(b'/');
            }
            path.extend_from_slice(b"polc-some-name");
            ask(*set, &Object::Path(path));
        }
        Access::Port(operation, protocol, port) => {
            let covers = policy.rules.iter().find(|r| match &r.objects {
                Objects::Hosts { hosts, .. } => {
                    r.action == Action::Allow
                        && r.operations.contains(*operation)
                        && hosts.iter().any(|h| {
                            h.ports.contains(*port) && h.protocol.is_none_or(|p| p == *protocol)
                        })
                }
                _ => false,
            });
            let said = match covers {
                None if policy.default_action == Action::Deny => {
                    Ruling::Refuses(Action::Deny, Place::of(policy, None))
                }
                Some(r) => Ruling::Unknown(format!(
                    "the record does not name the host; rule `{}` at {} allows this port for some",
                    r.name,
                    policy.sources.place(r.span)
                )),
                None => Ruling::Unknown("the record does not name the host".to_owned()),
            };
            rulings.push((Some(*operation), said));
        }
        Access::Named(_, name, inode) => {
            let mut text = format!(
                "the record has only the last component of the path, `{}`",
                show_bytes(name)
            );
            match inode {
                Some(n) => text.push_str(&format!("; `find DIRECTORY -xdev -inum {n}` finds it")),
                None => text.push_str("; auditd writes whole paths once it has any rule (`auditctl -w /etc/shadow -p w`)"),
            }
            rulings.push((None, Ruling::Unknown(text)));
        }
        Access::Capability(name) => {
            let said = if policy.capabilities.contains(name) {
                Ruling::Allows(
                    Place {
                        name: "capabilities".to_owned(),
                        ..Place::of(policy, None)
                    },
                    "the policy allows this capability: an older artifact or another policy refused it".to_owned(),
                )
            } else {
                Ruling::Refuses(
                    Action::Deny,
                    Place {
                        name: "capabilities".to_owned(),
                        ..Place::of(policy, None)
                    },
                )
            };
            rulings.push((None, said));
        }
        Access::Other(_) => {}
    }
    let refused: OperationSet = rulings
        .iter()
        .filter(|(_, r)| matches!(r, Ruling::Refuses(..)))
        .filter_map(|(o, _)| *o)
        .collect();
    let first = rulings
        .iter()
        .filter_map(|(_, r)| match r {
            Ruling::Refuses(_, place) => place.rule,
            _ => None,
        })
        .min();
    let refuses = rulings
        .iter()
        .any(|(_, r)| matches!(r, Ruling::Refuses(..)));
    Finding {
        denial: denial.clone(),
        count,
        ours: ours(policy, denial),
        change: refuses
            .then(|| change(policy, &denial.access, refused, first))
            .flatten(),
        rulings,
    }
}

fn ruling(
    ledgers: &mut Ledgers<'_, '_>,
    denial: &Denial,
    operation: Operation,
    decision: Decision,
) -> Ruling {
    let place = Place::of(ledgers.meaning.policy(), decision.rule);
    if decision.action != Action::Allow {
        return Ruling::Refuses(decision.action, place);
    }
    let layer = denial.layer;
    if layer == Layer::Egress {
        return Ruling::Allows(
            place,
            "the proxy is stricter: loopback, private and other special addresses need a rule that names them".to_owned(),
        );
    }
    let text = match ledgers.entry(layer, decision.rule, operation) {
        Some(e) if matches!(e.fidelity, Fidelity::Stricter | Fidelity::Mixed) => {
            format!(
                "{} is stricter than the policy here: {}",
                layer.name(),
                e.reason
            )
        }
        Some(e) if e.fidelity == Fidelity::Unenforced => format!(
            "{} does not enforce this rule: another policy refused it",
            layer.name()
        ),
        _ => format!(
            "{} made from this policy would allow it: an older artifact or another policy refused it",
            layer.name()
        ),
    };
    Ruling::Allows(place, text)
}

/// Whether the refusing profile, type or policy has the name that polc gives for this policy.
fn ours(policy: &Policy, denial: &Denial) -> Option<bool> {
    let by = denial.by.as_deref()?;
    let with = |c: char| -> String {
        policy
            .name
            .chars()
            .map(|x| {
                if x.is_ascii_alphanumeric() {
                    x.to_ascii_lowercase()
                } else {
                    c
                }
            })
            .collect()
    };
    match denial.layer {
        Layer::AppArmor => {
            let own = policy.name.as_bytes();
            Some(by == own || by.strip_prefix(own).is_some_and(|r| r.starts_with(b"//")))
        }
        Layer::SeLinux => {
            let own = with('_');
            let own = if own.starts_with(|c: char| c.is_ascii_alphabetic()) {
                own
            } else {
                format!("p_{own}")
            };
            Some(by.starts_with(own.as_bytes()))
        }
        Layer::Tetragon => Some(by.starts_with(with('-').trim_matches('-').as_bytes())),
        Layer::Landlock | Layer::Seccomp | Layer::Egress => None,
    }
}

/// All operations of an access.
#[must_use]
pub fn operations(access: &Access) -> OperationSet {
    match access {
        Access::Known(set, _) | Access::Within(set, _) | Access::Named(set, ..) => *set,
        Access::Port(o, ..) => one(*o),
        Access::Capability(_) | Access::Other(_) => OperationSet::EMPTY,
    }
}
