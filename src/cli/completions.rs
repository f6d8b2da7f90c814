//! `polc completions` and `polc man`.

use super::{Cli, Done, Outcome, output};
use clap::CommandFactory;
use std::path::PathBuf;

/// Print a completion script for a shell.
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell
    shell: clap_complete::Shell,
}

pub fn run(args: &CompletionsArgs) -> Done {
    let mut out = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "polc", &mut out);
    output::stdout(&out)?;
    Ok(Outcome::Fine)
}

/// Print the manual page.
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// A folder: write a page there for polc and one for every command
    #[arg(short, long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

pub fn man(args: &ManArgs) -> Done {
    let command = Cli::command();
    match &args.output {
        Some(folder) => {
            std::fs::create_dir_all(folder)?;
            clap_mangen::generate_to(command, folder)?;
        }
        None => {
            let mut out = Vec::new();
            clap_mangen::Man::new(command).render(&mut out)?;
            output::stdout(&out)?;
        }
    }
    Ok(Outcome::Fine)
}
