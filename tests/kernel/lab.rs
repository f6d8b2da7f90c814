//! What all layers share: a plan for all policies, and the check of its results.

use crate::generated;
use crate::policies::policies;
use crate::rows::{self, Cell, Counts, Sheet};
use crate::table;
use polc::backend::{Compiled, Options};
use polc::frontend::{LoadOptions, load};
use polc::policy::{Platform, Policy};
use polc::semantics::Meaning;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngSeed, TestRunner};
use std::fmt::Write as _;
use std::path::Path;

/// How many random policies are tried beside those of the repository, and the seed: `POLC_LAB_RANDOM=N` or `N,SEED`.
fn asked() -> (usize, u64) {
    let asked = std::env::var("POLC_LAB_RANDOM").unwrap_or_default();
    let (count, seed) = asked.split_once(',').unwrap_or((&asked, ""));
    (count.parse().unwrap_or(4), seed.parse().unwrap_or(1))
}

/// Random policies, by name and with their text: as many as were asked for, and at least `least`.
pub fn random(least: usize) -> Vec<(String, Policy, String)> {
    let (count, seed) = asked();
    let count = count.max(least);
    let mut runner = TestRunner::new(Config {
        rng_seed: RngSeed::Fixed(seed),
        ..Config::default()
    });
    let mut out = Vec::new();
    while out.len() < count {
        let text = generated::policy().new_tree(&mut runner).unwrap().current();
        let name = format!("random-{}", out.len());
        let text = text.replace("name: random", &format!("name: {name}"));
        if let Ok(loaded) = load(&name, &text, &LoadOptions::default()) {
            out.push((name, loaded.policy, text));
        }
    }
    out
}

/// A policy that a layer compiles.
pub struct Ready {
    /// Its file.
    pub name: String,
    /// The policy.
    pub policy: Policy,
    /// What the back-end made.
    pub compiled: Compiled,
    /// The text of a random policy.
    pub random: Option<String>,
}

/// The policies of the repository that the back-end compiles. `tests/native` says which ones it may refuse. A policy
/// that extends another is left out: it has the rules of its base and a few more, and `tests/agents` tries it with the
/// real program.
pub fn ready(backend: &str, options: &Options) -> Vec<Ready> {
    let mut all = Vec::new();
    for (file, policy) in policies().into_iter().filter(|p| p.1.base_rules.is_none()) {
        let name = Path::new(&file).file_stem().unwrap().to_string_lossy();
        all.extend(made(backend, options, name.into_owned(), policy, None));
    }
    assert!(all.len() >= 13, "hardly anything compiles");
    all
}

/// The same, and random policies.
pub fn ready_and_random(backend: &str, options: &Options) -> Vec<Ready> {
    let mut all = ready(backend, options);
    for (name, policy, text) in random(0) {
        all.extend(made(backend, options, name, policy, Some(text)));
    }
    all
}

fn made(
    backend: &str,
    options: &Options,
    name: String,
    policy: Policy,
    random: Option<String>,
) -> Option<Ready> {
    let backend = polc::backend::find(backend).unwrap();
    let compiled = backend.compile(&Meaning::new(&policy), options).ok()?;
    Some(Ready {
        name,
        policy,
        compiled,
        random,
    })
}

/// The rows of a policy. `skips` says which questions the artifact cannot answer: the way, and the path.
pub fn sheet(ready: &Ready, skips: impl Fn(&str, &[u8]) -> bool) -> Sheet {
    let policy = ready.policy.seen_by(Platform::Linux);
    let meaning = Meaning::new(&policy);
    Sheet::new(&ready.name, &meaning, &ready.compiled.ledger, skips)
}

/// The plan for one machine.
#[derive(Default)]
pub struct Plan {
    text: String,
    sheets: Vec<Sheet>,
    planted: Vec<usize>,
    /// The rows of random policies, which are not in the table.
    random: Vec<(usize, String)>,
}

impl Plan {
    /// Adds words for what the probe does first.
    pub fn start(&mut self, words: &str) {
        writeln!(self.text, "start {words}").unwrap();
    }

    /// Adds a policy's rows under this confinement (in the words of the probe). `skips` says which questions the
    /// artifact cannot answer: the way, and the path.
    pub fn add(&mut self, ready: &Ready, confinement: &str, skips: impl Fn(&str, &[u8]) -> bool) {
        self.add_sheet(ready, sheet(ready, skips), confinement, "");
    }

    /// Adds rows, with lines of the plan before them.
    pub fn add_sheet(&mut self, ready: &Ready, sheet: Sheet, confinement: &str, before: &str) {
        if let Some(text) = &ready.random {
            self.random.push((self.sheets.len(), text.clone()));
        }
        writeln!(self.text, "policy {} {confinement}", self.sheets.len()).unwrap();
        self.text.push_str(before);
        sheet.plan(&mut self.text);
        self.sheets.push(sheet);
    }

    /// Adds a policy's rows under the confinement of another policy. The lab must find the differences.
    pub fn plant(&mut self, ready: &Ready, confinement: &str) {
        self.planted.push(self.sheets.len());
        self.add(ready, confinement, |_, _| false);
    }

    /// The same, with only the rows on network addresses.
    pub fn plant_hosts(&mut self, ready: &Ready, confinement: &str) {
        self.planted.push(self.sheets.len());
        let mut sheet = sheet(ready, |_, _| false);
        sheet.rows.retain(|r| rows::is_on_host(r.way));
        sheet.shown.clear();
        self.add_sheet(ready, sheet, confinement, "");
    }

    /// The plan as the probe reads it.
    pub fn text(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// Compares every sheet with what the kernel did. `column` is its place in the table.
    pub fn judge(&self, column: &str, console: &str) {
        let cells = rows::read(console).unwrap_or_else(|e| panic!("{column}: {e}"));
        let (mut counts, mut faults): (Vec<(&str, Counts)>, Vec<String>) = Default::default();
        for (index, sheet) in self.sheets.iter().enumerate() {
            let own: Vec<Cell> = cells
                .range((index, 0)..(index + 1, 0))
                .map(|(_, c)| *c)
                .collect();
            let (count, found) = rows::judge(sheet, &own, column);
            if self.planted.contains(&index) {
                assert!(
                    !found.is_empty(),
                    "{column}: under another policy's artifact {} agrees too",
                    sheet.policy
                );
            } else if let Some((_, text)) = self.random.iter().find(|r| r.0 == index) {
                if !found.is_empty() {
                    faults.extend(found);
                    faults.push(text.clone());
                }
            } else {
                counts.push((&sheet.policy, count));
                faults.extend(found);
            }
        }
        let stale = table::record(column, &counts);
        assert!(
            faults.is_empty(),
            "{} differ:\n{}",
            faults.len(),
            faults.join("\n")
        );
        assert!(stale.is_empty(), "{stale}");
    }
}
