//! From a policy's sets of allowed paths to TracingPolicies.

use super::model::{
    Arg, Ignore, Kprobe, MatchAction, MatchArg, MatchBinaries, Nest, Sees, Selector, Spec,
    SpecOption, TracingPolicy, allowed,
};
use super::nest::{Literals, literal_tree};
use crate::backend::loader;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::fidelity::{Fidelity, Ledger, show_bytes};
use crate::policy::{Operation, Policy, Rule};
use crate::semantics::{LedgerBuilder, Meaning, PathSet, TooLarge};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The options of the back-end.
pub struct Variant {
    /// `None`: namespaced if the subject names a namespace.
    pub namespaced: Option<bool>,
    /// Whether a violation kills.
    pub kill: bool,
}

/// The most bytes of a path in a filter. A `Prefix` takes 256 with its last `/`.
pub const MAX_PATH: usize = 255;
/// The most selectors of one hook.
const MAX_SELECTORS: usize = 5;
/// The most selectors with `followChildren` of one agent.
const MAX_FOLLOWING: usize = 64;

/// EACCES, the answer of a refused call.
const EACCES: i32 = -13;

pub fn lower(
    meaning: &Meaning<'_>,
    variant: &Variant,
) -> Result<(Vec<TracingPolicy>, Ledger), Diagnostics> {
    let policy = meaning.policy();
    let binding = Binding::of(policy, variant)?;
    let mut ledger = LedgerBuilder::new(meaning, "tetragon");
    let tree = literal_tree(policy)?;
    let mut hooks: BTreeMap<&'static str, Vec<Hook>> = BTreeMap::new();

    let mut literals = Literals::new(&tree);
    let mut nest = |operations: &[Operation], sees| -> Result<Nest, TooLarge> {
        let all = operations.iter().map(|o| meaning.decisions(*o));
        Ok(literals.nest(&all.collect::<Result<Vec<_>, _>>()?, sees))
    };
    // Files and directories pass the same hook. So reading and listing have one answer: both must be allowed.
    let readable = nest(&[Operation::Read, Operation::List], Sees::Object)?;
    let editable = nest(&[Operation::Edit], Sees::Object)?;
    let metadata = nest(&[Operation::Metadata], Sees::Object)?;
    let executable = nest(&[Operation::Execute], Sees::Object)?;
    // The directory decides about operations in it. They are allowed if they are allowed for a name that the policy
    // does not mention.
    let creatable = nest(&[Operation::Create], Sees::Parent)?;
    let deletable = nest(&[Operation::Delete], Sees::Parent)?;
    let replaceable = nest(&[Operation::Create, Operation::Delete], Sees::Parent)?;

    for (operation, denied) in [
        (Operation::Read, &readable),
        (Operation::Edit, &editable),
        (Operation::Create, &creatable),
        (Operation::Delete, &deletable),
        (Operation::Metadata, &metadata),
        (Operation::Execute, &executable),
    ] {
        let of = super::hooks::of(operation, denied, &replaceable);
        if !of.is_empty() {
            hooks.insert(operation.name(), of);
        }
    }

    let long = tree.too_long;
    let reason = move |text: &'static str| {
        move |_: Option<&Rule>, _: Fidelity| -> Cow<'static, str> {
            if long {
                format!("{text}, and paths of more than {MAX_PATH} bytes cannot be named").into()
            } else {
                text.into()
            }
        }
    };
    const PLAIN: &str =
        "filters know trees and objects by their literal paths, and never see the root itself";
    const BOTH: &str = "filters know trees and objects by their literal paths, but not the root itself, and have one answer for reading and listing";
    if ledger.is_asked() {
        let [reads, edits, changes, creates, deletes, replaces] = allowed([
            (&readable, Sees::Object),
            (&editable, Sees::Object),
            (&metadata, Sees::Object),
            (&creatable, Sees::Parent),
            (&deletable, Sees::Parent),
            (&replaceable, Sees::Parent),
        ])?;
        // Commands name programs wherever they lie. In a shared automaton, each of these names would be in every
        // directory.
        let [executes] = allowed([(&executable, Sees::Object)])?;
        ledger.paths(Operation::Read, &reads, &reason(BOTH))?;
        ledger.paths(Operation::List, &reads, &reason(BOTH))?;
        ledger.paths(Operation::Edit, &edits, &reason(PLAIN))?;
        ledger.paths(Operation::Execute, &executes, &reason(PLAIN))?;
        let times = "only literal paths protect mode and owner; times and extended attributes are not hooked";
        ledger.paths(Operation::Metadata, &changes, &reason(times))?;
        if metadata.denies() {
            ledger.paths(Operation::Metadata, &PathSet::all(), &reason(times))?;
        }
        let text = "the hooks see the directory, not the last name in it";
        ledger.paths(Operation::Create, &creates, &reason(text))?;
        if !replaces.equals(&creates)? {
            let text = "a rename does not show whether it replaces something: where deleting is refused, nothing can be moved in";
            ledger.paths(Operation::Create, &replaces, &reason(text))?;
        }
        ledger.paths(Operation::Delete, &deletes, &reason(text))?;
        ledger.moved_away(&deletes, &deletes)?;
        if let Some(path) = reads.excess_witness(&edits)? {
            let text = format!(
                "a file that may be read can be mapped shared, and `mprotect` then makes that writable without showing its path: {}",
                show_bytes(&path)
            );
            ledger.setting("edit through a mapping", Fidelity::Looser, text);
        }
    }
    ledger.paths_unenforced(Operation::Connect, "unix sockets are not hooked by path")?;

    super::network::lower(meaning, &mut ledger, &mut hooks);
    ledger.syscalls_unenforced("only seccomp sees system calls by name");
    settings(policy, &mut ledger, &binding);

    let objects = objects(policy, &binding, variant, hooks)?;
    Ok((objects, ledger.finish()))
}

/// A hook before it is split into objects.
pub struct Hook {
    pub call: &'static str,
    pub args: Vec<Arg>,
    /// Whether some kernels lack it.
    pub optional: bool,
    /// Each list belongs to one selector.
    pub filters: Vec<Vec<MatchArg>>,
    pub message: String,
}

/// The processes that the objects are for.
struct Binding {
    binaries: Vec<String>,
    pods: Option<LabelSelector>,
    namespace: Option<String>,
    /// Whether the policy names neither a program nor pods, so that a label is used instead.
    assumed: bool,
}

impl Binding {
    fn of(policy: &Policy, variant: &Variant) -> Result<Self, Diagnostics> {
        let wrong = |code, message: String, help: &str| {
            let mut d: Diagnostics = Diagnostic::error(code, message)
                .at(policy.default_span, "")
                .help(help)
                .into();
            d.sources = policy.sources.clone();
            d
        };
        let mut binaries = Vec::new();
        if let Some(executable) = &policy.subject.executable {
            for s in &executable.sequences {
                let path = s
                    .as_literal()
                    .and_then(|p| String::from_utf8(p).ok())
                    .filter(|p| p.len() <= MAX_PATH);
                let Some(path) = path else {
                    return Err(wrong(
                        "E110",
                        format!(
                            "`subject.executable` is `{executable}`, but matchBinaries takes only literal paths of UTF-8 below 256 bytes"
                        ),
                        "name the programs one by one in braces, or leave `executable` out and select pods",
                    ));
                };
                binaries.push(path);
            }
        }
        let kubernetes = policy.subject.kubernetes.clone().unwrap_or_default();
        let namespace = match (variant.namespaced, &kubernetes.namespace) {
            (Some(false), _) | (None, None) => None,
            (_, Some(n)) => Some(n.clone()),
            (Some(true), None) => {
                return Err(wrong(
                    "E113",
                    "`--scope namespaced` needs a namespace".to_owned(),
                    "write it in the policy: `subject: {kubernetes: {namespace: agents}}`",
                ));
            }
        };
        let mut labels: BTreeMap<String, String> = kubernetes.labels.iter().cloned().collect();
        let assumed = binaries.is_empty() && labels.is_empty() && namespace.is_none();
        if assumed {
            labels.insert(
                "app.kubernetes.io/name".to_owned(),
                object_name(&policy.name),
            );
        }
        let pods = (!labels.is_empty()).then_some(LabelSelector {
            match_labels: Some(labels),
            match_expressions: None,
        });
        Ok(Self {
            binaries,
            pods,
            namespace,
            assumed,
        })
    }
}

/// The policy's name as a Kubernetes object name: lower case, digits, `-`.
pub(super) fn object_name(name: &str) -> String {
    let text: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect();
    let text = text.trim_matches('-');
    if text.is_empty() {
        "policy".to_owned()
    } else {
        text.to_owned()
    }
}

fn settings(policy: &Policy, ledger: &mut LedgerBuilder<'_, '_>, binding: &Binding) {
    let absent = "a TracingPolicy has no such thing";
    if !policy.limits.is_empty() {
        ledger.setting("limits", Fidelity::Unenforced, absent);
    }
    if policy.environment.pass.is_some() || !policy.environment.set.is_empty() {
        ledger.setting("environment", Fidelity::Unenforced, absent);
    }
    ledger.setting(
        "capabilities",
        Fidelity::Unenforced,
        "a TracingPolicy takes no capabilities away",
    );
    loader::tell(policy, ledger);
    if binding.assumed {
        let text = "the policy names neither `subject.executable` nor `subject.kubernetes`: the objects are for pods with the label app.kubernetes.io/name";
        ledger.setting("subject", Fidelity::Exact, text);
    }
}

/// The objects: one for each concern. There are more if a hook has more selectors than one object takes.
fn objects(
    policy: &Policy,
    binding: &Binding,
    variant: &Variant,
    hooks: BTreeMap<&'static str, Vec<Hook>>,
) -> Result<Vec<TracingPolicy>, Diagnostics> {
    let mut actions = vec![MatchAction {
        action: "Override",
        arg_error: Some(EACCES),
    }];
    if variant.kill {
        actions.push(MatchAction {
            action: "Sigkill",
            arg_error: None,
        });
    }
    let binaries: Vec<MatchBinaries> = if binding.binaries.is_empty() {
        Vec::new()
    } else {
        vec![MatchBinaries {
            operator: "In",
            values: binding.binaries.clone(),
            follow_children: true,
        }]
    };
    let mut out = Vec::new();
    let mut following = 0;
    for (concern, mut hooks) in hooks {
        let parts = hooks
            .iter()
            .map(|h| h.filters.len().div_ceil(MAX_SELECTORS))
            .max()
            .unwrap_or(0);
        for part in 0..parts {
            let kprobes: Vec<Kprobe> = hooks
                .iter_mut()
                .map(|h| {
                    let rest = h.filters.split_off(h.filters.len().min(MAX_SELECTORS));
                    (std::mem::replace(&mut h.filters, rest), h)
                })
                .filter(|(filters, _)| !filters.is_empty())
                .map(|(filters, h)| Kprobe {
                    call: h.call,
                    syscall: false,
                    ignore: h.optional.then_some(Ignore {
                        call_not_found: true,
                    }),
                    message: format!(
                        "polc: {}: refused: {}",
                        object_name(&policy.name),
                        h.message
                    ),
                    args: h.args.clone(),
                    selectors: filters
                        .into_iter()
                        .map(|match_args| Selector {
                            match_binaries: binaries.clone(),
                            match_args,
                            match_actions: actions.clone(),
                        })
                        .collect(),
                })
                .collect();
            following += kprobes.iter().map(|k| k.selectors.len()).sum::<usize>();
            let mut name = format!("{}-{concern}", object_name(&policy.name));
            if part > 0 {
                name.push_str(&format!("-{}", part + 1));
            }
            out.push(TracingPolicy {
                api_version: "cilium.io/v1alpha1",
                kind: if binding.namespace.is_some() {
                    "TracingPolicyNamespaced"
                } else {
                    "TracingPolicy"
                },
                metadata: ObjectMeta {
                    name: Some(name),
                    namespace: binding.namespace.clone(),
                    ..ObjectMeta::default()
                },
                spec: Spec {
                    pod_selector: binding.pods.clone(),
                    options: vec![SpecOption {
                        name: "disable-kprobe-multi",
                        value: "1",
                    }],
                    kprobes,
                },
            });
        }
    }
    if !binaries.is_empty() && following > MAX_FOLLOWING {
        let message = format!(
            "the policy needs {following} selectors that follow the subject's children, but Tetragon takes only {MAX_FOLLOWING}"
        );
        let mut d: Diagnostics = Diagnostic::error("E111", message)
            .at(policy.default_span, "")
            .help("select pods (`subject.kubernetes`) and leave `subject.executable` out, or use fewer sets of ports")
            .into();
        d.sources = policy.sources.clone();
        return Err(d);
    }
    Ok(out)
}
