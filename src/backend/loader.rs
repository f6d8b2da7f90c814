//! Programs that the loader starts although the policy denies executing them.
//!
//! The kernel asks for the right to execute when a program starts, and never again. `ld.so PROGRAM` starts the loader,
//! which then maps the program like a library. Landlock does not mediate mapping (seen on 6.18). In other layers, and
//! in the language, reading includes mapping as code. So the loader can start every program that may be read. SELinux
//! is the exception: it asks for the right to execute when a file is mapped.

use crate::fidelity::{Fidelity, Object, show_bytes};
use crate::policy::{Operation, Policy, Rule};
use crate::semantics::{LedgerBuilder, decide};

/// The loader, by the name that every dynamic program has in it.
#[cfg(target_arch = "aarch64")]
pub const LOADER: &str = "/lib/ld-linux-aarch64.so.1";
/// The loader, by the name that every dynamic program has in it.
#[cfg(not(target_arch = "aarch64"))]
pub const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

/// The name of this in the ledger.
pub const LOADED: &str = "programs that the loader starts";

/// Programs that a rule denies to start by their names, and that may be read. The loader can start them.
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

/// Adds this to a ledger, with the first such program.
pub(super) fn tell(policy: &Policy, ledger: &mut LedgerBuilder<'_, '_>) {
    if let Some(program) = started_by_loader(policy).next() {
        let text = format!(
            "the loader starts programs that may be read but not executed: `{LOADER} {}`",
            show_bytes(&program)
        );
        ledger.setting(LOADED, Fidelity::Looser, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{Options, find};
    use crate::frontend::{LoadOptions, load};
    use crate::semantics::Meaning;

    /// What a target's ledger says about the loader.
    fn told(target: &str, denied: &str) -> Option<Fidelity> {
        let text = format!(
            "version: 1\nname: p\nrules:\n  - {{action: deny, name: d, operations: [{denied}], paths: [/usr/bin/tool]}}\n  \
             - {{action: allow, name: a, operations: [read, execute], paths: ['/usr/**', '/lib64/**']}}\n"
        );
        let policy = load("p", &text, &LoadOptions::default()).unwrap().policy;
        let made = find(target)
            .unwrap()
            .compile(&Meaning::new(&policy), &Options::default());
        let settings = made.unwrap().ledger.settings;
        settings
            .iter()
            .find(|s| s.setting == LOADED)
            .map(|s| s.fidelity)
    }

    #[test]
    fn every_layer_that_lets_code_be_read_tells_of_the_loader() {
        for target in ["landlock", "apparmor", "tetragon"] {
            assert_eq!(told(target, "execute"), Some(Fidelity::Looser), "{target}");
            assert_eq!(told(target, "read, execute"), None, "{target}");
        }
        // There, mapping needs the right to execute.
        assert_eq!(told("selinux", "execute"), None);
    }
}
