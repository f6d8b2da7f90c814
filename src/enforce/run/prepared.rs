//! What polc knows before it changes anything, and the layers that it puts on.

use super::choice::{Choice, Start};
use super::cover::{Gap, Plan};
use super::guard::{self, Wanted};
use super::network::{self, Network};
use super::own_dirs::{self, OwnDirs};
use super::sockets::Sockets;
use super::{Error, local_services, stdio, sys};
use crate::enforce::landlock::{NEWEST_ABI, kernel_abi};
use crate::policy::{Operation, Policy};
use crate::semantics::Meaning;
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;

/// What the program can do with unix sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unix {
    /// A rule lets it connect to some sockets.
    ByRule,
    /// No rule lets it connect. It has its own sockets, and cannot reach those of other programs.
    Own,
    /// No rule lets it connect, and no other layer keeps it from the sockets of other programs. So it can make none.
    Refused,
}

/// Everything that polc knows before it changes anything.
pub struct Prepared<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The ABI version of Landlock on this host.
    pub abi: u32,
    /// How polc restricts hosts.
    pub network: Network,
    /// The program's own directories.
    pub own: OwnDirs,
    /// The program to start.
    pub program: Start<'a>,
    /// The unix sockets that something listens on at this host.
    pub sockets: Sockets,
    /// The ports of this host's loopback interface that the policy allows and on which something listens.
    pub local_services: BTreeSet<u16>,
    /// Where standard input, output and error lead.
    pub stdio: [Option<Vec<u8>>; 3],
    /// What the user chose.
    pub choice: Choice,
    /// The policy, compiled.
    pub meaning: &'a Meaning<'a>,
    /// The guard is on.
    pub guarded: bool,
    /// Why there is no guard, where one was wanted.
    pub no_guard: Option<String>,
}

/// The layers that are on so far.
#[derive(Default)]
pub struct Layers<'a> {
    /// There is a mount namespace.
    pub mounts: bool,
    /// There is a process namespace.
    pub processes: bool,
    /// What mounts cover.
    pub plan: Option<&'a Plan>,
    /// The objects that could not be covered. The user allowed these gaps.
    pub gaps: Vec<Gap>,
    /// Everything else is read-only.
    pub read_only: bool,
    /// There is a network namespace.
    pub own_network: bool,
    /// The limits that a cgroup enforces.
    pub in_cgroup: Vec<&'static str>,
    /// The limits that nothing enforces.
    pub unlimited: Vec<&'static str>,
    /// The guard decides to which unix sockets the program connects.
    pub sockets_by_path: bool,
    /// What stands at the paths that the policy names, for the guard's domains.
    pub named: Option<guard::Named>,
}

impl Prepared<'_> {
    /// What the program can do with unix sockets. If no rule lets it connect to one, it may still want to talk to
    /// itself. It may do so if a mount namespace hides the sockets of others, and if a network namespace or Landlock's
    /// scope keeps it from abstract ones. With `--require` it may not, because a filter knows no paths.
    ///
    /// # Errors
    /// The policy's automata are too large.
    pub fn unix(&self, layers: &Layers<'_>) -> Result<Unix, Error> {
        if !self
            .meaning
            .decisions(Operation::Connect)?
            .allowed()
            .is_empty()
        {
            return Ok(Unix::ByRule);
        }
        let paths = layers.mounts && !self.choice.share_tmp;
        let abstract_ones = layers.own_network || self.abi >= 6;
        let own = paths && abstract_ones && self.choice.required.is_none();
        Ok(if own { Unix::Own } else { Unix::Refused })
    }
}

/// Examines the policy and the host. Changes nothing.
///
/// # Errors
/// There is no Landlock, a standard descriptor is a directory, or the policy's automata are too large.
pub fn prepare<'a>(
    meaning: &'a Meaning<'a>,
    choice: Choice,
    program: Start<'a>,
) -> Result<Prepared<'a>, Error> {
    let abi = kernel_abi().ok_or(Error::NoLandlock)?.min(NEWEST_ABI);
    if sys::directory_among_standard() {
        return Err(Error::Directory);
    }
    let stdio = stdio::paths();
    let own = if choice.namespaces {
        let file = program.file.as_os_str().as_bytes();
        let paths = stdio.iter().flatten().map(Vec::as_slice);
        let needed = own_dirs::needed(paths.chain([file]));
        own_dirs::plan(meaning, &needed, choice.share_tmp)?
    } else {
        OwnDirs::default()
    };
    let sockets = Sockets::of_host(meaning.policy(), &own);
    // With `-q`, polc says nothing about them.
    let local_services = if choice.quiet {
        BTreeSet::new()
    } else {
        local_services::allowed(meaning.policy())
    };
    let wanted = match choice.guard {
        Wanted::Off => false,
        Wanted::Require => true,
        // Where the other layers say the same, nothing is asked in vain. The last question looks at each path.
        Wanted::Auto => {
            metadata_in_part(meaning)? || connects_in_part(meaning)? || guard::lose(meaning)?
        }
    };
    let no_guard = wanted
        .then(|| guard::hindered(meaning.policy(), abi))
        .flatten();
    if let (Some(why), Wanted::Require) = (&no_guard, choice.guard) {
        return Err(Error::NoGuard(why.clone()));
    }
    Ok(Prepared {
        guarded: wanted && no_guard.is_none(),
        no_guard,
        policy: meaning.policy(),
        abi,
        network: network::network(meaning, choice),
        sockets,
        local_services,
        own,
        stdio,
        program,
        choice,
        meaning,
    })
}

/// Whether the policy lets the program connect to some unix sockets and not to others.
fn connects_in_part(meaning: &Meaning<'_>) -> Result<bool, Error> {
    let allowed = meaning.decisions(Operation::Connect)?.allowed();
    Ok(!allowed.is_empty() && !allowed.is_all())
}

/// Whether the policy allows changing mode and owner of some files and not of others. The filter cannot tell files
/// apart, and Landlock does not restrict this.
pub fn metadata_in_part(meaning: &Meaning<'_>) -> Result<bool, Error> {
    let allowed = meaning.decisions(Operation::Metadata)?.allowed();
    Ok(!allowed.is_empty() && !allowed.is_all())
}
