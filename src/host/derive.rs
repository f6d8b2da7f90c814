//! Makes the policy that also denies what denied names lead to.

use super::beneath::{Names, Search};
use super::links::{Met, Resolver, View, join, names};
use crate::fidelity::Object;
use crate::policy::{
    CommandPattern, Component, FollowedLink, Name, Objects, Operation, PathPattern, Platform,
    Policy, Rule, RuleId, Sequence, Subject,
};
use crate::semantics::{Meaning, PathSet, decide, matches_tokens};
use std::collections::BTreeSet;

/// A link that a denied name leads through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The rule that denies the name, in the policy that was followed.
    pub rule: RuleId,
    /// The name, and where it leads.
    pub followed: FollowedLink,
    /// What was done.
    pub found: Found,
    /// The rule denies a directory above the name, and does not name it.
    pub beneath: bool,
}

/// What was found on this host of what a policy denies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Followed {
    /// The links that denied names lead through.
    pub links: Vec<Link>,
    /// Denied files that have another name, which is not known (hard links).
    pub other_names: Vec<Vec<u8>>,
    /// Denied directories with so much in them that not all of it was looked at.
    pub unseen: Vec<Vec<u8>>,
}

/// What was done with a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// What it leads to is denied as well.
    Denied,
    /// It leads to so much that to deny all of it would keep the program from working. The policy allows this
    /// operation on this path, though the name is denied.
    Gap(Operation, Vec<u8>),
    /// It leads to what is installed, where nothing is secret, from where a repository or the program could have put it.
    Installed,
    /// It leads to a program that is many programs.
    ManyPrograms,
}

/// Directories of the system, with those above them: a whole one of these is never denied for a link's sake.
const SYSTEM: [&str; 22] = [
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib32",
    "/lib64",
    "/nix",
    "/nix/store",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/lib64",
    "/usr/share",
    "/var",
];

/// What is installed lies beneath these.
pub(super) const INSTALLED: [&str; 8] = [
    "/bin",
    "/lib",
    "/lib32",
    "/lib64",
    "/nix/store",
    "/opt",
    "/sbin",
    "/usr",
];

/// What makes something else of a file.
const CHANGES: [Operation; 4] = [
    Operation::Edit,
    Operation::Create,
    Operation::Delete,
    Operation::Metadata,
];

/// Programs that do what the name says by which they are started.
const MANY_PROGRAMS: [&str; 5] = [
    "busybox",
    "toybox",
    "coreutils",
    "gnu-coreutils",
    "sbase-box",
];

/// Follows the links of this host that denied names lead through. Returned is a policy that denies what they lead to as
/// well, and what was met.
#[must_use]
pub fn follow(policy: Policy, view: &dyn View) -> (Policy, Followed) {
    let resolver = Resolver::new(view);
    let here = policy.seen_by(Platform::HOST);
    let mut search = Search::new(&here, view, &resolver);
    let meaning = Meaning::new(&here);
    let mut derived: Vec<Vec<Rule>> = Vec::new();
    let mut links: Vec<Link> = Vec::new();
    for rule in &here.rules {
        let mut own = Vec::new();
        if !rule.action.permits() {
            let named = met(&beginnings(rule), &resolver);
            let mut lower = met(&search.links(rule), &resolver);
            lower.retain(|pair| !named.contains(pair));
            let pairs = named.iter().map(|p| (p, false));
            for ((name, met), beneath) in pairs.chain(lower.iter().map(|p| (p, true))) {
                let Some(rule) = through(rule, name, met) else {
                    continue;
                };
                let Some(followed) = rule.link.as_deref().cloned() else {
                    continue;
                };
                if beneath && !is_open(&meaning, &rule, &followed.real, view) {
                    continue;
                }
                let found = objection(&meaning, &rule, &followed);
                if found == Some(Found::Denied) {
                    // Nothing there is allowed: there is nothing to deny, and nothing to tell.
                    continue;
                }
                links.push(Link {
                    rule: rule.id,
                    followed,
                    found: found.clone().unwrap_or(Found::Denied),
                    beneath,
                });
                if found.is_none() {
                    own.push(rule);
                }
            }
        }
        derived.push(own);
    }
    let (other_names, unseen) = search.told();
    let mut followed = Followed {
        links,
        other_names,
        unseen,
    };
    drop(meaning);
    drop(here);
    if derived.iter().all(Vec::is_empty) {
        return (policy, followed);
    }
    let (policy, moved) = with(policy, derived);
    for link in &mut followed.links {
        if let Some(new) = moved.get(link.rule.0 as usize) {
            link.rule = *new;
        }
    }
    (policy, followed)
}

/// Whether the policy allows something there that the derived rule denies.
fn is_open(meaning: &Meaning<'_>, rule: &Rule, real: &[u8], view: &dyn View) -> bool {
    let object = || Object::Path(real.to_vec());
    let allowed = |o| decide(meaning.policy(), o, &object()).action.permits();
    rule.operations.iter().any(allowed) || view.file(real).is_none() && gap(meaning, rule).is_some()
}

/// The rule as it speaks of what its names lead to through links of this host, a rule for each link.
#[must_use]
pub fn led(rule: &Rule, resolver: &Resolver<'_>) -> Vec<Rule> {
    met(&beginnings(rule), resolver)
        .iter()
        .filter_map(|(named, met)| through(rule, named, met))
        .collect()
}

/// The literal paths that the rule's patterns begin with. `/w/**/x` begins with `/w/x` too.
fn beginnings(rule: &Rule) -> BTreeSet<Names> {
    let sequences: Vec<&Sequence> = match &rule.objects {
        Objects::Paths { paths, .. } => paths.iter().flat_map(|p| &p.sequences).collect(),
        Objects::Commands { commands, .. } => {
            commands.iter().flat_map(|c| &c.program.sequences).collect()
        }
        _ => Vec::new(),
    };
    let mut out = BTreeSet::new();
    for sequence in sequences {
        let literal: Names = sequence.literal_names().map(<[u8]>::to_vec).collect();
        // A pattern that begins with `**` is about every directory, and names none.
        if literal.is_empty() {
            continue;
        }
        let shallow = sequence.components.iter();
        let shallow = shallow.filter(|c| **c != Component::AnyDepth);
        let shallow = shallow.map_while(Component::literal);
        out.insert(shallow.map(<[u8]>::to_vec).collect());
        out.insert(literal);
    }
    out
}

/// The links that paths lead through: the name, and what a link gives it for another.
fn met(paths: &BTreeSet<Names>, resolver: &Resolver<'_>) -> Vec<(Names, Met)> {
    let mut out: Vec<(Names, Met)> = Vec::new();
    for names in paths {
        let slices: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        for met in resolver.walk(&slices).met {
            let named = names.iter().take(met.named).cloned().collect();
            let pair = (named, met);
            if pair.0 != pair.1.real && !out.contains(&pair) {
                out.push(pair);
            }
        }
    }
    out
}

/// The rule as it speaks of what the name leads to; `None`: nothing that it does not say already.
fn through(rule: &Rule, named: &[Vec<u8>], met: &Met) -> Option<Rule> {
    let moved = |p: &PathPattern| {
        let mut out: Vec<Sequence> = Vec::new();
        for sequence in &p.sequences {
            for rest in beneath(&sequence.components, named) {
                let literal = |n: &Vec<u8>| Component::Name(Name::literal(n));
                let mut components: Vec<Component> = met.real.iter().map(literal).collect();
                if !met.alone {
                    components.extend_from_slice(rest);
                }
                let sequence = Sequence { components };
                if !out.contains(&sequence) {
                    out.push(sequence);
                }
            }
        }
        out
    };
    let patterns = |list: &[PathPattern], but: &[PathPattern]| -> Vec<PathPattern> {
        let said = |s: &Sequence| but.iter().any(|p| p.sequences.contains(s));
        let sequences = list.iter().flat_map(&moved).filter(|s| !said(s));
        sequences.map(PathPattern::from).collect()
    };
    let commands = |list: &[CommandPattern]| -> Vec<CommandPattern> {
        list.iter()
            .flat_map(|c| moved(&c.program).into_iter().map(move |s| (c, s)))
            .map(|(c, sequence)| CommandPattern {
                program: sequence.into(),
                base_name: false,
                ..c.clone()
            })
            .collect()
    };
    let objects = match &rule.objects {
        Objects::Paths { paths, except } => {
            let derived = patterns(paths, paths);
            if derived.is_empty() {
                return None;
            }
            Objects::Paths {
                paths: derived,
                except: patterns(except, &[]),
            }
        }
        Objects::Commands {
            commands: list,
            except,
        } => {
            let derived = commands(list);
            if derived.is_empty() {
                return None;
            }
            Objects::Commands {
                commands: derived,
                except: commands(except),
            }
        }
        _ => return None,
    };
    Some(Rule {
        objects,
        link: Some(Box::new(FollowedLink {
            named: join(named),
            real: join(&met.real),
        })),
        ..rule.clone()
    })
}

/// What is left of a pattern beneath these names: every way to go on.
pub(super) fn beneath<'c>(components: &'c [Component], names: &[Vec<u8>]) -> Vec<&'c [Component]> {
    // Where in the pattern one can be, in front of the component of this number.
    let mut at = BTreeSet::from([0]);
    let pass = |at: &mut BTreeSet<usize>| {
        let mut next = at.clone();
        for (i, component) in components.iter().enumerate() {
            if *component == Component::AnyDepth && next.contains(&i) {
                next.insert(i + 1);
            }
        }
        *at = next;
    };
    for name in names {
        pass(&mut at);
        at = at
            .into_iter()
            .filter_map(|i| match components.get(i)? {
                Component::AnyDepth => Some(i),
                Component::Name(tokens) => matches_tokens(tokens, name).then_some(i + 1),
            })
            .collect();
    }
    at.into_iter().filter_map(|i| components.get(i..)).collect()
}

/// Whether the derived rule is one that is taken: `None`. Else what is done instead; [`Found::Denied`] says that the
/// policy allows nothing there, so that the rule is not needed.
fn objection(meaning: &Meaning<'_>, rule: &Rule, link: &FollowedLink) -> Option<Found> {
    let subject = &meaning.policy().subject;
    if rule.operations.iter().eq([Operation::Execute]) && is_many_programs(&link.real) {
        return Some(Found::ManyPrograms);
    }
    let within = |place: &Option<Vec<u8>>| {
        let place = place.as_ref();
        place.is_some_and(|p| lies_within(&link.named, p))
    };
    let planted = within(&subject.workspace) || within(&subject.tmp);
    let installed = INSTALLED
        .iter()
        .any(|tree| lies_within(&link.real, tree.as_bytes()));
    if planted && installed {
        let changes = rule.operations.iter().filter(|o| CHANGES.contains(o));
        let changes = Rule {
            operations: changes.collect(),
            ..rule.clone()
        };
        if gap(meaning, &changes).is_none() {
            return Some(Found::Installed);
        }
    }
    if is_wide(subject, &link.real) && !is_wide(subject, &link.named) {
        return Some(gap(meaning, rule).unwrap_or(Found::Denied));
    }
    None
}

/// Whether it is a program that does what the name says by which it is started.
fn is_many_programs(path: &[u8]) -> bool {
    let last = names(path).next_back().unwrap_or_default();
    MANY_PROGRAMS.iter().any(|p| p.as_bytes() == last)
}

/// Whether the path is the directory, or lies beneath it.
pub(super) fn lies_within(path: &[u8], directory: &[u8]) -> bool {
    let rest = path.strip_prefix(directory);
    directory == b"/" || rest.is_some_and(|r| r.is_empty() || r.starts_with(b"/"))
}

/// Whether a program can do nothing without what lies there.
pub(super) fn is_wide(subject: &Subject, path: &[u8]) -> bool {
    let own = [&subject.home, &subject.workspace, &subject.tmp];
    let own = own.into_iter().flatten().any(|p| lies_within(p, path));
    own || path == b"/" || SYSTEM.iter().any(|s| s.as_bytes() == path)
}

/// Something that the policy allows, and the derived rule would deny.
fn gap(meaning: &Meaning<'_>, rule: &Rule) -> Option<Found> {
    let (list, except): (Vec<&Sequence>, Vec<&Sequence>) = match &rule.objects {
        Objects::Paths { paths, except } => (
            paths.iter().flat_map(|p| &p.sequences).collect(),
            except.iter().flat_map(|p| &p.sequences).collect(),
        ),
        Objects::Commands { commands, .. } => (
            commands.iter().flat_map(|c| &c.program.sequences).collect(),
            Vec::new(),
        ),
        _ => return None,
    };
    for operation in rule.operations.iter() {
        let common = || {
            let set = PathSet::of(list.iter().copied())?;
            let set = set.difference(&PathSet::of(except.iter().copied())?)?;
            set.common_witness(meaning.decisions(operation)?.allowed())
        };
        match common() {
            Ok(None) => {}
            Ok(Some(witness)) => return Some(Found::Gap(operation, witness)),
            // Nobody can tell: then it is said, with the top of it.
            Err(_) => {
                let top = rule.link.as_ref().map(|l| l.real.clone());
                return Some(Found::Gap(operation, top.unwrap_or_default()));
            }
        }
    }
    None
}

/// The policy with each rule's derived ones behind it, and the new number of each rule.
fn with(mut policy: Policy, derived: Vec<Vec<Rule>>) -> (Policy, Vec<RuleId>) {
    let mut rules: Vec<Rule> = Vec::new();
    let mut moved = Vec::new();
    for (rule, own) in std::mem::take(&mut policy.rules).into_iter().zip(derived) {
        moved.push(RuleId(u32::try_from(rules.len()).unwrap_or(u32::MAX)));
        rules.push(rule);
        rules.extend(own);
    }
    for (i, rule) in rules.iter_mut().enumerate() {
        rule.id = RuleId(u32::try_from(i).unwrap_or(u32::MAX));
    }
    for note in &mut policy.notes {
        let new = |id: RuleId| moved.get(id.0 as usize).copied();
        note.rule = note.rule.and_then(new);
    }
    policy.rules = rules;
    (policy, moved)
}
