//! Tetragon: TracingPolicy and TracingPolicyNamespaced objects.
//!
//! # Quirks
//!
//! These come from Tetragon's source and CRD. "Seen" means: seen with the real agent on a 6.1 kernel.
//!
//! - An object has one section of hooks. kprobes and lsmhooks together pass the CRD, but the agent refuses them (seen).
//!   The back-end makes only kprobes, one object for each concern. So if a kernel lacks a symbol, only one concern is
//!   lost.
//! - `syscall` defaults to true; a `security_*` function needs `syscall: false` (seen).
//! - `Override` works on `security_*` functions (through fmod_ret, seen), with the error that `argError` names.
//!   `Sigkill` alone does not promise that the operation did not happen. So it only comes beside `Override`.
//! - Prefix is bytewise: the tree `/etc` is `Prefix /etc/` and `Equal /etc` (seen). Filters on one argument are ANDed,
//!   and values are ORed. The first selector that matches wins. A hook takes five selectors of five filters. A nest of
//!   allow and deny ([`model::Nest`]) is a set of cubes: in one of these trees, in none of those, none of these
//!   objects.
//! - The path `/` reaches the filters as an empty string. No operator matches that, not even `NotPrefix` (seen). So the
//!   root itself is never refused.
//! - `security_path_{mknod,mkdir,symlink,unlink,rmdir,rename,link}` see the parent directory only. So the directory
//!   decides about a create or delete in it. The last name cannot decide.
//! - `security_file_open` does not tell reading from writing. `security_file_permission` does, by its mask. Together
//!   with `security_mmap_file` it covers mapping too.
//! - No hook tells a file that is opened for writing from one that is opened for reading. `mprotect` makes a shared
//!   mapping writable without showing its path. So a program can change a file that it may read. The ledger has a line
//!   for it. To prevent it, polc would have to refuse shared mappings, by which compilers read their libraries.
//! - A rename shows its two directories, but not whether it replaces a name. So if deleting is refused, moving in is
//!   refused too.
//! - A hard link or a bind mount has another path than its file (seen). Path filters do not see either.
//! - `followChildren` keeps the children of the subject inside (seen). At most 64 selectors of an agent may have it.
//!   Processes that ran before the policy are not children.
//! - A connection shows the address (SAddr and SPort of the `sockaddr`, seen), never a name. An IPv6 socket shows an
//!   IPv4 address in its mapped form, so the object names blocks of IPv4 in both forms.
//! - An unconnected `sendto` does not pass `security_socket_connect`. So UDP is kept only if the policy allows none of
//!   it, by refusing such sockets. `MSG_FASTOPEN` connects without that hook, and `listen` without `bind` passes no
//!   hook on binding. The ledger has a line for them.
//! - `security_path_truncate` became `security_file_truncate` in Linux 6.2. Both are hooked, and each is ignored where
//!   it is missing.
//! - A `kubectl apply` that succeeds does not mean that the policy is loaded: `tetra tracingpolicy list` shows load
//!   errors.
//! - kubectl merges repeated YAML keys silently. So the objects are serialised from structs.

mod hooks;
mod lower;
mod model;
mod nest;
mod network;
mod read_back;
#[cfg(test)]
mod tests;

use super::{Artifact, Backend, Compiled, Evaluate, OptionSpec, Options};
use crate::diagnostics::Diagnostics;
use crate::policy::{Platform, Policy};
use crate::semantics::Meaning;

/// The back-end.
pub struct Tetragon;

const SCOPE: OptionSpec = OptionSpec {
    name: "scope",
    value_name: Some("SCOPE"),
    values: &["auto", "cluster", "namespaced"],
    default: Some("auto"),
    help: "the whole cluster or one namespace; auto: one namespace if the subject names one",
};

const ON_VIOLATION: OptionSpec = OptionSpec {
    name: "on-violation",
    value_name: Some("ACTION"),
    values: &["refuse", "kill"],
    default: Some("refuse"),
    help: "refuse: the call fails with EACCES; kill: it fails, and the kernel kills the process",
};

impl Backend for Tetragon {
    fn id(&self) -> &'static str {
        "tetragon"
    }

    fn platform(&self) -> Platform {
        Platform::Linux
    }

    fn summary(&self) -> &'static str {
        "Tetragon TracingPolicies for `kubectl apply -f -`"
    }

    fn assumes(&self, policy: &Policy) -> Option<String> {
        let subject = &policy.subject;
        let pods = subject.kubernetes.as_ref();
        let named = pods.is_some_and(|k| !k.labels.is_empty() || k.namespace.is_some());
        (subject.executable.is_none() && !named).then(|| {
            format!(
                "pods with the label `app.kubernetes.io/name={}`",
                lower::object_name(&policy.name)
            )
        })
    }

    fn options(&self) -> &'static [OptionSpec] {
        const ALL: &[OptionSpec] = &[SCOPE, ON_VIOLATION];
        ALL
    }

    fn compile(&self, meaning: &Meaning<'_>, options: &Options) -> Result<Compiled, Diagnostics> {
        let meaning = meaning.on(self.platform());
        let variant = lower::Variant {
            namespaced: match options.value(&SCOPE) {
                Some("cluster") => Some(false),
                Some("namespaced") => Some(true),
                _ => None,
            },
            kill: options.value(&ON_VIOLATION) == Some("kill"),
        };
        let (objects, ledger) = lower::lower(meaning, &variant)?;
        let text = model::render(meaning.policy(), objects, &ledger, options)?;
        let artifact = Artifact {
            file_name: format!("{}.tetragon.yaml", meaning.policy().name),
            bytes: text.into_bytes(),
        };
        Ok(Compiled {
            artifacts: vec![artifact],
            ledger,
            files: Vec::new(),
        })
    }
    fn recognises(&self, artifact: &Artifact) -> bool {
        read_back::recognises(artifact)
    }

    fn read_back(
        &self,
        artifacts: &[Artifact],
        _: &Options,
    ) -> Result<Box<dyn Evaluate>, Diagnostics> {
        Ok(Box::new(read_back::read(super::only(artifacts)?)?))
    }
}
