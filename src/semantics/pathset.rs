//! Sets of paths.

use super::automaton::{Dfa, Domain, Limit, Nfa, Products, StateId, TooLarge};
use super::family::{self, Classified, Pattern};
use crate::policy::Sequence;
use std::sync::OnceLock;

/// One case of a first match: the first case that matches a path decides it, as in a `match`.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a, P> {
    /// The patterns that it matches.
    pub include: &'a [P],
    /// The exceptions from these.
    pub except: &'a [P],
    /// The sets that it is about, one bit each. The lowest bit is for the first set.
    pub sets: u16,
    /// Whether the paths that it matches are in those sets.
    pub allows: bool,
}

/// The joint automata made so far, for callers that join many sets of few families.
#[derive(Debug, Default)]
pub struct Joins(Products);

/// A set of paths, exact.
#[derive(Debug, Clone)]
pub struct PathSet {
    dfa: Dfa,
}

impl PathSet {
    /// The set of paths whose label in the automaton satisfies `member`.
    #[must_use]
    pub fn from_dfa(dfa: &Dfa, member: impl Fn(u32) -> bool) -> Self {
        Self {
            dfa: dfa.relabelled(|l| u32::from(member(l))),
        }
    }

    /// Every path.
    #[must_use]
    pub fn all() -> Self {
        Self::constant(true)
    }

    /// No path.
    #[must_use]
    pub fn empty() -> Self {
        Self::constant(false)
    }

    fn constant(value: bool) -> Self {
        static SHAPE: OnceLock<Dfa> = OnceLock::new();
        let dfa = SHAPE.get_or_init(|| {
            let limit = Limit {
                states: 16,
                positions: 64,
            };
            // INVARIANT: an automaton without patterns has at most eight states, whatever the limit.
            match Nfa::new(Domain::Path).determinise(limit, None, |_| 0) {
                Ok(dfa) => dfa,
                Err(_) => unreachable!("the automaton of the domain is smaller than its limit"),
            }
        });
        Self {
            dfa: dfa.relabelled(|_| u32::from(value)),
        }
    }

    /// What one of the sequences matches.
    ///
    /// # Errors
    /// The automaton is too large.
    pub fn of<'a>(sequences: impl IntoIterator<Item = &'a Sequence>) -> Result<Self, TooLarge> {
        Self::first_match(
            sequences
                .into_iter()
                .map(|s| (std::slice::from_ref(s), true)),
            false,
        )
    }

    /// The first match over cases. Each case has its patterns, and whether it allows. `default` applies if none
    /// matches. For a language in which deny wins, the denies come before the allows.
    ///
    /// # Errors
    /// The automaton is too large.
    pub fn first_match<'a, P: Pattern + 'a>(
        cases: impl IntoIterator<Item = (&'a [P], bool)>,
        default: bool,
    ) -> Result<Self, TooLarge> {
        Self::first_match_except(
            cases
                .into_iter()
                .map(|(patterns, allows)| (patterns, &[][..], allows)),
            default,
        )
    }

    /// As [`PathSet::first_match`]. Each case also has exceptions.
    ///
    /// # Errors
    /// The automaton is too large.
    pub fn first_match_except<'a, P: Pattern + 'a>(
        cases: impl IntoIterator<Item = (&'a [P], &'a [P], bool)>,
        default: bool,
    ) -> Result<Self, TooLarge> {
        let of_one = |(include, except, allows)| Case {
            include,
            except,
            sets: 1,
            allows,
        };
        let [set] = Self::family(cases.into_iter().map(of_one), default)?;
        Ok(set)
    }

    /// Several sets with one automaton, so that they are made and walked in the time of one. For sets that are very
    /// similar, such as those of a layer's operations. Each set is the first match over the cases that are about it.
    ///
    /// # Errors
    /// The automaton is too large. Separate ones may not be.
    pub fn family<'a, P: Pattern + 'a, const N: usize>(
        cases: impl IntoIterator<Item = Case<'a, P>>,
        default: bool,
    ) -> Result<[Self; N], TooLarge> {
        let cases = cases.into_iter().map(|c| Classified {
            include: c.include,
            except: c.except,
            views: c.sets,
            class: u32::from(c.allows),
        });
        let sets = family::together(cases, u32::from(default))?;
        Ok(sets.map(|dfa| Self { dfa }))
    }

    /// The automaton: label 1 is a member.
    #[must_use]
    pub fn dfa(&self) -> &Dfa {
        &self.dfa
    }

    /// Whether the path (canonical, `/` is the root) is a member.
    #[must_use]
    pub fn contains(&self, path: &[u8]) -> bool {
        self.dfa.label_of(path) == Some(1)
    }

    /// Members of either.
    ///
    /// # Errors
    /// The automaton is too large.
    pub fn union(&self, other: &Self) -> Result<Self, TooLarge> {
        self.combine(other, |a, b| a | b)
    }

    /// Members of both.
    ///
    /// # Errors
    /// The automaton is too large.
    pub fn intersection(&self, other: &Self) -> Result<Self, TooLarge> {
        self.combine(other, |a, b| a & b)
    }

    /// Members of this one that are not members of the other.
    ///
    /// # Errors
    /// The automaton is too large.
    pub fn difference(&self, other: &Self) -> Result<Self, TooLarge> {
        self.combine(other, |a, b| a & (1 - b))
    }

    /// Paths that are not members.
    #[must_use]
    pub fn complement(&self) -> Self {
        Self {
            dfa: self.dfa.relabelled(|l| 1 - l),
        }
    }

    fn combine(&self, other: &Self, f: impl Fn(u32, u32) -> u32) -> Result<Self, TooLarge> {
        Ok(Self {
            dfa: self.dfa.zip(&other.dfa, f)?,
        })
    }

    /// Members of either. This is fast if sets of their families were joined before.
    ///
    /// # Errors
    /// The automaton is too large.
    pub fn union_among(&self, joins: &Joins, other: &Self) -> Result<Self, TooLarge> {
        let dfa = joins.0.zip(&self.dfa, &other.dfa, |a, b| a | b)?;
        Ok(Self { dfa })
    }

    /// Members of both, as [`PathSet::union_among`].
    ///
    /// # Errors
    /// The automaton is too large.
    pub fn intersection_among(&self, joins: &Joins, other: &Self) -> Result<Self, TooLarge> {
        let dfa = joins.0.zip(&self.dfa, &other.dfa, |a, b| a & b)?;
        Ok(Self { dfa })
    }

    /// The same set, but with the root as a member or not.
    #[must_use]
    pub fn with_root(&self, member: bool) -> Self {
        // No name leads back to the start, so it is the state of no other path.
        let own = |s: StateId| {
            if s == self.dfa.start() {
                member
            } else {
                self.dfa.label(s) == 1
            }
        };
        Self {
            dfa: self.dfa.marked(own),
        }
    }

    /// Whether both have the same members. This is immediate if they are of one family and made from the same cases.
    ///
    /// # Errors
    /// The automata are too large together.
    pub fn equals(&self, other: &Self) -> Result<bool, TooLarge> {
        let mut states = self.dfa.states();
        let same_shape = self.dfa.same_shape(&other.dfa);
        if same_shape && states.all(|s| self.dfa.label(s) == other.dfa.label(s)) {
            return Ok(true);
        }
        Ok(self.difference_witness(other)?.is_none())
    }

    /// Whether it has no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.dfa.all_below(|l| l == 0)[self.dfa.start().index()]
    }

    /// Whether every path is a member.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.dfa.all_below(|l| l == 1)[self.dfa.start().index()]
    }

    /// A shortest path on which the two differ; `None`: they are equal.
    ///
    /// # Errors
    /// The automata are too large together.
    pub fn difference_witness(&self, other: &Self) -> Result<Option<Vec<u8>>, TooLarge> {
        self.search(other, |a, b| a != b)
    }

    /// A shortest member that is not in the other; `None`: it is a subset.
    ///
    /// # Errors
    /// The automata are too large together.
    pub fn excess_witness(&self, other: &Self) -> Result<Option<Vec<u8>>, TooLarge> {
        self.search_members(other, 0)
    }

    /// A shortest member of both; `None`: they are disjoint.
    ///
    /// # Errors
    /// The automata are too large together.
    pub fn common_witness(&self, other: &Self) -> Result<Option<Vec<u8>>, TooLarge> {
        self.search_members(other, 1)
    }

    /// Whether every member is in the other.
    ///
    /// # Errors
    /// The automata are too large together.
    pub fn is_subset(&self, other: &Self) -> Result<bool, TooLarge> {
        Ok(self.excess_witness(other)?.is_none())
    }

    /// A shortest member; `None`: it is empty.
    #[must_use]
    pub fn witness(&self) -> Option<Vec<u8>> {
        self.search(&Self::empty(), |a, _| a == 1).ok().flatten()
    }

    /// A shortest member that has this label in the other automaton. It skips everything beneath which there is no
    /// member, so the time depends on the smaller set.
    fn search_members(&self, other: &Self, label: u32) -> Result<Option<Vec<u8>>, TooLarge> {
        let barren = self.dfa.all_below(|l| l == 0);
        let mut out = None;
        self.dfa.walk_pairs_while(
            &other.dfa,
            Limit::default(),
            |a| !barren[a.index()],
            |a, b, spell| {
                if self.dfa.label(a) == 1 && other.dfa.label(b) == label {
                    out = Some(canonical(spell()));
                }
                out.is_none()
            },
        )?;
        Ok(out)
    }

    fn search(
        &self,
        other: &Self,
        found: impl Fn(u32, u32) -> bool,
    ) -> Result<Option<Vec<u8>>, TooLarge> {
        let mut out = None;
        self.dfa
            .walk_pairs(&other.dfa, Limit::default(), |a, b, spell| {
                if found(self.dfa.label(a), other.dfa.label(b)) {
                    out = Some(canonical(spell()));
                }
                out.is_none()
            })?;
        Ok(out)
    }
}

/// The automaton writes the root as the empty string.
pub(crate) fn canonical(path: Vec<u8>) -> Vec<u8> {
    if path.is_empty() { b"/".to_vec() } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::PathPattern;

    fn set(text: &str) -> PathSet {
        PathSet::of(&PathPattern::parse(text).unwrap().sequences).unwrap()
    }

    #[test]
    fn a_tree_is_its_root_and_everything_beneath() {
        let t = set("/a/**");
        for (path, member) in [
            ("/a", true),
            ("/a/b", true),
            ("/a/.b/c", true),
            ("/ab", false),
            ("/", false),
            ("/a/", false),
            ("/a/..", false),
            ("/a//b", false),
        ] {
            assert_eq!(t.contains(path.as_bytes()), member, "{path}");
        }
        assert!(set("/**").is_all());
        assert!(set("/").contains(b"/") && !set("/").contains(b"/a") && !set("/*").contains(b"/"));
        assert!(
            !set("/a/*").contains(b"/a")
                && set("/a/*").contains(b"/a/.b")
                && !set("/a/*").contains(b"/a/b/c")
        );
        assert!(
            set("/**/x").contains(b"/x")
                && set("/a/**/x").contains(b"/a/b/x")
                && !set("/a/**/x").contains(b"/ax")
        );
    }

    #[test]
    fn algebra() {
        let a = set("/w/**");
        let d = set("/w/.git/hooks/**");
        let hole = a.difference(&d).unwrap();
        assert!(
            hole.contains(b"/w/.git")
                && !hole.contains(b"/w/.git/hooks")
                && hole.contains(b"/w/.git/hooksx")
        );
        assert!(hole.is_subset(&a).unwrap() && !a.is_subset(&hole).unwrap());
        assert_eq!(a.excess_witness(&hole).unwrap().unwrap(), b"/w/.git/hooks");
        assert_eq!(
            hole.union(&d).unwrap().difference_witness(&a).unwrap(),
            None
        );
        assert!(hole.intersection(&d).unwrap().is_empty());
        assert!(
            a.complement()
                .complement()
                .difference_witness(&a)
                .unwrap()
                .is_none()
        );
        assert!(PathSet::empty().is_empty() && PathSet::all().is_all());
        assert_eq!(PathSet::all().witness().unwrap(), b"/");
        assert!(
            set("/a/[!b]*")
                .difference_witness(&set("/a/[!b]*").difference(&set("/x")).unwrap())
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn beneath_where_nothing_is_decided_any_more_there_is_one_state() {
        let trees = set("/{a,b,c/d}/**").union(&set("/e")).unwrap();
        let one = set("/{a,b,c/d}/**");
        let at = |p: &str| one.dfa().run(p.as_bytes()).unwrap();
        assert_eq!(at("/a"), at("/c/d/x"));
        assert_eq!(at("/f"), at("/c/x/y"));
        assert_ne!(at("/c"), at("/f"));
        assert!(trees.contains(b"/b/x") && trees.contains(b"/e") && !trees.contains(b"/e/x"));
        // Nothing leads back to the root, whatever lies beneath it.
        let all = set("/**");
        assert_ne!(all.dfa().run(b"/x"), Some(all.dfa().start()));
        assert!(!all.with_root(false).contains(b"/") && all.with_root(false).contains(b"/x"));
    }

    #[test]
    fn what_was_joined_before_is_joined_with_other_labels() {
        let family = |texts: [&str; 2]| -> [PathSet; 2] {
            let parsed = texts.map(|t| PathPattern::parse(t).unwrap());
            let cases = parsed.iter().enumerate().map(|(i, p)| Case {
                include: p.sequences.as_slice(),
                except: &[],
                sets: 1 << i,
                allows: true,
            });
            PathSet::family(cases, false).unwrap()
        };
        let left = family(["/a/**", "/a/*/k"]);
        let right = family(["/a/b/**", "/**/k"]);
        let joins = Joins::default();
        let mut shapes: Vec<PathSet> = Vec::new();
        for (a, b) in left.iter().flat_map(|a| right.iter().map(move |b| (a, b))) {
            let (either, both) = (
                a.union_among(&joins, b).unwrap(),
                a.intersection_among(&joins, b).unwrap(),
            );
            assert!(either.equals(&a.union(b).unwrap()).unwrap());
            assert!(both.equals(&a.intersection(b).unwrap()).unwrap());
            shapes.extend([either, both]);
        }
        assert!(shapes.windows(2).all(|w| w[0].dfa().same_shape(w[1].dfa())));
        for a in &left {
            for (b, either, both) in [
                (PathSet::all(), PathSet::all(), a.clone()),
                (PathSet::empty(), a.clone(), PathSet::empty()),
            ] {
                for (x, y) in [(a, &b), (&b, a)] {
                    assert!(x.union_among(&joins, y).unwrap().equals(&either).unwrap());
                    assert!(
                        x.intersection_among(&joins, y)
                            .unwrap()
                            .equals(&both)
                            .unwrap()
                    );
                }
            }
            // Only the root differs.
            let root = PathSet::empty().with_root(true);
            let with = a.union_among(&joins, &root).unwrap();
            assert!(with.contains(b"/") && with.contains(b"/a/x/k") && !with.contains(b"/b"));
        }
    }

    #[test]
    fn floating_patterns_do_not_explode() {
        let seqs: Vec<_> = (0..300)
            .map(|i| PathPattern::parse(&format!("/**/secret{i}/**")).unwrap())
            .collect();
        let cases = seqs.iter().map(|p| (p.sequences.as_slice(), false));
        let s = PathSet::first_match(cases, true).unwrap();
        assert!(!s.contains(b"/a/secret7/b/secret299") && s.contains(b"/a/secret300"));
    }
}
