//! What the symbolic links of this host mean for a policy.
//!
//! A policy is about resolved paths, as kernels are. A rule that denies `~/.aws/**` does not deny a file that is read
//! through the link `~/.aws`: that file is in the directory that the link leads to. So the commands that look at this
//! host follow links first. [`follow`] takes a policy and a view of the host. It returns a policy that also denies what
//! the denied names lead to.
//!
//! # What is followed
//!
//! - The literal beginning of every pattern of a rule that denies or asks, name by name. It follows links in the
//!   middle, links to links, and links to what does not exist. `/w/**/.git/hooks` counts as `/w/.git/hooks` too.
//! - The derived rule is directly behind its rule, with the same name, place, action and message. Its exceptions are
//!   those of the rule, seen through the same link. A link on the way is denied under its own name: whoever replaces it
//!   changes where the denied name leads.
//! - Links beneath a denied directory, and behind a `*`, that exist when polc looks and lead to what the policy allows
//!   ([`beneath`] looks for them). polc does not search all of a very large directory, and says so. If a rule does not
//!   deny reading, polc looks only at the first level of its directories. It does not search the home, the workspace, a
//!   directory of the system, or a pattern with `**` in the middle.
//! - Rules that allow are never followed. A link would give rights that nobody wrote down.
//!
//! # What is not followed
//!
//! A repository may contain links that its author chose. They must not make the program useless:
//!
//! - A link to `/`, to the home directory, to the workspace, to a directory above one of these, or to a directory of
//!   the system (`/usr`, `/etc`). If all of that were denied, the program could do nothing. If the policy allows
//!   anything there that the rule denies, this is a [`Found::Gap`]. A command that starts a program then refuses to, or
//!   warns where the link only lies beneath a denied directory.
//! - A link within the workspace or the temporary directory to what is installed (`/usr`, `/opt`), if the policy allows
//!   changing nothing there. Nothing secret is there, and every program needs it ([`Found::Installed`]).
//! - A program that is many programs, such as busybox: denying `/bin/wget` must not deny `/bin/sh`
//!   ([`Found::ManyPrograms`]).
//!
//! A denied file may have a second name in another directory (a hard link). Nobody knows where, so that is told.

mod beneath;
mod derive;
mod links;

pub use derive::{Followed, Found, Link, follow, through_links};
pub use links::{Entry, FileOnDisk, Place, RealLinks, Resolver, View};

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
