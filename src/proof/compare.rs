//! Compares what an artifact lets through with what the policy means.

use super::unaccounted::Unaccounted;
use crate::backend::{Allowed, Clause, Deciders, Evaluate, Form, OnPaths};
use crate::fidelity::{Fidelity, Object, Witness};
use crate::parallel;
use crate::policy::{Action, Objects, Operation, Policy, RuleId, SyscallName, syscalls};
use crate::semantics::{
    Decision, Decisions, Dfa, Limit, Meaning, PathSet, TooLarge, Verdict, Walks, decide,
};
use rustc_hash::FxHashSet;
use std::collections::{BTreeMap, BTreeSet};

/// How many candidates are tried as witnesses for different clauses of the artifact, if its reader does not know the
/// clause for every path.
const CANDIDATES: usize = 12;

/// One way in which an artifact and its policy differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The rule that decides by the policy; `None`: the default.
    pub rule: Option<RuleId>,
    /// The operation.
    pub operation: Operation,
    /// An object on which they differ, and what each says.
    pub witness: Witness,
    /// The form in which the object is compared. `None`: it is not a path.
    pub form: Option<Form>,
    /// The ways in which they differ, in the target's terms, if there are others. Otherwise empty.
    pub ways: Vec<String>,
    /// The clause of the artifact that decides. `None`: it is not a single clause.
    pub clause: Option<Clause>,
}

impl Difference {
    /// Whether the artifact allows what the policy denies.
    #[must_use]
    pub fn looser(&self) -> bool {
        self.witness.layer_allows
    }
}

/// The result for a rule (or the default) and one operation.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// Whether it decides anything.
    pub decides: bool,
    /// Whether the artifact says anything about the objects that it decides.
    pub enforced: bool,
    /// Whether something could not be compared: an automaton was too large.
    pub unknown: bool,
    /// The differences.
    pub differences: Vec<Difference>,
}

impl Account {
    /// How much is kept; `None`: unknown.
    #[must_use]
    pub fn fidelity(&self) -> Option<Fidelity> {
        let looser = self.differences.iter().any(Difference::looser);
        let stricter = self.differences.iter().any(|d| !d.looser());
        if self.unknown {
            return None;
        }
        Some(match (stricter, looser) {
            (false, false) => Fidelity::Exact,
            (true, false) => Fidelity::Stricter,
            (false, true) if !self.enforced => Fidelity::Unenforced,
            (false, true) => Fidelity::Looser,
            (true, true) => Fidelity::Mixed,
        })
    }
}

/// An artifact against its policy.
#[derive(Debug, Clone, Default)]
pub struct Comparison {
    /// By rule (`None`, the default, is last) and operation. Only results that decide something, or that are unknown.
    accounts: BTreeMap<(u32, Operation), Account>,
}

const DEFAULT: u32 = u32::MAX;

fn key(rule: Option<RuleId>) -> u32 {
    rule.map_or(DEFAULT, |r| r.0)
}

impl Comparison {
    /// The result for a rule (`None`: the default). `None`: it decides nothing about the operation.
    #[must_use]
    pub fn account(&self, rule: Option<RuleId>, operation: Operation) -> Option<&Account> {
        self.accounts.get(&(key(rule), operation))
    }

    /// All results, in the order of the rules, with the default last.
    pub fn accounts(&self) -> impl Iterator<Item = (Option<RuleId>, Operation, &Account)> {
        self.accounts.iter().map(|((rule, operation), account)| {
            let rule = (*rule != DEFAULT).then_some(RuleId(*rule));
            (rule, *operation, account)
        })
    }

    /// Every difference.
    pub fn differences(&self) -> impl Iterator<Item = &Difference> {
        self.accounts.values().flat_map(|a| &a.differences)
    }

    /// Whether both mean the same, as far as they could be compared.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.accounts
            .values()
            .all(|a| !a.unknown && a.differences.is_empty())
    }

    /// Whether some of it could not be compared.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.accounts.values().any(|a| a.unknown)
    }

    fn at(&mut self, rule: Option<RuleId>, operation: Operation) -> &mut Account {
        self.accounts.entry((key(rule), operation)).or_default()
    }

    fn decides(&mut self, rule: Option<RuleId>, operation: Operation, enforced: bool) {
        let account = self.at(rule, operation);
        account.decides = true;
        account.enforced |= enforced;
    }

    /// Records a difference, unless there is one with the same direction, form and clause.
    fn differs(&mut self, difference: Difference) {
        let account = self.at(difference.rule, difference.operation);
        let same = |d: &Difference| {
            d.looser() == difference.looser()
                && d.form == difference.form
                && d.clause == difference.clause
        };
        if !account.differences.iter().any(same) {
            account.differences.push(difference);
        }
    }

    fn unknown(&mut self, policy: &Policy, operation: Operation) {
        for rule in policy.rules.iter().filter(|r| r.concerns_paths(operation)) {
            self.at(Some(rule.id), operation).unknown = true;
        }
        self.at(None, operation).unknown = true;
    }
}

/// What a comparison should include.
#[derive(Clone, Copy)]
struct Asked {
    /// Whether it includes argument lists that the policy denies for a program.
    arguments: bool,
    /// Whether each clause of the artifact gets its own witness and is named.
    clauses: bool,
}

/// Compares an artifact with a policy.
#[must_use]
pub fn compare(meaning: &Meaning<'_>, artifact: &dyn Evaluate) -> Comparison {
    let asked = Asked {
        arguments: true,
        clauses: true,
    };
    let meaning = meaning.on(artifact.platform());
    match artifact.as_meant(meaning.policy()) {
        Some(policy) => compare_all(&Meaning::new(&policy), artifact, asked),
        None => compare_all(meaning, artifact, asked),
    }
}

/// The differences between an artifact and a policy that the ledger does not explain. `fresh` is the artifact that the
/// compiler makes of the policy for the same target. Its differences are left out.
#[must_use]
pub fn compare_unaccounted(
    meaning: &Meaning<'_>,
    artifact: &dyn Evaluate,
    fresh: &dyn Evaluate,
) -> Comparison {
    let meaning = meaning.on(artifact.platform());
    let policy = artifact.as_meant(meaning.policy());
    let read = policy.as_ref().map(Meaning::new);
    let meaning = read.as_ref().unwrap_or(meaning);
    let asked = Asked {
        // Every ledger says that layers do not see arguments.
        arguments: false,
        clauses: true,
    };
    compare_all(meaning, &Unaccounted::new(meaning, artifact, fresh), asked)
}

fn compare_all(meaning: &Meaning<'_>, artifact: &dyn Evaluate, asked: Asked) -> Comparison {
    let walks = Walks::default();
    let parts = parallel::map(&Operation::ALL, |operation| {
        compare_one(meaning, artifact, *operation, asked, &walks)
    });
    joined(parts)
}

/// Joins the comparisons of single operations.
pub(super) fn joined(parts: impl IntoIterator<Item = Comparison>) -> Comparison {
    // The results for one operation are of no use for another.
    let accounts = parts.into_iter().flat_map(|part| part.accounts);
    Comparison {
        accounts: accounts.collect(),
    }
}

/// The comparison of one operation, with one witness for each direction, and without the artifact's clauses. The policy
/// is in the form that the artifact reads. `walks` are those of this artifact's parts.
pub(super) fn outline_one(
    meaning: &Meaning<'_>,
    artifact: &dyn Evaluate,
    operation: Operation,
    walks: &Walks,
) -> Comparison {
    let asked = Asked {
        arguments: true,
        clauses: false,
    };
    compare_one(meaning, artifact, operation, asked, walks)
}

fn compare_one(
    meaning: &Meaning<'_>,
    artifact: &dyn Evaluate,
    operation: Operation,
    asked: Asked,
    walks: &Walks,
) -> Comparison {
    let mut out = Comparison::default();
    if Operation::ON_PATHS.contains(&operation)
        && paths(meaning, artifact, operation, asked, walks, &mut out).is_err()
    {
        out.unknown(meaning.policy(), operation);
    }
    match operation {
        Operation::Connect | Operation::Bind => {
            hosts(meaning, artifact, operation, asked, &mut out);
        }
        Operation::Syscall => system_calls(meaning, artifact, asked, &mut out),
        _ => {}
    }
    out
}

fn paths(
    meaning: &Meaning<'_>,
    artifact: &dyn Evaluate,
    operation: Operation,
    asked: Asked,
    walks: &Walks,
    out: &mut Comparison,
) -> Result<(), TooLarge> {
    let (forms, enforced) = match artifact.paths(operation)? {
        OnPaths::Silent => {
            let everything = Allowed::new(Form::Either, PathSet::all());
            (vec![everything], false)
        }
        OnPaths::Allows(forms) => (forms, true),
    };
    for form in &forms {
        // If all ways have one answer, it is the answer for the operation.
        let another = |f: &Allowed| {
            let same_form = f.form == form.form || [f.form, form.form].contains(&Form::Either);
            same_form && f.form != Form::Moved && f.ways != form.ways
        };
        let told = form.form != Form::Moved && forms.iter().any(another);
        let mut walk = Walk {
            artifact,
            operation,
            enforced,
            asked,
            walks,
            form: form.form,
            ways: if told { &form.ways } else { &[] },
            out: &mut *out,
        };
        if form.form == Form::Moved {
            walk.moved(meaning, &form.paths, &forms)?;
        } else {
            walk.objects(meaning, form)?;
        }
    }
    Ok(())
}

struct Walk<'a> {
    artifact: &'a dyn Evaluate,
    operation: Operation,
    enforced: bool,
    asked: Asked,
    walks: &'a Walks,
    form: Form,
    ways: &'a [String],
    out: &'a mut Comparison,
}

#[derive(Clone, Default)]
struct Seen {
    decides: bool,
    stricter: usize,
    looser: usize,
    arguments: bool,
}

/// An artifact's answer, with its clauses. In a label, the lowest bit says whether the path is allowed. The others are
/// the number of the clause.
struct ByClause {
    dfa: Dfa,
    deciders: Deciders,
}

impl Walk<'_> {
    /// Records a difference. `clause` is the artifact's clause, if it is known already.
    fn difference(
        &mut self,
        rule: Option<RuleId>,
        witness: Witness,
        clause: Option<Option<Clause>>,
    ) {
        let told = self.enforced && self.asked.clauses;
        let clause = match (&witness.object, clause) {
            (_, Some(clause)) => clause,
            (Object::Path(_) | Object::Command(_), None) if told => {
                self.artifact.clause(self.operation, &witness.object)
            }
            _ => None,
        };
        self.out.differs(Difference {
            rule,
            operation: self.operation,
            witness,
            form: Some(self.form),
            ways: self.ways.to_vec(),
            clause,
        });
    }

    /// The answer by clauses, if it differs and the reader knows them. `None`: candidates are tried instead.
    fn by_clause(
        &self,
        decisions: &Decisions,
        answer: &Allowed,
    ) -> Result<Option<ByClause>, TooLarge> {
        if !self.enforced || !self.asked.clauses {
            return Ok(None);
        }
        let mut differs = false;
        let allowed = &answer.paths;
        decisions.walk_among(self.walks, allowed, |label, _, layer_allows, _| {
            differs |= decisions.permits(label) != layer_allows;
        })?;
        if !differs {
            return Ok(None);
        }
        let Some(deciders) = self.artifact.deciders(self.operation, answer) else {
            return Ok(None);
        };
        let joint = deciders
            .dfa()
            .zip(allowed.dfa(), |clause, member| (clause << 1) | member);
        Ok(joint.ok().map(|dfa| ByClause { dfa, deciders }))
    }

    /// Compares each object alone.
    fn objects(&mut self, meaning: &Meaning<'_>, answer: &Allowed) -> Result<(), TooLarge> {
        let decisions = meaning.decisions(self.operation)?;
        let by_clause = self.by_clause(decisions, answer)?;
        let verdicts = decisions.verdicts();
        let mut seen = vec![Seen::default(); verdicts.len()];
        let mut decided: Vec<usize> = Vec::new();
        let mut found: Vec<(Option<RuleId>, Witness, Option<Option<Clause>>)> = Vec::new();
        let mut distinct: FxHashSet<(u32, u32)> = FxHashSet::default();
        let root = decisions.dfa().start();
        let candidates = if self.asked.clauses { CANDIDATES } else { 1 };
        let visit = |label: u32, state, told: u32, spell: &dyn Fn() -> Vec<u8>| {
            let verdict = &verdicts[label as usize];
            let seen = &mut seen[label as usize];
            if !std::mem::replace(&mut seen.decides, true) {
                decided.push(label as usize);
            }
            // The root is no file.
            if self.form == Form::File && state == root {
                return;
            }
            let layer_allows = told & 1 == 1;
            let permits = verdict.decision.action.permits();
            if permits != layer_allows {
                let count = if permits {
                    &mut seen.stricter
                } else {
                    &mut seen.looser
                };
                let clause = by_clause.as_ref().map(|by| by.deciders.clause(told >> 1));
                let new = match clause {
                    Some(_) => distinct.insert((label, told)),
                    // More than one, because each may belong to another clause of the artifact.
                    None => *count < candidates,
                };
                if new {
                    *count += 1;
                    let witness = Witness {
                        object: Object::Path(spell()),
                        policy: verdict.decision.action,
                        layer_allows,
                    };
                    found.push((verdict.decision.rule, witness, clause.map(|c| c.cloned())));
                }
            } else if self.asked.arguments
                && layer_allows
                && !std::mem::replace(&mut seen.arguments, true)
            {
                let lists = arguments(verdict, &spell()).into_iter();
                found.extend(lists.map(|(rule, witness)| (rule, witness, None)));
            }
        };
        match &by_clause {
            Some(by) => decisions.walk_labels(&Walks::default(), &by.dfa, visit)?,
            None => decisions.walk_labels(self.walks, answer.paths.dfa(), visit)?,
        }
        for label in decided {
            let verdict = &verdicts[label];
            let parts = verdict.command.iter().flat_map(|c| &c.parts);
            for rule in std::iter::once(&verdict.decision)
                .chain(parts.map(|p| &p.0))
                .map(|d| d.rule)
            {
                self.out.decides(rule, self.operation, self.enforced);
            }
        }
        for (rule, witness, clause) in found {
            self.difference(rule, witness, clause);
        }
        Ok(())
    }

    /// Directories that may be moved away although the policy denies deleting something beneath, if the layer would
    /// refuse that alone.
    fn moved(
        &mut self,
        meaning: &Meaning<'_>,
        moved: &PathSet,
        forms: &[Allowed],
    ) -> Result<(), TooLarge> {
        let decisions = meaning.decisions(self.operation)?;
        // The paths that may be removed alone, in all ways.
        let mut each: Option<PathSet> = None;
        for form in forms {
            if matches!(form.form, Form::File | Form::Either) {
                each = Some(match each {
                    Some(each) => each.intersection(&form.paths)?,
                    None => form.paths.clone(),
                });
            }
        }
        let Some(each) = each else { return Ok(()) };
        // All of this in one automaton. The label of a state is its verdict, and whether it is in either set.
        let sets = moved.dfa().zip(each.dfa(), |a, b| (a << 1) | b)?;
        let all = decisions
            .dfa()
            .zip(&sets, |verdict, sets| (verdict << 2) | sets)?;
        let permits = |label: u32| decisions.permits(label >> 2);
        let clean = all.all_beneath(|label| permits(label) || label & 1 == 1);
        let mut seen: BTreeSet<u32> = BTreeSet::new();
        let mut found = Vec::new();
        all.walk_pairs(PathSet::all().dfa(), Limit::default(), |state, _, spell| {
            let label = all.label(state);
            let escapes = label & 2 != 0 && !clean[state.index()];
            if escapes && permits(label) && seen.insert(label >> 2) {
                let path = spell();
                found.push((
                    decisions.verdicts()[(label >> 2) as usize].decision.rule,
                    Witness {
                        // The empty string is the root.
                        object: Object::Path(if path.is_empty() { b"/".to_vec() } else { path }),
                        policy: Action::Deny,
                        layer_allows: true,
                    },
                ));
            }
            true
        })?;
        for (rule, witness) in found {
            self.difference(rule, witness, None);
        }
        Ok(())
    }
}

/// The argument lists that the policy denies for a program that the layer allows starting.
fn arguments(verdict: &Verdict, program: &[u8]) -> Vec<(Option<RuleId>, Witness)> {
    let parts = verdict.command.iter().flat_map(|c| &c.parts);
    parts
        .filter(|(decision, _)| !decision.action.permits())
        .map(|(decision, words)| {
            let mut all = vec![program.to_vec()];
            all.extend(words.iter().cloned());
            let witness = Witness {
                object: Object::Command(all),
                policy: decision.action,
                layer_allows: true,
            };
            (decision.rule, witness)
        })
        .collect()
}

fn hosts(
    meaning: &Meaning<'_>,
    artifact: &dyn Evaluate,
    operation: Operation,
    asked: Asked,
    out: &mut Comparison,
) {
    let cuts = artifact.host_cuts(operation);
    let enforced = cuts.is_some();
    let cuts = cuts.unwrap_or_default();
    let regions = meaning
        .hosts(operation)
        .split(&cuts.ports, &cuts.blocks, &cuts.names);
    for region in regions {
        let object = Object::Host(region.sample);
        let rule = region.decision.rule;
        out.decides(rule, operation, enforced);
        let layer_allows = if enforced {
            match artifact.allows(operation, &object) {
                Some(allows) => allows,
                // Another part decides it, by the policy itself.
                None => continue,
            }
        } else {
            true
        };
        if layer_allows != region.decision.action.permits() {
            let told = enforced && asked.clauses;
            let clause = told.then(|| artifact.clause(operation, &object));
            out.differs(Difference {
                rule,
                operation,
                witness: Witness {
                    object,
                    policy: region.decision.action,
                    layer_allows,
                },
                form: None,
                ways: Vec::new(),
                clause: clause.flatten(),
            });
        }
    }
}

fn system_calls(
    meaning: &Meaning<'_>,
    artifact: &dyn Evaluate,
    asked: Asked,
    out: &mut Comparison,
) {
    const OPERATION: Operation = Operation::Syscall;
    let policy = meaning.policy();
    let mut names: BTreeSet<&str> = syscalls::all().collect();
    for rule in &policy.rules {
        if let Objects::Syscalls { syscalls, except } = &rule.objects {
            names.extend(syscalls.iter().chain(except).filter_map(|s| match s {
                SyscallName::Name(n) => Some(n.as_str()),
                SyscallName::Group(_) => None,
            }));
        }
    }
    for name in names {
        let object = Object::Syscall(name.to_owned());
        let Decision { action, rule } = decide(policy, OPERATION, &object);
        let answer = artifact.allows(OPERATION, &object);
        out.decides(rule, OPERATION, answer.is_some());
        let layer_allows = answer.unwrap_or(true);
        if layer_allows != action.permits() {
            let told = answer.filter(|_| asked.clauses);
            let clause = told.and_then(|_| artifact.clause(OPERATION, &object));
            out.differs(Difference {
                rule,
                operation: OPERATION,
                witness: Witness {
                    object,
                    policy: action,
                    layer_allows,
                },
                form: None,
                ways: Vec::new(),
                clause,
            });
        }
    }
}
