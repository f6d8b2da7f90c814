//! Tetragon: TracingPolicy and TracingPolicyNamespaced objects.
//!
//! # Quirks
//!
//! Read from Tetragon's source and CRD, and seen with the real agent on a 6.1 kernel, where it says "seen".
//!
//! - One hook section an object: kprobes and lsmhooks together pass the CRD and are refused by the agent
//!   (seen). Only kprobes are made here, in one object for each concern, so that a kernel that lacks
//!   a symbol loses one concern and not all.
//! - `syscall` defaults to true; a `security_*` function needs `syscall: false` (seen).
//! - `Override` works on `security_*` functions (through fmod_ret, seen), with the error that
//!   `argError` names. `Sigkill` alone does not promise that the operation did not happen, so
//!   it comes only beside `Override`.
//! - Prefix is bytewise: the tree `/etc` is `Prefix /etc/` and `Equal /etc` (seen). Filters
//!   on one argument are ANDed, values are ORed, the first selector that matches wins, and a hook
//!   takes five selectors of five filters. A nest of allow and deny ([`model::Nest`]) is a set of
//!   cubes: in one of these trees, in none of those, none of these objects.
//! - The path `/` reaches the filters as an empty string, which no operator matches, `NotPrefix` included
//!   (seen): the root itself is never refused.
//! - `security_path_{mknod,mkdir,symlink,unlink,rmdir,rename,link}` see the parent directory only. A
//!   create or delete is judged by the directory that it happens in; that the last name decides
//!   otherwise cannot be said.
//! - `security_file_open` does not know reading from writing; `security_file_permission` does, by its
//!   mask, and with `security_mmap_file` covers what mapping would go round.
//! - No hook tells a file that is opened for writing from one for reading, and `mprotect` makes a shared mapping
//!   writable without showing its path: what may be read can be changed that way, and the ledger has a line for it. It
//!   would take refusing shared mappings, by which compilers read their libraries.
//! - A rename shows its two directories, not whether a name is replaced: where deleting is refused, moving in is.
//! - A hard link or a bind mount has another path than its file (seen): both go round path filters.
//! - `followChildren` is what keeps the children of the subject inside (seen); at most 64 selectors of
//!   an agent may have it. Processes that ran before the policy are not children.
//! - A connection shows the address (SAddr and SPort of the `sockaddr`, seen), never a name. An IPv6 socket shows an
//!   IPv4 address in its mapped form, so blocks of IPv4 are named in both. An
//!   unconnected `sendto` does not pass `security_socket_connect`; so UDP is held only where the
//!   policy allows none of it, by refusing such sockets. `MSG_FASTOPEN` connects without that hook, and `listen`
//!   without `bind` passes none on binding: the ledger has a line for them.
//! - `security_path_truncate` became `security_file_truncate` in Linux 6.2; both are hooked, each
//!   ignored where it is missing.
//! - `kubectl apply` that succeeds does not mean loaded: `tetra tracingpolicy list` shows load errors.
//! - YAML keys that repeat are merged by kubectl without a word; the objects are serialised from structs.

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
    help: "whether the policies hold for one namespace or the whole cluster; auto: one namespace if the subject names one",
};

const ON_VIOLATION: OptionSpec = OptionSpec {
    name: "on-violation",
    value_name: Some("ACTION"),
    values: &["refuse", "kill"],
    default: Some("refuse"),
    help: "refuse: the call fails with EACCES; kill: it fails, and the process is killed",
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
