//! What AvaKill's rules are not about: the base that every program needs, and the `sandbox` section.
//!
//! AvaKill decides about tool calls. The agent's own process needs more than tool calls to run. A file that denies by
//! default would let nothing start, if taken literally. So the built-in rule sets for Linux and macOS come after the
//! file's rules, and a denial of everything leaves these paths open. `sandbox` is the file's own section about the
//! kernel. What it closes is closed before every rule. What it opens is open, unless a rule with a path denies it.

use super::file::{Agent, Sandbox};
use super::lower::{Output, command, every_host, everywhere};
use super::paths::holds;
use crate::diagnostics::Diagnostics;
use crate::frontend::{LoadOptions, builtin, load_builtin};
use crate::policy::{
    Action, HostPattern, Objects, Operation, OperationSet, PathPattern, Rule, Sources, Span,
};

/// The built-in sets that come after the rules.
const SETS: [&str; 2] = ["linux-runtime", "macos-runtime"];

/// Directories without which no dynamically linked program starts, on some system.
const VITAL: [&[u8]; 10] = [
    b"/usr/lib",
    b"/usr/lib64",
    b"/usr/lib/x86_64-linux-gnu",
    b"/usr/lib/aarch64-linux-gnu",
    b"/usr/bin",
    b"/lib",
    b"/lib64",
    b"/bin",
    b"/System/Library",
    b"/nix/store",
];

/// What stays open even if a rule denies everything.
pub(super) struct Base {
    runtime: Vec<Rule>,
    read: Vec<PathPattern>,
    write: Vec<PathPattern>,
    execute: Vec<PathPattern>,
    connect: Vec<HostPattern>,
    bind: Vec<HostPattern>,
}

fn trees(paths: Option<&Vec<Vec<u8>>>) -> Vec<PathPattern> {
    paths
        .into_iter()
        .flatten()
        .map(|p| PathPattern::tree(p))
        .collect()
}

fn set(operations: &[Operation]) -> OperationSet {
    operations.iter().copied().collect()
}

const READ: [Operation; 2] = [Operation::Read, Operation::List];
const WRITE: [Operation; 4] = [
    Operation::Edit,
    Operation::Create,
    Operation::Delete,
    Operation::Metadata,
];

impl Base {
    /// The base of a file with this sandbox.
    ///
    /// # Errors
    /// A built-in set does not load. That would be a fault of polc.
    pub fn new(
        sandbox: Option<&Sandbox>,
        options: &LoadOptions,
        sources: &mut Sources,
    ) -> Result<Self, Diagnostics> {
        let mut runtime = Vec::new();
        for name in SETS {
            let file = sources.add(
                format!("builtin:{name}"),
                builtin::rule_set(name).unwrap_or_default(),
            );
            // The sets name no path of the subject, so they need nothing from the command line.
            let options = LoadOptions {
                set: Vec::new(),
                ..options.clone()
            };
            for mut rule in load_builtin(name, &options)?.policy.rules {
                rule.span.file = file;
                rule.name = format!(
                    "{name}/{}",
                    rule.name.rsplit('/').next().unwrap_or_default()
                );
                runtime.push(rule);
            }
        }
        let s = sandbox;
        let mut connect = s.and_then(|s| s.connect.clone()).unwrap_or_default();
        // Host names are useless without the resolver. Only this machine's resolver is allowed, because another one is
        // a way to send data anywhere.
        if connect.iter().any(|h| {
            matches!(
                h.host,
                crate::policy::Host::Name(_) | crate::policy::Host::Below(_)
            )
        }) && let Ok(resolver) = HostPattern::parse("localhost:53")
        {
            connect.push(resolver);
        }
        Ok(Self {
            runtime,
            read: trees(s.and_then(|s| s.read.as_ref())),
            write: trees(s.and_then(|s| s.write.as_ref())),
            execute: trees(s.and_then(|s| s.execute.as_ref())),
            connect,
            bind: s.and_then(|s| s.bind.clone()).unwrap_or_default(),
        })
    }

    fn of_runtime<'s>(
        &'s self,
        operation: Operation,
        name: &'s str,
    ) -> impl Iterator<Item = PathPattern> + 's {
        self.runtime
            .iter()
            .filter(move |r| {
                r.action == Action::Allow
                    && r.operations.contains(operation)
                    && r.name.ends_with(name)
            })
            .flat_map(|r| match &r.objects {
                Objects::Paths { paths, .. } => paths.clone(),
                _ => Vec::new(),
            })
    }

    /// What a denial of everything leaves open: the runtime's own paths, and what the sandbox allows.
    pub fn needed(&self, operation: Operation) -> Vec<PathPattern> {
        let own = match operation {
            Operation::Read | Operation::List => &self.read,
            Operation::Edit | Operation::Create | Operation::Delete | Operation::Metadata => {
                &self.write
            }
            Operation::Execute => &self.execute,
            _ => return self.of_runtime(operation, "").collect(),
        };
        own.iter()
            .cloned()
            .chain(self.of_runtime(operation, ""))
            .collect()
    }

    /// What a denial of these trees leaves open, if they contain a directory without which nothing starts.
    pub fn vital(&self, operation: Operation, denied: &[PathPattern]) -> Vec<PathPattern> {
        if !READ.contains(&operation) {
            return Vec::new();
        }
        let deadly = |p: &PathPattern| {
            p.sequences
                .iter()
                .filter_map(|s| s.as_literal_tree())
                .any(|t| VITAL.iter().any(|v| holds(&t, v)))
        };
        if denied.iter().any(deadly) {
            self.of_runtime(operation, "/system").collect()
        } else {
            Vec::new()
        }
    }

    /// The peers (`connect`) or local addresses (`bind`) that the sandbox allows.
    pub fn hosts(&self, operation: Operation) -> &[HostPattern] {
        if operation == Operation::Bind {
            &self.bind
        } else {
            &self.connect
        }
    }

    /// The rules that come before those of the file.
    pub fn before(&self, sandbox: Option<&Sandbox>, agent: Option<&Agent>, out: &mut Output) {
        if let Some(a) = agent
            && let Some(program) = a.command.first()
        {
            let objects = Objects::Commands {
                commands: vec![command(program)],
                except: Vec::new(),
            };
            out.push(
                Rule::new(
                    "agent/program",
                    Action::Allow,
                    set(&[Operation::Execute]),
                    objects,
                ),
                a.span,
            );
        }
        let Some(s) = sandbox else { return };
        if !s.deny_read.is_empty() {
            let paths: Vec<PathPattern> =
                s.deny_read.iter().map(|p| PathPattern::tree(p)).collect();
            let mut except = self.vital(Operation::Read, &paths);
            if paths.contains(&everywhere()) {
                except.extend(self.needed(Operation::Read));
            }
            out.push(
                Rule::new(
                    "sandbox/deny-read",
                    Action::Deny,
                    set(&READ),
                    Objects::Paths { paths, except },
                ),
                s.span,
            );
        }
        let mut close = |operations: &[Operation]| {
            let mut groups: Vec<(OperationSet, Vec<PathPattern>)> = Vec::new();
            for o in operations {
                let except = self.needed(*o);
                match groups.iter_mut().find(|g| g.1 == except) {
                    Some(g) => g.0.insert(*o),
                    None => groups.push((set(&[*o]), except)),
                }
            }
            for (operations, except) in groups {
                let objects = Objects::Paths {
                    paths: vec![everywhere()],
                    except,
                };
                let words: Vec<&str> = operations.iter().map(Operation::name).collect();
                out.push(
                    Rule::new(
                        format!("sandbox/no-other-{}", words.join("-")),
                        Action::Deny,
                        operations,
                        objects,
                    ),
                    s.span,
                );
            }
        };
        if !self.read.is_empty() {
            close(&READ);
        }
        close(&WRITE);
        if !self.execute.is_empty() {
            close(&[Operation::Execute]);
        }
        for (name, operation, list) in [
            ("connect", Operation::Connect, &s.connect),
            ("bind", Operation::Bind, &s.bind),
        ] {
            if let Some(list) = list {
                let objects = Objects::Hosts {
                    hosts: vec![every_host()],
                    except: self.hosts(operation).to_vec(),
                };
                let id = out.push(
                    Rule::new(
                        format!("sandbox/no-other-{name}"),
                        Action::Deny,
                        set(&[operation]),
                        objects,
                    ),
                    s.span,
                );
                if list.is_empty() {
                    out.note(Some(id), format!("an empty `{name}` list closes the network; AvaKill does so on macOS alone"), s.span);
                }
            }
        }
    }

    /// The rules that come after those of the file.
    pub fn after(&self, sandbox: Option<&Sandbox>, alone: bool, default: Action, out: &mut Output) {
        if let Some(s) = sandbox {
            let everything = vec![everywhere()];
            // Without rules, only the sandbox counts. An empty list of what may be read or started would let nothing
            // run. AvaKill's own profile for macOS then allows reading and starting everything.
            let open = |list: &Vec<PathPattern>| {
                if alone && list.is_empty() {
                    everything.clone()
                } else {
                    list.clone()
                }
            };
            for (name, operations, paths) in [
                ("read", set(&READ), open(&self.read)),
                ("write", OperationSet::WRITE, self.write.clone()),
                ("execute", set(&[Operation::Execute]), open(&self.execute)),
            ] {
                if paths.is_empty() {
                    continue;
                }
                let assumed = paths == everything && alone;
                let objects = Objects::Paths {
                    paths,
                    except: Vec::new(),
                };
                let id = out.push(
                    Rule::new(
                        format!("sandbox/{name}"),
                        Action::Allow,
                        operations,
                        objects,
                    ),
                    s.span,
                );
                if assumed {
                    out.note(
                        Some(id),
                        format!("no path is listed under `{name}`: everything but `deny_paths` is allowed, as AvaKill does on macOS; with an empty list nothing would run"),
                        s.span,
                    );
                }
            }
            for (name, operation, hosts) in [
                ("connect", Operation::Connect, &self.connect),
                ("bind", Operation::Bind, &self.bind),
            ] {
                if !hosts.is_empty() {
                    let objects = Objects::Hosts {
                        hosts: hosts.clone(),
                        except: Vec::new(),
                    };
                    out.push(
                        Rule::new(
                            format!("sandbox/{name}"),
                            Action::Allow,
                            set(&[operation]),
                            objects,
                        ),
                        s.span,
                    );
                }
            }
        }
        // If everything is allowed that no rule denies, the runtime is allowed too.
        if default != Action::Allow {
            for rule in &self.runtime {
                out.push(rule.clone(), rule.span);
            }
        }
    }

    /// Whether some program other than the loader may be started.
    fn can_start(&self, default: Action, out: &Output) -> bool {
        let runtime = |r: &Rule| SETS.iter().any(|s| r.name.starts_with(s));
        let first = out
            .rules
            .iter()
            .filter(|r| r.operations.contains(Operation::Execute) && !runtime(r))
            .find_map(|r| match (&r.objects, r.action) {
                (_, Action::Allow) => Some(true),
                (Objects::Paths { paths, .. }, _) if paths.contains(&everywhere()) => {
                    Some(!self.execute.is_empty())
                }
                _ => None,
            });
        first.unwrap_or(default == Action::Allow)
    }

    /// The notes about the whole file.
    pub fn notes(&self, sandbox: Option<&Sandbox>, default: Action, at: Span, out: &mut Output) {
        if default != Action::Allow {
            out.note(
                None,
                "AvaKill's rules judge tool calls; what a program needs to run at all is taken from `builtin:linux-runtime` and `builtin:macos-runtime`",
                at,
            );
        }
        if !self.can_start(default, out) {
            out.note(
                None,
                "no program may be started, the agent's own not either: list it under `sandbox.allow_paths.execute`",
                at,
            );
        }
        if let Some(s) = sandbox {
            for (name, list) in [("connect", &s.connect), ("bind", &s.bind)] {
                if list.is_none() {
                    out.note(None, format!("`sandbox.allow_network` has no `{name}`: the rules and the default decide"), s.span);
                }
            }
        }
    }
}
