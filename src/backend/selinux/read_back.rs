//! Reads a module and its file contexts back, and evaluates them as the kernel and libselinux do.
//!
//! Sources: checkpolicy 3.4's grammar, file_contexts(5), the permission checks in security/selinux/hooks.c of Linux
//! 6.12, and Debian 12's reference policy. The reader has its own table of that policy ([`base`]), which the native
//! tests check with matchpathcon and sesearch. The reader shares nothing with the lowering.
//!
//! - A path has the type of its most specific file context ([`contexts`]), of the module's and the base policy's
//!   together. Beneath /tmp no path has a label. A `type_transition` from `tmp_t` gives a type to the files that the
//!   domain makes there. Without one, the module is not about those files.
//! - A domain may do what allow rules say of it and of its attributes, on a type and on the type's attributes. The
//!   attribute `domain` brings rules that no module states. `neverallow` takes nothing away.
//! - Reading a file takes `open read` of `file`. Listing takes the same of `dir`. Changing contents takes `open` with
//!   `write` or `append`. Changing mode or owner takes `setattr`. Setting times to now takes `write`.
//! - A new object has no label yet. A `type_transition` for its class gives it one. Otherwise it gets its directory's
//!   type, and the domain also needs `add_name search write` on that type (`may_create`). The file context counts only
//!   for objects that exist. An object that is removed or moved is checked by its own type, and by `remove_name search
//!   write` on its directory (`may_link`, `may_rename`). If a file can be moved, adding its name to another directory
//!   is a way to make it there. Each class is a way of its own (a directory, a file, a link, …).
//! - A directory that is moved takes along everything beneath it, whatever the types there.
//! - Starting a program in the domain takes `execute` and `execute_no_trans`. The kernel also opens it for reading.
//! - Connecting to a socket takes `connectto` on the domain that listens, which is another one.
//! - Rules know types of ports, and no hosts. The kernel checks the port of TCP connections, but not of connected UDP.
//!   It checks listening for both.
//!
//! The base policy has more types than the table knows. For those, the reading is only a model of it.

mod base;
mod contexts;
mod module;
mod others;
#[cfg(test)]
mod tests;
mod ways;

use self::contexts::{Applies, Context};
use self::module::{Allow, Module};
use crate::backend::{
    Allowed, Answers, Artifact, Clause, Confines, Deciders, Deciding, Evaluate, Form, HostCuts,
    OnPaths,
};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::fidelity::{Object, show_bytes};
use crate::policy::{HostSpec, Operation, Platform, Protocol};
use crate::semantics::{PathSet, Step, StepsIndex, TooLarge, steps_match};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

/// A module that was read back.
pub(super) struct Loaded {
    module: Module,
    domain: String,
    /// The most specific context comes first.
    contexts: Vec<Context>,
    by_name: OnceLock<StepsIndex>,
    /// The indices of the module's rules about the domain's sockets.
    sockets: Vec<usize>,
    /// Which of the artifacts holds the file contexts.
    contexts_at: usize,
    module_at: usize,
    answers: Answers,
    sets: ways::Made<ways::SetKey>,
    typed: [OnceLock<ways::Typed>; ways::ALIKE.len()],
    held: OnceLock<DomainRights>,
}

const TCP_SOCKET: &str = "tcp_socket";
const UDP_SOCKET: &str = "udp_socket";

/// The domain's permissions, by type, and for each class in the order of [`CLASSES`].
type DomainRights = BTreeMap<String, Vec<BTreeSet<String>>>;

/// The classes of objects that have paths.
const CLASSES: [&str; 5] = ["dir", "fifo_file", "file", "lnk_file", "sock_file"];

fn refuse(name: &str, line: usize, message: &str) -> Diagnostics {
    let name = show_bytes(name.as_bytes());
    let message = show_bytes(message.as_bytes());
    Diagnostic::error("E115", format!("`{name}`, line {line}: {message}"))
        .help("`polc emit selinux` makes the module anew; what was added by hand can be written as it writes it")
        .into()
}

fn is_contexts(artifact: &Artifact) -> bool {
    artifact.file_name.ends_with(".fc")
}

/// Reads them: a `.te`, and a `.fc` if there is one.
///
/// # Errors
/// The reader does not understand one of them.
pub(super) fn read(artifacts: &[Artifact]) -> Result<Loaded, Diagnostics> {
    let te: Vec<usize> = (0..artifacts.len())
        .filter(|at| !is_contexts(&artifacts[*at]))
        .collect();
    let fc: Vec<usize> = (0..artifacts.len())
        .filter(|at| is_contexts(&artifacts[*at]))
        .collect();
    let (&[module_at], [] | [_]) = (te.as_slice(), fc.as_slice()) else {
        return Err(Diagnostic::error(
            "E115",
            format!(
                "a module is one `.te` and at most one `.fc`, and here are {} and {}",
                te.len(),
                fc.len()
            ),
        )
        .into());
    };
    let text = |at: usize| {
        let a = &artifacts[at];
        std::str::from_utf8(&a.bytes).map_err(|_| refuse(&a.file_name, 1, "it is not UTF-8"))
    };
    let name = &artifacts[module_at].file_name;
    let module =
        module::read(text(module_at)?).map_err(|(line, message)| refuse(name, line, &message))?;
    let mut contexts = match fc.first() {
        Some(at) => contexts::read(text(*at)?)
            .map_err(|(line, message)| refuse(&artifacts[*at].file_name, line, &message))?,
        None => Vec::new(),
    };
    let domains: Vec<&String> = module
        .types
        .iter()
        .filter(|(_, attributes)| attributes.contains("domain"))
        .map(|(name, _)| name)
        .collect();
    let [domain] = domains.as_slice() else {
        return Err(refuse(
            name,
            1,
            "a policy is one domain: one type of the module with the attribute `domain`",
        ));
    };
    let domain = (*domain).clone();
    known(&module, &domain).map_err(|(line, message)| refuse(name, line, &message))?;
    let contexts_at = fc.first().copied().unwrap_or(module_at);
    contexts_known(&module, &contexts)
        .map_err(|(line, message)| refuse(&artifacts[contexts_at].file_name, line, &message))?;
    contexts.extend(
        base::CONTEXTS
            .iter()
            .map(|(p, tree, t, applies)| contexts::base(p, *tree, t, *applies)),
    );
    contexts.extend(
        base::within_etc().map(|(p, tree, t, applies)| contexts::base(&p, tree, t, applies)),
    );
    contexts.extend(base::programs().map(|(p, t)| {
        let whatever = p.ends_with('*') && !p.ends_with(".*");
        contexts::base(&p, whatever, t, Applies::Files)
    }));
    contexts.extend(temporary(&module, &domain));
    contexts.sort_by_key(|c| std::cmp::Reverse(c.rank));
    let about_sockets =
        |r: &Allow| r.source == domain && [TCP_SOCKET, UDP_SOCKET].contains(&r.class.as_str());
    let sockets = (0..module.allows.len())
        .filter(|at| about_sockets(&module.allows[*at]))
        .collect();
    Ok(Loaded {
        module,
        domain,
        contexts,
        by_name: OnceLock::new(),
        sockets,
        contexts_at,
        module_at,
        answers: Answers::default(),
        sets: ways::Made::default(),
        typed: Default::default(),
        held: OnceLock::new(),
    })
}

/// Whether it is a type of the base policy that the reader knows.
fn of_base(t: &str) -> bool {
    base::CONTEXTS.iter().any(|c| c.2 == t)
        || base::within_etc().any(|c| c.2 == t)
        || base::PROGRAMS.iter().any(|p| p.0 == t)
        || base::WITHOUT_PATHS.contains(&t)
        || base::PORTS.iter().any(|p| p.0 == t)
}

/// Checks that each rule is about types of which the reader knows what they label.
fn known(module: &Module, domain: &str) -> Result<(), module::Fault> {
    const ATTRIBUTES: [&str; 4] = ["domain", "file_type", "non_security_file_type", "port_type"];
    if let Some(strange) = module.required_types.iter().find(|t| !of_base(t)) {
        return Err((
            1,
            format!(
                "`{strange}` is a type of the base policy that polc does not know the files of"
            ),
        ));
    }
    if let Some(strange) = module
        .attributes
        .iter()
        .chain(module.types.values().flatten())
        .find(|a| !ATTRIBUTES.contains(&a.as_str()))
    {
        return Err((
            1,
            format!("`{strange}` is an attribute that polc does not know"),
        ));
    }
    for [source, target, class, new] in &module.transitions {
        let into_tmp = source == domain && target == "tmp_t" && module.types.contains_key(new);
        let started = class == "process";
        if !started && !into_tmp {
            return Err((
                1,
                format!("`type_transition {source} {target}:{class}` is not read"),
            ));
        }
        if started && source == domain {
            return Err((
                1,
                format!("a program of `{target}` is started in another domain, which is not read"),
            ));
        }
    }
    Ok(())
}

/// Checks that `semodule` would take every file context, with a declared type.
fn contexts_known(module: &Module, contexts: &[Context]) -> Result<(), module::Fault> {
    for context in contexts {
        let regex = context.text.split(' ').next().unwrap_or_default();
        if regex == "/" || base::TAKEN.contains(&regex.trim_end_matches("/.*")) {
            let message =
                format!("the base policy has an entry for `{regex}`, and takes no second one");
            return Err((context.line, message));
        }
        if let Some(label) = &context.label
            && !(module.types.contains_key(label) || of_base(label))
        {
            return Err((
                context.line,
                format!("`{}` has a type that is declared nowhere", context.text),
            ));
        }
    }
    Ok(())
}

/// The types of the objects that the domain makes beneath /tmp, by class.
fn temporary(module: &Module, domain: &str) -> Vec<Context> {
    let of_class = |wanted: &str| {
        let mut all = module.transitions.iter();
        all.find(|[s, t, class, _]| s == domain && t == "tmp_t" && class == wanted)
    };
    [("file", Applies::Files), ("dir", Applies::Directories)]
        .into_iter()
        .filter_map(|(class, applies)| {
            let [.., new] = of_class(class)?;
            Some(contexts::base("/tmp/*", true, new, applies))
        })
        .collect()
}

impl Loaded {
    fn has_attribute(&self, label: &str, attribute: &str) -> bool {
        if let Some(own) = self.module.types.get(label) {
            return own.contains(attribute);
        }
        match attribute {
            "file_type" => true,
            "non_security_file_type" => !base::SECURITY.contains(&label),
            _ => false,
        }
    }

    /// The rules that give the domain a permission on a type.
    fn rules<'l>(&'l self, label: &'l str, class: &'l str) -> impl Iterator<Item = &'l Allow> {
        self.module.allows.iter().filter(move |r| {
            let source =
                r.source == self.domain || self.module.types[&self.domain].contains(&r.source);
            source
                && r.class == class
                && (r.target == label || self.has_attribute(label, &r.target))
        })
    }

    /// The domain's permissions on objects of a class that have this type.
    fn held_on(&self, label: &str, class: &str) -> BTreeSet<String> {
        let rules = self.rules(label, class);
        let mut held: BTreeSet<String> = rules.flat_map(|r| r.permissions.clone()).collect();
        for (t, c, list) in base::DOMAIN {
            if *t == label && *c == class {
                held.extend(list.iter().map(|p| (*p).to_owned()));
            }
        }
        held
    }

    fn may(&self, label: &str, class: &str, permissions: &[&str]) -> bool {
        let held = self.held.get_or_init(|| {
            let of = |label: &str| {
                let each = CLASSES.iter().map(|class| self.held_on(label, class));
                (label.to_owned(), each.collect())
            };
            self.labels().into_iter().map(of).collect()
        });
        let class_at = CLASSES.iter().position(|c| *c == class);
        match (held.get(label), class_at) {
            (Some(classes), Some(at)) => permissions.iter().all(|p| classes[at].contains(*p)),
            _ => {
                let held = self.held_on(label, class);
                permissions.iter().all(|p| held.contains(*p))
            }
        }
    }

    fn port_type(class: &str, port: u16) -> Option<&'static str> {
        let udp = class == UDP_SOCKET;
        let mut all = base::PORTS.iter();
        let found = all.find(|(_, tcp, own)| if udp { own } else { tcp }.contains(&port));
        found.map(|(t, ..)| *t)
    }

    /// Whether the domain has a permission on the type of a port.
    fn on_port(&self, class: &str, permission: &str, port: u16) -> bool {
        self.sockets(class).any(|r| {
            r.permissions.contains(permission)
                && (r.target == "port_type"
                    || Self::port_type(class, port) == Some(r.target.as_str()))
        })
    }

    /// Whether the domain may bind addresses of the machine. The kernel checks this for every port.
    fn on_node(&self, class: &str) -> bool {
        let mut rules = self.sockets(class);
        rules.any(|r| r.permissions.contains("node_bind") && r.target == "node_t")
    }

    /// The rules about the domain's sockets of a class.
    fn sockets<'l>(&'l self, class: &'l str) -> impl Iterator<Item = &'l Allow> {
        let all = self.sockets.iter().map(|at| &self.module.allows[*at]);
        all.filter(move |r| r.class == class)
    }

    fn on_self(&self, class: &str, permissions: &[&str]) -> bool {
        let own = |r: &&Allow| r.target == "self" || r.target == self.domain;
        let held = |p: &&str| {
            let mut rules = self.sockets(class).filter(own);
            rules.any(|r| r.permissions.contains(*p))
        };
        permissions.iter().all(held)
    }

    fn host(&self, operation: Operation, host: &HostSpec) -> bool {
        let mut protocols = Protocol::ALL
            .into_iter()
            .filter(|p| host.protocol.is_none_or(|own| own == *p));
        protocols.all(|protocol| {
            let class = match protocol {
                Protocol::Tcp => TCP_SOCKET,
                Protocol::Udp => UDP_SOCKET,
            };
            if operation == Operation::Connect {
                self.on_self(class, &["create", "connect"])
                    && (protocol == Protocol::Udp || self.on_port(class, "name_connect", host.port))
            } else {
                let [first, last] = base::GIVEN_OUT;
                let given_out = (first..=last).contains(&host.port);
                // `listen` alone takes one of those ports too. The kernel checks neither node nor port then
                // (selinux_socket_listen).
                let unbound = protocol == Protocol::Tcp
                    && given_out
                    && self.on_self(class, &["create", "listen"]);
                unbound
                    || (self.on_self(class, &["create", "bind"])
                        && self.on_node(class)
                        && (given_out || self.on_port(class, "name_bind", host.port)))
            }
        })
    }

    /// The context that gives a path its type.
    fn context(&self, form: Form, path: &[u8]) -> Option<&Context> {
        let path = if path == b"/" { b"" } else { path };
        let has = |c: &&Context| c.patterns.iter().any(|s| steps_match(s, path));
        let by_name = self.by_name.get_or_init(|| {
            let mut index = StepsIndex::default();
            for (number, context) in self.contexts.iter().enumerate() {
                let each = context.patterns.iter();
                each.for_each(|steps| index.add(steps, number));
            }
            index
        });
        let candidates = by_name.candidates(path).into_iter();
        let all = candidates.map(|n| &self.contexts[n]);
        all.filter(|c| c.applies.to(form)).find(has)
    }
}

impl Evaluate for Loaded {
    fn platform(&self) -> Platform {
        Platform::Linux
    }

    fn paths(&self, operation: Operation) -> Result<OnPaths, TooLarge> {
        self.answers.of(operation, || self.answer(operation))
    }

    fn host_cuts(&self, operation: Operation) -> Option<HostCuts> {
        matches!(operation, Operation::Connect | Operation::Bind).then(|| HostCuts {
            ports: base::PORTS
                .iter()
                .flat_map(|(_, tcp, udp)| tcp.iter().chain(*udp))
                .flat_map(|p| [Some(*p), p.checked_add(1)])
                .flatten()
                .chain([base::GIVEN_OUT[0], base::GIVEN_OUT[1] + 1])
                .collect(),
            ..HostCuts::default()
        })
    }

    fn allows(&self, operation: Operation, object: &Object) -> Option<bool> {
        let path = match object {
            Object::Host(host) => {
                let asked = matches!(operation, Operation::Connect | Operation::Bind);
                return asked.then(|| self.host(operation, host));
            }
            Object::Path(path) => path,
            Object::Command(words) => words.first().filter(|p| p.starts_with(b"/"))?,
            _ => return None,
        };
        match self.paths(operation).ok()? {
            OnPaths::Silent => None,
            OnPaths::Allows(forms) => {
                let mut own = forms.iter().filter(|f| f.form != Form::Moved);
                Some(own.any(|f| f.paths.contains(path)))
            }
        }
    }

    fn others(&self) -> BTreeSet<String> {
        others::of(&self.module, &self.domain, &self.contexts)
    }

    fn confines(&self) -> Result<Confines, TooLarge> {
        let enters = |label: &str| {
            // A transition lets a program enter the domain by itself.
            let mut transitions = self.module.transitions.iter();
            let by_itself = transitions.any(|[_, target, class, new]| {
                target == label && class == "process" && *new == self.domain
            });
            let mut rules = self.module.allows.iter();
            by_itself
                && rules.any(|r| {
                    r.source == self.domain
                        && r.target == label
                        && r.permissions.contains("entrypoint")
                })
        };
        let files = self.contexts.iter().filter(|c| c.applies.to(Form::File));
        let cases = files.map(|c| {
            let member = c.label.as_deref().is_some_and(enters);
            (c.patterns.as_slice(), [].as_slice(), member)
        });
        Ok(Confines {
            programs: Some(PathSet::first_match_except(cases, false)?),
            ..Confines::unsaid()
        })
    }

    fn deciders(&self, operation: Operation, answer: &Allowed) -> Option<Deciders> {
        let named = |w: &&ways::Way| answer.ways.contains(&w.name());
        let way = ways::ways(operation).iter().find(named)?;
        let list = self
            .entries(way.judged(), way.is_by_directory())
            .into_iter();
        let list: Vec<Deciding<Vec<Step>>> = list
            .map(|(paths, context)| {
                let clause = self.decides(way, context);
                (paths.into_owned(), Vec::new(), Some(clause))
            })
            .collect();
        Deciders::of(&list)
    }

    fn clause(&self, operation: Operation, object: &Object) -> Option<Clause> {
        let path = match object {
            Object::Path(path) => path,
            Object::Command(words) => words.first()?,
            _ => return None,
        };
        let way = ways::ways(operation).first()?;
        let path = match way.is_by_directory() {
            true => above(path),
            false => path.as_slice(),
        };
        let context = self.context(way.judged(), path)?;
        Some(self.decides(way, context))
    }
}

impl Loaded {
    /// The clause that opens a way on the files of an entry, or leaves it closed.
    fn decides(&self, way: &ways::Way, context: &Context) -> Clause {
        // For a new object, the directory decides.
        let (class, permissions) = match way.is_by_directory() {
            true => ("dir", ways::ADD),
            false => (way.class, way.permissions),
        };
        let label = context.label.as_deref().unwrap_or(base::OTHER);
        // The rule that gives the permissions. Without one, the label.
        if self.may(label, class, permissions)
            && let Some(rule) = self.rules(label, class).find(|r| {
                let mut all = permissions.iter();
                all.all(|p| r.permissions.contains(*p))
            })
        {
            let list: Vec<&str> = rule.permissions.iter().map(String::as_str).collect();
            return Clause {
                artifact: self.module_at,
                line: rule.line,
                text: format!(
                    "allow {} {}:{} {{ {} }}",
                    rule.source,
                    rule.target,
                    rule.class,
                    list.join(" ")
                ),
            };
        }
        Clause {
            artifact: self.contexts_at,
            line: context.line,
            text: show_bytes(context.text.as_bytes()),
        }
    }
}

/// The directory that a path is in. The root is in itself.
fn above(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|b| *b == b'/') {
        Some(at) if at > 0 => &path[..at],
        _ => b"/",
    }
}

/// Whether the text looks like one. A `.te` begins with `module`, a `.fc` has contexts of objects.
pub(super) fn recognises(artifact: &Artifact) -> bool {
    let Ok(text) = std::str::from_utf8(&artifact.bytes) else {
        return is_contexts(artifact);
    };
    let mut lines = text.lines().map(str::trim);
    let first = lines.find(|l| !l.is_empty() && !l.starts_with('#'));
    first.is_some_and(|l| l.starts_with("module ") || l.contains(":object_r:"))
        || is_contexts(artifact)
}
