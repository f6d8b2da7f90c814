//! `polc enforce`.

use super::{Done, Global, Outcome, emit, input, output, targets::TargetOptions};
use polc::backend::landlock::RealHost;
use polc::enforce::landlock;
use polc::semantics::Meaning;
use std::path::PathBuf;

/// Enforce on this host, or write what another tool enforces.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    layer: Layer,
}

#[derive(Debug, clap::Subcommand)]
enum Layer {
    /// The Landlock ruleset for this host's kernel
    Landlock(LandlockArgs),
    /// Write a macOS Seatbelt profile: the same as `emit sbpl`
    #[command(alias = "sbpl")]
    Sandbox(FileArgs),
    /// Write Tetragon TracingPolicies: the same as `emit tetragon`
    Tetragon(FileArgs),
}

#[derive(Debug, clap::Args)]
struct LandlockArgs {
    /// Show each path with its rights, what is missing on this host and what its kernel lacks; apply nothing
    #[arg(long, required = true)]
    dry_run: bool,
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
        Layer::Landlock(_) => {
            let loaded = input::load(global, input::Purpose::Host)?;
            let meaning = Meaning::new(&loaded.policy);
            let report = landlock::dry_run(&meaning, &RealHost, landlock::kernel_abi())?;
            output::stdout(report.as_bytes())?;
            Ok(Outcome::Fine)
        }
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
