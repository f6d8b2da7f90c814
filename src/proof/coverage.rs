//! A table of rules and layers: what each layer keeps of a policy, what some keep together, and what gets through.

use super::compare::{Account, Comparison, Difference, joined, outline_one};
use super::together::Together;
use super::usable::{Refused, answers, refused};
use crate::backend::{Backend, Evaluate, Options};
use crate::diagnostics::Diagnostics;
use crate::fidelity::{Fidelity, Object, Witness};
use crate::parallel;
use crate::policy::{Objects, Operation, Platform, Platforms, Policy, RuleId};
use crate::semantics::{Meaning, Walks};
use std::borrow::Cow;
use std::sync::OnceLock;

/// A layer of the table.
pub struct Layer {
    /// The target's name.
    pub id: &'static str,
    /// The platform that it is a part of.
    pub platform: Platform,
    /// Why it has no artifact for this policy, if it has none. Then it enforces nothing.
    pub refused: Option<String>,
}

/// What one layer keeps of one rule for one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// How much is kept. `None`: it could not be compared.
    pub fidelity: Option<Fidelity>,
    /// Objects that show the difference.
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
    /// By layer; `None`: the rule is for other platforms than the layer's.
    pub cells: Vec<Option<Cell>>,
    /// The layers of each host together: of a host of each platform, what is kept on all of these hosts. `None`: no layer
    /// is of a platform that the rule is for.
    pub together: Option<Cell>,
}

/// Something that the policy denies and all layers of one platform in the table let through.
#[derive(Debug, Clone)]
pub struct Gap {
    /// The rule; `None`: the default.
    pub rule: Option<RuleId>,
    /// The operation.
    pub operation: Operation,
    /// On hosts of which platforms.
    pub platforms: Platforms,
    /// What gets through.
    pub object: Object,
    /// What would close it: layers that are not in the table, or the tool-call gate. Empty: nothing would.
    pub closed_by: Vec<Cow<'static, str>>,
}

/// The table.
pub struct Coverage {
    /// Its columns.
    pub layers: Vec<Layer>,
    /// The rows, in the order of the rules, with the default last.
    pub rows: Vec<Row>,
    /// What gets through.
    pub gaps: Vec<Gap>,
    /// What the policy's `allow` tests name and a layer refuses.
    pub refused: Vec<Refused>,
}

impl Coverage {
    /// Whether no layer refuses what the policy's `allow` tests name.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.refused.is_empty()
    }

    /// Whether the layers together let nothing through that the policy denies.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        let mut together = self.rows.iter().filter_map(|r| r.together.as_ref());
        together.all(|c| c.fidelity.is_some_and(|f| !f.leaks()))
    }

    /// Whether the layers together keep the policy exactly.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        let mut together = self.rows.iter().filter_map(|r| r.together.as_ref());
        together.all(|c| c.fidelity == Some(Fidelity::Exact))
    }
}

struct Read {
    id: &'static str,
    refused: Option<String>,
    meant: Box<dyn Evaluate>,
}

/// Compiles a policy for a target and reads the artifacts back.
///
/// # Errors
/// The artifacts cannot be read back. That is a fault of polc.
fn read(
    meaning: &Meaning<'_>,
    backend: &'static dyn Backend,
    options: &Options,
) -> Result<Read, Diagnostics> {
    let id = backend.id();
    match backend.compile(meaning, options) {
        Ok(made) => {
            let mut options = options.clone();
            options.files = made.files;
            Ok(Read {
                id,
                refused: None,
                meant: backend.read_back(&made.artifacts, &options)?,
            })
        }
        Err(why) => Ok(Read {
            id,
            refused: Some(
                why.items
                    .first()
                    .map_or_else(String::new, |d| d.message.clone()),
            ),
            // Together with no layer, nothing is restricted.
            meant: Box::new(Together::new(backend.platform(), [])),
        }),
    }
}

/// The layers. Each is read by the task that first needs it.
struct Layers<'a> {
    meaning: &'a Meaning<'a>,
    all: Vec<&'a (&'static dyn Backend, Options)>,
    read: Vec<OnceLock<Result<Read, Diagnostics>>>,
    /// The policy as each layer reads it, if that differs.
    named: Vec<OnceLock<Option<Policy>>>,
}

impl<'a> Layers<'a> {
    fn new(meaning: &'a Meaning<'a>, all: Vec<&'a (&'static dyn Backend, Options)>) -> Self {
        Self {
            meaning,
            read: all.iter().map(|_| OnceLock::new()).collect(),
            named: all.iter().map(|_| OnceLock::new()).collect(),
            all,
        }
    }

    /// What the policy means where the layer is.
    fn meaning(&self, at: usize) -> &Meaning<'_> {
        self.meaning.on(self.all[at].0.platform())
    }

    /// The meaning of a layer. `None`: it could not be read, and [`Layers::finish`] reports that.
    fn meant(&self, at: usize) -> Option<&dyn Evaluate> {
        let (backend, options) = self.all[at];
        let made = self.read[at].get_or_init(|| read(self.meaning, *backend, options));
        made.as_ref().ok().map(|read| &*read.meant as &dyn Evaluate)
    }

    fn named(&self, at: usize) -> Option<&Policy> {
        let policy = || self.meant(at)?.as_meant(self.meaning(at).policy());
        self.named[at].get_or_init(policy).as_ref()
    }

    fn finish(self) -> Result<Vec<Read>, Diagnostics> {
        let all = self.all.iter().zip(self.read);
        let all = all.map(|((backend, options), made)| {
            let made = made.into_inner();
            made.unwrap_or_else(|| read(self.meaning, *backend, options))
        });
        all.collect()
    }
}

/// One piece of work.
enum Task {
    Read(usize),
    /// A layer (the numbers behind the last one: all of one platform together), for one operation.
    Compare(usize, Operation),
}

/// Makes the table of these layers for a policy. `others` are the layers that may close what is left open.
///
/// # Errors
/// An artifact cannot be read back. That is a fault of polc.
pub fn coverage(
    meaning: &Meaning<'_>,
    chosen: &[(&'static dyn Backend, Options)],
    others: &[(&'static dyn Backend, Options)],
) -> Result<Coverage, Diagnostics> {
    let layers = Layers::new(meaning, chosen.iter().chain(others).collect());
    let columns = chosen.len();
    // All threads should work until the end. So the longest tasks begin first. Automata that many tasks wait for (those
    // of a layer, and the joint ones) are made for one operation before another one needs them.
    let mut tasks: Vec<Task> = (0..layers.all.len()).rev().map(Task::Read).collect();
    let of = |platform: Platform| move |at: &usize| chosen[*at].0.platform() == platform;
    // The columns of one host together, host by host.
    let hosts: Vec<(Platform, Vec<usize>)> = Platform::ALL
        .into_iter()
        .map(|platform| (platform, (0..columns).filter(of(platform)).collect()))
        .filter(|(_, columns): &(_, Vec<usize>)| !columns.is_empty())
        .collect();
    let all = columns + hosts.len();
    for columns in [0..columns, columns..all] {
        for operation in Operation::ALL {
            let each = columns.clone().rev();
            tasks.extend(each.map(|at| Task::Compare(at, operation)));
        }
    }
    let meanings: Vec<OnceLock<Meaning<'_>>> = (0..columns).map(|_| OnceLock::new()).collect();
    let as_read = |at: usize| match layers.named(at) {
        Some(policy) => meanings[at].get_or_init(|| Meaning::new(policy)),
        None => layers.meaning(at),
    };
    let walks: Vec<Walks> = (0..all).map(|_| Walks::default()).collect();
    let together: Vec<OnceLock<_>> = hosts.iter().map(|_| OnceLock::new()).collect();
    let parts = parallel::map(&tasks, |task| match *task {
        Task::Read(at) => {
            layers.meant(at);
            None
        }
        Task::Compare(at, operation) if at < columns => {
            let part = outline_one(as_read(at), layers.meant(at)?, operation, &walks[at]);
            Some((at, part))
        }
        Task::Compare(at, operation) => {
            let (platform, own) = &hosts[at - columns];
            let joint = together[at - columns].get_or_init(|| {
                let each: Option<Vec<&dyn Evaluate>> =
                    own.iter().map(|i| layers.meant(*i)).collect();
                each.map(|each| Together::new(*platform, each))
            });
            // Where one of them knows further names, they are names on that host.
            let first = own.iter().find(|i| layers.named(**i).is_some());
            let first = first.or(own.first()).copied()?;
            let part = outline_one(as_read(first), joint.as_ref()?, operation, &walks[at]);
            Some((at, part))
        }
    });
    let mut by_column: Vec<Vec<Comparison>> = (0..all).map(|_| Vec::new()).collect();
    for (at, part) in parts.into_iter().flatten() {
        by_column[at].push(part);
    }
    let mut comparisons: Vec<Comparison> = by_column.into_iter().map(joined).collect();
    if !meaning.has_ledgers() && comparisons.iter().any(Comparison::is_unknown) {
        // If the sets are too large to compare, they may be too large for a ledger. Then there is no artifact.
        return coverage(&Meaning::new(meaning.policy()), chosen, others);
    }
    let together: Vec<Host> = comparisons
        .split_off(columns)
        .into_iter()
        .zip(&hosts)
        .map(|(comparison, (platform, _))| Host {
            platform: *platform,
            comparison,
        })
        .collect();
    let comparisons: Vec<Host> = comparisons
        .into_iter()
        .zip(chosen)
        .map(|(comparison, (backend, _))| Host {
            platform: backend.platform(),
            comparison,
        })
        .collect();
    let read = layers.finish()?;
    let refused = refusals(meaning, chosen, &read)?;
    let rows = rows(meaning.policy(), &comparisons, &together);
    let closers: Vec<(&'static str, &dyn Evaluate)> = read[columns..]
        .iter()
        .map(|t| (t.id, &*t.meant as &dyn Evaluate))
        .collect();
    let gaps = gaps(meaning.policy(), &together, &closers);
    Ok(Coverage {
        layers: read
            .into_iter()
            .take(columns)
            .map(|l| Layer {
                id: l.id,
                platform: l.meant.platform(),
                refused: l.refused,
            })
            .collect(),
        rows,
        gaps,
        refused,
    })
}

/// What the policy's `allow` tests name and one of the first layers refuses.
///
/// # Errors
/// The policy's automata are too large for a ledger.
fn refusals(
    meaning: &Meaning<'_>,
    chosen: &[(&'static dyn Backend, Options)],
    read: &[Read],
) -> Result<Vec<Refused>, Diagnostics> {
    let policy = meaning.policy();
    let mut out = Vec::new();
    for ((backend, options), layer) in chosen.iter().zip(read) {
        let answered = answers(policy, *backend, &*layer.meant);
        if !answered.iter().any(|a| a.is_refused()) {
            continue;
        }
        // Only the ledger has the reasons, and most layers need none.
        let with_ledgers;
        let meaning = if meaning.has_ledgers() {
            meaning
        } else {
            with_ledgers = Meaning::new(policy);
            &with_ledgers
        };
        let ledger = backend.compile(meaning, options)?.ledger;
        out.extend(refused(policy, *backend, &*layer.meant, &ledger));
    }
    Ok(out)
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

/// What a layer, or the layers of a host together, keep where they are.
struct Host {
    platform: Platform,
    comparison: Comparison,
}

impl Host {
    /// Whether the rule (`None`: the default) is for this platform.
    fn sees(&self, policy: &Policy, rule: Option<RuleId>) -> bool {
        rule.is_none_or(|id| policy.rule(id).platforms.contains(self.platform))
    }
}

fn rows(policy: &Policy, layers: &[Host], together: &[Host]) -> Vec<Row> {
    let mut keys: Vec<(Option<RuleId>, Operation)> = Vec::new();
    for rule in &policy.rules {
        keys.extend(rule.operations.iter().map(|o| (Some(rule.id), o)));
    }
    let all = || layers.iter().chain(together);
    let deciding = |o: &Operation| {
        let accounts = all().filter_map(|h| h.comparison.account(None, *o));
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
            let of = |host: &Host| {
                let seen = host.sees(policy, rule);
                seen.then(|| match operation {
                    Operation::Tool => tool(policy, rule),
                    _ => cell(host.comparison.account(rule, operation)),
                })
            };
            let decides = |h: &Host| h.comparison.account(rule, operation).is_some();
            Row {
                rule,
                operation,
                decides: operation == Operation::Tool || all().any(decides),
                cells: layers.iter().map(of).collect(),
                together: together.iter().filter_map(of).reduce(both),
            }
        })
        .collect()
}

/// What is kept on two hosts, from what is kept on each.
fn both(mut one: Cell, other: Cell) -> Cell {
    one.witnesses.extend(other.witnesses);
    let strict = |f| matches!(f, Fidelity::Stricter | Fidelity::Mixed);
    one.fidelity = match (one.fidelity, other.fidelity) {
        (Some(a), Some(b)) if a == b => Some(a),
        (Some(a), Some(b)) => Some(match (strict(a) || strict(b), a.leaks() || b.leaks()) {
            (true, true) => Fidelity::Mixed,
            (true, false) => Fidelity::Stricter,
            (false, true) => Fidelity::Looser,
            (false, false) => Fidelity::Exact,
        }),
        _ => None,
    };
    one
}

/// Tool calls. No layer of the kernel sees them.
fn tool(policy: &Policy, rule: Option<RuleId>) -> Cell {
    let rule_of = rule.map(|id| policy.rule(id));
    let action = rule_of.map_or(policy.default_action, |r| r.action);
    if action.permits() {
        return cell(None);
    }
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
}

fn tool_of(policy: &Policy, rule: Option<RuleId>) -> Option<Object> {
    match &policy.rule(rule?).objects {
        Objects::Tools { tools, .. } => tools.first().map(|t| Object::Tool(t.text.clone())),
        _ => None,
    }
}

fn gaps(policy: &Policy, together: &[Host], others: &[(&'static str, &dyn Evaluate)]) -> Vec<Gap> {
    const GATE: &str = "the tool-call gate";
    let mut out: Vec<Gap> = Vec::new();
    for host in together {
        for d in host.comparison.differences().filter(|d| d.looser()) {
            let Difference {
                rule, operation, ..
            } = *d;
            let object = &d.witness.object;
            let mut closed_by: Vec<Cow<'static, str>> = Vec::new();
            if matches!(object, Object::Command(_)) {
                closed_by.push(GATE.into());
            } else {
                let closers = others.iter().filter(|(_, layer)| {
                    layer.platform() == host.platform
                        && layer.allows(operation, object) == Some(false)
                });
                closed_by.extend(closers.map(|(id, _)| Cow::from(*id)));
            }
            out.push(Gap {
                rule,
                operation,
                platforms: Platforms::only(host.platform),
                object: object.clone(),
                closed_by,
            });
        }
    }
    let hosts = Platforms::of(together.iter().map(|h| h.platform));
    for rule in policy.rules.iter().filter(|r| !r.action.permits()) {
        let platforms = hosts.and_then(|hosts| hosts.and(rule.platforms));
        if let (Some(object), Some(platforms)) = (tool_of(policy, Some(rule.id)), platforms) {
            out.push(Gap {
                rule: Some(rule.id),
                operation: Operation::Tool,
                platforms,
                object,
                closed_by: vec![GATE.into()],
            });
        }
    }
    out.sort_by(|a, b| {
        let key = |g: &Gap| (g.rule.map_or(u32::MAX, |r| r.0), g.operation);
        key(a).cmp(&key(b)).then_with(|| a.object.cmp(&b.object))
    });
    // One object as a file and as a directory, by two clauses, or on two hosts, is one gap.
    out.dedup_by(|a, b| {
        let same = (a.rule, a.operation, &a.object) == (b.rule, b.operation, &b.object);
        if same {
            b.platforms = b.platforms.or(a.platforms);
            let more = a.closed_by.drain(..).filter(|c| !b.closed_by.contains(c));
            let more: Vec<_> = more.collect();
            b.closed_by.extend(more);
        }
        same
    });
    out
}
