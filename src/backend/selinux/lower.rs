//! From a policy's sets of allowed paths to types, labels and allow rules.

use super::base::{BaseType, EPHEMERAL, FREE_BELOW, LABELLED, PORTS, PROGRAMS, TYPES};
use super::domain_rights::{self, DomainRights};
use super::model::{Context, Module, Rights};
use crate::diagnostics::Diagnostics;
use crate::fidelity::{Fidelity, Ledger};
use crate::policy::{Operation, PathPattern, Policy, Protocol, Sequence};
use crate::semantics::{
    Decisions, LedgerBuilder, LiteralTree, Meaning, PathSet, StateId, TooLarge,
};
use std::collections::{BTreeMap, BTreeSet};

/// The policy's name as an identifier of SELinux.
fn identifier(name: &str) -> String {
    let text: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        })
        .collect();
    if text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        text
    } else {
        format!("p_{text}")
    }
}

/// The decisions for all operations that rights are made of. Most share one automaton, and each knows which is its own.
struct Decided<'m> {
    list: Vec<(Operation, &'m Decisions, usize)>,
    automata: Vec<&'m Decisions>,
}

/// The state in each automaton.
type States = Vec<Option<StateId>>;

impl<'m> Decided<'m> {
    fn new(meaning: &'m Meaning<'_>) -> Result<Self, TooLarge> {
        let mut out = Self {
            list: Vec::new(),
            automata: Vec::new(),
        };
        for operation in Rights::OPERATIONS {
            let decisions = meaning.decisions(operation)?;
            let same = |d: &&Decisions| d.dfa().same_shape(decisions.dfa());
            let known = out.automata.iter().position(same);
            out.list
                .push((operation, decisions, known.unwrap_or(out.automata.len())));
            if known.is_none() {
                out.automata.push(decisions);
            }
        }
        Ok(out)
    }
}

impl Decided<'_> {
    fn start(&self) -> States {
        let automata = self.automata.iter();
        automata.map(|d| Some(d.dfa().start())).collect()
    }

    fn enter(&self, states: &States, name: &[u8]) -> States {
        self.automata
            .iter()
            .zip(states)
            .map(|(d, s)| s.and_then(|s| d.enter(s, name)))
            .collect()
    }

    fn at(&self, path: &str) -> States {
        path.split('/')
            .filter(|n| !n.is_empty())
            .fold(self.start(), |s, name| self.enter(&s, name.as_bytes()))
    }

    /// The rights on the object.
    fn own(&self, states: &States) -> Rights {
        self.rights(states, |d, s| d.permits_state(s))
    }

    /// The rights on names beneath that the policy does not mention, at every depth.
    fn beneath(&self, states: &States) -> Rights {
        self.rights(states, |d, s| {
            (1..=3).all(|n| d.enter_fresh(s, n).is_some_and(|s| d.permits_state(s)))
        })
    }

    fn rights(&self, states: &States, permits: impl Fn(&Decisions, StateId) -> bool) -> Rights {
        let mut out = Rights::default();
        for (operation, d, automaton) in &self.list {
            if states[*automaton].is_some_and(|s| permits(d, s)) {
                out.add(*operation);
            }
        }
        out
    }
}

/// The module's labels: on objects, and on what lies beneath them.
#[derive(Default)]
pub struct Labels {
    pub objects: BTreeMap<Vec<u8>, Rights>,
    pub trees: BTreeMap<Vec<u8>, Rights>,
}

/// Whether the module can label a path: the base policy has no label for it, or only one by a less specific pattern.
fn free(path: &[u8]) -> bool {
    let names: Vec<&[u8]> = path
        .split(|b| *b == b'/')
        .filter(|n| !n.is_empty())
        .collect();
    let Some(first) = names.first() else {
        return false;
    };
    let is = |list: &[&str]| list.iter().any(|n| n.as_bytes() == *first);
    if is(&FREE_BELOW) {
        names.len() > 1
    } else {
        !is(&LABELLED) && !first.starts_with(b".")
    }
}

fn label(tree: &LiteralTree, decided: &Decided<'_>) -> Labels {
    let mut out = Labels::default();
    // Node, path, states, and the rights of the tree around it if the module labels that tree.
    let mut work = vec![(tree.root(), Vec::new(), decided.start(), None)];
    while let Some((node, path, states, around)) = work.pop() {
        let mut inside = around;
        if free(&path) {
            let (own, beneath) = (decided.own(&states), decided.beneath(&states));
            if around != Some(own) || around != Some(beneath) {
                out.objects.insert(path.clone(), own);
            }
            if around != Some(beneath) {
                out.trees.insert(path.clone(), beneath);
            }
            inside = Some(beneath);
        }
        for (name, child) in tree.children(node) {
            let path = [path.as_slice(), b"/", name].concat();
            work.push((child, path, decided.enter(&states, name), inside));
        }
    }
    out
}

/// The rights that each base type gets.
fn base_rights(decided: &Decided<'_>) -> Vec<(&'static BaseType, Rights)> {
    TYPES
        .iter()
        .map(|t| {
            let mut rights = match (t.trees.first(), t.files.first()) {
                (Some(tree), _) => decided.beneath(&decided.at(tree)),
                (None, file) => decided.own(&decided.at(file.copied().unwrap_or_default())),
            };
            let keep = |o: Operation| match o {
                Operation::Read => true,
                Operation::List => !t.trees.is_empty(),
                Operation::Execute => t.programs,
                _ => false,
            };
            let mut kept = Rights::default();
            for o in Rights::OPERATIONS
                .into_iter()
                .filter(|o| rights.has(*o) && keep(*o))
            {
                kept.add(o);
            }
            // Every domain has these rights, because of the attribute `domain`.
            match t.name {
                "lib_t" => [Operation::Read, Operation::List]
                    .into_iter()
                    .for_each(|o| kept.add(o)),
                "etc_t" => kept.add(Operation::List),
                _ => {}
            }
            rights = kept;
            (t, rights)
        })
        .collect()
}

pub fn lower(meaning: &Meaning<'_>) -> Result<(Module, Ledger), Diagnostics> {
    let policy = meaning.policy();
    let name = identifier(&policy.name);
    let tree = LiteralTree::of(policy, usize::MAX, true);
    let decided = Decided::new(meaning)?;
    let labels = label(&tree, &decided);
    // With a default of allow, these are the rights on everything that the module does not label.
    let open = if policy.default_action.permits() {
        decided.beneath(&decided.start())
    } else {
        Rights::default()
    };
    let mut base = base_rights(&decided);
    for (_, rights) in &mut base {
        rights.0 |= open.0;
    }
    let tmp = policy
        .subject
        .tmp
        .as_deref()
        .filter(|t| *t == b"/tmp")
        .map(|t| (t, decided.beneath(&decided.at("/tmp"))));

    let mut module = Module {
        name: name.clone(),
        rules: Vec::new(),
        own_types: BTreeSet::new(),
        base_types: ["unconfined_t", "user_devpts_t"].map(str::to_owned).into(),
        attributes: ["domain", "file_type"].into(),
        contexts: contexts(&name, &labels, policy),
    };
    start(&mut module, policy);
    for rights in labels.objects.values().chain(labels.trees.values()) {
        let own = rights.type_name(&name);
        if module.own_types.insert(own.clone()) {
            module.rules.extend(rights.rules(&name, &own));
            module.rules.extend(rights.never(&name, &own));
        }
    }
    for (t, rights) in &base {
        if rights.0 != 0 {
            module.base_types.insert(t.name.to_owned());
            module.rules.extend(rights.rules(&name, t.name));
        }
    }
    if let Some((_, rights)) = tmp {
        let own = format!("{name}_tmp_t");
        module.own_types.insert(own.clone());
        module.base_types.insert("tmp_t".to_owned());
        module.rules.extend(rights.rules(&name, &own));
        if rights.has(Operation::Create) {
            for class in ["file", "dir", "lnk_file", "fifo_file", "sock_file"] {
                module
                    .rules
                    .push(format!("type_transition {name}_t tmp_t:{class} {own}"));
            }
            module.rules.push(format!(
                "allow {name}_t tmp_t:dir {{ add_name remove_name write }}"
            ));
        }
    }
    if open.0 != 0 {
        // The base policy asserts that only few domains use what holds passwords and the policy itself. The module's
        // own types lack this attribute, so their own rules decide.
        module.attributes.insert("non_security_file_type");
        module
            .rules
            .extend(open.rules(&name, "non_security_file_type"));
    }

    let mut ledger = LedgerBuilder::new(meaning, "selinux");
    let programs: Vec<Sequence> = policy
        .subject
        .executable
        .iter()
        .flat_map(|e| &e.sequences)
        .filter(|s| s.as_literal().is_some())
        .cloned()
        .collect();
    // Without a program in the policy, every program may enter the domain, and the domain reads it ([`start`]).
    if policy.subject.executable.is_none() {
        let programs = base.iter_mut().filter(|(t, _)| PROGRAMS.contains(&t.name));
        programs.for_each(|(_, rights)| rights.add(Operation::Read));
    }
    // Only the subject makes objects of this type. If it may not, there are none.
    let made = tmp.filter(|(_, rights)| rights.has(Operation::Create));
    let held = DomainRights {
        labels: &labels,
        base: &base,
        temporary: made,
        open,
        programs: &programs,
    };
    if ledger.is_asked() {
        domain_rights::account(&held, &mut ledger)?;
    }
    ledger.paths(Operation::Connect, &PathSet::empty(), &|_, _| {
        "connecting to sockets of other domains is not granted".into()
    })?;
    network(meaning, &mut module, &mut ledger);
    ledger.syscalls_unenforced("only seccomp sees system calls by name");
    if base.iter().any(|(_, rights)| rights.0 != 0) && open.0 == 0 {
        ledger.setting(
            "labels of the base policy",
            Fidelity::Mixed,
            "it has some thousand more types in system trees than are told apart here, mostly of services' programs and files, of which nothing is granted, and gives those that are granted to some hundred files and folders elsewhere (/etc/profile.d is bin_t): those can be read and started as /usr/bin can",
        );
    }
    if ledger.is_asked() {
        let allowed = |o| Ok::<_, TooLarge>(meaning.decisions(o)?.allowed());
        let [read, execute] = [allowed(Operation::Read)?, allowed(Operation::Execute)?];
        if !read.is_subset(execute)? {
            ledger.setting(
                "mapping as code",
                Fidelity::Stricter,
                "what may be read is mapped as code only where it may be executed, too, and of the base policy's libraries",
            );
        }
    }
    settings(policy, &mut ledger);
    Ok((module, ledger.finish()))
}

fn contexts(name: &str, labels: &Labels, policy: &Policy) -> Vec<Context> {
    let mut out = Vec::new();
    let one = |path: &Vec<u8>, beneath, label| Context {
        path: path.clone(),
        beneath,
        label,
    };
    out.extend(
        labels
            .trees
            .iter()
            .map(|(p, r)| one(p, true, r.type_name(name))),
    );
    let programs: BTreeSet<Vec<u8>> = policy
        .subject
        .executable
        .iter()
        .flat_map(|e| &e.sequences)
        .filter_map(Sequence::as_literal)
        .collect();
    out.extend(
        labels
            .objects
            .iter()
            .filter(|(p, _)| !programs.contains(*p))
            .map(|(p, r)| one(p, false, r.type_name(name))),
    );
    out.extend(
        programs
            .iter()
            .map(|p| one(p, false, format!("{name}_exec_t"))),
    );
    out
}

/// Rules for starting the program, and for what every program does with itself.
fn start(module: &mut Module, policy: &Policy) {
    let n = module.name.clone();
    let exec = format!("{n}_exec_t");
    module.own_types.insert(exec.clone());
    let enter = "{ entrypoint execute getattr map open read }";
    let mut rules = vec![
        format!("type_transition unconfined_t {exec}:process {n}_t"),
        format!("allow unconfined_t {exec}:file {{ execute getattr map open read }}"),
        format!("allow unconfined_t {n}_t:process {{ transition sigkill signal signull sigstop }}"),
        format!("allow {n}_t {exec}:file {enter}"),
        format!("allow {n}_t unconfined_t:fd {{ use }}"),
        format!("allow {n}_t unconfined_t:process {{ sigchld }}"),
        format!("allow {n}_t unconfined_t:fifo_file {{ append getattr ioctl read write }}"),
        format!("allow {n}_t user_devpts_t:chr_file {{ append getattr ioctl read write }}"),
        format!(
            "allow {n}_t self:process {{ fork getcap getpgid getsched getrlimit setpgid setrlimit setsched sigchld sigkill signal signull sigstop }}"
        ),
        format!("allow {n}_t self:fifo_file {{ append getattr ioctl lock open read write }}"),
        format!(
            "allow {n}_t self:unix_stream_socket {{ accept bind connect connectto create getattr getopt ioctl listen read setopt shutdown write }}"
        ),
        format!(
            "allow {n}_t self:unix_dgram_socket {{ bind connect create getattr getopt ioctl read sendto setopt shutdown write }}"
        ),
        format!("allow {n}_t self:dir {{ getattr open read search }}"),
        format!("allow {n}_t self:file {{ getattr open read }}"),
        format!("allow {n}_t self:lnk_file {{ getattr read }}"),
        // Every program may walk through directories, follow links, and ask whether an object exists.
        format!("allow {n}_t file_type:dir {{ getattr search }}"),
        format!("allow {n}_t file_type:lnk_file {{ getattr read }}"),
        format!("allow {n}_t file_type:file {{ getattr }}"),
    ];
    if policy.subject.executable.is_none() {
        // Without a program in the policy, runcon enters the domain, from any program.
        for program in PROGRAMS {
            module.base_types.insert(program.to_owned());
            rules.push(format!("allow {n}_t {program}:file {enter}"));
        }
    }
    let (low, high): (Vec<String>, Vec<String>) = policy
        .capabilities
        .iter()
        .map(|c| c.trim_start_matches("CAP_").to_ascii_lowercase())
        .partition(|c| !SECOND.contains(&c.as_str()));
    for (class, list) in [("capability", low), ("capability2", high)] {
        if !list.is_empty() {
            rules.push(format!("allow {n}_t self:{class} {{ {} }}", list.join(" ")));
        }
    }
    module.rules.extend(rules);
}

/// Capabilities of the second class, from number 32 on.
const SECOND: [&str; 9] = [
    "audit_read",
    "block_suspend",
    "bpf",
    "checkpoint_restore",
    "mac_admin",
    "mac_override",
    "perfmon",
    "syslog",
    "wake_alarm",
];

const CONNECTS: &str = "ports are types that hold more than one, hosts are not known, and connecting UDP is not by port";
const BINDS: &str = "ports are types that hold more than one, hosts are not known, and who may bind a port may bind those \
     that the kernel gives out itself (32768 to 60999)";

fn network(meaning: &Meaning<'_>, module: &mut Module, ledger: &mut LedgerBuilder<'_, '_>) {
    let n = module.name.clone();
    let (connect, bind) = (
        meaning.hosts(Operation::Connect),
        meaning.hosts(Operation::Bind),
    );
    let used = |p| connect.any_allowed(p) || bind.any_allowed(p);
    let socket =
        "append bind connect create getattr getopt ioctl lock read setattr setopt shutdown write";
    // `listen` without `bind` takes a port from the kernel, and the kernel checks no port then.
    let listens = Protocol::ALL.into_iter().any(|p| bind.any_allowed(p));
    for (protocol, class, more) in [
        (
            Protocol::Tcp,
            "tcp_socket",
            if listens { " accept listen" } else { "" },
        ),
        (Protocol::Udp, "udp_socket", ""),
    ] {
        if used(protocol) {
            module
                .rules
                .push(format!("allow {n}_t self:{class} {{ {socket}{more} }}"));
        }
    }
    if used(Protocol::Tcp) || used(Protocol::Udp) {
        module.rules.push(format!(
            "allow {n}_t self:netlink_route_socket {{ bind create getattr nlmsg_read read write }}"
        ));
    }
    for (operation, space, permission) in [
        (Operation::Connect, connect, "name_connect"),
        (Operation::Bind, bind, "name_bind"),
    ] {
        // Many hosts have the same ports.
        let ranges: BTreeSet<(u16, u16)> = space
            .regions()
            .iter()
            .filter(|r| r.protocol == Protocol::Tcp && r.decision.action.permits())
            .map(|r| (r.ports.first, r.ports.last))
            .collect();
        let ports: BTreeSet<u16> = ranges.into_iter().flat_map(|(a, b)| a..=b).collect();
        let types: Vec<_> = PORTS
            .iter()
            .filter(|(_, tcp, _)| tcp.iter().any(|p| ports.contains(p)))
            .collect();
        let known: BTreeSet<u16> = types
            .iter()
            .flat_map(|(_, tcp, _)| tcp.iter().copied())
            .collect();
        let known_udp: BTreeSet<u16> = types
            .iter()
            .flat_map(|(_, _, udp)| udp.iter().copied())
            .collect();
        // This port has no type of its own here, so the domain needs the type of all such ports.
        let all = !ports.is_subset(&known);
        let udp_bind = operation == Operation::Bind && space.any_allowed(Protocol::Udp);
        if !ports.is_empty() || udp_bind {
            let classes: &[&str] = if operation == Operation::Bind {
                &["tcp_socket", "udp_socket"]
            } else {
                &["tcp_socket"]
            };
            for class in classes {
                if all || udp_bind {
                    module.attributes.insert("port_type");
                    module
                        .rules
                        .push(format!("allow {n}_t port_type:{class} {{ {permission} }}"));
                }
                for (t, ..) in types.iter().filter(|_| !all && !udp_bind) {
                    module.base_types.insert((*t).to_owned());
                    module
                        .rules
                        .push(format!("allow {n}_t {t}:{class} {{ {permission} }}"));
                }
                if operation == Operation::Bind {
                    module.base_types.insert("node_t".to_owned());
                    module
                        .rules
                        .push(format!("allow {n}_t node_t:{class} {{ node_bind }}"));
                }
            }
        }
        // A domain that may bind some port may bind every port that the kernel gives out.
        let binds = operation == Operation::Bind && (!ports.is_empty() || udp_bind);
        let free = |port: u16| binds && EPHEMERAL.contains(&port);
        let cuts: Vec<u16> = known
            .iter()
            .chain(&known_udp)
            .chain(&ports)
            .flat_map(|p| [Some(*p), p.checked_add(1)])
            .flatten()
            .chain(binds.then_some(*EPHEMERAL.start()))
            .chain(binds.then_some(*EPHEMERAL.end() + 1))
            .collect();
        let cuts = if all { Vec::new() } else { cuts };
        let one_of = |list: &BTreeSet<u16>, port: u16| all || list.contains(&port) || free(port);
        ledger.hosts_in(
            operation,
            &space.split_at(&cuts),
            |r| match r.protocol {
                Protocol::Tcp => used(Protocol::Tcp) && (udp_bind || one_of(&known, r.ports.first)),
                Protocol::Udp if operation == Operation::Connect => used(Protocol::Udp),
                Protocol::Udp => {
                    udp_bind
                        || (!ports.is_empty()
                            && used(Protocol::Udp)
                            && one_of(&known_udp, r.ports.first))
                }
            },
            &|_, _| {
                if operation == Operation::Bind {
                    BINDS
                } else {
                    CONNECTS
                }
                .into()
            },
        );
    }
}

fn settings(policy: &Policy, ledger: &mut LedgerBuilder<'_, '_>) {
    let absent = "a module has no such thing";
    if !policy.limits.is_empty() {
        ledger.setting("limits", Fidelity::Unenforced, absent);
    }
    if policy.environment.pass.is_some() || !policy.environment.set.is_empty() {
        ledger.setting("environment", Fidelity::Unenforced, absent);
    }
    let literal = |e: &PathPattern| e.sequences.iter().all(|s| s.as_literal().is_some());
    match &policy.subject.executable {
        None => ledger.setting(
            "subject.executable",
            Fidelity::Exact,
            "not named: start the program with `runcon -t MODULE_t`",
        ),
        Some(e) if !literal(e) => ledger.setting(
            "subject.executable",
            Fidelity::Stricter,
            "a pattern with wildcards gets no label",
        ),
        Some(_) => {}
    }
    ledger.setting(
        "new files",
        Fidelity::Exact,
        "what is made takes the type of its directory until restorecon runs",
    );
}
