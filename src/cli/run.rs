//! `polc run`.

use super::{Done, Global};
use std::ffi::OsString;

/// Start a program, confined by everything that this host can enforce of the policy
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print nothing before the program starts
    #[arg(short, long)]
    quiet: bool,
    /// Say before the program starts what each layer enforces and what is not kept, one line each with its reason
    #[arg(long, conflicts_with = "quiet")]
    explain_start: bool,
    /// Use no namespaces. Then no mount protects a path, and only filters close the network
    #[arg(long)]
    no_namespaces: bool,
    /// Use the host's /tmp, /var/tmp and /dev/shm. The program then sees the files and sockets of others there
    #[arg(long)]
    share_tmp: bool,
    /// Give the program no network, also if the policy allows hosts
    #[arg(long)]
    no_network: bool,
    /// Say at the end what was refused, by which rule, and what would allow it. Refusals of Landlock and seccomp are
    /// known only to a user who may read the kernel's audit records
    #[arg(long)]
    explain: bool,
    /// Tell the kernel to write no audit records of what it refuses. Then `polc why` finds nothing
    #[arg(long, conflicts_with = "explain")]
    no_log: bool,
    /// Start the program only if the layers together keep the policy. Else exit 3
    #[arg(long, value_enum, value_name = "HOW")]
    require: Option<super::require::Require>,
    /// Exit 3 if the program made something that the policy denies, such as a hook in a new repository. Linux cannot
    /// prevent that. Also exit 3 if a program outside replaced a protected file
    #[arg(long)]
    fail_if_made: bool,
    /// Start the program even if an existing file that the policy denies cannot be protected. Without it: exit 3, with
    /// the name of the file and the reason
    #[arg(long)]
    allow_gaps: bool,
    /// Decide every call that writes, or connects to a unix socket, by its path: `require` starts the program only so,
    /// `auto` does it where this host can, `off` leaves it to Landlock and mounts
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto")]
    guard: Guard,
    /// The program and its arguments. Without it: `$SHELL`
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Whether the guard is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Guard {
    /// Where this host can
    Auto,
    /// No
    Off,
    /// Start nothing without it
    Require,
}

#[cfg(target_os = "linux")]
impl From<Guard> for polc::enforce::run::Guard {
    fn from(guard: Guard) -> Self {
        match guard {
            Guard::Auto => Self::Auto,
            Guard::Off => Self::Off,
            Guard::Require => Self::Require,
        }
    }
}

#[cfg(target_os = "linux")]
pub fn run(global: &Global, args: &Args) -> Done {
    use super::{Outcome, Stop, input, output, start, told};
    use polc::enforce::run::{Choice, Error, Report, Start, prepare};
    use polc::semantics::Meaning;

    let loaded = match input::load_to_start(global, &args.command, true, args.allow_gaps)? {
        Ok(loaded) => loaded,
        Err(outcome) => return Ok(outcome),
    };
    let policy = &loaded.policy;
    let (program, arguments) = match start::program(policy, &args.command)? {
        Ok(found) => found,
        Err(outcome) => return Ok(outcome),
    };
    let meaning = Meaning::new(policy);
    let choice = Choice {
        namespaces: !args.no_namespaces,
        share_tmp: args.share_tmp,
        no_network: args.no_network,
        quiet: args.quiet,
        explain: args.explain,
        log: !args.no_log,
        required: args.require.map(Into::into),
        fail_if_made: args.fail_if_made,
        allow_gaps: args.allow_gaps,
        guard: args.guard.into(),
    };
    let mut words = vec![start::name(&args.command, &program).to_owned()];
    words.extend(arguments);
    let request = Start {
        file: &program.file,
        words: &words,
    };
    let mut advice = loaded.said.clone();
    advice.extend(said_first(policy, &words));
    advice.extend(loaded.unread.iter().cloned());
    if args.explain_start {
        advice.extend(loaded.said_at_length.iter().cloned());
    }
    let tell = |report: &Report| {
        let told = told::Start {
            advice: &advice,
            policy: &loaded.told,
            workspace: policy.subject.workspace.as_deref(),
            report,
            style: output::style(global),
        };
        if args.explain_start {
            let _ = output::stderr(&told.long());
        } else if !args.quiet {
            let _ = output::stderr(&told.short());
        }
    };
    let done = prepare(&meaning, choice, request).and_then(|p| p.start(tell));
    match done {
        Ok(never) => match never {},
        Err(Error::Policy(d)) => Err(Stop::Diagnostics(d)),
        Err(Error::Required(what)) => {
            output::stderr(&format!(
                "error: the layers together keep less than `--require` asks for; the program was not started\n{what}"
            ))?;
            Ok(Outcome::BelowRequirement)
        }
        Err(Error::Unprotected(what)) => {
            output::stderr(&format!(
                "error: some of what the policy denies cannot be protected; the program was not started\n{what}help: nothing was started, so that git and other programs can make or change no file here\nhelp: mend the reason that is named (docs/run.md: requirements), or add `--allow-gaps`: the program starts, and polc does not protect what is named\n"
            ))?;
            Ok(Outcome::BelowRequirement)
        }
        Err(e @ Error::Program(..)) => Err(Stop::NotStarted(e.to_string())),
        Err(e) => Err(anyhow::Error::new(e)
            .context("the program was not started")
            .into()),
    }
}

/// The advice for this program: which of its own options to set.
#[cfg(target_os = "linux")]
fn said_first(policy: &polc::policy::Policy, words: &[OsString]) -> Vec<String> {
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    let subject = &policy.subject;
    let folders: Vec<&Path> = [&subject.home, &subject.workspace]
        .into_iter()
        .flatten()
        .map(|p| Path::new(std::ffi::OsStr::from_bytes(p)))
        .collect();
    polc::enforce::agents::own_sandbox(words, &folders)
        .map(str::to_owned)
        .into_iter()
        .collect()
}

#[cfg(target_os = "macos")]
pub fn run(global: &Global, args: &Args) -> Done {
    use super::{Outcome, Stop, input, output, start};
    use polc::enforce::sandbox_exec::{Choice, Error, PROGRAM, prepare};

    if args.explain {
        return Err(Stop::Usage(
            "macOS does not tell polc what its sandbox refused: `log stream --predicate 'sender == \"Sandbox\"'` shows it".to_owned(),
        ));
    }
    let loaded = match input::load_to_start(global, &args.command, true, false)? {
        Ok(loaded) => loaded,
        Err(outcome) => return Ok(outcome),
    };
    let (program, arguments) = match start::program(&loaded.policy, &args.command)? {
        Ok(found) => found,
        Err(outcome) => return Ok(outcome),
    };
    let choice = Choice {
        no_network: args.no_network,
        required: args.require.map(Into::into),
    };
    let prepared = match prepare(&loaded.policy, choice, std::env::vars_os()) {
        Ok(prepared) => prepared,
        Err(Error::Policy(d)) => return Err(Stop::Diagnostics(d)),
        Err(Error::Required(what)) => {
            output::stderr(&format!(
                "{what}error: the profile keeps less than `--require` asks for; the program was not started\n"
            ))?;
            return Ok(Outcome::BelowRequirement);
        }
        Err(e) => {
            return Err(anyhow::Error::new(e)
                .context("the program was not started")
                .into());
        }
    };
    if !args.quiet {
        let proxy = if prepared.has_proxy() {
            ", network only through the proxy"
        } else {
            ""
        };
        output::stderr(&format!(
            "{}polc: policy {}\npolc: in force: seatbelt{proxy}\n",
            prepared.kept(),
            loaded.told
        ))?;
        let all = loaded.said_at_length.iter().filter(|_| args.explain_start);
        for line in loaded.said.iter().chain(&loaded.unread).chain(all) {
            output::stderr(&format!("polc: {line}\n"))?;
        }
    }
    let say = |line: &str| {
        let _ = output::stderr(&format!("{line}\n"));
    };
    match prepared.start(PROGRAM.as_ref(), &program.file, &arguments, say) {
        Ok(status) => Ok(Outcome::Program(status)),
        Err(error) => Err(start::failed(&program, &error)),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
pub fn run(_: &Global, _: &Args) -> Done {
    Err(super::Stop::Usage(
        "`polc run` needs Linux or macOS; here `polc emit` works".to_owned(),
    ))
}
