//! What polc does if there are more covers than the kernel takes mounts.
//!
//! A namespace holds `fs.mount-max` mounts: 100,000, unless somebody changed it. A program could make that many denied
//! files for the next run. Then polc covers directories that hold very many covers as a whole, with the strongest cover
//! of what is in them. That refuses more than the policy does, and opens nothing.

use super::{Cover, Gap, Plan, Whole, above};
use crate::backend::landlock::Kind;
use std::collections::BTreeMap;

/// The most covers, whatever the kernel takes. Each one costs some microseconds at the start, and again at the end.
const MOST: usize = 30_000;
/// Mounts that are left for the other file systems of the program.
const SPARE: usize = 1000;

/// How many covers there may be on this host.
pub(super) fn most() -> usize {
    let number = |text: String| text.trim().parse::<usize>().ok();
    let kernel = std::fs::read_to_string("/proc/sys/fs/mount-max")
        .ok()
        .and_then(number);
    let Some(kernel) = kernel.filter(|n| *n < 2 * (MOST + SPARE)) else {
        return MOST;
    };
    let mounts = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    let mounts = mounts.iter().filter(|b| **b == b'\n').count();
    // While polc puts covers on, each mount exists twice.
    MOST.min(kernel.saturating_sub(3 * mounts + SPARE))
}

impl Plan {
    /// Covers directories whole until there are no more covers than `most`. Covers that no directory can stand for
    /// become gaps.
    pub(super) fn coarsen(&mut self, most: usize) {
        while self.covers.len() > most {
            let Some(directory) = self.fullest(self.covers.len() - most) else {
                let rest = self.covers.keys().skip(most).cloned().collect::<Vec<_>>();
                for path in rest {
                    self.covers.remove(&path);
                    self.gaps.push(Gap {
                        path,
                        inside: false,
                        reason: format!(
                            "there are more of them than the {most} that polc can cover"
                        ),
                    });
                }
                return;
            };
            self.cover_whole(directory);
        }
    }

    /// The directory to cover whole. Among the directories with enough covers to remove the surplus, it has the fewest.
    /// If no directory has enough, it is the one with the most.
    fn fullest(&self, surplus: usize) -> Option<Vec<u8>> {
        let mut counts: BTreeMap<&[u8], usize> = BTreeMap::new();
        for path in self.covers.keys() {
            // Only a directory with a cover counts. The top of a tree has none, so it never is covered for what is in
            // it.
            for directory in above(path).filter(|d| self.covers.contains_key(*d)) {
                *counts.entry(directory).or_default() += 1;
            }
        }
        let enough = counts.iter().filter(|(_, n)| **n > surplus);
        let chosen = enough
            .min_by_key(|(path, n)| (**n, std::cmp::Reverse(path.len())))
            .or_else(|| counts.iter().max_by_key(|(_, n)| **n));
        chosen.map(|(path, _)| path.to_vec())
    }

    fn cover_whole(&mut self, directory: Vec<u8>) {
        let first = [&directory, b"/".as_slice()].concat();
        let beneath: Vec<Vec<u8>> = self
            .covers
            .range(first.clone()..)
            .take_while(|(path, _)| path.starts_with(&first))
            .map(|(path, _)| path.clone())
            .collect();
        // A pin keeps an object at its place. A read-only directory does that too.
        let mut cover = Cover::READ_ONLY;
        for path in beneath {
            if let Some((one, _)) = self.covers.remove(&path) {
                cover = cover.and(one);
            }
        }
        let own = self
            .covers
            .entry(directory.clone())
            .or_insert((cover, Kind::Directory));
        own.0 = own.0.and(cover);
        self.coarse.push((directory, Whole::TooMany));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(covers: &[(&str, Cover)]) -> Plan {
        let mut plan = Plan::default();
        for (path, cover) in covers {
            let path = path.as_bytes().to_vec();
            for directory in above(&path).skip(2) {
                let pinned = (Cover::PINNED, Kind::Directory);
                plan.covers.entry(directory.to_vec()).or_insert(pinned);
            }
            plan.covers.insert(path, (*cover, Kind::File));
        }
        plan
    }

    fn left(plan: &Plan) -> Vec<(&str, Cover)> {
        let covers = plan.covers.iter();
        covers
            .map(|(p, (c, _))| (std::str::from_utf8(p).unwrap(), *c))
            .collect()
    }

    #[test]
    fn the_fullest_directory_is_covered_whole_and_the_rest_stays() {
        let hidden = Cover::HIDDEN;
        let mut plan = plan(&[
            ("/w/a/.env", hidden),
            ("/w/many/1/.env", hidden),
            ("/w/many/2/.env", hidden),
            ("/w/many/3/.env", Cover::READ_ONLY),
            ("/w/many-other/.env", hidden),
        ]);
        plan.coarsen(5);
        assert!(plan.hides(b"/w/many/1/.env") && plan.hides(b"/w/many/new"));
        assert_eq!(plan.coarse, [(b"/w/many".to_vec(), Whole::TooMany)]);
        let kept = [
            ("/w/a", Cover::PINNED),
            ("/w/a/.env", hidden),
            ("/w/many", hidden.and(Cover::READ_ONLY)),
            ("/w/many-other", Cover::PINNED),
            ("/w/many-other/.env", hidden),
        ];
        assert_eq!(left(&plan), kept);
        assert!(plan.gaps.is_empty());
    }

    #[test]
    fn what_is_only_kept_in_place_makes_its_directory_read_only() {
        let mut plan = plan(&[("/w/d/1", Cover::PINNED), ("/w/d/2", Cover::NO_PROGRAM)]);
        plan.coarsen(2);
        let cover = Cover::READ_ONLY.and(Cover::NO_PROGRAM);
        assert_eq!(left(&plan), [("/w/d", cover)]);
    }

    #[test]
    fn what_no_directory_can_stand_for_is_a_gap() {
        let mut plan = plan(&[("/w/1", Cover::HIDDEN), ("/w/2", Cover::HIDDEN)]);
        plan.coarsen(1);
        assert_eq!(left(&plan), [("/w/1", Cover::HIDDEN)]);
        assert_eq!(plan.gaps.len(), 1);
    }
}
