//! What the loader starts although it may not be executed.
//!
//! The right to execute is asked for when a program is started, and never again: `ld.so PROGRAM` starts the loader, which
//! maps the program as it would a library. Landlock does not mediate mapping (seen on 6.18), so whatever may be
//! read is started that way.

use crate::fidelity::Object;
use crate::policy::{Operation, Policy, Rule};
use crate::semantics::decide;

/// The loader, by the name that is in every dynamic program.
#[cfg(target_arch = "aarch64")]
pub const LOADER: &str = "/lib/ld-linux-aarch64.so.1";
/// The loader, by the name that is in every dynamic program.
#[cfg(not(target_arch = "aarch64"))]
pub const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

/// What the ledger calls it.
pub const LOADED: &str = "programs that the loader starts";

/// Programs that a rule denies to start by their names and that may be read: the loader starts them all the same.
pub fn started_by_loader(policy: &Policy) -> impl Iterator<Item = Vec<u8>> {
    let permits = |o: Operation, path: &[u8]| {
        decide(policy, o, &Object::Path(path.to_vec()))
            .action
            .permits()
    };
    policy
        .rules
        .iter()
        .filter(|r| !r.action.permits() && r.operations.contains(Operation::Execute))
        .flat_map(Rule::sequences)
        .filter_map(|s| s.as_literal())
        .filter(move |path| !permits(Operation::Execute, path) && permits(Operation::Read, path))
}
