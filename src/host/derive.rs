//! Makes the policy that also denies the targets of denied names.

use super::beneath::{Names, Search};
use super::links::{Alias, Resolver, View, join, names};
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
    /// What polc did with the link.
    pub found: Found,
    /// The rule denies a directory above the name, but not the name itself.
    pub beneath: bool,
}

/// What polc found on this host about the denied paths of a policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Followed {
    /// The links that denied names lead through.
    pub links: Vec<Link>,
    /// Denied files that have another, unknown name (hard links).
    pub other_names: Vec<Vec<u8>>,
    /// Denied directories with so many entries that polc did not look at all of them.
    pub unseen: Vec<Vec<u8>>,
}

/// What polc did with a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The target is denied as well.
    Denied,
    /// The target is so large that the program could not work if all of it were denied. The policy allows this
    /// operation on this path, though the name is denied.
    Gap(Operation, Vec<u8>),
    /// The target is installed software, where nothing is secret. The repository or the program could have made the
    /// link.
    Installed,
    /// The target is one program that stands for many programs.
    ManyPrograms,
}

/// Directories of the system, and those above them. polc never denies one of them as a whole because of a link.
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

/// Installed software is beneath these directories.
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

/// The operations that change a file.
const CHANGES: [Operation; 4] = [
    Operation::Edit,
    Operation::Create,
    Operation::Delete,
    Operation::Metadata,
];

/// Programs that act as the program whose name starts them.
const MANY_PROGRAMS: [&str; 5] = [
    "busybox",
    "toybox",
    "coreutils",
    "gnu-coreutils",
    "sbase-box",
];

/// Follows the links of this host that denied names lead through. It returns a policy that also denies the targets, and
/// what it found.
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
            let named = aliases(&beginnings(rule), &resolver);
            let mut lower = aliases(&search.links(rule), &resolver);
            lower.retain(|pair| !named.contains(pair));
            let pairs = named.iter().map(|p| (p, false));
            for ((name, alias), beneath) in pairs.chain(lower.iter().map(|p| (p, true))) {
                let Some(rule) = through(rule, name, alias) else {
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
                    // The policy allows nothing there, so there is nothing to deny or to report.
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

/// Applies the rule to the targets of its names, with one derived rule for each link of this host.
#[must_use]
pub fn through_links(rule: &Rule, resolver: &Resolver<'_>) -> Vec<Rule> {
    aliases(&beginnings(rule), resolver)
        .iter()
        .filter_map(|(named, alias)| through(rule, named, alias))
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
        // A pattern that begins with `**` is for every directory, so it has no literal beginning.
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

/// The links that paths lead through: the name, and the other name that a link gives it.
fn aliases(paths: &BTreeSet<Names>, resolver: &Resolver<'_>) -> Vec<(Names, Alias)> {
    let mut out: Vec<(Names, Alias)> = Vec::new();
    for names in paths {
        let slices: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        for alias in resolver.walk(&slices).aliases {
            let named = names.iter().take(alias.named).cloned().collect();
            let pair = (named, alias);
            if pair.0 != pair.1.real && !out.contains(&pair) {
                out.push(pair);
            }
        }
    }
    out
}

/// Applies the rule to the target of a name. `None`: the rule already contains all of it.
fn through(rule: &Rule, named: &[Vec<u8>], alias: &Alias) -> Option<Rule> {
    let moved = |p: &PathPattern| {
        let mut out: Vec<Sequence> = Vec::new();
        for sequence in &p.sequences {
            for rest in beneath(&sequence.components, named) {
                let literal = |n: &Vec<u8>| Component::Name(Name::literal(n));
                let mut components: Vec<Component> = alias.real.iter().map(literal).collect();
                if !alias.alone {
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
            real: join(&alias.real),
        })),
        ..rule.clone()
    })
}

/// What remains of a pattern beneath these names, in every way in which the pattern matches them.
pub(super) fn beneath<'c>(components: &'c [Component], names: &[Vec<u8>]) -> Vec<&'c [Component]> {
    // The possible places in the pattern. Place `i` is before component `i`.
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

/// Why the derived rule is not used. `None`: it is used. [`Found::Denied`] means that the policy allows nothing there,
/// so that the rule is not needed.
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

/// Whether the program acts as the program whose name starts it.
fn is_many_programs(path: &[u8]) -> bool {
    let last = names(path).next_back().unwrap_or_default();
    MANY_PROGRAMS.iter().any(|p| p.as_bytes() == last)
}

/// Whether the path is the directory or beneath it.
pub(super) fn lies_within(path: &[u8], directory: &[u8]) -> bool {
    let rest = path.strip_prefix(directory);
    directory == b"/" || rest.is_some_and(|r| r.is_empty() || r.starts_with(b"/"))
}

/// Whether no program can work without this directory.
pub(super) fn is_wide(subject: &Subject, path: &[u8]) -> bool {
    let own = [&subject.home, &subject.workspace, &subject.tmp];
    let own = own.into_iter().flatten().any(|p| lies_within(p, path));
    own || path == b"/" || SYSTEM.iter().any(|s| s.as_bytes() == path)
}

/// Something that the policy allows and that the derived rule would deny.
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
            // The answer is unknown, so this reports the top of the tree.
            Err(_) => {
                let top = rule.link.as_ref().map(|l| l.real.clone());
                return Some(Found::Gap(operation, top.unwrap_or_default()));
            }
        }
    }
    None
}

/// The policy with the derived rules directly after each rule, and the new number of each rule.
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
