//! Choosing the layers, putting them on, and becoming the program.

use super::cover::{self, Plan, Reduced};
use super::created::Scan;
use super::filter::Holes;
use super::sockets::{self, Sockets};
use super::{
    Error, capabilities, cgroup, filter, limits, namespaces, require, stdio, supervise, sys,
};
use crate::backend::landlock::{AccessNet, LOADER, NetPort, RealHost, Ruleset, started_by_loader};
use crate::enforce::environment;
use crate::enforce::landlock::{NEWEST_ABI, apply, kernel_abi};
use crate::fidelity::{Demand, Entry, Fidelity, Ledger, Object, show_bytes};
use crate::policy::{HostSpec, Operation, Policy, Protocol};
use crate::semantics::{Meaning, decide};
use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// What Landlock restricts on paths, but for programs.
const OPERATIONS: [Operation; 5] = [
    Operation::Read,
    Operation::List,
    Operation::Edit,
    Operation::Create,
    Operation::Delete,
];

/// What the user chose.
#[derive(Debug, Clone, Copy)]
pub struct Choice {
    /// Namespaces may be used.
    pub namespaces: bool,
    /// No network, whatever the policy says.
    pub no_network: bool,
    /// Nothing is said at the end of what the proxy refused.
    pub quiet: bool,
    /// What was refused is told at the end, with the rule that it was.
    pub explain: bool,
    /// The kernel writes audit records of what it refuses, for a later `polc why`.
    pub log: bool,
    /// Without this much the program is not started.
    pub demand: Option<Demand>,
    /// What was made against the policy decides the exit status.
    pub fail_if_made: bool,
}

impl From<Choice> for supervise::Tell {
    fn from(c: Choice) -> Self {
        match c {
            Choice { explain: true, .. } => Self::Explained {
                covers: c.namespaces,
            },
            Choice { quiet: true, .. } => Self::Nothing,
            _ => Self::Proxy,
        }
    }
}

/// How hosts are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Every host is allowed.
    Open,
    /// None is.
    None,
    /// Some are: through the proxy.
    Proxy,
}

fn network(meaning: &Meaning<'_>, choice: Choice) -> Network {
    let (connect, bind) = (
        meaning.hosts(Operation::Connect),
        meaning.hosts(Operation::Bind),
    );
    let all = || {
        connect
            .regions()
            .iter()
            .chain(bind.regions())
            .all(|r| r.decision.action.permits())
    };
    if choice.no_network {
        Network::None
    } else if all() {
        Network::Open
    } else if Protocol::ALL.iter().any(|p| connect.any_allowed(*p)) {
        Network::Proxy
    } else {
        Network::None
    }
}

/// The program that is to be started.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// The file.
    pub file: &'a Path,
    /// Its name and arguments, as it is told them.
    pub words: &'a [OsString],
}

/// Everything that is known before anything is changed.
pub struct Prepared<'a> {
    policy: &'a Policy,
    abi: u32,
    network: Network,
    /// What is covered, where mounts help; `None`: nothing is.
    plan: Option<Plan>,
    sockets: Sockets,
    /// Where standard input, output and error lead.
    standard: [Option<Vec<u8>>; 3],
    choice: Choice,
    meaning: &'a Meaning<'a>,
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
    let plan = if choice.namespaces {
        let processes = choice.demand.is_none();
        Some(cover::plan(meaning, &RealHost, processes)?)
    } else {
        None
    };
    let sockets = if choice.namespaces {
        sockets::denied(meaning.policy())
    } else {
        Sockets::default()
    };
    Ok(Prepared {
        policy: meaning.policy(),
        abi,
        network: network(meaning, choice),
        plan,
        sockets,
        standard: stdio::paths(),
        choice,
        meaning,
    })
}

/// Whether the policy allows to change mode and owner of some files and not of others: the filter cannot tell them
/// apart, and Landlock does not see it.
fn metadata_in_part(meaning: &Meaning<'_>) -> Result<bool, Error> {
    let allowed = meaning.decisions(Operation::Metadata)?.allowed();
    Ok(!allowed.is_empty() && !allowed.is_all())
}

impl Prepared<'_> {
    /// Puts the layers on this process and becomes the program. What is worth saying goes to `say`, one line each;
    /// the first word of a line tells what it is: `polc:` the layers, `note:` what is lost.
    ///
    /// # Errors
    /// Always, if it returns: the program was not started.
    pub fn start(self, program: Start<'_>, mut say: impl FnMut(&str)) -> Result<Infallible, Error> {
        let mut variables = environment::reduced(&self.policy.environment, std::env::vars_os());
        let command = Words::new(program)?;
        let limited = &self.policy.limits;
        let task = supervise::Task {
            tell: self.choice.into(),
            scan: Scan::new(self.meaning)?,
            fail_if_made: self.choice.fail_if_made,
            group: cgroup::make(limited),
            wall_time: limited.wall_time.map(Duration::from_secs),
        };
        let mut outside = if self.network == Network::Proxy || task.needed() {
            Some(supervise::split(self.meaning, task)?)
        } else {
            None
        };
        let held = outside.as_ref().map_or(Vec::new(), |o| o.held.clone());
        let unlimited = limits::apply(limited, &held)?;

        // Namespaces, or the reason why not.
        let helps = self.plan.as_ref().is_some_and(Plan::helps)
            || !self.sockets.paths.is_empty()
            || metadata_in_part(self.meaning)?;
        let closed = self.network != Network::Open;
        let entered =
            self.choice.namespaces && (helps || closed) && namespaces::enter(helps, closed)?;
        let mounted = entered && helps;
        let apart = entered && closed;
        if self.choice.namespaces && (helps || closed) && !entered {
            say(
                "note: namespaces are not permitted here: paths denied inside allowed trees are kept by granting their siblings, so that what is made later beside them gets nothing",
            );
        }
        let plan = self.plan.as_ref().filter(|_| mounted);

        // The ruleset for what is there now.
        let host = Reduced {
            host: &RealHost,
            plan,
        };
        let rules = crate::backend::landlock::rules(self.meaning, self.abi, Some(&host))?;
        let mut ruleset = rules.ruleset.clone();
        // The ledger takes longer than the ruleset: it is made where something is said of it.
        let ledger = (self.choice.demand.is_some() || !self.choice.quiet)
            .then(|| rules.ledger(self.meaning))
            .transpose()?;
        let mut read_only = false;
        if let Some(plan) = plan {
            plan.widen(&mut ruleset);
            read_only = namespaces::mount(plan, &self.sockets.paths, &ruleset)?;
            stdio::behind(plan, &self.standard)?;
            describe(plan, &mut say);
            for name in &self.sockets.nowhere {
                say(&format!(
                    "note: something listens on a unix socket `{}`, of which the directory is not known: it is not covered",
                    show_bytes(name)
                ));
            }
        } else {
            self.tell_without_mounts(ledger.as_ref(), &mut say)?;
        }

        // The network.
        let mut holes = Holes {
            hosts: closed,
            // What goes through the proxy is TCP; where the policy itself allows no UDP, its own filter refuses it.
            udp: closed && (!apart || self.network == Network::Proxy || self.choice.no_network),
        };
        if closed && !apart {
            self.close_ports(&mut ruleset)?;
        } else if closed {
            self.own_ports(&mut ruleset);
        }
        if let Some(ledger) = &ledger {
            let force = require::InForce {
                plan,
                read_only,
                ruleset: &ruleset,
                network: self.network,
                apart,
                unlimited: &unlimited,
            };
            let short = require::shortfall(self.meaning, ledger, &force)?;
            let demand = self.choice.demand;
            if demand.is_some_and(|d| !d.is_met(short.is_exact(), short.is_safe())) {
                return Err(Error::Demand(short.text()));
            }
            if let Some(line) = short.summary() {
                say(&line);
            }
        }
        let listener = match self.network {
            Network::Proxy => Some(proxy_listener(&mut ruleset)?),
            _ => None,
        };
        if let (Some(listener), false) = (&listener, apart) {
            let address = listener.local_addr();
            let port = address
                .map_err(|e| Error::Proxy("listen for the proxy", e))?
                .port();
            say(&format!(
                "note: without a network namespace port {port} is open on every host, not on the proxy alone: Landlock knows ports and no addresses"
            ));
        }
        let told = match &mut outside {
            Some(outside) => outside.ready(listener.as_ref())?,
            None => Vec::new(),
        };
        for (name, value) in told {
            variables.retain(|(n, _)| n.as_os_str() != name.as_str());
            // In a network namespace the loopback interface is the program's own: what it serves there is
            // not the proxy's to reach.
            let own = apart && name.eq_ignore_ascii_case("no_proxy");
            let value = if own {
                "localhost,127.0.0.1,::1".to_owned()
            } else {
                value
            };
            variables.push((name.into(), value.into()));
        }
        holes.hosts |= listener.is_some();
        let environment = Environment::new(&variables)?;

        let filters = filter::prepare(self.meaning, holes)?;
        let mut domain = apply::prepare(&ruleset)?;
        if self.choice.log && self.abi >= 7 {
            domain = domain.logged()?;
        }
        for gone in &domain.gone {
            say(&format!(
                "note: `{}` went away: nothing is granted on it",
                show_bytes(gone)
            ));
        }
        say(&self.layers(mounted, read_only, apart, &held, &unlimited));
        capabilities::keep(&self.policy.capabilities)?;
        sys::close_on_exec().map_err(Error::Descriptors)?;
        // Rust ignores it; a program expects it as it was.
        // SAFETY: sets a disposition that is no function.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).map_err(Error::Capabilities)?;
        domain.apply()?;
        filters.load(self.choice.log)?;
        let error = command.become_it(&environment);
        Err(Error::Program(
            show_bytes(program.file.as_os_str().as_bytes()),
            error,
        ))
    }

    /// Says what is not kept where nothing is covered.
    fn tell_without_mounts(
        &self,
        ledger: Option<&Ledger>,
        say: &mut impl FnMut(&str),
    ) -> Result<(), Error> {
        let loose = |e: &Entry| {
            let kind = e.operation;
            e.fidelity.leaks() && e.fidelity != Fidelity::Unenforced && OPERATIONS.contains(&kind)
        };
        if ledger.into_iter().flat_map(|l| &l.entries).any(loose) {
            say(
                "note: without mounts some directories are granted whole that hold paths denied by wildcards: what is denied there can be changed, moved away and replaced; `polc enforce landlock --dry-run` shows them",
            );
        }
        let sockets = sockets::denied(self.policy);
        if !sockets.paths.is_empty() || !sockets.nowhere.is_empty() {
            say("note: without mounts every unix socket that has a path is reachable");
        }
        if let Some(path) = started_by_loader(self.policy).find(|p| sys::path(p).is_file()) {
            say(&format!(
                "note: without mounts the loader starts what may be read and not be started: `{LOADER} {}`",
                show_bytes(&path)
            ));
        }
        if metadata_in_part(self.meaning)? {
            say(
                "note: without mounts mode, owner, times and attributes can be changed everywhere, as far as the user may: a filter of system calls cannot tell paths apart",
            );
        }
        if self.plan.as_ref().is_some_and(|p| p.too_many) {
            say("note: there is too much in the allowed trees to cover what is denied in them");
        }
        Ok(())
    }

    /// Without a network namespace: TCP ports are open only where every host is allowed on them.
    fn close_ports(&self, ruleset: &mut Ruleset) -> Result<(), Error> {
        let bind = self
            .meaning
            .hosts(Operation::Bind)
            .any_allowed(Protocol::Tcp);
        let tcp = self.network == Network::Proxy
            || bind
            || self
                .meaning
                .hosts(Operation::Connect)
                .any_allowed(Protocol::Tcp);
        if tcp && self.abi < 4 {
            return Err(Error::Network);
        }
        if tcp {
            ruleset.handled_net.insert(AccessNet::ConnectTcp);
            ruleset.handled_net.insert(AccessNet::BindTcp);
            ruleset.ports.retain(|p| p.access == AccessNet::BindTcp);
        }
        Ok(())
    }

    /// In a network namespace there is nothing but the loopback interface to connect to: the ports of other hosts,
    /// which the proxy reaches, are refused at once.
    fn own_ports(&self, ruleset: &mut Ruleset) {
        let local = |port: &u16| {
            ["localhost", "127.0.0.1", "[::1]"].iter().any(|host| {
                HostSpec::parse(&format!("tcp://{host}:{port}")).is_ok_and(|spec| {
                    decide(self.policy, Operation::Connect, &Object::Host(spec))
                        .action
                        .permits()
                })
            })
        };
        let connect = ruleset
            .ports
            .iter_mut()
            .filter(|p| p.access == AccessNet::ConnectTcp);
        for grant in connect {
            grant.ports.retain(local);
        }
    }

    fn layers(
        &self,
        mounted: bool,
        read_only: bool,
        apart: bool,
        held: &[&str],
        unlimited: &[&str],
    ) -> String {
        let mut out = format!(
            "polc: `{}` in force: landlock (ABI {}), seccomp",
            self.policy.name, self.abi
        );
        if let (true, Some(plan)) = (mounted, &self.plan) {
            let _ = write!(
                out,
                ", mounts ({} covered",
                plan.covers.len() + self.sockets.paths.len()
            );
            out.push_str(if read_only {
                ", the rest read-only)"
            } else {
                ")"
            });
        }
        out.push_str(match (self.network, apart) {
            (Network::Open, _) => ", network open as the policy says",
            (Network::None, true) => ", no network (namespace)",
            (Network::None, false) => ", no network",
            (Network::Proxy, true) => ", network by proxy alone (namespace)",
            (Network::Proxy, false) => ", network by proxy alone",
        });
        if self.policy.capabilities.is_empty() {
            out.push_str(", no capabilities");
        } else {
            let _ = write!(out, ", capabilities {}", self.policy.capabilities.join(" "));
        }
        if !self.policy.limits.is_empty() {
            out.push_str(", limits");
        }
        if !held.is_empty() {
            let _ = write!(out, " ({} by a control group)", held.join(", "));
        }
        if !unlimited.is_empty() {
            let _ = write!(out, " (but {})", unlimited.join(", "));
        }
        out
    }
}

/// Listens for the proxy, whose port is reachable beside what the policy says.
fn proxy_listener(ruleset: &mut Ruleset) -> Result<TcpListener, Error> {
    let error = |e| Error::Proxy("listen for the proxy", e);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(error)?;
    let port = listener.local_addr().map_err(error)?.port();
    if !ruleset.handled_net.contains(&AccessNet::ConnectTcp) {
        return Ok(listener);
    }
    match ruleset
        .ports
        .iter_mut()
        .find(|p| p.access == AccessNet::ConnectTcp)
    {
        Some(ports) => ports.ports.push(port),
        None => ruleset.ports.push(NetPort {
            access: AccessNet::ConnectTcp,
            ports: vec![port],
        }),
    }
    Ok(listener)
}

/// Says what the mounts do not cover.
fn describe(plan: &Plan, say: &mut impl FnMut(&str)) {
    let few = |paths: &[Vec<u8>]| {
        let shown: Vec<String> = paths
            .iter()
            .take(3)
            .map(|p| format!("`{}`", show_bytes(p)))
            .collect();
        let rest = paths.len().saturating_sub(3);
        let more = if rest > 0 {
            format!(" and {rest} more")
        } else {
            String::new()
        };
        format!("{}{more}", shown.join(", "))
    };
    if plan.too_many {
        say(
            "note: there is too much in the allowed trees to cover what is denied in them: it is kept by granting siblings",
        );
    }
    if !plan.uncovered.is_empty() {
        say(&format!(
            "note: {} cannot be covered: the tree around is granted by its entries, and what is made there later gets nothing",
            few(&plan.uncovered)
        ));
    }
    if !plan.missing.is_empty() {
        say(&format!(
            "note: not there yet, so not covered: {} may be made, though the policy denies it, and so may what it denies by patterns with `**`; what is made is told at the end",
            few(&plan.missing)
        ));
    }
}

/// A command line as `execve(2)` takes it.
struct Words {
    file: CString,
    words: Vec<CString>,
}

/// An environment as `execve(2)` takes it.
struct Environment(Vec<CString>);

fn pointers(list: &[CString]) -> Vec<*const libc::c_char> {
    list.iter()
        .map(|s| s.as_ptr())
        .chain([std::ptr::null()])
        .collect()
}

impl Words {
    fn new(program: Start<'_>) -> Result<Self, Error> {
        let c = |w: &[u8]| CString::new(w).map_err(|_| Error::Nul);
        Ok(Self {
            file: c(program.file.as_os_str().as_bytes())?,
            words: program
                .words
                .iter()
                .map(|w| c(w.as_bytes()))
                .collect::<Result<_, _>>()?,
        })
    }

    fn become_it(&self, environment: &Environment) -> std::io::Error {
        let (words, variables) = (pointers(&self.words), pointers(&environment.0));
        // SAFETY: both lists end in a null pointer, and every string in them outlives the call.
        unsafe { libc::execve(self.file.as_ptr(), words.as_ptr(), variables.as_ptr()) };
        std::io::Error::last_os_error()
    }
}

impl Environment {
    fn new(variables: &[(OsString, OsString)]) -> Result<Self, Error> {
        let one = |(n, v): &(OsString, OsString)| {
            let mut text = n.as_bytes().to_vec();
            text.push(b'=');
            text.extend_from_slice(v.as_bytes());
            CString::new(text).map_err(|_| Error::Nul)
        };
        Ok(Self(variables.iter().map(one).collect::<Result<_, _>>()?))
    }
}
