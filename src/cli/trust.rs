//! `polc trust`, and asking whether a policy that was found is trusted.

use super::{Done, Global, Outcome, Stop, allows, check, diff, input, output};
use polc::diagnostics::Diagnostics;
use polc::diff::{Side, diff as compare};
use polc::enforce::environment::MARK;
use polc::fidelity::show_bytes;
use polc::policy::{Platform, Policy};
use polc::semantics::Meaning;
use polc::trust::{Error, Record, Standing, Store, state_directory};
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Trust the `polc.yaml` of a repository: `run` and `enforce` use it from then on, until it changes
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file. Without it: the nearest `polc.yaml` upwards
    #[arg(value_name = "FILE")]
    file: Option<OsString>,
    /// List the policies that are trusted, and which of them have changed since
    #[arg(long, conflicts_with_all = ["file", "revoke"])]
    list: bool,
    /// Trust it no more
    #[arg(long)]
    revoke: bool,
}

pub fn run(global: &Global, args: &Args) -> Done {
    if args.list {
        return list(global);
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
    let store = Store::make(&needed_state()?).map_err(usage)?;
    let standing = candidate.standing(Some(&store))?;
    let shown = candidate.shown();
    if let Standing::Trusted(since) = standing {
        output::stderr(&format!(
            "{shown} is trusted already, since {}\n",
            date(since)
        ))?;
        return Ok(Outcome::Fine);
    }
    candidate.show(&standing, &warnings)?;
    let record = candidate.record();
    store.keep(&record).map_err(failed)?;
    output::stderr(&format!(
        "{shown} is trusted now, with the contents that were read (sha256 {})\n",
        record.digest()
    ))?;
    Ok(Outcome::Fine)
}

/// The state directory, if there can be one.
pub fn state() -> Option<PathBuf> {
    state_directory(std::env::var_os("XDG_STATE_HOME"), input::home().as_deref())
}

/// Every place where polc may keep its state: with the variable and without it, as it need not be set in all shells.
pub fn states() -> Vec<PathBuf> {
    let without = state_directory(None, input::home().as_deref());
    let mut all: Vec<PathBuf> = state().into_iter().chain(without).collect();
    all.dedup();
    all
}

/// Sees to it that the user trusts a policy that was found, or asks. What comes back tells since when, for the first line
/// of a start.
///
/// # Errors
/// The user does not trust it, or cannot be asked.
pub fn consent(
    global: &Global,
    loaded: &input::Loaded,
    warnings: &Diagnostics,
) -> Result<String, Stop> {
    let candidate = Candidate::new(global, loaded)?;
    let store = Store::open(&needed_state()?).map_err(usage)?;
    let standing = candidate.standing(store.as_ref())?;
    if let Standing::Trusted(since) = standing {
        if !warnings.items.is_empty() {
            output::diagnostics(global, warnings)?;
        }
        return Ok(format!(", trusted {}", date(since)));
    }
    let shown = candidate.shown();
    let what = match &standing {
        Standing::Changed(old) => format!(
            "{shown} has changed since you trusted it on {}",
            date(old.since)
        ),
        _ => format!("{shown} is not trusted yet"),
    };
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if !terminal || is_inside() {
        return Err(Stop::Usage(format!(
            "{what}, and may come from whoever wrote this repository; look at it (`polc check`), then type `polc trust`, or \
             use it this once with `-p FILE`"
        )));
    }
    output::stderr(&format!("{what}\n"))?;
    candidate.show(&standing, warnings)?;
    // What was typed up to here is no answer to a question that nobody has seen.
    polc::enforce::terminal::forget_typed();
    output::stderr("trust it and start the program? [y/N] ")?;
    if !answer() {
        return Err(Stop::Usage(
            "the policy is not trusted; the program was not started".to_owned(),
        ));
    }
    let store = Store::make(&needed_state()?).map_err(usage)?;
    store.keep(&candidate.record()).map_err(failed)?;
    Ok(", trusted now".to_owned())
}

/// A policy that may be trusted.
struct Candidate<'a> {
    global: &'a Global,
    loaded: &'a input::Loaded,
    /// What it is known by.
    name: PathBuf,
}

impl<'a> Candidate<'a> {
    fn new(global: &'a Global, loaded: &'a input::Loaded) -> Result<Self, Stop> {
        let own = loaded.files.first().map(|f| f.named.as_path());
        let own = own.ok_or_else(|| {
            Stop::Usage(format!(
                "`{}` is no file: only a `polc.yaml` is trusted",
                loaded.name
            ))
        })?;
        Ok(Self {
            global,
            loaded,
            name: name_of(own),
        })
    }

    /// Its name, and where that leads if it is a link.
    fn shown(&self) -> String {
        let resolved = self.loaded.files.first().map(|f| f.path.as_path());
        match resolved {
            Some(path) if path != self.name => {
                format!("`{}`, which leads to `{}`,", text(&self.name), text(path))
            }
            _ => format!("`{}`", text(&self.name)),
        }
    }

    fn standing(&self, store: Option<&Store>) -> Result<Standing, Stop> {
        match store {
            Some(store) => store
                .standing(&self.name, &self.loaded.files)
                .map_err(usage),
            None => Ok(Standing::Unknown),
        }
    }

    fn record(&self) -> Record {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Record {
            name: self.name.clone(),
            since: since.map_or(0, |d| d.as_secs()),
            files: self.loaded.files.clone(),
        }
    }

    /// Shows what somebody who trusts it should know: lints, and what changed or what it allows.
    fn show(&self, standing: &Standing, warnings: &Diagnostics) -> Result<(), Stop> {
        let policy = &self.loaded.policy;
        let meaning = Meaning::new(policy);
        if !warnings.items.is_empty() {
            output::diagnostics(self.global, warnings)?;
        }
        let lints = check::lints_of(&meaning, self.loaded, true);
        if !lints.items.is_empty() {
            output::diagnostics(self.global, &lints)?;
        }
        let text = match standing {
            Standing::Changed(old) => self
                .changes(old, &meaning)
                .unwrap_or_else(|| allows::summary(&policy.seen_by(Platform::HOST))),
            _ => allows::summary(&policy.seen_by(Platform::HOST)),
        };
        output::stderr(&text)
    }

    /// What changed since it was trusted. `None`: that cannot be told, as this polc does not take the old files any more.
    fn changes(&self, old: &Record, meaning: &Meaning<'_>) -> Option<String> {
        let before: Policy = input::load_kept(self.global, &old.files).ok()?;
        let before = Meaning::new(&before);
        let changes = compare(&Side::Policy(&before), &Side::Policy(meaning)).ok()?;
        let mut out = String::new();
        for file in &self.loaded.files {
            let kept = old.files.iter().find(|f| f.named == file.named);
            let what = match kept {
                None => "is new",
                Some(k) if k.path != file.path => "leads to another file",
                Some(k) if k.bytes != file.bytes => "has other contents",
                Some(_) => continue,
            };
            let _ = writeln!(out, "{} {what}", text(&file.named));
        }
        for gone in &old.files {
            if !self.loaded.files.iter().any(|f| f.named == gone.named) {
                let _ = writeln!(out, "{} is not used any more", text(&gone.named));
            }
        }
        out.push_str(&diff::human(
            &changes,
            [Some(before.policy()), Some(meaning.policy())],
        ));
        Some(out)
    }
}

fn list(global: &Global) -> Done {
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

/// What became of a policy since it was trusted.
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
        // Also one that was taken away.
        None => input::nearest()?.unwrap_or_else(|| OsString::from("polc.yaml")),
    };
    let name = std::path::absolute(&name).map_err(|e| Stop::Failure(e.into()))?;
    let name = name_of(&name);
    let store = Store::open(&needed_state()?).map_err(usage)?;
    let gone = match store {
        Some(store) => store.revoke(&name).map_err(failed)?,
        None => false,
    };
    if gone {
        output::stderr(&format!("`{}` is trusted no more\n", text(&name)))?;
        return Ok(Outcome::Fine);
    }
    Err(Stop::Usage(format!(
        "`{}` was not trusted; `polc trust --list` names what is",
        text(&name)
    )))
}

/// The file that the command line names, or the nearest.
fn file(global: &Global, args: &Args) -> Result<OsString, Stop> {
    let Some(name) = args.file.as_ref().or(global.policy.as_ref()) else {
        return input::nearest()?.ok_or_else(|| {
            Stop::Usage("there is no `polc.yaml` here or above to trust".to_owned())
        });
    };
    if Path::new(name).file_name() != Some(OsStr::new("polc.yaml")) {
        return Err(Stop::Usage(format!(
            "`{}` is not called `polc.yaml`, and no other file is looked for: `-p FILE` uses it without trust",
            show_bytes(name.as_encoded_bytes())
        )));
    }
    Ok(name.clone())
}

/// What a file is known by: its own name in the directory that the one given leads to.
fn name_of(file: &Path) -> PathBuf {
    match (file.parent().map(std::fs::canonicalize), file.file_name()) {
        (Some(Ok(directory)), Some(name)) => directory.join(name),
        _ => file.to_owned(),
    }
}

fn needed_state() -> Result<PathBuf, Stop> {
    state().ok_or_else(|| {
        Stop::Usage(
            "there is no place to keep what is trusted: neither XDG_STATE_HOME nor HOME is an absolute path".to_owned(),
        )
    })
}

/// Whether this is a program that polc itself has confined. It may say otherwise; then the kernel refuses to write.
fn is_inside() -> bool {
    std::env::var_os(MARK).is_some()
}

fn inside() -> Result<(), Stop> {
    if is_inside() {
        return Err(Stop::Usage(format!(
            "this is inside a sandbox of polc ({MARK} is set), where nothing is trusted or revoked: type it in a shell outside"
        )));
    }
    Ok(())
}

/// One line of the terminal: whether it is a yes.
fn answer() -> bool {
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    read.is_ok() && matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// The day of a time in seconds since 1970, as `2026-12-01`, in UTC.
fn date(seconds: u64) -> String {
    let days = seconds / 86_400;
    // Counted from 1 March of the year 0, in eras of 400 years: the leap day is then the last of its year.
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

fn text(path: &Path) -> String {
    show_bytes(path.as_os_str().as_encoded_bytes())
}

/// The store is not one that can be believed: the program is not started.
fn usage(e: Error) -> Stop {
    Stop::Usage(e.to_string())
}

fn failed(e: Error) -> Stop {
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
