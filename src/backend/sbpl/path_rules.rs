//! The rules of a policy, as sets of paths for the ledger and as filters for the profile.
//!
//! Most rules are about several operations. So each rule is made once, with its operations. The denies that each
//! pattern intersects are also found once. The patterns of all rules are in one array.

use super::lower::base;
use super::model::{Filter, NamedFilter};
use super::moving;
use crate::policy::{Component, Objects, Operation, Policy, RuleId, Sequence};
use crate::semantics::{self, PathSet, SequenceIndex, TooLarge};
use rustc_hash::FxHashMap;
use std::cell::OnceCell;
use std::ops::Range;

/// Whether the pattern matches an object with everything beneath it.
fn is_tree(s: &Sequence) -> bool {
    s.components.last() == Some(&Component::AnyDepth)
}

/// Which of the patterns that are allowed count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Part {
    Whole,
    /// Trees. If everything is allowed by default, there is no difference: all patterns.
    Trees,
    /// Patterns that are no trees. If everything is allowed by default: none.
    Single,
}

/// The parts of rules that filters name: the place of the rule and the part, and the number in the order of use.
pub(super) type Named = FxHashMap<(usize, Part), u32>;

/// A rule: patterns, exceptions, whether it allows, and for which operations.
#[derive(Debug)]
struct PathRule {
    /// The rule of the policy; `None`: one of polc's own.
    rule: Option<RuleId>,
    include: Range<usize>,
    except: Range<usize>,
    allows: bool,
    /// A bit for each of [`Operation::ON_PATHS`].
    operations: u16,
}

fn bit(operation: Operation) -> u16 {
    let at = Operation::ON_PATHS.iter().position(|o| *o == operation);
    at.map_or(0, |at| 1 << at)
}

/// The index after those of the operations: the trees that may be deleted.
const TREES: usize = Operation::ON_PATHS.len();

/// The rules of a policy. The first one that matches decides.
#[derive(Debug)]
pub(super) struct PathRules {
    default_allow: bool,
    list: Vec<PathRule>,
    patterns: Vec<Sequence>,
    /// The rule of each entry in `patterns`.
    owner: Vec<usize>,
    /// The patterns of rules with the default's action, separately for each set of operations. Programs by name match
    /// at any depth, and would otherwise be compared with the patterns of all operations.
    against: Vec<Against>,
    /// For each entry in `patterns`: which of those it intersects.
    intersecting: Vec<OnceCell<Vec<usize>>>,
}

#[derive(Debug)]
struct Against {
    operations: u16,
    index: SequenceIndex,
    /// By number in the index: the index in [`PathRules::patterns`].
    numbers: Vec<usize>,
}

impl PathRules {
    pub fn of(policy: &Policy) -> Self {
        let mut out = Self {
            default_allow: policy.default_action.permits(),
            list: Vec::new(),
            patterns: Vec::new(),
            owner: Vec::new(),
            against: Vec::new(),
            intersecting: Vec::new(),
        };
        let above = moving::ancestors(policy);
        let moves = bit(Operation::Create) | bit(Operation::Delete);
        out.add(None, above.iter(), [].iter(), false, moves);
        for rule in &policy.rules {
            let operations = Operation::ON_PATHS.into_iter();
            let operations = operations.filter(|o| rule.concerns_paths(*o));
            let operations = operations.fold(0, |bits, o| bits | bit(o));
            if operations == 0 {
                continue;
            }
            let allows = rule.action.permits();
            match &rule.objects {
                Objects::Paths { paths, except } => {
                    let paths = paths.iter().flat_map(|p| &p.sequences);
                    let except = except.iter().flat_map(|p| &p.sequences);
                    out.add(Some(rule.id), paths, except, allows, operations);
                }
                Objects::Commands { commands, except } => {
                    // SBPL sees only the program. To deny some argument lists denies nothing here, and to allow some
                    // allows the program.
                    let whole = commands.iter().filter(|c| allows || c.arguments.is_any());
                    let except = except.iter().filter(|c| !allows || c.arguments.is_any());
                    let whole = whole.flat_map(|c| &c.program.sequences);
                    let except = except.flat_map(|c| &c.program.sequences);
                    out.add(Some(rule.id), whole, except, allows, operations);
                }
                _ => {}
            }
        }
        if !out.default_allow {
            let both = bit(Operation::Read) | bit(Operation::List);
            out.add(None, base(Operation::Read).iter(), [].iter(), true, both);
            let edit = bit(Operation::Edit);
            out.add(None, base(Operation::Edit).iter(), [].iter(), true, edit);
        }
        out.intersecting
            .resize_with(out.patterns.len(), OnceCell::new);
        out
    }

    fn add<'p>(
        &mut self,
        rule_id: Option<RuleId>,
        include: impl Iterator<Item = &'p Sequence>,
        except: impl Iterator<Item = &'p Sequence>,
        allows: bool,
        operations: u16,
    ) {
        let rule = self.list.len();
        let include = self.patterns_of(include, rule);
        if include.is_empty() {
            return;
        }
        if allows == self.default_allow {
            let mut known = self.against.iter();
            let known = known.position(|a| a.operations == operations);
            let at = known.unwrap_or(self.against.len());
            if known.is_none() {
                self.against.push(Against {
                    operations,
                    index: SequenceIndex::default(),
                    numbers: Vec::new(),
                });
            }
            let against = &mut self.against[at];
            for at in include.clone() {
                against.index.add(&self.patterns[at]);
                against.numbers.push(at);
            }
        }
        let except = self.patterns_of(except, rule);
        self.list.push(PathRule {
            rule: rule_id,
            include,
            except,
            allows,
            operations,
        });
    }

    fn patterns_of<'p>(
        &mut self,
        list: impl Iterator<Item = &'p Sequence>,
        rule: usize,
    ) -> Range<usize> {
        let from = self.patterns.len();
        self.patterns.extend(list.cloned());
        self.owner.resize(self.patterns.len(), rule);
        from..self.patterns.len()
    }

    /// Whether two operations have the same rules.
    pub fn alike(&self, a: Operation, b: Operation) -> bool {
        let has = |c: &PathRule, o| c.operations & bit(o) != 0;
        self.list.iter().all(|c| has(c, a) == has(c, b))
    }

    /// The paths on which each operation is allowed.
    ///
    /// # Errors
    /// An automaton is too large.
    pub fn sets(&self) -> Result<Sets, TooLarge> {
        // Operations with nearly the same rules share one automaton.
        let trees = self.trees();
        let mut sets: [Option<PathSet>; TREES + 1] = Default::default();
        let alike = Operation::ON_PATHS_BUT_EXECUTE
            .iter()
            .fold(1 << TREES, |bits, o| bits | bit(*o));
        if let Ok(family) =
            PathSet::family::<_, { TREES + 1 }>(self.told(&trees, alike), self.default_allow)
        {
            for (at, set) in family.into_iter().enumerate() {
                if alike >> at & 1 == 1 {
                    sets[at] = Some(set);
                }
            }
        }
        let mut made = Vec::with_capacity(sets.len());
        for (at, set) in sets.into_iter().enumerate() {
            made.push(match set {
                Some(set) => set,
                None => {
                    let told = self.told(&trees, 1 << at);
                    let told = told.map(|c| semantics::Case { sets: 1, ..c });
                    let [set] = PathSet::family(told, self.default_allow)?;
                    set
                }
            });
        }
        Ok(Sets(made))
    }

    /// By rule: the trees that it allows deleting, if it also allows other objects.
    fn trees(&self) -> Vec<Option<Vec<Sequence>>> {
        let delete = bit(Operation::Delete);
        let of = |c: &PathRule| {
            let own = &self.patterns[c.include.clone()];
            let split = c.allows && !self.default_allow && c.operations & delete != 0;
            (split && !own.iter().all(is_tree))
                .then(|| own.iter().filter(|s| is_tree(s)).cloned().collect())
        };
        self.list.iter().map(of).collect()
    }

    /// The rules that are about some of these sets.
    fn told<'c>(
        &'c self,
        trees: &'c [Option<Vec<Sequence>>],
        sets: u16,
    ) -> impl Iterator<Item = semantics::Case<'c, Sequence>> {
        let delete = bit(Operation::Delete);
        self.list.iter().zip(trees).flat_map(move |(c, trees)| {
            let deletes = match c.operations & delete {
                0 => 0,
                _ => sets & 1 << TREES,
            };
            let of = |include, sets| semantics::Case {
                include,
                except: &self.patterns[c.except.clone()],
                sets,
                allows: c.allows,
            };
            let include = &self.patterns[c.include.clone()];
            let whole = c.operations & sets;
            let (whole, apart) = match trees {
                None => (of(include, whole | deletes), None),
                Some(trees) => (of(include, whole), Some(of(trees.as_slice(), deletes))),
            };
            let told = |c: &semantics::Case<'_, Sequence>| c.sets != 0 && !c.include.is_empty();
            std::iter::once(whole).chain(apart).filter(told)
        })
    }

    /// The filter for what has the action that is not the default; `None`: there is nothing. Rules are in it by their
    /// names.
    pub fn filter(&self, operation: Operation, part: Part, named: &mut Named) -> Option<Filter> {
        let wanted = !self.default_allow;
        let part = match (part, self.default_allow) {
            (Part::Single, true) => return None,
            (_, true) => Part::Whole,
            (part, false) => part,
        };
        let own = self.list.iter().enumerate();
        let own = own.filter(|(_, c)| c.operations & bit(operation) != 0);
        let own = own.map(|(at, c)| (at, c, if c.allows { part } else { Part::Whole }));
        let own: Vec<_> = own
            .filter(|(_, c, part)| c.include.clone().any(|at| self.counts(at, *part)))
            .collect();
        let mut union = Vec::new();
        for run in own.chunk_by(|a, b| a.1.allows == b.1.allows) {
            if run[0].1.allows != wanted {
                continue;
            }
            // Rules above it, with the action of the default, that it runs into.
            let mut against: Vec<usize> = Vec::new();
            for (_, c, part) in run {
                for at in c.include.clone().filter(|at| self.counts(*at, *part)) {
                    let rules = self.intersecting(at).iter().map(|n| self.owner[*n]);
                    against.extend(rules.filter(|rule| {
                        *rule < run[0].0 && self.list[*rule].operations & bit(operation) != 0
                    }));
                }
            }
            against.sort_unstable();
            against.dedup();
            let allowed = run
                .iter()
                .map(|(at, _, part)| self.named(*at, *part, named));
            let allowed = Filter::Any(allowed.collect());
            if against.is_empty() {
                union.push(allowed);
                continue;
            }
            let carved = against.iter();
            let carved = carved.map(|at| self.named(*at, Part::Whole, named));
            let carved = Filter::Any(carved.collect());
            union.push(Filter::All(vec![allowed, Filter::Not(Box::new(carved))]));
        }
        match union.len() {
            0 => None,
            1 => union.pop(),
            _ => Some(Filter::Any(union)),
        }
    }

    /// Whether a pattern is in this part of its rule.
    fn counts(&self, at: usize, part: Part) -> bool {
        match part {
            Part::Whole => true,
            Part::Trees => is_tree(&self.patterns[at]),
            Part::Single => !is_tree(&self.patterns[at]),
        }
    }

    /// A part of a rule by its name.
    fn named(&self, at: usize, part: Part, named: &mut Named) -> Filter {
        let own = &self.list[at].include;
        let all = |part| own.clone().all(|at| self.counts(at, part));
        let part = if all(part) { Part::Whole } else { part };
        let next = named.len() as u32;
        Filter::Named(*named.entry((at, part)).or_insert(next))
    }

    /// The filters that were named, in the order of the rules.
    pub fn into_named(self, named: Named) -> (Vec<NamedFilter>, Vec<u32>, Vec<Sequence>) {
        let mut order: Vec<((usize, Part), u32)> = named.into_iter().collect();
        order.sort_unstable_by_key(|(key, _)| *key);
        let mut numbers = vec![0; order.len()];
        let mut out = Vec::with_capacity(order.len());
        for ((at, part), number) in order {
            if let Some(slot) = numbers.get_mut(number as usize) {
                *slot = out.len() as u32;
            }
            let rule = &self.list[at];
            let include = rule.include.clone().filter(|at| self.counts(*at, part));
            let include = Filter::Patterns(include.map(|at| at as u32).collect());
            let filter = if rule.except.is_empty() {
                include
            } else {
                let except = rule.except.clone().map(|at| at as u32).collect();
                let except = Filter::Not(Box::new(Filter::Patterns(except)));
                Filter::All(vec![include, except])
            };
            let part = match (rule.rule, part) {
                (None, _) if !rule.allows => moving::PART,
                (None, _) if rule.operations & bit(Operation::Read) != 0 => "-base-read",
                (None, _) => "-base-edit",
                (_, Part::Whole) => "",
                (_, Part::Trees) => "-trees",
                (_, Part::Single) => "-files",
            };
            out.push(NamedFilter {
                rule: rule.rule,
                part,
                filter,
            });
        }
        (out, numbers, self.patterns)
    }

    /// The patterns that one intersects, of rules about some of its operations and with the action of the default.
    fn intersecting(&self, at: usize) -> &[usize] {
        self.intersecting[at].get_or_init(|| {
            let operations = self.list[self.owner[at]].operations;
            let against = self.against.iter();
            let against = against.filter(|a| a.operations & operations != 0);
            let met = against.flat_map(|a| {
                let numbers = a.index.numbers(&self.patterns[at]);
                numbers.into_iter().map(|n| a.numbers[n])
            });
            met.collect()
        })
    }
}

/// The paths on which each operation is allowed.
#[derive(Debug)]
pub(super) struct Sets(Vec<PathSet>);

impl Sets {
    pub fn of(&self, operation: Operation) -> &PathSet {
        let at = Operation::ON_PATHS.iter().position(|o| *o == operation);
        &self.0[at.unwrap_or(0)]
    }

    /// The directories that may be deleted.
    pub fn trees(&self) -> &PathSet {
        &self.0[TREES]
    }
}
