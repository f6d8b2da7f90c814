//! What this host's symbolic links make of a policy.
//!
//! A policy speaks of resolved paths, as kernels do. A rule that denies `~/.aws/**` says nothing of a file that is read
//! through the link `~/.aws`: what is read then is a file of the directory that the link leads to. So the commands that
//! look at this host follow links first: [`follow`] takes a policy and a view of the host, and returns a policy that
//! denies what the denied names lead to as well.
//!
//! # What is followed
//!
//! - The literal beginning of every pattern of a rule that denies or asks, name by name: links in the middle, links to
//!   links, links to what does not exist. `/w/**/.git/hooks` counts as `/w/.git/hooks` too. What lies behind a `*` is
//!   not looked for.
//! - The derived rule stands directly behind its rule, with the same name, place, action and message. Its exceptions are
//!   those of the rule, seen through the same link. A link that is met on the way is denied under its own name, since
//!   whoever replaces it changes where the denied name leads.
//! - Rules that allow are never followed: a link would give rights that nobody wrote down.
//!
//! # What is not followed
//!
//! A repository may bring links that its author chose. They must not switch the program off:
//!
//! - A link to `/`, to the home directory, to the workspace, to a directory above one of these or to a directory of the
//!   system (`/usr`, `/etc`): the program could do nothing any more. Where the policy allows anything there that the
//!   rule denies, this is a [`Found::Gap`], and a command that starts a program does not start it.
//! - A link within the workspace or the temporary directory to what is installed (`/usr`, `/opt`), where the policy lets
//!   nothing be changed: nothing secret is there, and every program needs it ([`Found::Installed`]).
//! - A program that is many programs, such as busybox: to deny `/bin/wget` must not deny `/bin/sh`
//!   ([`Found::ManyPrograms`]).

mod derive;
mod links;

pub use derive::{Found, Link, follow, led};
pub use links::{Place, RealLinks, Resolver, View};

use crate::fidelity::show_bytes;
use crate::policy::FollowedLink;
use std::fmt;

impl fmt::Display for FollowedLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (named, real) = (show_bytes(&self.named), show_bytes(&self.real));
        write!(f, "`{named}` is a link to `{real}`")
    }
}

#[cfg(test)]
mod tests;
