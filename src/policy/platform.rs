//! The systems that a rule is for.

use super::{CreateMissing, Objects, OperationSet, Policy, Rule};
use std::borrow::Cow;
use std::fmt;

/// A kind of system. Paths and services of one are not there on another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Platform {
    /// Linux.
    Linux,
    /// macOS.
    MacOs,
}

impl Platform {
    /// Each, in the order of reports.
    pub const ALL: [Self; 2] = [Self::Linux, Self::MacOs];

    /// That of this host. A host that is neither enforces nothing, and counts as Linux.
    pub const HOST: Self = if cfg!(target_os = "macos") {
        Self::MacOs
    } else {
        Self::Linux
    };

    /// As the language writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::MacOs => "macos",
        }
    }

    /// As its makers write it.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Linux => "Linux",
            Self::MacOs => "macOS",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}

/// The platforms of a rule or a test: at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Platforms(u8);

impl Default for Platforms {
    fn default() -> Self {
        Self::ALL
    }
}

impl Platforms {
    /// Every platform.
    pub const ALL: Self = Self(0b11);

    /// One platform.
    #[must_use]
    pub fn only(platform: Platform) -> Self {
        Self(platform.bit())
    }

    /// Those that are named; `None`: none is.
    #[must_use]
    pub fn of(all: impl IntoIterator<Item = Platform>) -> Option<Self> {
        let bits = all.into_iter().fold(0, |bits, p| bits | p.bit());
        (bits != 0).then_some(Self(bits))
    }

    /// Whether it is one of them.
    #[must_use]
    pub fn contains(self, platform: Platform) -> bool {
        self.0 & platform.bit() != 0
    }

    /// Those of both; `None`: they have none in common.
    #[must_use]
    pub fn and(self, other: Self) -> Option<Self> {
        Self::of(self.iter().filter(|p| other.contains(*p)))
    }

    /// Those of either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Each of them, in the order of reports.
    pub fn iter(self) -> impl Iterator<Item = Platform> {
        Platform::ALL.into_iter().filter(move |p| self.contains(*p))
    }

    /// For people, where they are not all: `macOS only`.
    #[must_use]
    pub fn limit(self) -> Option<String> {
        let names: Vec<&str> = self.iter().map(Platform::title).collect();
        (self != Self::ALL).then(|| format!("{} only", names.join(" and ")))
    }
}

impl Rule {
    /// The rule where nothing of it is there: it matches no object, and only its name and its place are left.
    fn unseen(&self) -> Self {
        Self {
            operations: OperationSet::EMPTY,
            objects: Objects::Paths {
                paths: Vec::new(),
                except: Vec::new(),
            },
            create_missing: CreateMissing::No,
            rate: None,
            ..self.clone()
        }
    }
}

impl Policy {
    /// Whether there are rules that a platform does not see.
    #[must_use]
    pub fn hides_from(&self, platform: Platform) -> bool {
        let hidden = |r: &Rule| !r.platforms.contains(platform) && !r.operations.is_empty();
        self.rules.iter().any(hidden)
    }

    /// The policy as one platform sees it: a rule for others keeps its number, its name and its place, and matches
    /// nothing.
    #[must_use]
    pub fn seen_by(&self, platform: Platform) -> Cow<'_, Self> {
        if !self.hides_from(platform) {
            return Cow::Borrowed(self);
        }
        let mut seen = self.clone();
        for rule in &mut seen.rules {
            if !rule.platforms.contains(platform) {
                *rule = rule.unseen();
            }
        }
        Cow::Owned(seen)
    }
}
