//! The command line: one file for each command, each thin over the library.
//!
//! Artifacts and answers go to standard output, messages to standard error. Exit status:
//!
//! - 0: fine
//! - 1: failure, or `diff` found a difference
//! - 2: the policy or the command line is wrong
//! - 3: the layers keep less than `--require` or `--strict` asks for
//! - 4: the decision is deny or ask (`explain`), or a policy's own test fails (`test`)

mod allows;
mod answer;
mod artifacts;
mod check;
mod completions;
mod consent;
mod coverage;
mod diff;
mod docs;
mod emit;
mod enforce;
mod examples;
mod explain;
mod homes;
mod host_layers;
mod init;
mod input;
mod ledger;
mod options;
mod output;
mod places;
mod require;
mod run;
mod run_alone;
mod schema;
#[cfg(unix)]
mod start;
mod targets;
mod test;
#[cfg(target_os = "linux")]
mod told;
mod trust;
mod verify;
mod why;

use clap::{Parser, Subcommand};
use options::{Before, Color, Format, Formed, Forms, Global, Shared, With};
use std::process::ExitCode;

/// How a command ended, if there was no error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// 0.
    Fine,
    /// 1: the command did its work, and the answer is no (`emit --check` found a difference).
    Failure,
    /// 2: the policy is wrong, and the error was printed.
    Wrong,
    /// 3.
    BelowRequirement,
    /// 4.
    Refused,
    /// The status if a program was not started: 126: it may not start. 127: it does not exist.
    Program(u8),
}

impl From<Outcome> for ExitCode {
    fn from(o: Outcome) -> Self {
        Self::from(match o {
            Outcome::Fine => 0u8,
            Outcome::Failure => 1,
            Outcome::Wrong => 2,
            Outcome::BelowRequirement => 3,
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
    arg_required_else_help = true,
    after_help = examples::START
)]
pub struct Cli {
    #[command(flatten)]
    before: Before,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a policy that extends a built-in one
    #[command(after_help = examples::INIT)]
    Init(init::Args),
    /// Check policies for errors and likely mistakes
    #[command(after_help = examples::CHECK)]
    Check(Formed<check::Args>),
    /// Compile the policy for a target, such as AppArmor or seccomp
    #[command(after_help = examples::EMIT)]
    Emit(With<emit::Args>),
    /// Start a program in Landlock alone, or write what another tool enforces
    #[command(after_help = examples::ENFORCE)]
    Enforce(With<enforce::Args>),
    /// Start a program, confined by everything that this host can enforce of the policy
    #[command(after_help = examples::RUN)]
    Run(With<run::Args>),
    /// Trust the policy of a repository, so that `run` and `enforce` use it
    #[command(after_help = examples::TRUST)]
    Trust(With<trust::Args>),
    /// Say which rule decides about an operation, or what a code means
    #[command(after_help = examples::EXPLAIN)]
    Explain(Formed<explain::Args>),
    /// Show what each layer (Landlock, AppArmor, …) keeps of each rule
    #[command(after_help = examples::COVERAGE)]
    Coverage(Formed<coverage::Args>),
    /// Check that artifacts of `polc emit` still mean the policy
    #[command(after_help = examples::VERIFY)]
    Verify(Formed<verify::Args>),
    /// Say what changes between two policies or artifacts
    #[command(after_help = examples::DIFF)]
    Diff(Formed<diff::Args>),
    /// Explain refusals in a kernel's log by the rules of the policy
    #[command(after_help = examples::WHY)]
    Why(Formed<why::Args>),
    /// Run the policy's own tests
    #[command(after_help = examples::TEST)]
    Test(Formed<test::Args>),
    /// List the targets and their options
    #[command(after_help = examples::TARGETS)]
    Targets(targets::Args),
    /// Print the JSON Schema of the language
    #[command(after_help = examples::SCHEMA)]
    Schema(schema::Args),
    /// Print a completion script for a shell
    #[command(after_help = examples::COMPLETIONS)]
    Completions(completions::CompletionsArgs),
    /// Print the manual page
    #[command(after_help = examples::MAN)]
    Man(completions::ManArgs),
    /// Print the generated reference
    #[command(hide = true)]
    Docs(docs::Args),
}

impl Command {
    /// The command's values for the options that several commands have.
    fn shared(&self) -> Shared<'_> {
        match self {
            Self::Check(a) => a.shared(),
            Self::Emit(a) => a.shared(),
            Self::Enforce(a) => a.shared(),
            Self::Run(a) => a.shared(),
            Self::Trust(a) => a.shared(),
            Self::Explain(a) => a.shared(),
            Self::Coverage(a) => a.shared(),
            Self::Verify(a) => a.shared(),
            Self::Diff(a) => a.shared(),
            Self::Why(a) => a.shared(),
            Self::Test(a) => a.shared(),
            Self::Init(_)
            | Self::Targets(_)
            | Self::Schema(_)
            | Self::Completions(_)
            | Self::Man(_)
            | Self::Docs(_) => Shared::default(),
        }
    }
}

/// Reads the command line and runs the command.
///
/// # Errors
/// An error that stopped the command. The caller prints it and exits with 1.
pub fn run() -> anyhow::Result<Outcome> {
    let Cli { before, command } = match run_alone::parse().map_or_else(Cli::try_parse, Ok) {
        Ok(cli) => cli,
        Err(e) => {
            // Help and version are answers. Everything else is a wrong command line.
            let fine = !e.use_stderr();
            if let Some(line) = options::without_dashes(&e) {
                eprintln!("error: {line}");
                return Ok(Outcome::Wrong);
            }
            e.print()?;
            return Ok(if fine { Outcome::Fine } else { Outcome::Wrong });
        }
    };
    let global = match before.with(command.shared()) {
        Ok(global) => global,
        Err(message) => {
            eprintln!("error: {message}");
            return Ok(Outcome::Wrong);
        }
    };
    let done = match command {
        Command::Init(a) => init::run(&a),
        Command::Check(a) => check::run(&global, &a.args),
        Command::Emit(a) => emit::run(&global, &a.args),
        Command::Enforce(a) => enforce::run(&global, &a.args),
        Command::Run(a) => run::run(&global, &a.args),
        Command::Trust(a) => trust::run(&global, &a.args),
        Command::Explain(a) => explain::run(&global, &a.args),
        Command::Coverage(a) => coverage::run(&global, &a.args),
        Command::Verify(a) => verify::run(&global, &a.args),
        Command::Diff(a) => diff::run(&global, &a.args),
        Command::Why(a) => why::run(&global, &a.args),
        Command::Test(a) => test::run(&global, &a.args),
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

/// Why a command stopped.
#[derive(Debug)]
enum Stop {
    /// The policy is wrong.
    Diagnostics(polc::diagnostics::Diagnostics),
    /// The command line is wrong.
    Usage(String),
    /// A program could not be started.
    NotStarted(String),
    /// Something else failed.
    Failure(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Stop {
    fn from(e: E) -> Self {
        // This conversion also gets diagnostics, which are handled separately.
        match e.into().downcast::<polc::diagnostics::Diagnostics>() {
            Ok(d) => Self::Diagnostics(d),
            Err(e) => Self::Failure(e),
        }
    }
}

type Done = Result<Outcome, Stop>;
