//! From a policy's meaning to a filter, and to the ledger of that filter.

use super::UnixSockets;
use super::model::{Condition, EPERM, INT, Profile, Rule, Verdict};
use crate::diagnostics::Diagnostics;
use crate::fidelity::{Fidelity, Ledger};
use crate::policy::syscalls::{self, Arch};
use crate::policy::{Action, Operation, Protocol};
use crate::semantics::{LedgerBuilder, Meaning, PathSet, TooLarge};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

// Address families, socket types and protocols, from the kernel's `socket.h`, `net.h` and `in.h`.
const AF_UNIX: u64 = 1;
const AF_INET: u64 = 2;
const AF_INET6: u64 = 10;
const AF_NETLINK: u64 = 16;
const AF_PACKET: u64 = 17;
/// The kernel's crypto interface, and sockets to the hypervisor. Every default profile refuses them.
const AF_ALG: u64 = 38;
const AF_VSOCK: u64 = 40;
/// The type of a socket without `SOCK_NONBLOCK` and `SOCK_CLOEXEC`.
const TYPE_MASK: u64 = 0xf;
const SOCK_STREAM: u64 = 1;
const SOCK_DGRAM: u64 = 2;
const SOCK_SEQPACKET: u64 = 5;
const IPPROTO_TCP: u64 = 6;
const IPPROTO_UDP: u64 = 17;
const NETLINK_ROUTE: u64 = 0;
/// Routing, socket statistics, device events, generic. Not audit (9), because its records could be forged.
const NETLINK_OPEN: [u64; 4] = [NETLINK_ROUTE, 4, 15, 16];

/// Flags of `clone` that make namespaces (mount, cgroup, uts, ipc, user, pid, net).
const NAMESPACES: [u64; 7] = [
    0x0002_0000,
    0x0200_0000,
    0x0400_0000,
    0x0800_0000,
    0x1000_0000,
    0x2000_0000,
    0x4000_0000,
];
/// Execution domains that containers get: Linux, UNAME26, 32-bit, both, and the question for the current one.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, INT];
/// `O_CREAT` and the bit that makes `O_TMPFILE`, the same on both architectures.
const OPEN_CREATES: [u64; 2] = [0o100, 0o20_000_000];

const MAKE: &[&str] = &[
    "creat",
    "link",
    "linkat",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "symlink",
    "symlinkat",
];
const REMOVE: &[&str] = &["rmdir", "unlink", "unlinkat"];
const RENAME: &[&str] = &["rename", "renameat", "renameat2"];
const URING: &[&str] = &["io_uring_enter", "io_uring_register", "io_uring_setup"];

/// What a policy leaves open of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Network {
    /// Every host, to connect and to bind.
    Open,
    /// Only what the language names, and only these protocols of it.
    Only { tcp: bool, udp: bool },
}

impl Network {
    fn has(self, protocol: Protocol) -> bool {
        match (self, protocol) {
            (Self::Open, _) => true,
            (Self::Only { tcp, .. }, Protocol::Tcp) => tcp,
            (Self::Only { udp, .. }, Protocol::Udp) => udp,
        }
    }
}

/// What a policy needs. The rest can be closed as a whole.
#[derive(Debug, Clone, Copy)]
struct Needs {
    network: Network,
    /// TCP may listen somewhere.
    listen: bool,
    /// Unix sockets may be made.
    local: bool,
    edit: bool,
    create: bool,
    delete: bool,
    metadata: bool,
}

impl Needs {
    fn of(meaning: &Meaning<'_>, unix: UnixSockets) -> Result<Self, TooLarge> {
        let some = |o| Ok::<_, TooLarge>(!meaning.decisions(o)?.allowed().is_empty());
        let (connect, bind) = (
            meaning.hosts(Operation::Connect),
            meaning.hosts(Operation::Bind),
        );
        let mut regions = connect.regions().iter().chain(bind.regions());
        let network = if regions.all(|r| r.decision.action.permits()) {
            Network::Open
        } else {
            let any = |p| connect.any_allowed(p) || bind.any_allowed(p);
            Network::Only {
                tcp: any(Protocol::Tcp),
                udp: any(Protocol::Udp),
            }
        };
        Ok(Self {
            network,
            listen: bind.any_allowed(Protocol::Tcp),
            local: unix == UnixSockets::Own || some(Operation::Connect)?,
            edit: some(Operation::Edit)?,
            create: some(Operation::Create)?,
            delete: some(Operation::Delete)?,
            metadata: some(Operation::Metadata)?,
        })
    }

    /// The program can make nothing, so `open` with `O_CREAT` is refused too. If it may edit a file, that stays: shells
    /// and C libraries open existing files, also `/dev/null`, with that flag.
    fn no_new_files(self) -> bool {
        !self.create && !self.edit
    }

    /// `listen` is of no use, and without local sockets nothing else needs it.
    fn no_listening(self) -> bool {
        !self.listen && !self.local
    }

    /// The calls to refuse, because the policy allows nothing that they could do.
    fn refused(self) -> BTreeSet<&'static str> {
        let mut out = BTreeSet::new();
        if !self.create {
            out.extend(MAKE);
        }
        if !self.delete {
            out.extend(REMOVE);
        }
        if !self.create || !self.delete {
            out.extend(RENAME);
        }
        if !self.metadata {
            out.extend(syscalls::group("metadata").unwrap_or_default());
        }
        if self.no_listening() {
            out.insert("listen");
        }
        // A local socket makes a file when it is bound, also one from a pair.
        if self.no_new_files() && self.unbound() {
            out.insert("bind");
        }
        out
    }

    /// No network socket may be bound.
    fn unbound(self) -> bool {
        !self.listen && !self.network.has(Protocol::Udp)
    }
}

/// The filter of a policy and its ledger.
///
/// # Errors
/// The policy's automata are too large.
pub fn lower(meaning: &Meaning<'_>, arches: Vec<Arch>) -> Result<(Profile, Ledger), Diagnostics> {
    let needs = Needs::of(meaning, UnixSockets::ByRule)?;
    let profile = profile(meaning, needs, arches);
    let ledger = ledger(meaning, needs, &profile)?;
    Ok((profile, ledger))
}

/// The filter alone, for callers that do not read the ledger. Most do not.
///
/// # Errors
/// The policy's automata are too large.
pub fn filter(
    meaning: &Meaning<'_>,
    unix: UnixSockets,
    arches: Vec<Arch>,
) -> Result<Profile, TooLarge> {
    Ok(profile(meaning, Needs::of(meaning, unix)?, arches))
}

fn profile(meaning: &Meaning<'_>, needs: Needs, arches: Vec<Arch>) -> Profile {
    let policy = meaning.policy();
    let refused = needs.refused();
    let capability = |name: &str| {
        let mut kept = policy.capabilities.iter();
        kept.any(|c| syscalls::of_capability(c).contains(&name))
    };
    let mut allow = Vec::new();
    let mut deny = Vec::new();
    let mut conditional: BTreeMap<&'static str, Vec<(Verdict, Vec<Condition>)>> = BTreeMap::new();
    let mut by_rule = BTreeSet::new();
    for name in syscalls::all() {
        let decision = meaning.syscall(name);
        let explicit = decision.rule.is_some();
        let open = match decision.action {
            // A policy that allows by default still gets no more than a container.
            Action::Allow => explicit || syscalls::ordinary(name) || capability(name),
            Action::Deny | Action::Ask => false,
        };
        let here = arches.iter().any(|a| syscalls::number(*a, name).is_some());
        if name == "execve" {
            // The runtime starts the program with it, under the filter.
            allow.push(name);
        } else if refused.contains(name) {
            if here {
                deny.push(name);
            }
        } else if open {
            if explicit || capability(name) {
                by_rule.insert(name);
            }
            allow.push(name);
        } else if here && (explicit || dangerous(name)) && name != "clone3" {
            deny.push(name);
        }
    }
    let errno = Verdict::Errno(EPERM);
    if !by_rule.contains("unshare") {
        let all = NAMESPACES.iter().sum();
        let rules = conditional.entry("clone").or_default();
        rules.push((Verdict::Allow, vec![Condition::masked(0, all, 0)]));
        rules.extend(NAMESPACES.map(|f| (errno, vec![Condition::masked(0, f, f)])));
    }
    if !by_rule.contains("personality") {
        let rules = PERSONALITIES.map(|p| (Verdict::Allow, vec![Condition::is(0, p)]));
        conditional.insert("personality", rules.to_vec());
    }
    if needs.no_new_files() {
        let both = OPEN_CREATES.iter().sum();
        for (name, index) in [("open", 1), ("openat", 2)] {
            let rules = conditional.entry(name).or_default();
            rules.push((Verdict::Allow, vec![Condition::masked(index, both, 0)]));
            rules.extend(OPEN_CREATES.map(|f| (errno, vec![Condition::masked(index, f, f)])));
        }
        // Its flags are behind a pointer. The C library uses `openat` instead.
        allow.retain(|n| *n != "openat2");
    }
    let raw = policy.capabilities.iter().any(|c| c == "CAP_NET_RAW");
    conditional.insert("socket", sockets(needs, raw));
    if !needs.local {
        let pair = |kind| {
            let conditions = vec![
                Condition::is(0, AF_UNIX),
                Condition::masked(1, TYPE_MASK, kind),
            ];
            (Verdict::Allow, conditions)
        };
        conditional.insert("socketpair", vec![pair(SOCK_STREAM), pair(SOCK_SEQPACKET)]);
    }
    conditional.retain(|name, _| allow.contains(name));
    allow.retain(|n| !conditional.contains_key(n));
    let mut rules = vec![Rule {
        names: allow,
        verdict: Verdict::Allow,
        conditions: Vec::new(),
    }];
    for (name, alternatives) in conditional {
        rules.extend(alternatives.into_iter().map(|(verdict, conditions)| Rule {
            names: vec![name],
            verdict,
            conditions,
        }));
    }
    if !deny.is_empty() {
        rules.push(Rule {
            names: deny,
            verdict: errno,
            conditions: Vec::new(),
        });
    }
    Profile { arches, rules }
}

/// Calls that fail with EPERM although no rule names them: those of administrators and debuggers, and the old ones.
/// Calls that are only new answer ENOSYS.
fn dangerous(name: &str) -> bool {
    const GROUPS: [&str; 9] = [
        "debug",
        "io_uring",
        "keyring",
        "kexec",
        "module",
        "mount",
        "namespace",
        "obsolete",
        "privileged",
    ];
    const MORE: [&str; 6] = [
        "mbind",
        "migrate_pages",
        "move_pages",
        "process_madvise",
        "set_mempolicy",
        "userfaultfd",
    ];
    let in_group = |g: &&str| syscalls::group(g).is_some_and(|m| m.contains(&name));
    GROUPS.iter().any(in_group)
        || MORE.contains(&name)
        || ["reboot", "swap", "raw_io"].iter().any(in_group)
}

/// The rules of `socket`: by family, type and protocol.
fn sockets(needs: Needs, raw: bool) -> Vec<(Verdict, Vec<Condition>)> {
    let mut out = Vec::new();
    let errno = Verdict::Errno(EPERM);
    let mut family = |verdict, family, more: &[Condition]| {
        let mut conditions = vec![Condition::is(0, family)];
        conditions.extend_from_slice(more);
        out.push((verdict, conditions));
    };
    let verdict = |open| if open { Verdict::Allow } else { errno };
    family(verdict(needs.local), AF_UNIX, &[]);
    let open = needs.network == Network::Open;
    for ip in [AF_INET, AF_INET6] {
        if open {
            family(Verdict::Allow, ip, &[]);
            continue;
        }
        for (protocol, kind, number) in [
            (Protocol::Tcp, SOCK_STREAM, IPPROTO_TCP),
            (Protocol::Udp, SOCK_DGRAM, IPPROTO_UDP),
        ] {
            let kind = Condition::masked(1, TYPE_MASK, kind);
            if needs.network.has(protocol) {
                family(Verdict::Allow, ip, &[kind, Condition::is(2, 0)]);
                family(Verdict::Allow, ip, &[kind, Condition::is(2, number)]);
            } else {
                family(errno, ip, &[kind]);
            }
        }
    }
    let netlink: &[u64] = if open {
        &NETLINK_OPEN
    } else {
        &[NETLINK_ROUTE]
    };
    for protocol in netlink {
        family(Verdict::Allow, AF_NETLINK, &[Condition::is(2, *protocol)]);
    }
    family(verdict(open && raw), AF_PACKET, &[]);
    family(errno, AF_ALG, &[]);
    family(errno, AF_VSOCK, &[]);
    out
}

const NO_PATHS: &str = "a filter of system calls sees no path";

/// The ledger, which follows from the filter. If a family of calls is refused, its operation is closed.
fn ledger(meaning: &Meaning<'_>, needs: Needs, profile: &Profile) -> Result<Ledger, TooLarge> {
    let mut ledger = LedgerBuilder::new(meaning, "seccomp");
    if !ledger.is_asked() {
        return Ok(ledger.finish());
    }
    let shut = |names: &[&str]| !names.iter().any(|n| profile.may_allow(n));
    // io_uring can open, make, remove, rename, label and connect without those calls.
    let ring = !shut(URING);
    let socket = |family, kind, protocol| {
        let call = |p| profile.verdict("socket", &[family, kind, p, 0, 0, 0]) == Verdict::Allow;
        call(0) || call(protocol)
    };
    let local = ring
        || socket(AF_UNIX, SOCK_STREAM, 0)
        || socket(AF_UNIX, SOCK_DGRAM, 0)
        || profile.verdict("socketpair", &[AF_UNIX, SOCK_DGRAM, 0, 0, 0, 0]) == Verdict::Allow;
    let opens = |flag| {
        profile.verdict("openat", &[0, 0, flag, 0, 0, 0]) == Verdict::Allow
            || profile.verdict("open", &[0, flag, 0, 0, 0, 0]) == Verdict::Allow
            || profile.may_allow("openat2")
    };
    let makes = ring
        || !shut(MAKE)
        || !shut(RENAME)
        || !shut(&["bind"])
        || OPEN_CREATES.into_iter().any(opens);
    let removes = ring || !shut(REMOVE) || !shut(RENAME);
    let labels = ring || !shut(syscalls::group("metadata").unwrap_or_default());

    ledger.paths_unenforced(Operation::Read, NO_PATHS)?;
    ledger.paths_unenforced(
        Operation::List,
        "the runtime lists its own descriptors under the filter, and a filter of system calls sees no path",
    )?;
    ledger.paths_unenforced(Operation::Edit, NO_PATHS)?;
    ledger.paths_unenforced(
        Operation::Execute,
        "the runtime starts the program under the filter, and a filter of system calls sees no path",
    )?;
    for (operation, open) in [
        (Operation::Create, makes),
        (Operation::Delete, removes),
        (Operation::Metadata, labels),
        (Operation::Connect, local),
    ] {
        if !open {
            ledger.paths(operation, &PathSet::empty(), &|_, _| Cow::Borrowed(""))?;
        } else if operation == Operation::Create && !needs.create {
            let text = "directories, links, devices and renames are refused, but `open` can also make files: \
                        programs open existing files with O_CREAT";
            ledger.paths(operation, &PathSet::all(), &|_, _| Cow::Borrowed(text))?;
        } else {
            ledger.paths_unenforced(operation, NO_PATHS)?;
        }
    }

    let reaches = |protocol| {
        let (kind, number) = match protocol {
            Protocol::Tcp => (SOCK_STREAM, IPPROTO_TCP),
            Protocol::Udp => (SOCK_DGRAM, IPPROTO_UDP),
        };
        ring || socket(AF_INET, kind, number) || socket(AF_INET6, kind, number)
    };
    let (tcp, udp) = (reaches(Protocol::Tcp), reaches(Protocol::Udp));
    let listens = ring || !shut(&["listen"]);
    let binds = ring || !shut(&["bind"]);
    let text = "a filter of system calls sees TCP or UDP, not the address";
    if tcp && udp && needs.network != Network::Open {
        ledger.hosts_unenforced(Operation::Connect, text);
    } else {
        let allows = |p| if p == Protocol::Tcp { tcp } else { udp };
        ledger.hosts(Operation::Connect, |r| allows(r.protocol), &|_, _| {
            Cow::Borrowed(text)
        });
    }
    let bound = |p| match p {
        Protocol::Tcp => tcp && listens && binds,
        Protocol::Udp => udp && binds,
    };
    if bound(Protocol::Tcp) && bound(Protocol::Udp) {
        ledger.hosts_unenforced(Operation::Bind, text);
    } else {
        ledger.hosts(Operation::Bind, |r| bound(r.protocol), &|_, _| {
            Cow::Borrowed(text)
        });
    }

    ledger.syscalls(|name| profile.may_allow(name), &|rule, fidelity| {
        Cow::Borrowed(match (fidelity, rule) {
            (Fidelity::Stricter, Some(_)) => {
                "refused, because the policy allows nothing that it could do, or it has no number here"
            }
            (Fidelity::Stricter, None) => {
                "refused as in a container's default profile, or because the policy allows nothing \
                     that it could do"
            }
            _ => "the runtime needs it to start the program under the filter",
        })
    });

    let policy = meaning.policy();
    let absent = "a filter of system calls has no such thing";
    if !policy.limits.is_empty() {
        ledger.setting("limits", Fidelity::Unenforced, absent);
    }
    if policy.environment.pass.is_some() || !policy.environment.set.is_empty() {
        ledger.setting("environment", Fidelity::Unenforced, absent);
    }
    ledger.setting(
        "capabilities",
        Fidelity::Unenforced,
        "calls that need another capability are refused, but only the runtime can drop capabilities",
    );
    Ok(ledger.finish())
}
