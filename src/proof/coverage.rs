//! Rules by layers: what each layer keeps of a policy, what some keep together, and what gets through.

use super::compare::{Account, Comparison, Difference, outline};
use super::together::Together;
use crate::backend::{Backend, Clause, Evaluate, HostCuts, OnPaths, Target};
use crate::diagnostics::Diagnostics;
use crate::fidelity::{Fidelity, Object, Witness};
use crate::parallel;
use crate::policy::{Objects, Operation, Policy, RuleId};
use crate::semantics::{Meaning, TooLarge};
use std::borrow::Cow;

/// A layer of the table.
pub struct Layer {
    /// The back-end's name.
    pub id: &'static str,
    /// Why it has no artefact for this policy, where it has none: then it enforces nothing.
    pub refused: Option<String>,
}

/// What one layer keeps of one rule for one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// How much; `None`: it could not be compared.
    pub fidelity: Option<Fidelity>,
    /// Objects that show it.
    pub witnesses: Vec<Witness>,
}

/// One rule (or the default) and operation.
#[derive(Debug, Clone)]
pub struct Row {
    /// The rule; `None`: the default.
    pub rule: Option<RuleId>,
    /// The operation.
    pub operation: Operation,
    /// Whether it decides anything at all.
    pub decides: bool,
    /// By layer.
    pub cells: Vec<Cell>,
    /// All layers of the table together.
    pub together: Cell,
}

/// Something that the policy denies and all layers of the table let through.
#[derive(Debug, Clone)]
pub struct Gap {
    /// The rule; `None`: the default.
    pub rule: Option<RuleId>,
    /// The operation.
    pub operation: Operation,
    /// What gets through.
    pub object: Object,
    /// What closes it: layers that are not in the table, or the tool-call gate. Empty: nothing does.
    pub closed_by: Vec<Cow<'static, str>>,
}

/// The table.
pub struct Coverage {
    /// Its columns.
    pub layers: Vec<Layer>,
    /// In the order of rules, the default last.
    pub rows: Vec<Row>,
    /// What gets through.
    pub gaps: Vec<Gap>,
}

impl Coverage {
    /// Whether the layers together let nothing through that the policy denies.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        self.rows
            .iter()
            .all(|r| r.together.fidelity.is_some_and(|f| !f.leaks()))
    }

    /// Whether the layers together keep the policy as it is.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        let exact = |r: &Row| r.together.fidelity == Some(Fidelity::Exact);
        self.rows.iter().all(exact)
    }
}

/// A layer without an artefact.
struct Nothing;

impl Evaluate for Nothing {
    fn paths(&self, _: Operation) -> Result<OnPaths, TooLarge> {
        Ok(OnPaths::Silent)
    }

    fn host_cuts(&self, _: Operation) -> Option<HostCuts> {
        None
    }

    fn allows(&self, _: Operation, _: &Object) -> Option<bool> {
        None
    }

    fn clause(&self, _: Operation, _: &Object) -> Option<Clause> {
        None
    }
}

struct Read {
    id: &'static str,
    refused: Option<String>,
    meant: Box<dyn Evaluate>,
}

/// Compiles a policy for a target and reads the artefacts back.
///
/// # Errors
/// The artefacts cannot be read back: a fault of polc.
fn read(
    meaning: &Meaning<'_>,
    backend: &'static dyn Backend,
    target: &Target,
) -> Result<Read, Diagnostics> {
    let id = backend.id();
    match backend.compile(meaning, target) {
        Ok(made) => {
            let mut target = target.clone();
            target.files = made.files;
            Ok(Read {
                id,
                refused: None,
                meant: backend.read_back(&made.artifacts, &target)?,
            })
        }
        Err(why) => Ok(Read {
            id,
            refused: Some(
                why.items
                    .first()
                    .map_or_else(String::new, |d| d.message.clone()),
            ),
            meant: Box::new(Nothing),
        }),
    }
}

/// Makes the table of these layers for a policy. `others` are the layers that may close what they leave open.
///
/// # Errors
/// An artefact cannot be read back, which is a fault of polc.
pub fn coverage(
    meaning: &Meaning<'_>,
    chosen: &[(&'static dyn Backend, Target)],
    others: &[(&'static dyn Backend, Target)],
) -> Result<Coverage, Diagnostics> {
    let compared = chosen
        .iter()
        .map(|(backend, target)| (*backend, target, true));
    let others = others
        .iter()
        .map(|(backend, target)| (*backend, target, false));
    let all: Vec<_> = compared.chain(others).collect();
    // Layers share the decided sets and nothing else.
    let mut made = parallel::map(&all, |(backend, target, compared)| {
        let layer = read(meaning, *backend, target)?;
        let comparison = compared.then(|| outline(meaning, layer.meant.as_ref()));
        Ok::<_, Diagnostics>((layer, comparison))
    });
    let theirs = made.split_off(chosen.len());
    let mine = made;
    let mine: Vec<(Read, Option<Comparison>)> = mine.into_iter().collect::<Result<_, _>>()?;
    let theirs: Vec<(Read, Option<Comparison>)> = theirs.into_iter().collect::<Result<_, _>>()?;
    let layers: Vec<&dyn Evaluate> = mine.iter().map(|m| &*m.0.meant as &dyn Evaluate).collect();
    let together = outline(meaning, &Together::new(layers));
    let comparisons: Vec<&Comparison> = mine.iter().filter_map(|m| m.1.as_ref()).collect();
    let rows = rows(meaning.policy(), &comparisons, &together);
    let closers: Vec<(&'static str, &dyn Evaluate)> = theirs
        .iter()
        .map(|(t, _)| (t.id, &*t.meant as &dyn Evaluate))
        .collect();
    let gaps = gaps(meaning.policy(), &together, &closers);
    Ok(Coverage {
        layers: mine
            .into_iter()
            .map(|(l, _)| Layer {
                id: l.id,
                refused: l.refused,
            })
            .collect(),
        rows,
        gaps,
    })
}

fn cell(account: Option<&Account>) -> Cell {
    match account {
        None => Cell {
            fidelity: Some(Fidelity::Exact),
            witnesses: vec![],
        },
        Some(account) => Cell {
            fidelity: account.fidelity(),
            witnesses: account
                .differences
                .iter()
                .map(|d| d.witness.clone())
                .collect(),
        },
    }
}

fn rows(policy: &Policy, comparisons: &[&Comparison], together: &Comparison) -> Vec<Row> {
    let mut keys: Vec<(Option<RuleId>, Operation)> = Vec::new();
    for rule in &policy.rules {
        keys.extend(rule.operations.iter().map(|o| (Some(rule.id), o)));
    }
    let deciding = |o: &Operation| {
        let all = comparisons.iter().chain([&together]);
        let accounts = all.filter_map(|c| c.account(None, *o));
        accounts.into_iter().any(|a| a.decides || a.unknown)
    };
    keys.extend(
        Operation::ALL
            .into_iter()
            .filter(deciding)
            .map(|o| (None, o)),
    );
    keys.into_iter()
        .map(|(rule, operation)| {
            if operation == Operation::Tool {
                return tool_row(policy, rule, comparisons.len());
            }
            let of = |c: &Comparison| cell(c.account(rule, operation));
            Row {
                rule,
                operation,
                decides: comparisons
                    .iter()
                    .chain([&together])
                    .any(|c| c.account(rule, operation).is_some()),
                cells: comparisons.iter().map(|c| of(c)).collect(),
                together: of(together),
            }
        })
        .collect()
}

/// Tool calls: no layer of the kernel sees them.
fn tool_row(policy: &Policy, rule: Option<RuleId>, layers: usize) -> Row {
    let rule_of = rule.map(|id| policy.rule(id));
    let action = rule_of.map_or(policy.default_action, |r| r.action);
    let cell = if action.permits() {
        cell(None)
    } else {
        Cell {
            fidelity: Some(Fidelity::Unenforced),
            witnesses: tool_of(policy, rule)
                .map(|object| Witness {
                    object,
                    policy: action,
                    layer_allows: true,
                })
                .into_iter()
                .collect(),
        }
    };
    Row {
        rule,
        operation: Operation::Tool,
        decides: true,
        cells: vec![cell.clone(); layers],
        together: cell,
    }
}

fn tool_of(policy: &Policy, rule: Option<RuleId>) -> Option<Object> {
    match &policy.rule(rule?).objects {
        Objects::Tools { tools, .. } => tools.first().map(|t| Object::Tool(t.text.clone())),
        _ => None,
    }
}

fn gaps(
    policy: &Policy,
    together: &Comparison,
    others: &[(&'static str, &dyn Evaluate)],
) -> Vec<Gap> {
    const GATE: &str = "the tool-call gate";
    let mut out: Vec<Gap> = Vec::new();
    for d in together.differences().filter(|d| d.looser()) {
        let Difference {
            rule, operation, ..
        } = *d;
        let object = &d.witness.object;
        let mut closed_by: Vec<Cow<'static, str>> = Vec::new();
        if matches!(object, Object::Command(_)) {
            closed_by.push(GATE.into());
        } else {
            let closers = others
                .iter()
                .filter(|(_, layer)| layer.allows(operation, object) == Some(false));
            closed_by.extend(closers.map(|(id, _)| Cow::from(*id)));
        }
        out.push(Gap {
            rule,
            operation,
            object: object.clone(),
            closed_by,
        });
    }
    for rule in policy.rules.iter().filter(|r| !r.action.permits()) {
        if let Some(object) = tool_of(policy, Some(rule.id)) {
            out.push(Gap {
                rule: Some(rule.id),
                operation: Operation::Tool,
                object,
                closed_by: vec![GATE.into()],
            });
        }
    }
    out.sort_by_key(|g| (g.rule.map_or(u32::MAX, |r| r.0), g.operation));
    // One object as a file and as a directory, or by two clauses, is one gap.
    let same = |a: &mut Gap, b: &mut Gap| {
        (a.rule, a.operation, &a.object) == (b.rule, b.operation, &b.object)
    };
    out.dedup_by(same);
    out
}
