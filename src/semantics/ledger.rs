//! From what a layer allows to its ledger.
//!
//! For each operation, a back-end gives the set of objects that its artifact lets through. The ledger compares that set
//! with the set of the policy, for the objects that each rule decides. A back-end never states a fidelity itself. It
//! only gives the reason for a difference.

use super::automaton::{Limit, TooLarge};
use super::decisions::Walks;
use super::hosts::HostRegion;
use super::meaning::Meaning;
use super::pathset::{PathSet, canonical};
use crate::fidelity::{Entry, Fidelity, Ledger, Object, SettingEntry, Witness};
use crate::policy::{Action, Objects, Operation, Rule, RuleId};
use rustc_hash::FxHashMap;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Gives the reason for an entry that is not exact: for the rule (`None`: the default), and how it differs.
pub type Reason<'r> = &'r dyn Fn(Option<&Rule>, Fidelity) -> Cow<'static, str>;

/// What is known about a rule and an operation. Large policies have very many, and most have nothing to report.
#[derive(Default)]
struct Account {
    decides: bool,
    stricter: Option<Box<Witness>>,
    looser: Option<Box<Witness>>,
    /// Whether the layer decides about some of the objects at all.
    enforced: bool,
    /// Their indices in [`LedgerBuilder::reasons`].
    reasons: Vec<u32>,
}

/// Collects what a layer allows, and makes the [`Ledger`].
pub struct LedgerBuilder<'m, 'a> {
    meaning: &'m Meaning<'a>,
    target: &'static str,
    accounts: FxHashMap<(u32, Operation), Account>,
    /// The reasons, each with its number.
    reasons: FxHashMap<Cow<'static, str>, u32>,
    settings: Vec<SettingEntry>,
    walks: Walks,
}

const DEFAULT: u32 = u32::MAX;

fn key(rule: Option<RuleId>) -> u32 {
    rule.map_or(DEFAULT, |r| r.0)
}

impl<'m, 'a> LedgerBuilder<'m, 'a> {
    /// For one target.
    #[must_use]
    pub fn new(meaning: &'m Meaning<'a>, target: &'static str) -> Self {
        Self {
            meaning,
            target,
            accounts: FxHashMap::default(),
            reasons: FxHashMap::default(),
            settings: Vec::new(),
            walks: Walks::default(),
        }
    }

    /// Whether anybody reads the ledger. If nobody does ([`Meaning::without_ledgers`]), it stays empty, and data for it
    /// alone is not needed.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.meaning.has_ledgers()
    }

    fn rule(&self, rule: Option<RuleId>) -> Option<&'m Rule> {
        rule.map(|id| self.meaning.policy().rule(id))
    }

    /// The layer decides about `operation` on paths: it allows it on the members of `allowed`.
    ///
    /// # Errors
    /// The automata are too large together.
    pub fn paths(
        &mut self,
        operation: Operation,
        allowed: &PathSet,
        reason: Reason<'_>,
    ) -> Result<(), TooLarge> {
        self.compare_paths(operation, allowed, false, reason)
    }

    /// The layer does not restrict `operation` on paths.
    ///
    /// # Errors
    /// The automata are too large together.
    pub fn paths_unenforced(
        &mut self,
        operation: Operation,
        reason: &'static str,
    ) -> Result<(), TooLarge> {
        self.compare_paths(operation, &PathSet::all(), true, &|_, _| {
            Cow::Borrowed(reason)
        })
    }

    fn compare_paths(
        &mut self,
        operation: Operation,
        allowed: &PathSet,
        unenforced: bool,
        reason: Reason<'_>,
    ) -> Result<(), TooLarge> {
        if !self.is_asked() {
            return Ok(());
        }
        let decisions = self.meaning.decisions(operation)?;
        let walk = self.walks.of(decisions, allowed.dfa())?;
        let verdicts = decisions.verdicts();
        #[derive(Clone, Default)]
        struct Seen {
            decides: bool,
            stricter: bool,
            looser: bool,
            command: bool,
        }
        let mut seen = vec![Seen::default(); verdicts.len()];
        let mut found: Vec<(Option<RuleId>, Option<Witness>)> = Vec::new();
        for (node, a, b) in walk.visited() {
            let label = decisions.dfa().label(a) as usize;
            let layer_allows = allowed.dfa().label(b) == 1;
            let verdict = &verdicts[label];
            let seen = &mut seen[label];
            if !std::mem::replace(&mut seen.decides, true) {
                found.push((verdict.decision.rule, None));
                for part in verdict.command.iter().flat_map(|c| &c.parts) {
                    found.push((part.0.rule, None));
                }
            }
            let permits = verdict.decision.action.permits();
            if permits != layer_allows {
                let first = if permits {
                    &mut seen.stricter
                } else {
                    &mut seen.looser
                };
                if !std::mem::replace(first, true) {
                    let object = Object::Path(canonical(walk.spell(node)));
                    found.push((
                        verdict.decision.rule,
                        Some(Witness {
                            object,
                            policy: verdict.decision.action,
                            layer_allows,
                        }),
                    ));
                }
            } else if let (true, Some(command)) = (layer_allows, &verdict.command)
                && !std::mem::replace(&mut seen.command, true)
            {
                // The layer lets the program start with any arguments.
                let program = canonical(walk.spell(node));
                for (decision, words) in command.parts.iter().filter(|p| !p.0.action.permits()) {
                    let mut all = vec![program.clone()];
                    all.extend(words.iter().cloned());
                    found.push((
                        decision.rule,
                        Some(Witness {
                            object: Object::Command(all),
                            policy: decision.action,
                            layer_allows,
                        }),
                    ));
                }
            }
        }
        for (rule, witness) in found {
            self.record(rule, operation, witness, unenforced, reason);
        }
        Ok(())
    }

    fn record(
        &mut self,
        rule: Option<RuleId>,
        operation: Operation,
        witness: Option<Witness>,
        unenforced: bool,
        reason: Reason<'_>,
    ) {
        let the_rule = self.rule(rule);
        let account = self.accounts.entry((key(rule), operation)).or_default();
        account.decides = true;
        account.enforced |= !unenforced;
        let Some(witness) = witness else { return };
        let looser = witness.layer_allows;
        let arguments = looser && !unenforced && matches!(witness.object, Object::Command(_));
        let first = if looser {
            &mut account.looser
        } else {
            &mut account.stricter
        };
        if let Some(first) = first {
            // Addresses have another reason than paths. Only the default has both.
            let host = |o: &Object| matches!(o, Object::Host(_));
            if host(&first.object) || !host(&witness.object) {
                return;
            }
        } else {
            *first = Some(Box::new(witness));
        }
        let text = if arguments {
            Cow::Borrowed("this layer sees the program, not its arguments")
        } else {
            reason(
                the_rule,
                if looser {
                    Fidelity::Looser
                } else {
                    Fidelity::Stricter
                },
            )
        };
        if text.is_empty() {
            return;
        }
        let fresh = self.reasons.len() as u32;
        let number = *self.reasons.entry(text).or_insert(fresh);
        if !account.reasons.contains(&number) {
            account.reasons.push(number);
        }
    }

    /// The layer decides about `operation` on network addresses: it allows it where `allows` holds.
    pub fn hosts(
        &mut self,
        operation: Operation,
        allows: impl Fn(&HostRegion) -> bool,
        reason: Reason<'_>,
    ) {
        let meaning = self.meaning;
        self.hosts_in(
            operation,
            meaning.hosts(operation).regions(),
            allows,
            reason,
        );
    }

    /// The same for regions that were split further ([`super::HostSpace::split_at`]).
    pub fn hosts_in(
        &mut self,
        operation: Operation,
        regions: &[HostRegion],
        allows: impl Fn(&HostRegion) -> bool,
        reason: Reason<'_>,
    ) {
        self.compare_hosts(operation, regions, allows, false, reason);
    }

    /// The layer does not restrict `operation` on network addresses.
    pub fn hosts_unenforced(&mut self, operation: Operation, reason: &'static str) {
        let meaning = self.meaning;
        let regions = meaning.hosts(operation).regions();
        self.compare_hosts(operation, regions, |_| true, true, &|_, _| {
            Cow::Borrowed(reason)
        });
    }

    fn compare_hosts(
        &mut self,
        operation: Operation,
        regions: &[HostRegion],
        allows: impl Fn(&HostRegion) -> bool,
        unenforced: bool,
        reason: Reason<'_>,
    ) {
        if !self.is_asked() {
            return;
        }
        for region in regions {
            let layer_allows = allows(region);
            let differs = region.decision.action.permits() != layer_allows;
            let witness = differs.then(|| Witness {
                object: Object::Host(region.sample.clone()),
                policy: region.decision.action,
                layer_allows,
            });
            self.record(region.decision.rule, operation, witness, unenforced, reason);
        }
    }

    /// The layer decides about system calls: it allows those for which `allows` holds.
    pub fn syscalls(&mut self, allows: impl Fn(&str) -> bool, reason: Reason<'_>) {
        self.compare_syscalls(allows, false, reason);
    }

    /// The layer does not restrict system calls by name.
    pub fn syscalls_unenforced(&mut self, reason: &'static str) {
        self.compare_syscalls(|_| true, true, &|_, _| Cow::Borrowed(reason));
    }

    fn compare_syscalls(
        &mut self,
        allows: impl Fn(&str) -> bool,
        unenforced: bool,
        reason: Reason<'_>,
    ) {
        if !self.is_asked() {
            return;
        }
        let meaning = self.meaning;
        for (object, decision) in meaning.syscalls() {
            let Object::Syscall(name) = object else {
                continue;
            };
            let layer_allows = allows(name);
            let differs = decision.action.permits() != layer_allows;
            let witness = differs.then(|| Witness {
                object: object.clone(),
                policy: decision.action,
                layer_allows,
            });
            self.record(
                decision.rule,
                Operation::Syscall,
                witness,
                unenforced,
                reason,
            );
        }
    }

    /// Adds a difference that is not one of sets, such as a directory that takes along what lies beneath it.
    pub fn differs(
        &mut self,
        rule: Option<RuleId>,
        operation: Operation,
        witness: Witness,
        reason: &'static str,
    ) {
        if !self.is_asked() {
            return;
        }
        self.record(rule, operation, Some(witness), false, &|_, _| {
            Cow::Borrowed(reason)
        });
    }

    /// The layer allows renaming these directories away, without a check of what lies beneath. That is looser if the
    /// policy allows removing the directory but denies something in it that the layer would refuse there. `each` are
    /// the paths that the layer allows removing one by one.
    ///
    /// # Errors
    /// The automata are too large together.
    pub fn moved_away(&mut self, directories: &PathSet, each: &PathSet) -> Result<(), TooLarge> {
        if !self.is_asked() {
            return Ok(());
        }
        let decisions = self.meaning.decisions(Operation::Delete)?;
        let mut found: BTreeMap<Option<RuleId>, Vec<u8>> = BTreeMap::new();
        let mut moves = |verdict: u32, spell: &dyn Fn() -> Vec<u8>| {
            let rule = decisions.verdicts()[verdict as usize].decision.rule;
            let path = || canonical(spell());
            found.entry(rule).or_insert_with(path);
        };
        if each.is_empty() {
            // What lies beneath depends only on the decisions, so the walk of the other entries can be used.
            let free = decisions.dfa().all_beneath(|l| decisions.permits(l));
            let walk = self.walks.of(decisions, directories.dfa())?;
            for (node, a, b) in walk.visited() {
                let verdict = decisions.dfa().label(a);
                let moved = directories.dfa().label(b) == 1 && decisions.permits(verdict);
                if moved && !free[a.index()] {
                    moves(verdict, &|| walk.spell(node));
                }
            }
        } else {
            // All of this in one automaton. The label of a state is its verdict, and whether it is in either set.
            let sets = directories.dfa().zip(each.dfa(), |a, b| a << 1 | b)?;
            let all = decisions
                .dfa()
                .zip(&sets, |verdict, sets| verdict << 2 | sets)?;
            let permits = |label: u32| decisions.permits(label >> 2);
            let held = |label: u32| !permits(label) && label & 1 == 0;
            let free = all.all_beneath(|label| !held(label));
            let walk = all.walked(PathSet::all().dfa(), Limit::default())?;
            for (node, state, _) in walk.visited() {
                let label = all.label(state);
                if label & 2 != 0 && permits(label) && !free[state.index()] {
                    moves(label >> 2, &|| walk.spell(node));
                }
            }
        }
        for (rule, path) in found {
            let witness = Witness {
                object: Object::Path(path),
                policy: Action::Deny,
                layer_allows: true,
            };
            let reason = "a directory can be moved away with what a pattern denies beneath it";
            self.differs(rule, Operation::Delete, witness, reason);
        }
        Ok(())
    }

    /// How much the layer keeps of a part that is not a rule.
    pub fn setting(
        &mut self,
        setting: impl Into<Cow<'static, str>>,
        fidelity: Fidelity,
        reason: impl Into<Cow<'static, str>>,
    ) {
        self.settings.push(SettingEntry {
            setting: setting.into(),
            fidelity,
            reason: reason.into(),
        });
    }

    /// The gate decides about tool calls. No layer of the kernel sees them.
    fn tools(&mut self) {
        let policy = self.meaning.policy();
        let mut any = false;
        for r in &policy.rules {
            if let Objects::Tools { tools, .. } = &r.objects {
                any = true;
                let name = tools
                    .first()
                    .map_or_else(|| "tool".to_owned(), |t| t.text.clone());
                let witness = (!r.action.permits()).then_some(Witness {
                    object: Object::Tool(name),
                    policy: r.action,
                    layer_allows: true,
                });
                self.record(Some(r.id), Operation::Tool, witness, true, &|_, _| {
                    GATE.into()
                });
            }
        }
        if any {
            let witness = (policy.default_action == Action::Deny).then(|| Witness {
                object: Object::Tool("another_tool".to_owned()),
                policy: Action::Deny,
                layer_allows: true,
            });
            self.record(None, Operation::Tool, witness, true, &|_, _| GATE.into());
        }
    }

    /// The ledger, with an entry for every rule and each of its operations, and for the default.
    #[must_use]
    pub fn finish(mut self) -> Ledger {
        if !self.is_asked() {
            return Ledger {
                target: self.target,
                entries: Vec::new(),
                settings: Vec::new(),
                warning: None,
            };
        }
        self.tools();
        let policy = self.meaning.policy();
        // Large policies have much of both, and the walks are not needed any more.
        let Self {
            mut accounts,
            reasons,
            walks,
            ..
        } = self;
        drop(walks);
        let mut texts = vec![Cow::Borrowed(""); reasons.len()];
        for (text, number) in reasons {
            texts[number as usize] = text;
        }
        let rules: usize = policy
            .rules
            .iter()
            .map(|r| r.operations.iter().count())
            .sum();
        let mut entries = Vec::with_capacity(rules + Operation::ALL.len());
        for rule in &policy.rules {
            for operation in rule.operations.iter() {
                let account = accounts.remove(&(rule.id.0, operation));
                entries.push(entry(Some(rule.id), operation, account, &texts));
            }
        }
        let has_tools = policy
            .rules
            .iter()
            .any(|r| matches!(r.objects, Objects::Tools { .. }));
        for operation in Operation::ALL {
            if operation == Operation::Tool && !has_tools {
                continue;
            }
            let account = accounts.remove(&(DEFAULT, operation));
            entries.push(entry(None, operation, account, &texts));
        }
        Ledger {
            target: self.target,
            entries,
            settings: self.settings,
            warning: None,
        }
    }
}

const GATE: &str = "only the tool-call gate sees the calls of an agent's tools";

fn entry(
    rule: Option<RuleId>,
    operation: Operation,
    account: Option<Account>,
    texts: &[Cow<'static, str>],
) -> Entry {
    let account = account.unwrap_or_default();
    let fidelity = match (&account.stricter, &account.looser) {
        (None, None) => Fidelity::Exact,
        (Some(_), None) => Fidelity::Stricter,
        (None, Some(_)) if !account.enforced => Fidelity::Unenforced,
        (None, Some(_)) => Fidelity::Looser,
        (Some(_), Some(_)) => Fidelity::Mixed,
    };
    let reason = if account.decides {
        let text = |n: &u32| &texts[*n as usize];
        match account.reasons.as_slice() {
            [] => Cow::Borrowed(""),
            [one] => text(one).clone(),
            many => {
                let texts: Vec<&str> = many.iter().map(|n| text(n).as_ref()).collect();
                Cow::Owned(texts.join("; "))
            }
        }
    } else {
        Cow::Borrowed("decides nothing: the rules above it match all its objects first")
    };
    Entry {
        rule,
        operation,
        fidelity,
        reason,
        witnesses: account
            .looser
            .into_iter()
            .chain(account.stricter)
            .map(|witness| *witness)
            .collect(),
    }
}
