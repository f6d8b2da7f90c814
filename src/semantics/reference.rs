//! The reference: what a policy decides about one object. It is written so that people can compare it with the
//! language's definition.

use crate::fidelity::Object;
use crate::policy::{
    Action, ArgumentPattern, CommandPattern, Component, HostSpec, Objects, Operation, PathPattern,
    Policy, Protocol, Query, Rule, RuleId, Sequence, SyscallName, Token, WordPattern, syscalls,
};

/// A policy's decision, and its rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Decision {
    /// The decision.
    pub action: Action,
    /// The rule; `None`: the default.
    pub rule: Option<RuleId>,
}

/// The decision for an operation on an object.
///
/// For `execute` on a path, this is the answer of a layer that sees only the program: allow, if one of its argument
/// lists is allowed. In a command, a program's name alone stands for `/usr/bin/NAME`. If the operation does not have
/// this kind of object (a path for `bind`), the default decides.
#[must_use]
pub fn decide(policy: &Policy, operation: Operation, object: &Object) -> Decision {
    match object {
        Object::Path(path) if operation == Operation::Execute => {
            super::commands::program_decision(policy, path)
        }
        Object::Host(spec) if spec.protocol.is_none() => {
            let one = |p| {
                decide(
                    policy,
                    operation,
                    &Object::Host(HostSpec {
                        protocol: Some(p),
                        ..spec.clone()
                    }),
                )
            };
            let (tcp, udp) = (one(Protocol::Tcp), one(Protocol::Udp));
            if tcp.action.strictest(udp.action) == tcp.action {
                tcp
            } else {
                udp
            }
        }
        _ => policy
            .rules
            .iter()
            .find(|r| r.operations.contains(operation) && matches(r, object))
            .map_or_else(
                || Decision {
                    action: default_action(policy, operation, object),
                    rule: None,
                },
                |r| Decision {
                    action: r.action,
                    rule: Some(r.id),
                },
            ),
    }
}

/// What happens if no rule matches. A system call that every ordinary program needs is allowed, because a policy that
/// denies by default still describes a program that runs. A call that belongs to a kept capability is allowed too.
fn default_action(policy: &Policy, operation: Operation, object: &Object) -> Action {
    let of_capability = |name: &str| {
        let mut kept = policy.capabilities.iter();
        kept.any(|c| syscalls::of_capability(c).contains(&name))
    };
    match object {
        Object::Syscall(name)
            if operation == Operation::Syscall
                && (syscalls::ordinary(name) || of_capability(name)) =>
        {
            Action::Allow
        }
        _ => policy.default_action,
    }
}

/// The decision about a question of a policy's `tests:`, which is the strictest of its parts.
#[must_use]
pub fn decide_query(policy: &Policy, query: &Query) -> Decision {
    match query {
        Query::Path(operations, path) => {
            let object = Object::Path(path.clone());
            operations
                .iter()
                .map(|o| decide(policy, o, &object))
                .reduce(|a, b| {
                    if a.action.strictest(b.action) == a.action {
                        a
                    } else {
                        b
                    }
                })
                .unwrap_or(Decision {
                    action: policy.default_action,
                    rule: None,
                })
        }
        Query::Host(operation, spec) => decide(policy, *operation, &Object::Host(spec.clone())),
        Query::Command(words) => {
            decide(policy, Operation::Execute, &Object::Command(words.clone()))
        }
        Query::Syscall(name) => decide(policy, Operation::Syscall, &Object::Syscall(name.clone())),
        Query::Tool(name) => decide(policy, Operation::Tool, &Object::Tool(name.clone())),
    }
}

/// Whether the rule is about the operation and matches the object, whatever rules come before it. A program's path
/// matches a command with any arguments.
#[must_use]
pub fn rule_matches(rule: &Rule, operation: Operation, object: &Object) -> bool {
    if !rule.operations.contains(operation) {
        return false;
    }
    match (&rule.objects, object) {
        (Objects::Commands { commands, .. }, Object::Path(p)) => {
            commands.iter().any(|c| matches_path(&c.program, p))
        }
        _ => matches(rule, object),
    }
}

fn matches(rule: &Rule, object: &Object) -> bool {
    fn split<T>(include: &[T], except: &[T], f: impl Fn(&T) -> bool) -> bool {
        include.iter().any(&f) && !except.iter().any(&f)
    }
    match (&rule.objects, object) {
        (Objects::Paths { paths, except }, Object::Path(p)) => {
            split(paths, except, |x| matches_path(x, p))
        }
        (Objects::Paths { paths, except }, Object::Command(words)) => {
            let program = program_path(words);
            split(paths, except, |x| matches_path(x, &program))
        }
        (Objects::Commands { commands, except }, Object::Command(words)) => {
            let program = program_path(words);
            split(commands, except, |c| {
                matches_command(c, &program, words.get(1..).unwrap_or_default())
            })
        }
        (Objects::Hosts { hosts, except }, Object::Host(h)) => {
            let protocol = h.protocol.unwrap_or(Protocol::Tcp);
            split(hosts, except, |x| x.matches(protocol, &h.address, h.port))
        }
        (Objects::Syscalls { syscalls, except }, Object::Syscall(name)) => {
            split(syscalls, except, |s| matches_syscall(s, name))
        }
        // A rule with conditions may match or not. For the tool alone, the answer is that it matches.
        (Objects::Tools { tools, except, .. }, Object::Tool(name)) => {
            split(tools, except, |t| matches_word(&t.glob, name.as_bytes()))
        }
        _ => false,
    }
}

/// Whether the system call is the one named, or in the group.
pub(crate) fn matches_syscall(pattern: &SyscallName, name: &str) -> bool {
    match pattern {
        SyscallName::Name(n) => n == name,
        SyscallName::Group(g) => syscalls::group(g).is_some_and(|members| members.contains(&name)),
    }
}

/// The path that the first word of a command stands for.
pub(crate) fn program_path(words: &[Vec<u8>]) -> Vec<u8> {
    match words.first() {
        Some(w) if w.contains(&b'/') => w.clone(),
        Some(w) => [b"/usr/bin/".as_slice(), w].concat(),
        None => b"/".to_vec(),
    }
}

/// Whether a pattern matches a path (as bytes; `/` is the root). Nothing matches a path that is not in canonical form.
#[must_use]
pub fn matches_path(pattern: &PathPattern, path: &[u8]) -> bool {
    let Some(components) = split_path(path) else {
        return false;
    };
    pattern
        .sequences
        .iter()
        .any(|s| matches_sequence(s, &components))
}

fn split_path(path: &[u8]) -> Option<Vec<&[u8]>> {
    if path == b"/" {
        return Some(Vec::new());
    }
    let components: Vec<&[u8]> = path.strip_prefix(b"/")?.split(|b| *b == b'/').collect();
    let fine = |c: &&[u8]| !c.is_empty() && *c != b"." && *c != b".." && !c.contains(&0);
    components.iter().all(fine).then_some(components)
}

fn matches_sequence(sequence: &Sequence, path: &[&[u8]]) -> bool {
    matches_run(
        &sequence.components,
        path,
        |component| *component == Component::AnyDepth,
        |component, name| match component {
            Component::AnyDepth => true,
            Component::Name(tokens) => matches_tokens(tokens, name),
        },
    )
}

/// Whether the tokens match the whole word.
pub(crate) fn matches_tokens(tokens: &[Token], word: &[u8]) -> bool {
    matches_run(
        tokens,
        word,
        |token| *token == Token::Star,
        |token, byte| match token {
            Token::Byte(b) => b == byte,
            Token::Any | Token::Star => true,
            Token::Class(class) => class.contains(*byte),
        },
    )
}

/// Whether a pattern matches a whole text: `**` over the names of a path, `*` over the bytes of a name.
///
/// A run takes as few parts as possible. If the rest does not match, the last run takes one part more. The runs before
/// it never have to. So each part of the text meets each part of the pattern at most once.
fn matches_run<P, T>(
    pattern: &[P],
    text: &[T],
    is_run: impl Fn(&P) -> bool,
    matches: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut at, mut from) = (0, 0);
    // After the last run: the position in the pattern, and the position in the text that was tried last.
    let mut again: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(at), text.get(from)) {
            (Some(p), _) if is_run(p) => {
                at += 1;
                again = Some((at, from));
            }
            (None, None) => return true,
            (Some(p), Some(t)) if matches(p, t) => {
                at += 1;
                from += 1;
            }
            // The text has ended, or no run can take more of it.
            (Some(_), None) => return false,
            _ => {
                let Some((after_run, tried)) = again else {
                    return false;
                };
                at = after_run;
                from = tried + 1;
                again = Some((after_run, from));
            }
        }
    }
}

/// Whether a word pattern matches a word.
#[must_use]
pub fn matches_word(pattern: &WordPattern, word: &[u8]) -> bool {
    pattern.alternatives.iter().any(|t| matches_tokens(t, word))
}

/// Whether a command pattern matches a program (by path) and its arguments.
#[must_use]
pub fn matches_command(pattern: &CommandPattern, program: &[u8], arguments: &[Vec<u8>]) -> bool {
    matches_path(&pattern.program, program) && matches_arguments(&pattern.arguments, arguments)
}

fn matches_arguments(pattern: &ArgumentPattern, arguments: &[Vec<u8>]) -> bool {
    let n = pattern.words.len();
    (if pattern.rest {
        arguments.len() >= n
    } else {
        arguments.len() == n
    }) && pattern
        .words
        .iter()
        .zip(arguments)
        .all(|(p, a)| matches_word(p, a))
}
