//! The command lines that start a program, as they are usually written, read without the definition of all others.
//!
//! Whoever starts every tool of an agent in a sandbox pays for the start each time, and to make and to walk the
//! definition of polc's commands takes longer than to compile a small policy. So what is read here is `polc run` and
//! `polc enforce landlock` with the plainest options, each once and with its value in a word of its own, up to `--` and
//! the program. It has the meaning that it has in the whole, which a test holds; for everything else (another option, a
//! mistake, `--help`) the whole is made, and says what there is to say.

use super::{Cli, Color, Command, Format, Global, enforce, run};
use std::ffi::{OsStr, OsString};

/// The command line, if it is such a one.
pub fn parse() -> Option<Cli> {
    read(std::env::args_os().collect())
}

fn read(mut words: Vec<OsString>) -> Option<Cli> {
    let end = words.iter().position(|w| w == "--")?;
    let program = words.split_off(end + 1);
    if program.is_empty() {
        return None;
    }
    let mut words = words.iter().take(end).skip(1).map(OsString::as_os_str);
    let mut given = Given::default();
    let command = match words.next()?.to_str()? {
        "run" => {
            given.read(words, true)?;
            Command::Run(run::Args {
                quiet: given.quiet,
                no_network: given.no_network,
                no_namespaces: given.no_namespaces,
                command: program,
                ..run::Args::default()
            })
        }
        "enforce" if words.next()? == "landlock" => {
            given.read(words, false)?;
            let args = enforce::LandlockArgs {
                quiet: given.quiet,
                command: program,
                ..enforce::LandlockArgs::default()
            };
            Command::Enforce(args.into())
        }
        _ => return None,
    };
    let global = Global {
        policy: given.policy,
        set: given.set,
        format: Format::Human,
        color: Color::Auto,
    };
    Some(Cli { global, command })
}

#[derive(Default)]
struct Given {
    policy: Option<String>,
    set: Vec<String>,
    quiet: bool,
    no_network: bool,
    no_namespaces: bool,
}

impl Given {
    /// The options; `None`: there is another one, or one that is not plain.
    fn read<'w>(&mut self, mut words: impl Iterator<Item = &'w OsStr>, run: bool) -> Option<()> {
        while let Some(word) = words.next() {
            let flag = match word.to_str()? {
                "-p" | "--policy" if self.policy.is_none() => {
                    self.policy = Some(value(words.next()?)?);
                    continue;
                }
                "--set" => {
                    self.set.push(value(words.next()?)?);
                    continue;
                }
                "-q" | "--quiet" => &mut self.quiet,
                "--no-network" if run => &mut self.no_network,
                "--no-namespaces" if run => &mut self.no_namespaces,
                _ => return None,
            };
            if std::mem::replace(flag, true) {
                return None;
            }
        }
        Some(())
    }
}

/// A value that nobody could take for an option.
fn value(word: &OsStr) -> Option<String> {
    let word = word
        .to_str()
        .filter(|w| !w.is_empty() && !w.starts_with('-'))?;
    Some(word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn both(words: Vec<OsString>) -> (Option<String>, Option<String>) {
        let show = |cli: Cli| format!("{cli:?}");
        let whole = Cli::try_parse_from(words.clone()).ok().map(show);
        (read(words).map(show), whole)
    }

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn what_starts_a_program_is_read_as_the_whole_reads_it() {
        for line in [
            "polc run -- true",
            "polc run -p builtin:coding-agent --set workspace=/w --set home=/h -q -- sh -c run",
            "polc run --policy p.yaml --no-network --no-namespaces --quiet -- -q -- --help",
            "polc run -p run -- run",
            "polc enforce landlock -- a",
            "polc enforce landlock -p p.yaml -q --set tmp=/t -- true -q -p x",
        ] {
            let (own, whole) = both(words(line));
            assert!(own.is_some(), "{line}");
            assert_eq!(own, whole, "{line}");
        }
    }

    #[test]
    fn whatever_is_read_the_whole_reads_too() {
        // All lines of up to four of these words between the command and the program.
        let some = [
            "-p",
            "--policy",
            "--set",
            "-q",
            "--quiet",
            "--no-network",
            "--no-namespaces",
            "--no-log",
            "-x",
            "-",
            "",
            "a=b",
            "landlock",
            "run",
            "-qq",
            "-pq",
            "--set=a",
        ];
        let mut read = 0;
        for command in [
            &["run"][..],
            &["enforce", "landlock"],
            &["enforce"],
            &["-q", "run"],
        ] {
            for number in 0..some.len().pow(4) {
                let mut rest = number;
                let mut line = vec!["polc"];
                line.extend(command);
                while rest > 0 {
                    line.push(some[rest % some.len()]);
                    rest /= some.len();
                }
                line.extend(["--", "cmd", "-q"]);
                let line: Vec<OsString> = line.into_iter().map(OsString::from).collect();
                // The whole takes its time, and need not be asked where nothing was read.
                if super::read(line.clone()).is_some() {
                    read += 1;
                    let (own, whole) = both(line.clone());
                    assert_eq!(own, whole, "{line:?}");
                }
            }
        }
        assert!(read > 100, "{read}");
    }

    #[test]
    fn what_is_anything_else_is_left_to_the_whole() {
        for line in [
            "polc",
            "polc run",
            "polc run --",
            "polc run true",
            "polc run --help -- true",
            "polc -p p.yaml run -- true",
            "polc run -p a -p b -- true",
            "polc run --require safe -- true",
            "polc run --explain -- true",
            "polc run --fail-if-made -- true",
            "polc enforce landlock --dry-run",
            "polc enforce landlock --no-network -- true",
            "polc enforce sandbox -q -- true",
            "polc emit landlock -p run -- x",
            "polc -- run",
        ] {
            assert_eq!(both(words(line)).0, None, "{line}");
        }
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStringExt;
            let not_text = OsString::from_vec(b"/w\xff".to_vec());
            let mut line = words("polc run -p p.yaml -- cat");
            line.push(not_text.clone());
            let (own, whole) = both(line);
            assert!(own.is_some() && own == whole);
            let mut line = words("polc run -p p.yaml -- cat");
            line[3] = not_text;
            assert_eq!(both(line).0, None);
        }
    }
}
