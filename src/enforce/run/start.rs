//! Putting the layers on one after the other, and becoming the program.

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
    placeholders, require, stdio, supervise, sys,
};
use crate::backend::landlock::{AccessFs, RealHost, Ruleset};
use crate::backend::seccomp::UnixSockets;
use crate::enforce::environment;
use crate::enforce::landlock::apply;
use crate::fidelity::{Ledger, show_bytes};
use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

impl Prepared<'_> {
    /// Puts the layers on this process and becomes the program. `tell` gets what holds and what does not, just before
    /// that cannot be undone any more.
    ///
    /// # Errors
    /// Always, if it returns: the program was not started.
    pub fn start(self, tell: impl FnOnce(&Report)) -> Result<Infallible, Error> {
        let report = &mut Report::default();
        let variables = environment::reduced(&self.policy.environment, std::env::vars_os());
        let command = Words::new(self.program)?;
        missing::make(self.policy, report);
        // Without a mount over it, one keeps nobody from anything.
        if self.choice.namespaces {
            placeholders::make(self.policy);
        }
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
        layers.in_cgroup = outside.enter_group();
        let terminals = self.own_mounts(&layers)?;
        // Only now: what the program has of its own need not be looked at.
        let plan = cover::plan(self.meaning, self.choice.required.is_none(), self.kept())?;
        let helps = layers.mounts && self.helps(&plan, &layers)?;
        layers.plan = helps.then_some(&plan);
        let (mut ruleset, ledger) = self.ruleset(&layers)?;
        self.cover(&plan, &mut layers, &mut ruleset, ledger.as_ref(), report)?;
        terminals.grant(self.policy, &mut ruleset);
        notes::own(&self, &layers, &terminals, report)?;
        layers.unlimited = limits::not_held(&self.policy.limits, &layers.in_cgroup);
        let mut holes = self.close_network(&layers, &mut ruleset, report)?;
        if let Some(ledger) = &ledger {
            self.compare(&layers, &ruleset, ledger, report)?;
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

    /// Splits the process; it returns in the part that becomes the program.
    fn split(&self) -> Result<supervise::Inside, Error> {
        let limits = &self.policy.limits;
        let task = supervise::Task {
            tell: self.choice.into(),
            guarded: self.guarded,
            scan: Scan::new(self.meaning)?.map(|scan| {
                let scan = scan.without(&self.own);
                match self.guarded {
                    // What is denied is not made.
                    true => scan.for_configurations(),
                    false => scan,
                }
            }),
            fail_if_made: self.choice.fail_if_made,
            group: cgroup::make(limits),
            wall_time: limits.wall_time.map(Duration::from_secs),
            ends_all: true,
        };
        supervise::split(self.meaning, task)
    }

    /// Enters namespaces, or says why not.
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

    /// Gives the program directories and terminals of its own.
    fn own_mounts(&self, layers: &Layers<'_>) -> Result<Terminals, Error> {
        if !layers.mounts {
            return Ok(Terminals::default());
        }
        let here = std::env::current_dir().ok();
        self.own.mount(self.policy.limits.memory)?;
        namespaces::enter_again(here.as_deref())?;
        terminals::mount()
    }

    /// Whether there is anything that mounts make better.
    fn helps(&self, plan: &Plan, layers: &Layers<'_>) -> Result<bool, Error> {
        if self.guarded {
            let sockets = !layers.sockets_by_path && !self.sockets.denied.is_empty();
            return Ok(plan.helps() || sockets);
        }
        Ok(plan.helps() || !self.sockets.denied.is_empty() || metadata_in_part(self.meaning)?)
    }

    /// What mounts and Landlock have to keep.
    fn kept(&self) -> cover::Kept {
        if self.guarded {
            cover::Kept::Reads
        } else {
            cover::Kept::All
        }
    }

    /// Landlock's ruleset for what is there now, and what it loses where something is said of that.
    fn ruleset(&self, layers: &Layers<'_>) -> Result<(Ruleset, Option<Ledger>), Error> {
        let host = Reduced {
            host: &RealHost,
            plan: layers.plan,
        };
        let rules = crate::backend::landlock::rules(self.meaning, self.abi, Some(&host))?;
        // The ledger takes longer than the ruleset.
        let ledger = (self.choice.required.is_some() || !self.choice.quiet)
            .then(|| rules.ledger(self.meaning))
            .transpose()?;
        let mut ruleset = rules.ruleset;
        if self.guarded {
            guard::narrow(self.meaning, &mut ruleset)?;
        }
        Ok((ruleset, ledger))
    }

    /// Covers paths, or says what is not kept where that cannot be.
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
            // Mode, owner and times are the guard's.
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

    /// Refuses to start where something that is denied cannot be protected, unless the user allowed that.
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

    /// Closes the ports that nothing else closes. The answer is what the filter of system calls has to refuse.
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

    /// Has the part outside serve the proxy, and wait. The answer is the program's environment.
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
            // In a network namespace the loopback interface is the program's own: what it serves there is
            // not the proxy's to reach.
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

    /// Takes away what cannot be given back: capabilities, descriptors, rights on paths, system calls. Nothing but the
    /// program itself comes after it.
    fn confine(
        &self,
        layers: &Layers<'_>,
        ruleset: &Ruleset,
        (holes, told): (Holes, Option<UnixStream>),
        (report, tell): (&mut Report, impl FnOnce(&Report)),
    ) -> Result<(), Error> {
        let filters = filter::prepare(self.meaning, holes)?;
        let mut domain = self.domain(layers, ruleset)?;
        let guard = match self.guarded {
            true => {
                let hull = guard::hull(self.meaning, ruleset)?;
                let filter = guard::prepare(self.meaning, layers.sockets_by_path)?;
                Some((filter, self.domain(layers, &hull)?))
            }
            false => None,
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
        // Rust ignores it; a program expects it as it was.
        // SAFETY: sets a disposition that is no function.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).map_err(Error::Capabilities)?;
        let guard = match guard {
            Some((filter, hull)) => {
                hull.apply()?;
                let task = guard::Task {
                    standard: self.standard(layers),
                    abi: self.abi,
                    to_the_letter: self.choice.required.is_some(),
                    told,
                };
                let inside = guard::split(self.meaning, task)?;
                // The process that becomes the program is another one now.
                domain = self.domain(layers, &inside.own_entries(ruleset))?;
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

    /// The files of the standard descriptors that may be opened anew to be written.
    fn standard(&self, layers: &Layers<'_>) -> Vec<(libc::dev_t, libc::ino_t)> {
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

    /// The kernel's ruleset, with what is granted on descriptors, and with records.
    fn domain(&self, layers: &Layers<'_>, ruleset: &Ruleset) -> Result<apply::Prepared, Error> {
        let mut domain = apply::prepare(ruleset)?;
        // `--require` compares by paths, and a descriptor has no path that stays.
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
