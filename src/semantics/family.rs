//! Several sets of paths, or classes of them, in one automaton.
//!
//! There are several *views*, such as the operations of a layer, or "as a file" and "as a directory". In each view, the
//! first case that matches a path gives the class of the path.

use super::automaton::{Dfa, Domain, Limit, Nfa, SlotKind, Step, TooLarge};
use crate::policy::Sequence;
use rustc_hash::FxHashMap;

/// What a set of paths is made of.
pub trait Pattern {
    /// The pattern, in one of the forms.
    fn form(&self) -> PatternForm<'_>;
}

/// The forms of patterns.
#[derive(Debug, Clone, Copy)]
pub enum PatternForm<'a> {
    /// Name by name, as a policy writes it.
    Names(&'a Sequence),
    /// Byte by byte. The root is the empty string.
    Bytes(&'a [Step]),
}

impl Pattern for Sequence {
    fn form(&self) -> PatternForm<'_> {
        PatternForm::Names(self)
    }
}

impl Pattern for [Step] {
    fn form(&self) -> PatternForm<'_> {
        PatternForm::Bytes(self)
    }
}

impl Pattern for Vec<Step> {
    fn form(&self) -> PatternForm<'_> {
        PatternForm::Bytes(self)
    }
}

impl<P: Pattern + ?Sized> Pattern for &P {
    fn form(&self) -> PatternForm<'_> {
        P::form(self)
    }
}

/// One case of a classification.
#[derive(Debug)]
pub struct Classified<'a, P> {
    /// The case matches these paths,
    pub include: &'a [P],
    /// except these.
    pub except: &'a [P],
    /// The views that the case is for, as bits. The lowest bit is the first view.
    pub views: u16,
    /// The class that the case gives.
    pub class: u32,
}

impl<P> Clone for Classified<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Classified<'_, P> {}

/// The class of each path in each view, as labels. The first matching case of a view gives the class. If the automaton
/// does not become too large, all views have the same one. Then all sets made of the classes share its states.
pub fn classified<P: Pattern, const N: usize>(
    cases: &[Classified<'_, P>],
    default: u32,
) -> [Result<Dfa, TooLarge>; N] {
    if let Ok(views) = together(cases.iter().copied(), default) {
        return views.map(Ok);
    }
    std::array::from_fn(|view| {
        let own = cases.iter().filter(|c| c.views >> view & 1 == 1);
        let own = own.map(|c| Classified { views: 1, ..*c });
        together(own, default).map(|[dfa]| dfa)
    })
}

/// Like [`classified`], but all views must have the same automaton.
///
/// # Errors
/// The automaton is too large.
pub(super) fn together<'a, P: Pattern + 'a, const N: usize>(
    cases: impl Iterator<Item = Classified<'a, P>>,
    default: u32,
) -> Result<[Dfa; N], TooLarge> {
    const { assert!(N <= 16) };
    let mut nfa = Nfa::new(Domain::Path);
    // The different results of cases, by number, and which of them each case has.
    let mut known: FxHashMap<(u16, u32), u32> = FxHashMap::default();
    let mut comes_to: Vec<(u16, u32)> = Vec::new();
    let mut outcomes: Vec<u32> = Vec::new();
    for (i, case) in cases.enumerate() {
        for (patterns, kind) in [
            (case.include, SlotKind::Include),
            (case.except, SlotKind::Except),
        ] {
            if kind == SlotKind::Except && patterns.is_empty() {
                continue;
            }
            let slot = nfa.slot_for(i as u32, kind, case.views);
            for pattern in patterns {
                match pattern.form() {
                    PatternForm::Names(sequence) => nfa.add_sequence(slot, sequence),
                    PatternForm::Bytes(steps) => nfa.add_steps(slot, steps),
                }
            }
        }
        let does = (case.views, case.class);
        outcomes.push(*known.entry(does).or_insert_with(|| {
            comes_to.push(does);
            comes_to.len() as u32 - 1
        }));
    }
    let slots = nfa.slots().to_vec();
    let mut numbers: FxHashMap<[u32; N], u32> = FxHashMap::default();
    let mut tuples: Vec<[u32; N]> = Vec::new();
    let dfa = nfa.determinise(Limit::default(), Some(&outcomes), |matched| {
        let mut tuple = [default; N];
        let mut decided = 0u16;
        // Slots have the order of the cases. The includes of a case come before its excepts.
        let mut at = matched.iter().map(|s| slots[*s as usize]).peekable();
        while let Some(slot) = at.next() {
            let mut applies = slot.kind == SlotKind::Include;
            while let Some(more) = at.next_if(|s| s.case == slot.case) {
                applies &= more.kind == SlotKind::Include;
            }
            if applies {
                let (views, class) = comes_to[outcomes[slot.case as usize] as usize];
                for (view, own) in tuple.iter_mut().enumerate() {
                    if views & !decided & 1 << view != 0 {
                        *own = class;
                    }
                }
                decided |= views;
            }
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
        let cases: Vec<_> = list
            .iter()
            .zip(&patterns)
            .map(|((_, views, class), patterns)| Classified {
                include: patterns,
                except: &[],
                views: *views,
                class: *class,
            })
            .collect();
        let [first, second] = classified::<_, 2>(&cases, 5).map(Result::unwrap);
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
        // Each class must be the same set as a first match of that class against the rest.
        for (view, dfa) in [first, second].iter().enumerate() {
            for class in [5, 7, 8, 9] {
                let own = cases.iter().filter(|c| c.views >> view & 1 == 1);
                let own = own.map(|c| (c.include, c.class == class));
                let alone = PathSet::first_match(own, class == 5).unwrap();
                let made = PathSet::from_dfa(dfa, |l| l == class);
                assert_eq!(made.difference_witness(&alone).unwrap(), None);
            }
        }
    }
}
