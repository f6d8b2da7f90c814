//! The directories of macOS's root that are links to /private.
//!
//! The kernel resolves them before it asks the profile. So an object beneath one has a second name, and a rule with one
//! name is also about the other. The profile and its ledger are both made from the policy with both names. So a rule
//! about `/private/etc` intersects a rule about `/etc`.

use crate::policy::{Component, Objects, PathPattern, Policy, Sequence};
use crate::semantics::matches_path;

const LINKS: [&[u8]; 3] = [b"tmp", b"var", b"etc"];

/// The policy with a second name for each pattern that matches something beneath a link. `None`: no pattern does.
pub fn with_names_in_private(policy: &Policy) -> Option<Policy> {
    let mut sequences = patterns(policy).flat_map(|p| &p.sequences);
    if !sequences.any(|s| links(s).next().is_some()) {
        return None;
    }
    let mut out = policy.clone();
    for rule in &mut out.rules {
        match &mut rule.objects {
            Objects::Paths { paths, except } => {
                paths.iter_mut().chain(except).for_each(add_names);
            }
            Objects::Commands { commands, except } => {
                let programs = commands.iter_mut().chain(except).map(|c| &mut c.program);
                programs.for_each(add_names);
            }
            _ => {}
        }
    }
    Some(out)
}

fn patterns(policy: &Policy) -> impl Iterator<Item = &PathPattern> {
    fn of(objects: &Objects) -> Vec<&PathPattern> {
        match objects {
            Objects::Paths { paths, except } => paths.iter().chain(except).collect(),
            Objects::Commands { commands, except } => {
                let commands = commands.iter().chain(except);
                commands.map(|c| &c.program).collect()
            }
            _ => Vec::new(),
        }
    }
    policy.rules.iter().flat_map(|r| of(&r.objects))
}

fn add_names(pattern: &mut PathPattern) {
    let own = std::mem::take(&mut pattern.sequences);
    for s in own {
        let names: Vec<Sequence> = links(&s).map(|link| name_in_private(&s, link)).collect();
        pattern.sequences.push(s);
        pattern.sequences.extend(names);
    }
}

fn name_in_private(s: &Sequence, link: &[u8]) -> Sequence {
    let mut name = Sequence::literal(b"/private");
    name.components.extend(Sequence::literal(link).components);
    name.components.extend(s.components.iter().skip(1).cloned());
    name
}

/// The links that a pattern's first component matches.
fn links(s: &Sequence) -> impl Iterator<Item = &'static [u8]> {
    let first = s.components.first();
    LINKS
        .into_iter()
        .filter(move |link| first.is_some_and(|c| covers(c, link)))
}

/// Whether a component matches this name in the root. A pattern at any depth matches names in /private anyway.
fn covers(component: &Component, name: &[u8]) -> bool {
    if !matches!(component, Component::Name(_)) {
        return false;
    }
    if let Some(literal) = component.literal() {
        return literal == name;
    }
    let pattern = PathPattern {
        text: String::new(),
        sequences: vec![Sequence {
            components: vec![component.clone()],
        }],
    };
    matches_path(&pattern, &[b"/", name].concat())
}
