//! Commands, for layers that see a program but not its arguments.
//!
//! All rules on `execute` are in one list. For one program, some rules match whatever the arguments are, and others
//! match only some argument lists. An automaton over words splits the lists into those that each rule decides. The
//! program is allowed if one of its lists is.

use super::automaton::{Dfa, Domain, Limit, Nfa, SlotKind, TooLarge};
use super::reference::{Decision, matches_path};
use crate::policy::{Action, ArgumentPattern, Objects, Operation, Policy, RuleId, Token};
use std::collections::BTreeSet;

/// What the rules that match one program decide about its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLabel {
    /// The answer of a layer that sees only the program.
    pub program: Decision,
    /// Every rule (and the default) that decides some list of arguments, with a shortest such list, in the order of the
    /// rules.
    pub parts: Vec<(Decision, Vec<Vec<u8>>)>,
}

/// One rule that matches a program, and the arguments that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ArgumentRule<'a> {
    pub rule: RuleId,
    pub action: Action,
    pub arguments: Vec<&'a ArgumentPattern>,
    pub except: Vec<&'a ArgumentPattern>,
}

/// The decision for a label of [`arguments_automaton`].
fn decision_of(rules: &[ArgumentRule<'_>], default: Action, label: u32) -> Decision {
    match label {
        0 => Decision {
            action: default,
            rule: None,
        },
        n => Decision {
            action: rules[n as usize - 1].action,
            rule: Some(rules[n as usize - 1].rule),
        },
    }
}

/// The automaton over argument lists. Label 0 is the default, and label n is rule n - 1.
fn arguments_automaton(rules: &[ArgumentRule<'_>]) -> Result<Dfa, TooLarge> {
    let mut nfa = Nfa::new(Domain::Words);
    for (i, c) in rules.iter().enumerate() {
        for (patterns, kind) in [
            (&c.arguments, SlotKind::Include),
            (&c.except, SlotKind::Except),
        ] {
            if patterns.is_empty() {
                continue;
            }
            let slot = nfa.slot(i as u32, kind);
            for p in patterns {
                for words in choices(p) {
                    nfa.add_words(slot, &words, p.rest);
                }
            }
        }
    }
    let slots = nfa.slots().to_vec();
    let limit = Limit {
        states: 50_000,
        positions: 2_000_000,
    };
    nfa.determinise(limit, None, |matched| {
        let excepted = |case| {
            matched.iter().any(|s| {
                slots[*s as usize].case == case && slots[*s as usize].kind == SlotKind::Except
            })
        };
        matched
            .iter()
            .map(|s| slots[*s as usize])
            .find(|s| s.kind == SlotKind::Include && !excepted(s.case))
            .map_or(0, |s| s.case + 1)
    })
}

/// The words of a string of the automaton. Every word ends in a NUL.
fn words_of(text: &[u8]) -> Vec<Vec<u8>> {
    let mut words: Vec<Vec<u8>> = text.split(|b| *b == 0).map(<[u8]>::to_vec).collect();
    words.pop();
    words
}

/// Decides the arguments of a program that these rules match, in order.
pub(crate) fn split_arguments(rules: &[ArgumentRule<'_>], default: Action) -> CommandLabel {
    let decision = |label: u32| decision_of(rules, default, label);
    let dfa = arguments_automaton(rules);
    let mut found: Vec<Option<Vec<Vec<u8>>>> = vec![None; rules.len() + 1];
    match dfa {
        Ok(dfa) => {
            // INVARIANT: an automaton that is walked in step with itself visits only its own states.
            let _ = dfa.walk_pairs(&dfa, Limit::default(), |a, _, spell| {
                let entry = &mut found[dfa.label(a) as usize];
                if entry.is_none() {
                    *entry = Some(words_of(&spell()));
                }
                true
            });
        }
        Err(_) => {
            // There are too many argument patterns to split them, so every rule may decide something. The witness is a
            // list that the rule's own pattern matches.
            for (i, c) in rules.iter().enumerate() {
                found[i + 1] = c.arguments.first().map(|p| example(p));
            }
            found[0] = Some(Vec::new());
        }
    }
    let mut parts: Vec<(Decision, Vec<Vec<u8>>)> = (1..=rules.len())
        .chain([0])
        .filter_map(|i| found[i].take().map(|words| (decision(i as u32), words)))
        .collect();
    parts.dedup_by_key(|p| p.0);
    let program = parts
        .iter()
        .find(|p| p.0.action.permits())
        .or_else(|| parts.iter().find(|p| p.0.action == Action::Ask))
        .or(parts.first())
        .map_or(decision(0), |p| p.0);
    CommandLabel { program, parts }
}

/// All combinations of the words' alternatives. Globs of tools may have several. Commands have one each.
fn choices(pattern: &ArgumentPattern) -> Vec<Vec<&[Token]>> {
    let mut out: Vec<Vec<&[Token]>> = vec![Vec::new()];
    for w in &pattern.words {
        out = out
            .into_iter()
            .flat_map(|prefix| {
                w.alternatives.iter().map(move |a| {
                    let mut next = prefix.clone();
                    next.push(a.as_slice());
                    next
                })
            })
            .collect();
    }
    out
}

fn example(pattern: &ArgumentPattern) -> Vec<Vec<u8>> {
    let byte = |t: &Token| match t {
        Token::Byte(b) => Some(*b),
        Token::Any => Some(b'a'),
        Token::Class(c) => c.iter().next(),
        Token::Star => None,
    };
    let word = |tokens: &Vec<Token>| tokens.iter().filter_map(byte).collect();
    pattern
        .words
        .iter()
        .filter_map(|w| w.alternatives.first().map(word))
        .collect()
}

/// The rules that match this program, each with the arguments that it is about.
fn rules_about<'a>(
    policy: &'a Policy,
    program: &[u8],
    any: &'a ArgumentPattern,
) -> Vec<ArgumentRule<'a>> {
    let mut out = Vec::new();
    for rule in policy
        .rules
        .iter()
        .filter(|r| r.operations.contains(Operation::Execute))
    {
        let (arguments, except) = match &rule.objects {
            Objects::Paths { paths, except } => {
                let hit = |list: &[_]| list.iter().any(|p| matches_path(p, program));
                (
                    if hit(paths) { vec![any] } else { vec![] },
                    if hit(except) { vec![any] } else { vec![] },
                )
            }
            Objects::Commands { commands, except } => {
                let hits = |list: &'a [crate::policy::CommandPattern]| {
                    list.iter()
                        .filter(|c| matches_path(&c.program, program))
                        .map(|c| &c.arguments)
                        .collect()
                };
                (hits(commands), hits(except))
            }
            _ => continue,
        };
        if !arguments.is_empty() {
            out.push(ArgumentRule {
                rule: rule.id,
                action: rule.action,
                arguments,
                except,
            });
        }
    }
    out
}

/// The answer of a layer that sees only the program.
pub(crate) fn program_decision(policy: &Policy, program: &[u8]) -> Decision {
    let any = ArgumentPattern::any();
    split_arguments(&rules_about(policy, program, &any), policy.default_action).program
}

/// Argument lists about which each of two policies decides by one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgumentCase {
    /// The decision of the first policy.
    pub old: Decision,
    /// The decision of the second policy.
    pub new: Decision,
    /// A shortest such list.
    pub arguments: Vec<Vec<u8>>,
}

/// Every pair of decisions of two policies about the arguments of one program, also pairs that are equal.
///
/// # Errors
/// The automata are too large.
pub fn compare_arguments(
    old: &Policy,
    new: &Policy,
    program: &[u8],
) -> Result<Vec<ArgumentCase>, TooLarge> {
    let any = ArgumentPattern::any();
    let (mine, theirs) = (
        rules_about(old, program, &any),
        rules_about(new, program, &any),
    );
    let (a, b) = (arguments_automaton(&mine)?, arguments_automaton(&theirs)?);
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    a.walk_pairs(&b, Limit::default(), |x, y, spell| {
        if seen.insert((a.label(x), b.label(y))) {
            out.push(ArgumentCase {
                old: decision_of(&mine, old.default_action, a.label(x)),
                new: decision_of(&theirs, new.default_action, b.label(y)),
                arguments: words_of(&spell()),
            });
        }
        true
    })?;
    Ok(out)
}
