//! A smaller command line, for the two commands that start a program.
//!
//! An agent that starts every tool in a sandbox pays for each start. The definition of all of polc's commands takes as
//! long as compiling a small policy. So polc first tries a definition of these two commands alone, with the same
//! options and the same meaning. For everything else (another command, a mistake, `--help`), polc makes the whole
//! definition, which answers.

use super::options::{Before, With};
use super::{Cli, Command, enforce, run};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::ffi::OsString;

#[derive(Debug, Parser)]
#[command(
    name = "polc",
    disable_help_flag = true,
    disable_help_subcommand = true
)]
struct Alone {
    #[command(flatten)]
    before: Before,
    #[command(subcommand)]
    command: Start,
}

#[derive(Debug, Subcommand)]
enum Start {
    Enforce(With<Layers>),
    Run(With<run::Args>),
}

#[derive(Debug, clap::Args)]
struct Layers {
    #[command(subcommand)]
    layer: Layer,
}

#[derive(Debug, Subcommand)]
enum Layer {
    Landlock(enforce::LandlockArgs),
}

/// The command line, if it is one that starts a program.
pub fn parse() -> Option<Cli> {
    parse_from(std::env::args_os().collect())
}

fn parse_from(words: Vec<OsString>) -> Option<Cli> {
    let mut own = words.iter().skip(1).take_while(|w| *w != "--");
    if !own.any(|w| w == "run" || w == "enforce") {
        return None;
    }
    let mut definition = Alone::command();
    let matches = definition.try_get_matches_from_mut(words);
    // The process soon becomes another program, so freeing memory would be wasted work.
    std::mem::forget(definition);
    let Alone { before, command } = Alone::from_arg_matches_mut(&mut matches.ok()?).ok()?;
    let command = match command {
        Start::Enforce(With {
            args: Layers {
                layer: Layer::Landlock(args),
            },
            policy,
        }) => Command::Enforce(With {
            args: args.into(),
            policy,
        }),
        Start::Run(args) => Command::Run(args),
    };
    Some(Cli { before, command })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(line: &str) -> (Option<String>, Option<String>) {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let show = |cli: Cli| format!("{cli:?}");
        (
            parse_from(words.clone()).map(show),
            Cli::try_parse_from(words).ok().map(show),
        )
    }

    #[test]
    fn what_starts_a_program_is_read_as_the_whole_reads_it() {
        for line in [
            "polc run",
            "polc run -- true",
            "polc run -p builtin:coding-agent --set workspace=/w --set home=/h -q -- sh -c run",
            "polc -p p.yaml run --no-namespaces --no-network --require safe -- run --help",
            "polc --color never run --explain",
            "polc run --policy=p.yaml --no-log -- -- x",
            "polc run --allow-gaps --fail-if-made -- x",
            "polc enforce landlock --dry-run",
            "polc enforce -p p.yaml landlock --require exact --quiet -- true -q",
            "polc enforce landlock --explain --allow-unenforced --set tmp=/t -- a",
            "polc -p run run",
            "polc -prun enforce landlock --no-log",
        ] {
            let (alone, whole) = both(line);
            assert!(alone.is_some(), "{line}");
            assert_eq!(alone, whole, "{line}");
        }
    }

    #[test]
    fn what_is_anything_else_is_left_to_the_whole() {
        for line in [
            "polc",
            "polc --help",
            "polc run --help",
            "polc run -h",
            "polc help run",
            "polc --version",
            "polc run --version",
            "polc emit landlock -p run",
            "polc check run enforce",
            "polc enforce",
            "polc enforce landlock --help",
            "polc enforce sandbox -o run",
            "polc enforce sbpl",
            "polc enforce tetragon --strict",
            "polc run true",
            "polc run --require much -- true",
            "polc run --explain --no-log",
            "polc enforce landlock --dry-run -- true",
            "polc explain read run",
            "polc -- run",
        ] {
            assert_eq!(both(line).0, None, "{line}");
        }
    }
}
