//! What is known before anything is changed, and the layers that are put on.

use super::choice::Choice;
use super::cover::{self, Gap, Plan};
use super::network::{self, Network};
use super::sockets::{self, Sockets};
use super::{Error, stdio, sys};
use crate::enforce::landlock::{NEWEST_ABI, kernel_abi};
use crate::policy::{Operation, Policy};
use crate::semantics::Meaning;

/// Everything that is known before anything is changed.
pub struct Prepared<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// Landlock's version here.
    pub abi: u32,
    /// How hosts are kept.
    pub network: Network,
    /// What has to be covered.
    pub plan: Plan,
    /// What listens on this host and may not be asked.
    pub sockets: Sockets,
    /// Where standard input, output and error lead.
    pub standard: [Option<Vec<u8>>; 3],
    /// What the user chose.
    pub choice: Choice,
    /// The policy, compiled.
    pub meaning: &'a Meaning<'a>,
}

/// The layers that are on, as far as the steps have come.
#[derive(Default)]
pub struct Layers<'a> {
    /// What is covered by mounts.
    pub plan: Option<&'a Plan>,
    /// What could not be covered, and may stay so.
    pub gaps: Vec<Gap>,
    /// Everything else is read-only.
    pub read_only: bool,
    /// There is a network namespace.
    pub apart: bool,
    /// The limits that a control group holds.
    pub held: Vec<&'static str>,
    /// The limits that nothing holds.
    pub unlimited: Vec<&'static str>,
}

/// Looks at the policy and the host. Nothing is changed yet.
///
/// # Errors
/// There is no Landlock, a standard descriptor is a directory, or the policy's automata are too large.
pub fn prepare<'a>(meaning: &'a Meaning<'a>, choice: Choice) -> Result<Prepared<'a>, Error> {
    let abi = kernel_abi().ok_or(Error::NoLandlock)?.min(NEWEST_ABI);
    if sys::directory_among_standard() {
        return Err(Error::Directory);
    }
    let plan = cover::plan(meaning, choice.demand.is_none())?;
    let sockets = if choice.namespaces {
        sockets::denied(meaning.policy())
    } else {
        Sockets::default()
    };
    Ok(Prepared {
        policy: meaning.policy(),
        abi,
        network: network::network(meaning, choice),
        plan,
        sockets,
        standard: stdio::paths(),
        choice,
        meaning,
    })
}

/// Whether the policy allows to change mode and owner of some files and not of others: the filter cannot tell them
/// apart, and Landlock does not see it.
pub fn metadata_in_part(meaning: &Meaning<'_>) -> Result<bool, Error> {
    let allowed = meaning.decisions(Operation::Metadata)?.allowed();
    Ok(!allowed.is_empty() && !allowed.is_all())
}
