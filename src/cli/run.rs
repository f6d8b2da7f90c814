//! `polc run`.

use super::{Done, Global, Stop};
use std::ffi::OsString;

/// Start a program in everything that this host can enforce of the policy
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Do not say which layers are in force, and what they lose
    #[arg(short, long)]
    quiet: bool,
    /// Use no namespaces: no path is covered by a mount, and the network is closed by filters alone
    #[arg(long)]
    no_namespaces: bool,
    /// No network at all, whatever hosts the policy names
    #[arg(long)]
    no_network: bool,
    /// Say at the end what was refused, by which rule, and what would allow it: the proxy's refusals, and, for
    /// whoever may read the kernel's audit records, Landlock's and seccomp's
    #[arg(long)]
    explain: bool,
    /// Have the kernel write no audit records of what it refuses: nothing is left for `polc why`
    #[arg(long, conflicts_with = "explain")]
    no_log: bool,
    /// Start the program only if the layers together keep the policy: `safe` lets nothing through that it denies,
    /// `exact` is equal to it. Else exit 3
    #[arg(long, value_enum, value_name = "HOW")]
    require: Option<super::require::Require>,
    /// The program and its arguments. Without it: `$SHELL`
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

#[cfg(target_os = "linux")]
pub fn run(global: &Global, args: &Args) -> Done {
    use super::{Outcome, input, output, start};
    use polc::enforce::run::{Choice, Error, Start, prepare};
    use polc::semantics::Meaning;

    let loaded = input::load(global, input::Purpose::Host)?;
    let policy = &loaded.policy;
    let (program, arguments) = match start::program(policy, &args.command)? {
        Ok(found) => found,
        Err(outcome) => return Ok(outcome),
    };
    let meaning = Meaning::new(policy);
    let choice = Choice {
        namespaces: !args.no_namespaces,
        no_network: args.no_network,
        quiet: args.quiet,
        explain: args.explain,
        log: !args.no_log,
        demand: args.require.map(Into::into),
    };
    let mut words = vec![start::name(&args.command, &program).to_owned()];
    words.extend(arguments);
    let request = Start {
        file: &program.file,
        words: &words,
    };
    let say = |line: &str| {
        if !args.quiet {
            let _ = output::stderr(&format!("{line}\n"));
        }
    };
    let done = prepare(&meaning, choice).and_then(|p| p.start(request, say));
    match done {
        Ok(never) => match never {},
        Err(Error::Policy(d)) => Err(Stop::Diagnostics(d)),
        Err(Error::Demand(what)) => {
            output::stderr(&format!(
                "error: the layers together do not keep what `--require` demands; the program was not started\n{what}"
            ))?;
            Ok(Outcome::BelowDemand)
        }
        Err(e @ Error::Program(..)) => Err(Stop::NotStarted(e.to_string())),
        Err(e) => Err(anyhow::Error::new(e)
            .context("the program was not started")
            .into()),
    }
}

#[cfg(target_os = "macos")]
pub fn run(global: &Global, args: &Args) -> Done {
    use super::{input, output, start};
    use polc::semantics::Meaning;
    use std::os::unix::process::CommandExt;

    let loaded = input::load(global, input::Purpose::Host)?;
    let (program, arguments) = match start::program(&loaded.policy, &args.command)? {
        Ok(found) => found,
        Err(outcome) => return Ok(outcome),
    };
    let meaning = Meaning::new(&loaded.policy);
    let mut command = polc::enforce::sandbox_exec::command(
        &meaning,
        &program.file,
        &arguments,
        std::env::vars_os(),
    )?;
    if !args.quiet {
        output::stderr(&format!(
            "polc: `{}` in force: seatbelt\n",
            loaded.policy.name
        ))?;
    }
    let error = command.exec();
    Err(start::failed(&program, &error))
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
pub fn run(_: &Global, _: &Args) -> Done {
    Err(Stop::Usage(
        "`polc run` needs Linux or macOS; here `polc emit` works".to_owned(),
    ))
}
