//! `polc enforce`.

use super::require::Require;
use super::{Done, Global, Outcome, emit, input, output, targets::TargetOptions};
use polc::backend::landlock::{Holes, RealHost};
use polc::enforce::landlock;
use polc::semantics::Meaning;
use std::ffi::OsString;
use std::path::PathBuf;

/// Enforce on this host, or write what another tool enforces.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    layer: Layer,
}

impl From<LandlockArgs> for Args {
    fn from(args: LandlockArgs) -> Self {
        Self {
            layer: Layer::Landlock(args),
        }
    }
}

#[derive(Debug, clap::Subcommand)]
enum Layer {
    /// Start a program confined by Landlock alone, or show the ruleset for this host's kernel
    Landlock(LandlockArgs),
    /// Write a macOS Seatbelt profile: the same as `emit sbpl`
    #[command(alias = "sbpl")]
    Sandbox(FileArgs),
    /// Write Tetragon TracingPolicies: the same as `emit tetragon`
    Tetragon(FileArgs),
}

/// What becomes of a denied path inside an allowed tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum HolesArg {
    /// The tree is granted, so that what the policy allows works. The deny is lost
    Open,
    /// The deny is kept. Then nothing new can be made beside the denied path, and the directory cannot be listed
    Closed,
}

impl From<HolesArg> for Holes {
    fn from(arg: HolesArg) -> Self {
        match arg {
            HolesArg::Open => Self::Open,
            HolesArg::Closed => Self::Closed,
        }
    }
}

#[derive(Debug, clap::Args)]
pub struct LandlockArgs {
    /// Apply nothing: show each path with its rights, what is missing on this host, and what its kernel lacks
    #[arg(long, conflicts_with_all = ["command", "require", "quiet", "allow_unenforced", "explain", "no_log"])]
    dry_run: bool,
    /// Start the program only if Landlock keeps the policy. Else exit 3
    #[arg(long, value_enum, value_name = "HOW")]
    require: Option<Require>,
    /// What becomes of a denied path inside an allowed tree
    #[arg(long, value_enum, value_name = "HOW", default_value_t = HolesArg::Open)]
    holes: HolesArg,
    /// Do not print what Landlock does not enforce
    #[arg(short, long)]
    quiet: bool,
    /// Say at the end what was refused, by which rule, and what would allow it. Only a user who may read the kernel's
    /// audit records learns that
    #[arg(long)]
    explain: bool,
    /// Tell the kernel to write no audit records of what it refuses (ABI 7). Then `polc why` finds nothing
    #[arg(long, conflicts_with = "explain")]
    no_log: bool,
    /// Start the program without confinement where the kernel has no Landlock
    #[arg(long)]
    allow_unenforced: bool,
    /// The program and its arguments. Without it: `$SHELL`
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

#[derive(Debug, clap::Args)]
struct FileArgs {
    /// The file to write. Without it: standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write nothing and exit 3 if the layer lets through anything that the policy denies
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    options: TargetOptions,
}

pub fn run(global: &Global, args: &Args) -> Done {
    match &args.layer {
        Layer::Landlock(a) if a.dry_run => {
            let loaded = input::load(global, input::Purpose::Host)?;
            let (policy, _) = input::with_own_rules(loaded, input::Purpose::Host);
            let meaning = Meaning::new(&policy);
            let report =
                landlock::dry_run(&meaning, &RealHost, landlock::kernel_abi(), a.holes.into())?;
            output::stdout(report.as_bytes())?;
            Ok(Outcome::Fine)
        }
        Layer::Landlock(a) => start(global, a),
        Layer::Sandbox(a) => emit::run(
            global,
            &emit::Args::for_target("sbpl", a.output.clone(), a.strict, a.options.clone()),
        ),
        Layer::Tetragon(a) => emit::run(
            global,
            &emit::Args::for_target("tetragon", a.output.clone(), a.strict, a.options.clone()),
        ),
    }
}

#[cfg(not(target_os = "linux"))]
fn start(_: &Global, _: &LandlockArgs) -> Done {
    Err(super::Stop::Usage(
        "Landlock is a part of Linux; here `--dry-run` and `polc emit landlock` work".to_owned(),
    ))
}

#[cfg(target_os = "linux")]
fn start(global: &Global, args: &LandlockArgs) -> Done {
    use super::require;
    use polc::diagnostics::Diagnostics;
    use polc::enforce::landlock::{NEWEST_ABI, apply};
    use std::os::unix::process::CommandExt;

    let loaded = match input::load_to_start(global, &args.command, false, false)? {
        Ok(loaded) => loaded,
        Err(outcome) => return Ok(outcome),
    };
    if !args.quiet {
        for line in &loaded.said {
            output::stderr(&format!("warning: {line}\n"))?;
        }
    }
    let policy = &loaded.policy;
    let (program, arguments) = match super::start::program(policy, &args.command)? {
        Ok(found) => found,
        Err(outcome) => return Ok(outcome),
    };
    let Some(abi) = landlock::kernel_abi() else {
        if !args.allow_unenforced {
            return Err(anyhow::anyhow!(
                "this kernel has no Landlock, or it is switched off; `--allow-unenforced` starts the program without confinement"
            )
            .into());
        }
        output::stderr("warning: this kernel has no Landlock: nothing is enforced\n")?;
        return Err(super::start::replace(&program, &arguments));
    };
    let meaning = Meaning::new(policy);
    let lowered = polc::backend::landlock::rules(
        &meaning,
        abi.min(NEWEST_ABI),
        Some(&RealHost),
        args.holes.into(),
    )
    .map_err(Diagnostics::from)?;
    // The ledger takes longer than all the rest: it is made where somebody reads it.
    let ledger = if args.quiet && args.require.is_none() {
        None
    } else {
        Some(lowered.ledger(&meaning).map_err(Diagnostics::from)?)
    };
    let short = ledger
        .as_ref()
        .is_some_and(|l| !require::is_met(args.require, l.is_exact(), !l.leaks()));
    if let Some(ledger) = ledger.filter(|_| !args.quiet || short) {
        output::stderr(&landlock::unenforced(abi, &ledger))?;
    }
    if short {
        output::stderr(
            "error: Landlock alone keeps less than `--require` asks for; the program was not started\n",
        )?;
        return Ok(Outcome::BelowRequirement);
    }
    if args.explain {
        polc::enforce::run::explained(&meaning).map_err(anyhow::Error::new)?;
    }
    let mut prepared = apply::prepare(&lowered.ruleset).map_err(anyhow::Error::new)?;
    if !args.no_log && abi >= 7 {
        prepared = prepared.logged().map_err(anyhow::Error::new)?;
    }
    for path in &prepared.gone {
        output::stderr(&format!(
            "note: `{}` disappeared: the program gets no rights on it\n",
            polc::fidelity::show_bytes(path)
        ))?;
    }
    prepared.apply().map_err(anyhow::Error::new)?;
    // The only remaining step is to become the program.
    let mut command = std::process::Command::new(&program.file);
    let error = command
        .arg0(super::start::name(&args.command, &program))
        .args(&arguments)
        .env(polc::enforce::environment::MARK, "1")
        .exec();
    Err(super::start::failed(&program, &error))
}
