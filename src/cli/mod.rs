//! The command line: one file a command, each thin over the library.
//!
//! Artefacts and answers go to standard output, words to standard error. Exit status: 0 fine, 1 failure
//! (or `diff` found one), 2 the policy or the command line is wrong, 3 fidelity below what was demanded, 4 the decision is deny or
//! ask (`explain`) or a policy's own test fails (`test`).

mod artefacts;
mod check;
mod completions;
mod coverage;
mod diff;
mod docs;
mod emit;
mod enforce;
mod explain;
mod init;
mod input;
mod ledger;
mod output;
mod require;
mod run;
mod run_alone;
mod schema;
#[cfg(unix)]
mod start;
mod targets;
mod test;
mod verify;
mod why;

use clap::{Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::process::ExitCode;

/// How a command ended, short of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// 0.
    Fine,
    /// 1: the command did its work and the answer is no (`emit --check` found a difference).
    Failure,
    /// 2: the policy is wrong; it has been said.
    Wrong,
    /// 3.
    BelowDemand,
    /// 4.
    Refused,
    /// The status of a program that was to be started: 126 it may not, 127 it is not there.
    Program(u8),
}

impl From<Outcome> for ExitCode {
    fn from(o: Outcome) -> Self {
        Self::from(match o {
            Outcome::Fine => 0u8,
            Outcome::Failure => 1,
            Outcome::Wrong => 2,
            Outcome::BelowDemand => 3,
            Outcome::Refused => 4,
            Outcome::Program(status) => status,
        })
    }
}

/// Compile one policy for what an AI agent may do into what operating systems enforce.
#[derive(Debug, Parser)]
#[command(
    name = "polc",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, clap::Args)]
pub struct Global {
    /// The policy: a file, `-` for standard input, or `builtin:NAME`. Without it the nearest `polc.yaml` upwards
    #[arg(short, long, global = true, value_name = "FILE|builtin:NAME")]
    policy: Option<OsString>,
    /// Set a path of the subject, over what the policy says: `workspace`, `home` or `tmp`
    #[arg(long = "set", global = true, value_name = "NAME=PATH")]
    set: Vec<OsString>,
    /// How diagnostics are printed
    #[arg(long, global = true, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Colours in messages
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    color: Color,
}

/// How diagnostics are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people, on standard error.
    Human,
    /// One JSON array, an object for each, on standard error.
    Json,
    /// SARIF 2.1.0, on standard error.
    Sarif,
}

/// When messages have colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a policy that extends a built-in one
    Init(init::Args),
    /// Validate policies
    Check(check::Args),
    /// Compile the policy for one target, several, or all
    Emit(emit::Args),
    /// Enforce on this host, or write what another tool enforces
    Enforce(enforce::Args),
    /// Start a program in everything that this host can enforce of the policy
    Run(run::Args),
    /// Say which rule decides, or what a diagnostic's code means
    Explain(explain::Args),
    /// Show what each layer keeps of each rule, and what gets through
    Coverage(coverage::Args),
    /// Say whether artefacts still mean the policy
    Verify(verify::Args),
    /// Say what one policy or artefact allows that another does not
    Diff(diff::Args),
    /// Say why a kernel refused something, from its log
    Why(why::Args),
    /// Run the policy's own tests
    Test(test::Args),
    /// List the targets and their options
    Targets(targets::Args),
    /// Print the JSON Schema of the language
    Schema(schema::Args),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
    /// Print the manual page
    Man(completions::ManArgs),
    /// Print the generated reference
    #[command(hide = true)]
    Docs(docs::Args),
}

/// Reads the command line and runs the command.
///
/// # Errors
/// What kept the command from its work; the caller prints it and exits 1.
pub fn run() -> anyhow::Result<Outcome> {
    let Cli { global, command } = match run_alone::parse().map_or_else(Cli::try_parse, Ok) {
        Ok(cli) => cli,
        Err(e) => {
            // Help and version are answers; the rest is a wrong command line.
            let fine = !e.use_stderr();
            e.print()?;
            return Ok(if fine { Outcome::Fine } else { Outcome::Wrong });
        }
    };
    let done = match command {
        Command::Init(a) => init::run(&a),
        Command::Check(a) => check::run(&global, &a),
        Command::Emit(a) => emit::run(&global, &a),
        Command::Enforce(a) => enforce::run(&global, &a),
        Command::Run(a) => run::run(&global, &a),
        Command::Explain(a) => explain::run(&global, &a),
        Command::Coverage(a) => coverage::run(&global, &a),
        Command::Verify(a) => verify::run(&global, &a),
        Command::Diff(a) => diff::run(&global, &a),
        Command::Why(a) => why::run(&global, &a),
        Command::Test(a) => test::run(&global, &a),
        Command::Targets(a) => targets::run(&a),
        Command::Schema(a) => schema::run(&a),
        Command::Completions(a) => completions::run(&a),
        Command::Man(a) => completions::man(&a),
        Command::Docs(a) => docs::run(&a),
    };
    match done {
        Ok(outcome) => Ok(outcome),
        Err(Stop::Diagnostics(d)) => {
            output::diagnostics(&global, &d)?;
            Ok(Outcome::Wrong)
        }
        Err(Stop::Usage(message)) => {
            eprintln!("error: {message}");
            Ok(Outcome::Wrong)
        }
        Err(Stop::NotStarted(message)) => {
            eprintln!("error: {message}");
            Ok(Outcome::Program(start::NOT_STARTED))
        }
        Err(Stop::Failure(e)) if output::is_broken_pipe(&e) => Ok(Outcome::Fine),
        Err(Stop::Failure(e)) => Err(e),
    }
}

/// Why a command did not end by itself.
#[derive(Debug)]
enum Stop {
    /// The policy is wrong.
    Diagnostics(polc::diagnostics::Diagnostics),
    /// The command line is wrong.
    Usage(String),
    /// A program that was to be started could not be.
    NotStarted(String),
    /// Something else failed.
    Failure(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Stop {
    fn from(e: E) -> Self {
        // The blanket conversion catches diagnostics too; they keep their own way out.
        match e.into().downcast::<polc::diagnostics::Diagnostics>() {
            Ok(d) => Self::Diagnostics(d),
            Err(e) => Self::Failure(e),
        }
    }
}

type Done = Result<Outcome, Stop>;
