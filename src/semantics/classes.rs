//! Which of several classes each path is of: what layers decide by labels, such as types, that paths get by the first
//! pattern that matches.

use super::automaton::{Dfa, Domain, Limit, Nfa, SlotKind, TooLarge};
use crate::policy::Sequence;
use rustc_hash::FxHashMap;
use std::borrow::Borrow;

/// One clause of a classification.
#[derive(Debug, Clone)]
pub struct Classified<'a, P> {
    /// What it matches.
    pub patterns: &'a [P],
    /// The views that it is about, a bit for each, the lowest for the first one.
    pub views: u16,
    /// The class of what it matches there.
    pub class: u32,
}

/// The class of each path in each view (as what a file is labelled, as what a directory is), as labels: that of the
/// first clause about the view that matches. All have one automaton where that is not too large, so that whichever
/// sets are made of the classes, they share their states.
pub fn classified<P: Borrow<Sequence>, const N: usize>(
    clauses: &[Classified<'_, P>],
    default: u32,
) -> [Result<Dfa, TooLarge>; N] {
    views(clauses, default, |nfa, slot, sequence| {
        nfa.add_sequence(slot, sequence.borrow());
    })
}

fn views<P, const N: usize>(
    clauses: &[Classified<'_, P>],
    default: u32,
    add: impl Fn(&mut Nfa, u32, &P),
) -> [Result<Dfa, TooLarge>; N] {
    const { assert!(N <= 16) };
    if let Ok(views) = together(clauses, default, &add) {
        return views.map(Ok);
    }
    std::array::from_fn(|view| {
        let own = clauses.iter().filter(|c| c.views >> view & 1 == 1);
        let own: Vec<Classified<'_, P>> = own
            .map(|c| Classified {
                patterns: c.patterns,
                views: 1,
                class: c.class,
            })
            .collect();
        together(&own, default, &add).map(|[dfa]| dfa)
    })
}

fn together<P, const N: usize>(
    clauses: &[Classified<'_, P>],
    default: u32,
    add: &impl Fn(&mut Nfa, u32, &P),
) -> Result<[Dfa; N], TooLarge> {
    let mut nfa = Nfa::new(Domain::Path);
    // What clauses come to, by number.
    let mut known: FxHashMap<(u16, u32), u32> = FxHashMap::default();
    let mut outcomes: Vec<u32> = Vec::new();
    for (i, clause) in clauses.iter().enumerate() {
        let slot = nfa.slot_for(i as u32, SlotKind::Include, clause.views);
        for p in clause.patterns {
            add(&mut nfa, slot, p);
        }
        let next = known.len() as u32;
        let outcome = known.entry((clause.views, clause.class)).or_insert(next);
        outcomes.push(*outcome);
    }
    let mut numbers: FxHashMap<[u32; N], u32> = FxHashMap::default();
    let mut tuples: Vec<[u32; N]> = Vec::new();
    let dfa = nfa.determinise(Limit::default(), Some(&outcomes), |matched| {
        let mut tuple = [default; N];
        let mut decided = 0u16;
        // Slots are numbered as clauses are.
        for clause in matched.iter().map(|s| &clauses[*s as usize]) {
            for (view, class) in tuple.iter_mut().enumerate() {
                if clause.views & !decided & 1 << view != 0 {
                    *class = clause.class;
                }
            }
            decided |= clause.views;
        }
        *numbers.entry(tuple).or_insert_with(|| {
            tuples.push(tuple);
            tuples.len() as u32 - 1
        })
    })?;
    Ok(std::array::from_fn(|view| {
        dfa.relabelled(|tuple| tuples[tuple as usize][view])
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::PathPattern;
    use crate::semantics::PathSet;

    #[test]
    fn each_view_has_the_class_of_its_first_match() {
        let list = [
            ("/a/b", 0b01, 7),
            ("/a/*", 0b10, 8),
            ("/{a,b}/**", 0b11, 9),
            ("/**/c/**", 0b01, 7),
        ];
        let patterns: Vec<Vec<Sequence>> = list
            .iter()
            .map(|(p, ..)| PathPattern::parse(p).unwrap().sequences)
            .collect();
        let clauses: Vec<_> = list
            .iter()
            .zip(&patterns)
            .map(|((_, views, class), patterns)| Classified {
                patterns,
                views: *views,
                class: *class,
            })
            .collect();
        let [first, second] = classified::<_, 2>(&clauses, 5).map(Result::unwrap);
        assert!(first.same_shape(&second));
        for (path, classes) in [
            ("/", (5, 5)),
            ("/a", (9, 9)),
            ("/a/b", (7, 8)),
            ("/a/c", (9, 8)),
            ("/b/b", (9, 9)),
            ("/d/c/d", (7, 5)),
        ] {
            let label = |dfa: &Dfa| dfa.label_of(path.as_bytes()).unwrap();
            assert_eq!((label(&first), label(&second)), classes, "{path}");
        }
        // As first matches of one class against the rest.
        for (view, dfa) in [first, second].iter().enumerate() {
            for class in [5, 7, 8, 9] {
                let own = clauses.iter().filter(|c| c.views >> view & 1 == 1);
                let own = own.map(|c| (c.patterns, c.class == class));
                let alone = PathSet::first_match(own, class == 5).unwrap();
                let made = PathSet::from_dfa(dfa, |l| l == class);
                assert_eq!(made.difference_witness(&alone).unwrap(), None);
            }
        }
    }
}
