//! The filters of rules.

use std::ops::Range;

/// A filter on paths: where it is written, and what it says. Two filters with the same text on one line are one.
#[derive(Debug)]
pub(super) struct Paths {
    /// What it matches: one of [`Profile::patterns`](super::profile::Profile::patterns).
    pub pattern: u32,
    pub line: usize,
    pub word: &'static str,
    /// Its string.
    pub range: Range<usize>,
}

/// Which end of a connection, of which protocols, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Network {
    /// `remote`, else `local`.
    pub remote: bool,
    pub tcp: bool,
    pub udp: bool,
    /// It is for unix sockets.
    pub unix: bool,
    /// It is for `localhost` alone.
    pub local_host: bool,
    /// `None`: every port.
    pub port: Option<u16>,
    pub line: usize,
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Filter {
    /// One of [`Profile::paths`](super::profile::Profile::paths).
    Paths(u32),
    Any(Vec<Filter>),
    All(Vec<Filter>),
    Not(Box<Filter>),
    Directory,
    Network(Network),
}

impl Filter {
    /// Whether it matches all addresses or none. `None`: it depends on the address.
    pub fn elsewhere(&self) -> Option<bool> {
        match self {
            Self::Paths(_) | Self::Directory => Some(false),
            Self::Network(_) => None,
            Self::Not(f) => f.elsewhere().map(|b| !b),
            Self::Any(list) => {
                let all: Option<Vec<bool>> = list.iter().map(Self::elsewhere).collect();
                all.map(|all| all.contains(&true))
            }
            Self::All(list) => {
                let all: Option<Vec<bool>> = list.iter().map(Self::elsewhere).collect();
                all.map(|all| !all.contains(&false))
            }
        }
    }

    /// How many filters it is made of.
    pub fn size(&self) -> usize {
        match self {
            Self::Paths(_) | Self::Directory | Self::Network(_) => 1,
            Self::Not(f) => 1 + f.size(),
            Self::Any(list) | Self::All(list) => 1 + list.iter().map(Self::size).sum::<usize>(),
        }
    }

    /// Whether it asks for more than the path: a directory, or a socket.
    pub fn is_typed(&self) -> bool {
        match self {
            Self::Paths(_) => false,
            Self::Network(_) | Self::Directory => true,
            Self::Not(f) => f.is_typed(),
            Self::Any(list) | Self::All(list) => list.iter().any(Self::is_typed),
        }
    }
}
