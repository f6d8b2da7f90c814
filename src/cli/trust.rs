//! `polc trust`, and the place where trust is stored.

use super::consent::{Candidate, name_of, state_for};
use super::homes::Homes;
use super::{Done, Global, Outcome, Stop, input, output, places};
use polc::enforce::environment::MARK;
use polc::fidelity::show_bytes;
use polc::trust::{Error, Record, Standing, Store, state_directory};
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Trust the `polc.yaml` of a repository: then `run` and `enforce` use it, until it changes
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file. Without it: the nearest `polc.yaml`, here or in a directory above
    #[arg(value_name = "FILE")]
    file: Option<OsString>,
    /// List the policies that are trusted, and which of them have changed since
    #[arg(long, conflicts_with_all = ["file", "revoke"])]
    list: bool,
    /// No longer trust the file
    #[arg(long)]
    revoke: bool,
    /// Show all that it allows, or all that changed since it was trusted, and trust nothing
    #[arg(long, conflicts_with_all = ["list", "revoke"])]
    show: bool,
}

pub fn run(global: &Global, args: &Args) -> Done {
    if args.list {
        return list(global);
    }
    if args.show {
        return show(global, args);
    }
    inside()?;
    if args.revoke {
        return revoke(global, args);
    }
    let global = Global {
        policy: Some(file(global, args)?),
        ..global.clone()
    };
    let (loaded, warnings) = input::load_with_warnings(&global, input::Purpose::Host)?;
    let candidate = Candidate::new(&global, &loaded)?;
    let state = candidate.state()?;
    let store = Store::open(&state).map_err(usage)?;
    let standing = candidate.standing(store.as_ref())?;
    let shown = candidate.shown();
    if let Standing::Trusted(since) = standing {
        output::stderr(&format!(
            "{shown} is already trusted, since {}\n",
            date(since)
        ))?;
        return Ok(Outcome::Fine);
    }
    candidate.show(&standing, &warnings, false)?;
    places::check_written(&loaded, Homes::of_this_host())?;
    let store = Store::make(&state).map_err(usage)?;
    let record = candidate.record();
    store.keep(&record).map_err(failed)?;
    output::stderr(&format!(
        "{shown} is trusted now, with its present contents (sha256 {})\n",
        record.digest()
    ))?;
    Ok(Outcome::Fine)
}

/// Shows everything that a user should know before trusting it.
fn show(global: &Global, args: &Args) -> Done {
    let global = Global {
        policy: Some(file(global, args)?),
        ..global.clone()
    };
    let (loaded, warnings) = input::load_with_warnings(&global, input::Purpose::Host)?;
    let candidate = Candidate::new(&global, &loaded)?;
    let store = Store::open(&candidate.state()?).map_err(usage)?;
    let standing = candidate.standing(store.as_ref())?;
    let shown = candidate.shown();
    output::stderr(&match &standing {
        Standing::Trusted(since) => format!("{shown} is trusted since {}\n", date(*since)),
        Standing::Changed(old) => {
            format!(
                "{shown} has changed since you trusted it on {}\n",
                date(old.since)
            )
        }
        Standing::Unknown => format!("{shown} is not trusted yet\n"),
    })?;
    candidate.show(&standing, &warnings, true)?;
    Ok(Outcome::Fine)
}

/// The state directory, if there can be one.
pub fn state() -> Option<PathBuf> {
    state_directory(std::env::var_os("XDG_STATE_HOME"), input::home().as_deref())
}

/// Every directory in which polc may keep its state: with the variables and without them, as another shell may not set
/// them.
pub fn states() -> Vec<PathBuf> {
    let without = state_directory(None, input::home().as_deref());
    // Another shell may have a different HOME.
    let listed = Homes::of_this_host().listed.as_deref();
    let listed = state_directory(None, listed);
    let mut all: Vec<PathBuf> = state().into_iter().chain(without).chain(listed).collect();
    all.sort();
    all.dedup();
    all
}

fn list(global: &Global) -> Done {
    // To list records is not to trust them.
    let store = match state() {
        Some(state) => Store::open(&state).map_err(usage)?,
        None => None,
    };
    let mut out = String::new();
    let mut whole = true;
    for entry in store
        .map_or_else(|| Ok(Vec::new()), |s| s.list())
        .map_err(failed)?
    {
        match entry {
            Ok(record) => {
                let now = state_of(global, &record);
                let _ = writeln!(
                    out,
                    "{}\n  trusted {}{now}, sha256 {}",
                    text(&record.name),
                    date(record.since),
                    record.digest()
                );
            }
            Err(e) => {
                whole = false;
                output::stderr(&format!("error: {e}\n"))?;
            }
        }
    }
    output::stdout(out.as_bytes())?;
    if out.is_empty() && whole {
        output::stderr("no policy is trusted yet\n")?;
    }
    Ok(if whole {
        Outcome::Fine
    } else {
        Outcome::Failure
    })
}

/// What has happened to a policy since the user trusted it.
fn state_of(global: &Global, record: &Record) -> &'static str {
    if std::fs::symlink_metadata(&record.name).is_err() {
        return ", gone since";
    }
    let global = Global {
        policy: Some(record.name.clone().into_os_string()),
        ..global.clone()
    };
    match input::load_with_warnings(&global, input::Purpose::Host) {
        Ok((loaded, _)) if record.is_of(&loaded.files) => "",
        _ => ", changed since",
    }
}

fn revoke(global: &Global, args: &Args) -> Done {
    let name = match args.file.as_ref().or(global.policy.as_ref()) {
        Some(_) => file(global, args)?,
        // Also a file that was removed.
        None => input::nearest()?.unwrap_or_else(|| OsString::from("polc.yaml")),
    };
    let name = std::path::absolute(&name).map_err(|e| Stop::Failure(e.into()))?;
    let name = name_of(&name);
    let store = Store::open(&state_for(name.parent(), None)?).map_err(usage)?;
    let gone = match store {
        Some(store) => store.revoke(&name).map_err(failed)?,
        None => false,
    };
    if gone {
        output::stderr(&format!("`{}` is no longer trusted\n", text(&name)))?;
        return Ok(Outcome::Fine);
    }
    Err(Stop::Usage(format!(
        "`{}` was not trusted; `polc trust --list` shows what is",
        text(&name)
    )))
}

/// The file that the command line names, or the nearest one.
fn file(global: &Global, args: &Args) -> Result<OsString, Stop> {
    let Some(name) = args.file.as_ref().or(global.policy.as_ref()) else {
        return input::nearest()?.ok_or_else(|| {
            Stop::Usage("there is no `polc.yaml` here or above to trust".to_owned())
        });
    };
    if Path::new(name).file_name() != Some(OsStr::new("polc.yaml")) {
        return Err(Stop::Usage(format!(
            "`{}` is not called `polc.yaml`, and polc looks for no other name: `-p FILE` uses it without trust",
            show_bytes(name.as_encoded_bytes())
        )));
    }
    Ok(name.clone())
}

pub fn needed_state() -> Result<PathBuf, Stop> {
    state().ok_or_else(|| {
        Stop::Usage(
            "polc has no place to keep what is trusted: neither XDG_STATE_HOME nor HOME is an absolute path".to_owned(),
        )
    })
}

/// Whether polc itself has confined this program. The program may hide that, but the kernel still refuses to write.
pub fn is_inside() -> bool {
    std::env::var_os(MARK).is_some()
}

fn inside() -> Result<(), Stop> {
    if is_inside() {
        return Err(Stop::Usage(format!(
            "this is inside a sandbox of polc ({MARK} is set), and trust cannot be changed there: use a shell outside"
        )));
    }
    Ok(())
}

/// The date of a time in seconds since 1970, in UTC, as `2026-12-01`.
pub fn date(seconds: u64) -> String {
    let days = seconds / 86_400;
    // Counted from 1 March of year 0, in eras of 400 years, so that the leap day is the last day of its year.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let in_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * in_year + 2) / 153;
    let day = in_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

pub fn text(path: &Path) -> String {
    show_bytes(path.as_os_str().as_encoded_bytes())
}

/// The store cannot be trusted, so the program does not start.
pub fn usage(e: Error) -> Stop {
    Stop::Usage(e.to_string())
}

pub fn failed(e: Error) -> Stop {
    Stop::Failure(e.into())
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, day) in [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_764_547_200, "2025-12-01"),
            (4_107_542_400, "2100-03-01"),
            (4_107_542_399, "2100-02-28"),
        ] {
            assert_eq!(date(seconds), day);
        }
    }
}
