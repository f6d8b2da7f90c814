//! Puts the layers on, one after the other, and becomes the program.

use super::cover::{self, Gap, Plan, Reduced};
use super::created::Scan;
use super::exec::{Environment, Words};
use super::filter::Holes;
use super::guard;
use super::network::{self, Network};
use super::prepared::{Layers, Prepared, Unix, metadata_in_part};
use super::report::Report;
use super::terminals::{self, Terminals};
use super::{
    Error, capabilities, cgroup, filter, limits, local_services, missing, namespaces, notes,
    placeholders, require, startup, stdio, supervise, sys,
};
use crate::backend::landlock::{AccessFs, RealHost, Ruleset};
use crate::backend::seccomp::UnixSockets;
use crate::enforce::environment;
use crate::enforce::landlock::apply;
use crate::fidelity::{Ledger, show_bytes};
use std::borrow::Cow;
use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

impl Prepared<'_> {
    /// Puts the layers on this process and becomes the program. `tell` gets what holds and what does not, just before
    /// the steps that cannot be undone.
    ///
    /// # Errors
    /// Always, if it returns: the program was not started.
    pub fn start(self, tell: impl FnOnce(&Report)) -> Result<Infallible, Error> {
        let report = &mut Report::default();
        let variables = environment::reduced(&self.policy.environment, std::env::vars_os());
        let command = Words::new(self.program)?;
        missing::make(self.policy, report);
        // Without mounts, a placeholder protects nothing.
        if self.choice.namespaces {
            placeholders::make(self.policy);
        }
        notes::no_guard(&self, report);
        if let Some(line) = crate::git::told(self.policy) {
            report.to_do(line);
        }
        if self.guarded {
            stdio::admit(self.policy, &self.stdio)?;
        }
        let mut outside = self.split()?;
        let mut layers = Layers::default();
        self.enter(&mut layers, &mut outside, report)?;
        layers.sockets_by_path = self.guarded && self.unix(&layers)? == Unix::ByRule;
        layers.in_cgroup = outside.enter_cgroup();
        let terminals = self.own_mounts(&layers)?;
        // Comes after the program's own directories, because those need no search.
        let plan = cover::plan(
            self.meaning,
            self.choice.required.is_none(),
            self.cover_scope(),
        )?;
        let helps = layers.mounts && self.helps(&plan, &layers)?;
        layers.plan = helps.then_some(&plan);
        layers.named = self.guarded.then(|| guard::Named::new(self.meaning));
        let (mut ruleset, ledger) = self.ruleset(&layers)?;
        self.cover(&plan, &mut layers, &mut ruleset, ledger.as_ref(), report)?;
        terminals.grant(self.policy, &mut ruleset);
        notes::own(&self, &layers, &terminals, report)?;
        layers.unlimited = limits::unenforced(&self.policy.limits, &layers.in_cgroup);
        let mut holes = self.close_network(&layers, &mut ruleset, report)?;
        if let Some(ledger) = &ledger {
            self.compare(&layers, &ruleset, ledger, report)?;
        }
        if layers.mounts && self.choice.required.is_none() {
            startup::cover(self.policy, &mut ruleset);
        }
        let variables = self.serve(
            &layers,
            &mut ruleset,
            (&mut outside, &terminals),
            &mut holes,
            variables,
            report,
        )?;
        let environment = Environment::new(&variables)?;
        self.confine(
            &layers,
            &ruleset,
            (holes, outside.told.take()),
            (report, tell),
        )?;
        let error = command.become_it(&environment);
        Err(Error::Program(
            show_bytes(self.program.file.as_os_str().as_bytes()),
            error,
        ))
    }

    /// Splits the process, and returns in the part that becomes the program.
    fn split(&self) -> Result<supervise::Inside, Error> {
        let limits = &self.policy.limits;
        let task = supervise::Task {
            tell: self.choice.into(),
            guarded: self.guarded,
            scan: Scan::new(self.meaning)?.map(|scan| {
                let scan = scan.without(&self.own);
                match self.guarded {
                    // The guard refuses to make what is denied.
                    true => scan.for_configurations(),
                    false => scan,
                }
            }),
            fail_if_made: self.choice.fail_if_made,
            cgroup: cgroup::make(limits),
            wall_time: limits.wall_time.map(Duration::from_secs),
            ends_all: true,
        };
        supervise::split(self.meaning, task)
    }

    /// Enters namespaces, or reports why it cannot.
    fn enter(
        &self,
        layers: &mut Layers<'_>,
        outside: &mut supervise::Inside,
        report: &mut Report,
    ) -> Result<(), Error> {
        let closed = self.network != Network::Open;
        layers.mounts = self.choice.namespaces && namespaces::enter(closed)?;
        layers.processes = outside.begin(layers.mounts)?;
        layers.own_network = layers.mounts && closed;
        notes::namespaces(self, layers, report);
        Ok(())
    }

    /// Gives the program its own directories and terminals.
    fn own_mounts(&self, layers: &Layers<'_>) -> Result<Terminals, Error> {
        if !layers.mounts {
            return Ok(Terminals::default());
        }
        let here = std::env::current_dir().ok();
        self.own.mount(self.policy.limits.memory)?;
        namespaces::enter_again(here.as_deref())?;
        terminals::mount()
    }

    /// Whether mounts make anything better.
    fn helps(&self, plan: &Plan, layers: &Layers<'_>) -> Result<bool, Error> {
        if self.guarded {
            let sockets = !layers.sockets_by_path && !self.sockets.denied.is_empty();
            return Ok(plan.helps() || sockets);
        }
        Ok(plan.helps() || !self.sockets.denied.is_empty() || metadata_in_part(self.meaning)?)
    }

    /// What mounts and Landlock have to enforce.
    fn cover_scope(&self) -> cover::Scope {
        if self.guarded {
            cover::Scope::Reads
        } else {
            cover::Scope::All
        }
    }

    /// Landlock's ruleset for what exists now, and its ledger if a message or a check needs it.
    fn ruleset(&self, layers: &Layers<'_>) -> Result<(Ruleset, Option<Ledger>), Error> {
        let host = Reduced {
            host: &RealHost,
            plan: layers.plan,
        };
        // Denied paths stay closed here, whatever `enforce landlock` does: mounts and the guard give the program the
        // rest of the tree.
        let holes = crate::backend::landlock::Holes::Closed;
        let rules = crate::backend::landlock::rules(self.meaning, self.abi, Some(&host), holes)?;
        // The ledger takes longer than the ruleset.
        let ledger = (self.choice.required.is_some() || !self.choice.quiet)
            .then(|| rules.ledger(self.meaning))
            .transpose()?;
        let mut ruleset = rules.ruleset;
        if let Some(named) = &layers.named {
            guard::narrow(self.meaning, named, &mut ruleset)?;
        }
        Ok((ruleset, ledger))
    }

    /// Covers paths, or reports what is not kept without covers.
    fn cover(
        &self,
        plan: &Plan,
        layers: &mut Layers<'_>,
        ruleset: &mut Ruleset,
        ledger: Option<&Ledger>,
        report: &mut Report,
    ) -> Result<(), Error> {
        let Some(covered) = layers.plan else {
            if !layers.mounts {
                notes::without_mounts(self, layers, ledger, report)?;
            }
            cover::narrow(plan, ruleset, report);
            layers.gaps = cover::left_open(plan, self.meaning, ruleset)?;
            return self.admit(&layers.gaps, report);
        };
        let here = std::env::current_dir().ok();
        covered.widen(ruleset);
        let outcome = match self.guarded {
            // The guard decides about mode, owner and times.
            true if layers.sockets_by_path => cover::mount::all(covered, &[], None)?,
            true => cover::mount::all(covered, &self.sockets.denied, None)?,
            false => namespaces::mount(covered, &self.sockets.denied, ruleset)?,
        };
        layers.read_only = outcome.read_only;
        layers.gaps = [covered.gaps.as_slice(), &outcome.gaps].concat();
        self.admit(&layers.gaps, report)?;
        namespaces::enter_again(here.as_deref())?;
        stdio::behind(covered, &self.stdio)?;
        cover::told(covered, &outcome.links, report);
        Ok(())
    }

    /// Refuses to start if a denied object cannot be protected, unless the user allowed that.
    fn admit(&self, gaps: &[Gap], report: &mut Report) -> Result<(), Error> {
        if gaps.is_empty() {
            return Ok(());
        }
        if !self.choice.allow_gaps {
            return Err(Error::Unprotected(cover::refusal(self.policy, gaps)));
        }
        cover::allowed_gaps(gaps, report);
        Ok(())
    }

    /// Closes the ports that nothing else closes. Returns what the filter of system calls has to refuse.
    fn close_network(
        &self,
        layers: &Layers<'_>,
        ruleset: &mut Ruleset,
        report: &mut Report,
    ) -> Result<Holes, Error> {
        let (closed, own_network) = (self.network != Network::Open, layers.own_network);
        if closed && !own_network {
            network::close_ports(self.meaning, self.network, self.abi, ruleset)?;
        } else if closed {
            network::own_ports(self.policy, ruleset);
            if let Some(line) = local_services::told(&self.local_services) {
                report.to_do(line);
            }
        }
        let unix = match self.unix(layers)? {
            Unix::Own => UnixSockets::Own,
            Unix::ByRule | Unix::Refused => UnixSockets::ByRule,
        };
        Ok(Holes {
            unix,
            hosts: closed,
            // In a network namespace a datagram reaches the program's own loopback interface, and nothing else. Where the
            // policy allows no UDP at all, its own filter refuses it.
            udp: closed && !own_network,
        })
    }

    /// Compares what the layers keep with the policy.
    fn compare(
        &self,
        layers: &Layers<'_>,
        ruleset: &Ruleset,
        ledger: &Ledger,
        report: &mut Report,
    ) -> Result<(), Error> {
        let force = require::InForce {
            plan: layers.plan,
            gaps: &layers.gaps,
            read_only: layers.read_only,
            ruleset,
            network: self.network,
            own_network: layers.own_network,
            unlimited: &layers.unlimited,
            guarded: self.guarded,
            sockets_by_path: layers.sockets_by_path,
        };
        let short = require::shortfall(self.meaning, ledger, &force)?;
        let required = self.choice.required;
        if required.is_some_and(|d| !d.is_met(short.is_exact(), short.is_safe())) {
            return Err(Error::Required(short.text()));
        }
        let sockets = if layers.mounts {
            notes::LATER_SOCKETS
        } else {
            notes::EVERY_SOCKET
        };
        short.tell(sockets, layers.own_network, report);
        Ok(())
    }

    /// Tells the part outside to serve the proxy, and to wait. Returns the program's environment.
    fn serve(
        &self,
        layers: &Layers<'_>,
        ruleset: &mut Ruleset,
        (outside, terminals): (&mut supervise::Inside, &Terminals),
        holes: &mut Holes,
        mut variables: Vec<(OsString, OsString)>,
        report: &mut Report,
    ) -> Result<Vec<(OsString, OsString)>, Error> {
        let listener = match self.network {
            Network::Proxy => Some(network::proxy_listener(ruleset)?),
            _ => None,
        };
        if let (Some(listener), false) = (&listener, layers.own_network) {
            let address = listener.local_addr();
            let port = address
                .map_err(|e| Error::Proxy("listen for the proxy", e))?
                .port();
            report.not_kept(
                format!("reach port {port} of every host"),
                format!(
                    "without a network namespace, port {port} is open to every host, not only to the proxy: Landlock knows ports, not addresses"
                ),
            );
        }
        let told = outside.ready(listener.as_ref(), &terminals.masters)?;
        for (name, value) in told {
            // In a network namespace the loopback interface is the program's own. The proxy cannot reach what listens
            // there.
            let own = layers.own_network && name.eq_ignore_ascii_case("no_proxy");
            let value = if own {
                "localhost,127.0.0.1,::1".to_owned()
            } else {
                value
            };
            environment::give(&mut variables, &name, &value);
        }
        holes.hosts |= listener.is_some();
        Ok(variables)
    }

    /// Gives up what cannot be regained: capabilities, descriptors, rights on paths, system calls. Nothing but the
    /// program itself comes after it.
    fn confine(
        &self,
        layers: &Layers<'_>,
        ruleset: &Ruleset,
        (holes, told): (Holes, Option<UnixStream>),
        (report, tell): (&mut Report, impl FnOnce(&Report)),
    ) -> Result<(), Error> {
        let filters = filter::prepare(self.meaning, holes)?;
        let mut inner = Cow::Borrowed(ruleset);
        let own_entries = match self.guarded {
            true => guard::take_own_entries(inner.to_mut()),
            false => Vec::new(),
        };
        let mut domain = self.domain(layers, &inner)?;
        let guard = match &layers.named {
            Some(named) => {
                let hull = guard::hull(self.meaning, named, ruleset)?;
                let filter = guard::prepare(self.meaning, layers.sockets_by_path)?;
                Some((filter, self.domain(layers, &hull)?))
            }
            None => None,
        };
        for gone in &domain.gone {
            report.stricter(
                "paths that disappeared",
                format!(
                    "`{}` disappeared: the program gets no rights on it",
                    show_bytes(gone)
                ),
            );
        }
        notes::in_force(self, layers, report);
        capabilities::keep(&self.policy.capabilities)?;
        if let Some(line) = notes::workspace(self.policy) {
            report.to_do(line);
        }
        tell(report);
        sys::close_on_exec().map_err(Error::Descriptors)?;
        // Rust ignores this signal. A program expects the default.
        // SAFETY: sets a disposition that is no function.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).map_err(Error::Capabilities)?;
        let guard = match guard {
            Some((filter, hull)) => {
                hull.apply()?;
                let task = guard::Task {
                    standard: self.writable_stdio(layers),
                    abi: self.abi,
                    to_the_letter: self.choice.required.is_some(),
                    told,
                };
                let inside = guard::split(self.meaning, task)?;
                domain.add(&inside.own_entries(own_entries))?;
                Some((filter, inside))
            }
            None => None,
        };
        limits::set(&self.policy.limits, &layers.in_cgroup)?;
        domain.apply()?;
        filters.load(self.choice.log, || match &guard {
            Some((filter, inside)) => inside.load(filter),
            None => Ok(()),
        })
    }

    /// The files of the standard descriptors that the program may open again for writing.
    fn writable_stdio(&self, layers: &Layers<'_>) -> Vec<(libc::dev_t, libc::ino_t)> {
        if self.choice.required.is_some() {
            return Vec::new();
        }
        let reopened = stdio::reopened(self.policy, layers.plan).into_iter();
        let written = reopened.filter(|(_, rights)| rights.contains(&AccessFs::WriteFile));
        written
            .filter_map(|(descriptor, _)| sys::status(&descriptor).ok())
            .map(|status| (status.st_dev, status.st_ino))
            .collect()
    }

    /// The ruleset as the kernel takes it, with the grants on descriptors, and with records.
    fn domain(&self, layers: &Layers<'_>, ruleset: &Ruleset) -> Result<apply::Prepared, Error> {
        let mut domain = apply::prepare(ruleset)?;
        // `--require` compares by paths, and the path of a descriptor may change.
        if self.choice.required.is_none() {
            for (descriptor, rights) in stdio::reopened(self.policy, layers.plan) {
                domain.grant(&descriptor, &rights, ruleset);
            }
        }
        if self.choice.log && self.abi >= 7 {
            domain = domain.logged()?;
        }
        Ok(domain)
    }
}
