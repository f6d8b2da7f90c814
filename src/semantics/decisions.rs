//! Which rule decides each path, for one operation.

use super::automaton::{Dfa, Domain, Limit, Nfa, SlotKind, StateId, TooLarge, Walk};
use super::commands::{ArgumentRule, CommandLabel, split_arguments};
use super::pathset::{PathSet, canonical};
use super::reference::Decision;
use crate::policy::{ArgumentPattern, Objects, Operation, Policy, RuleId};
use rustc_hash::FxHashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// What decides a set of paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The decision; for programs, the one of a layer that does not see arguments.
    pub decision: Decision,
    /// For programs on whose arguments it depends: how.
    pub command: Option<CommandLabel>,
}

/// The decisions of one operation on all paths.
#[derive(Debug)]
pub struct Decisions {
    dfa: Dfa,
    verdicts: Vec<Verdict>,
    allowed: OnceLock<PathSet>,
    shared: Arc<Shared>,
}

/// A walk, which who asks second waits for.
type Walked = OnceLock<Result<Arc<Walk>, TooLarge>>;

/// The walks that somebody made of decisions with sets, each with automata of their shapes: one does for all sets of
/// its shape.
#[derive(Default)]
pub struct Walks(Mutex<Vec<(Dfa, Dfa, Arc<Walked>)>>);

impl Walks {
    /// The walk with a set.
    ///
    /// # Errors
    /// The automata are too large together.
    pub(super) fn of(&self, decisions: &Decisions, right: &Dfa) -> Result<Arc<Walk>, TooLarge> {
        let left = decisions.dfa();
        if PathSet::all().dfa().same_shape(right) {
            return decisions.alone();
        }
        let walked = {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let same = known
                .iter()
                .find(|(a, b, _)| a.same_shape(left) && b.same_shape(right));
            match same {
                Some((_, _, walked)) => Arc::clone(walked),
                None => {
                    let walked = Arc::new(Walked::new());
                    known.push((left.clone(), right.clone(), Arc::clone(&walked)));
                    walked
                }
            }
        };
        let walk = || left.walked(right, Limit::default()).map(Arc::new);
        walked.get_or_init(walk).clone()
    }
}

/// What decisions of one shape have in common.
#[derive(Debug, Default)]
struct Shared {
    /// The walk with a set that tells no paths apart.
    alone: OnceLock<Result<Arc<Walk>, TooLarge>>,
    /// By state: where a name leads that no policy mentions.
    fresh: OnceLock<Vec<Option<StateId>>>,
}

/// A name that no policy mentions: what `*` matches and literals do not.
const FRESH: &[u8] = b"\x01polc\x01";

/// The rules that speak of the operation on paths, in order.
fn relevant(policy: &Policy, operation: Operation) -> Vec<RuleId> {
    policy
        .rules
        .iter()
        .filter(|r| r.concerns_paths(operation))
        .map(|r| r.id)
        .collect()
}

#[derive(Clone, Copy)]
enum SlotArguments<'a> {
    Include(&'a ArgumentPattern),
    Except(&'a ArgumentPattern),
}

impl Decisions {
    /// Decides several operations with one automaton: most rules speak of more than one, so that the states
    /// are hardly more than those of the largest. Not for [`Operation::Execute`], where arguments count.
    ///
    /// # Errors
    /// The automaton is too large; one for each operation may not be.
    pub(crate) fn together<const N: usize>(
        policy: &Policy,
        operations: [Operation; N],
        limit: Limit,
    ) -> Result<[Self; N], TooLarge> {
        let mut nfa = Nfa::new(Domain::Path);
        // By case: for each operation its label, 0 where it does not speak of it.
        let mut cases: Vec<[u32; N]> = Vec::new();
        let default = Decision {
            action: policy.default_action,
            rule: None,
        };
        let plain = |decision| Verdict {
            decision,
            command: None,
        };
        let mut verdicts: [Vec<Verdict>; N] = std::array::from_fn(|_| vec![plain(default)]);
        for rule in &policy.rules {
            let Objects::Paths { paths, except } = &rule.objects else {
                continue;
            };
            let (mut mask, mut labels) = (0, [0; N]);
            for (i, operation) in operations.into_iter().enumerate() {
                if rule.concerns_paths(operation) {
                    mask |= 1 << i;
                    labels[i] = verdicts[i].len() as u32;
                    verdicts[i].push(plain(Decision {
                        action: rule.action,
                        rule: Some(rule.id),
                    }));
                }
            }
            if mask == 0 {
                continue;
            }
            let case = cases.len() as u32;
            cases.push(labels);
            for (list, kind) in [(paths, SlotKind::Include), (except, SlotKind::Except)] {
                if list.is_empty() {
                    continue;
                }
                let slot = nfa.slot_for(case, kind, mask);
                for s in list.iter().flat_map(|p| &p.sequences) {
                    nfa.add_sequence(slot, s);
                }
            }
        }
        let slots = nfa.slots().to_vec();
        let mut known: FxHashMap<[u32; N], u32> = FxHashMap::default();
        let mut tuples: Vec<[u32; N]> = Vec::new();
        let dfa = nfa.determinise(limit, None, |matched| {
            let mut tuple = [0; N];
            let mut at = 0;
            while let Some(first) = matched.get(at) {
                let case = slots[*first as usize].case;
                let group = matched[at..].iter().map(|s| slots[*s as usize]);
                let group = group.take_while(|s| s.case == case);
                let (mut count, mut excepted) = (0, false);
                for slot in group {
                    count += 1;
                    excepted |= slot.kind == SlotKind::Except;
                }
                if !excepted {
                    for (label, own) in tuple.iter_mut().zip(&cases[case as usize]) {
                        if *label == 0 {
                            *label = *own;
                        }
                    }
                }
                at += count;
            }
            *known.entry(tuple).or_insert_with(|| {
                tuples.push(tuple);
                tuples.len() as u32 - 1
            })
        })?;
        let mut at = 0;
        let shared = Arc::default();
        Ok(verdicts.map(|verdicts| {
            let i = at;
            at += 1;
            Self {
                dfa: dfa.relabelled(|tuple| tuples[tuple as usize][i]),
                verdicts,
                allowed: OnceLock::new(),
                shared: Arc::clone(&shared),
            }
        }))
    }

    /// Decides one operation.
    ///
    /// # Errors
    /// The automaton is too large.
    pub fn new(policy: &Policy, operation: Operation, limit: Limit) -> Result<Self, TooLarge> {
        let any = ArgumentPattern::any();
        let rules = relevant(policy, operation);
        let mut nfa = Nfa::new(Domain::Path);
        let mut arguments: Vec<SlotArguments<'_>> = Vec::new();
        for (case, id) in rules.iter().enumerate() {
            let case = case as u32;
            match &policy.rule(*id).objects {
                Objects::Paths { paths, except } => {
                    for (list, kind) in [(paths, SlotKind::Include), (except, SlotKind::Except)] {
                        if list.is_empty() {
                            continue;
                        }
                        let slot = nfa.slot(case, kind);
                        arguments.push(match kind {
                            SlotKind::Except => SlotArguments::Except(&any),
                            _ => SlotArguments::Include(&any),
                        });
                        for s in list.iter().flat_map(|p| &p.sequences) {
                            nfa.add_sequence(slot, s);
                        }
                    }
                }
                Objects::Commands { commands, except } => {
                    for (list, is_except) in [(commands, false), (except, true)] {
                        // Programs whose arguments do not matter are one slot, so that their patterns
                        // share what they begin with; any other has its own arguments to it.
                        let (plain, particular): (Vec<_>, Vec<_>) =
                            list.iter().partition(|c| c.arguments.is_any());
                        let groups = std::iter::once(plain)
                            .filter(|g| !g.is_empty())
                            .chain(particular.into_iter().map(|c| vec![c]));
                        for group in groups {
                            let kind = match (group[0].arguments.is_any(), is_except) {
                                (false, _) => SlotKind::Maybe,
                                (true, false) => SlotKind::Include,
                                (true, true) => SlotKind::Except,
                            };
                            let slot = nfa.slot(case, kind);
                            arguments.push(if is_except {
                                SlotArguments::Except(&group[0].arguments)
                            } else {
                                SlotArguments::Include(&group[0].arguments)
                            });
                            for s in group.iter().flat_map(|c| &c.program.sequences) {
                                nfa.add_sequence(slot, s);
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        let default = Decision {
            action: policy.default_action,
            rule: None,
        };
        let mut verdicts = vec![Verdict {
            decision: default,
            command: None,
        }];
        verdicts.extend(rules.iter().map(|id| Verdict {
            decision: Decision {
                action: policy.rule(*id).action,
                rule: Some(*id),
            },
            command: None,
        }));
        let slots = nfa.slots().to_vec();
        let mut known: FxHashMap<Vec<u32>, u32> = FxHashMap::default();
        let dfa = nfa.determinise(limit, None, |matched| {
            // The cases that match, until one does whatever the arguments are.
            let mut list: Vec<ArgumentRule<'_>> = Vec::new();
            let mut at = 0;
            while let Some(first) = matched.get(at) {
                let case = slots[*first as usize].case;
                let group = &matched[at..];
                let end = group
                    .iter()
                    .take_while(|s| slots[**s as usize].case == case)
                    .count();
                let group = &group[..end];
                at += end;
                let rule = policy.rule(rules[case as usize]);
                let mut c = ArgumentRule {
                    rule: rule.id,
                    action: rule.action,
                    arguments: vec![],
                    except: vec![],
                };
                for s in group {
                    match arguments[*s as usize] {
                        SlotArguments::Include(a) => c.arguments.push(a),
                        SlotArguments::Except(a) => c.except.push(a),
                    }
                }
                if c.arguments.is_empty() || c.except.iter().any(|a| a.is_any()) {
                    continue;
                }
                let sure = c.except.is_empty() && c.arguments.iter().any(|a| a.is_any());
                if sure && list.is_empty() {
                    return case + 1;
                }
                list.push(c);
                if sure {
                    break;
                }
            }
            if list.is_empty() {
                return 0;
            }
            let key = matched.to_vec();
            *known.entry(key).or_insert_with(|| {
                let command = split_arguments(&list, policy.default_action);
                verdicts.push(Verdict {
                    decision: command.program,
                    command: Some(command),
                });
                verdicts.len() as u32 - 1
            })
        })?;
        Ok(Self {
            dfa,
            verdicts,
            allowed: OnceLock::new(),
            shared: Arc::default(),
        })
    }

    /// The automaton; its labels are indices of [`Decisions::verdicts`].
    #[must_use]
    pub fn dfa(&self) -> &Dfa {
        &self.dfa
    }

    /// By label.
    #[must_use]
    pub fn verdicts(&self) -> &[Verdict] {
        &self.verdicts
    }

    /// What decides a path (canonical, `/` is the root); `None` where it is not a path.
    #[must_use]
    pub fn verdict(&self, path: &[u8]) -> Option<&Verdict> {
        self.dfa.label_of(path).map(|l| &self.verdicts[l as usize])
    }

    /// Whether a layer that cannot ask, and does not see arguments, lets it happen.
    #[must_use]
    pub fn permits(&self, label: u32) -> bool {
        self.verdicts[label as usize].decision.action.permits()
    }

    /// Whether a layer that cannot ask lets it happen on a path.
    #[must_use]
    pub fn permits_path(&self, path: &[u8]) -> bool {
        self.dfa.label_of(path).is_some_and(|l| self.permits(l))
    }

    /// The paths on which a layer that cannot ask lets the operation happen.
    #[must_use]
    pub fn allowed(&self) -> &PathSet {
        self.allowed
            .get_or_init(|| PathSet::from_dfa(&self.dfa, |l| self.permits(l)))
    }

    /// The walk of the decisions alone.
    ///
    /// # Errors
    /// The automaton is too large.
    fn alone(&self) -> Result<Arc<Walk>, TooLarge> {
        let walk = || {
            let walk = self.dfa.walked(PathSet::all().dfa(), Limit::default());
            walk.map(Arc::new)
        };
        self.shared.alone.get_or_init(walk).clone()
    }

    /// Where a name leads that no policy mentions.
    pub(super) fn fresh(&self, state: StateId) -> Option<StateId> {
        let table = || {
            let states = self.dfa.states();
            states.map(|s| self.dfa.enter_unlisted(s, FRESH)).collect()
        };
        self.shared.fresh.get_or_init(table)[state.index()]
    }

    /// Walks the decisions in step with a set: at each pair of states where a path may end, the label, the
    /// state, whether the path is in the set, and a way to spell a shortest such path.
    ///
    /// # Errors
    /// The automata are too large together.
    pub fn walk_with(
        &self,
        set: &PathSet,
        visit: impl FnMut(u32, StateId, bool, &dyn Fn() -> Vec<u8>),
    ) -> Result<(), TooLarge> {
        self.walk_among(&Walks::default(), set, visit)
    }

    /// The same, for who walks with many sets.
    ///
    /// # Errors
    /// The automata are too large together.
    pub fn walk_among(
        &self,
        walks: &Walks,
        set: &PathSet,
        mut visit: impl FnMut(u32, StateId, bool, &dyn Fn() -> Vec<u8>),
    ) -> Result<(), TooLarge> {
        self.walk_labels(walks, set.dfa(), |label, state, member, spell| {
            visit(label, state, member == 1, spell);
        })
    }

    /// The same with any automaton: its label in place of whether the path is in a set.
    ///
    /// # Errors
    /// The automata are too large together.
    pub fn walk_labels(
        &self,
        walks: &Walks,
        other: &Dfa,
        mut visit: impl FnMut(u32, StateId, u32, &dyn Fn() -> Vec<u8>),
    ) -> Result<(), TooLarge> {
        let walk = walks.of(self, other)?;
        for (node, a, b) in walk.visited() {
            let spell = || canonical(walk.spell(node));
            visit(self.dfa.label(a), a, other.label(b), &spell);
        }
        Ok(())
    }

    /// Walks these decisions in step with another policy's: at each pair of states where a path may end, both
    /// labels, and a way to spell a shortest such path.
    ///
    /// # Errors
    /// The automata are too large together.
    pub fn walk_both(
        &self,
        other: &Self,
        mut visit: impl FnMut(u32, u32, &dyn Fn() -> Vec<u8>),
    ) -> Result<(), TooLarge> {
        self.dfa
            .walk_pairs(&other.dfa, Limit::default(), |a, b, spell| {
                visit(
                    self.dfa.label(a),
                    other.dfa.label(b),
                    &|| canonical(spell()),
                );
                true
            })
    }

    /// The paths that one rule (`None`: the default) decides.
    #[must_use]
    pub fn decided_by(&self, rule: Option<RuleId>) -> PathSet {
        PathSet::from_dfa(&self.dfa, |l| {
            self.verdicts[l as usize].decision.rule == rule
        })
    }
}
