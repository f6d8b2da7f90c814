//! `polc run` on macOS: the program in its Seatbelt profile, by `sandbox-exec`.
//!
//! The profile is given as an argument (`-p`), so that no file has to outlive this process, which becomes `sandbox-exec` and
//! then the program: status, signals and the terminal are the program's own. Limits, and what the ledger of `sbpl` calls
//! looser, are not kept. This builds and is tested on every Unix; it has not been run on a Mac.

use super::environment::reduced;
use crate::backend::{Target, find};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::semantics::Meaning;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::Command;

/// Where macOS has it.
pub const PROGRAM: &str = "/usr/bin/sandbox-exec";

/// The command that starts `program` with `arguments` in the policy's profile, of the variables `own` only with those
/// that the policy passes on and sets.
///
/// # Errors
/// The policy does not compile for Seatbelt, or its profile holds a NUL byte.
pub fn command(
    meaning: &Meaning<'_>,
    program: &Path,
    arguments: &[OsString],
    own: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Command, Diagnostics> {
    let missing = || Diagnostics::from(Diagnostic::error("E112", "there is no profile to apply"));
    let backend = find("sbpl").ok_or_else(missing)?;
    let compiled = backend.compile(meaning, &Target::default())?;
    let profile = compiled
        .artifacts
        .into_iter()
        .next()
        .ok_or_else(missing)?
        .bytes;
    if profile.contains(&0) {
        return Err(missing());
    }
    let mut command = Command::new(PROGRAM);
    command.arg("-p").arg(OsString::from_vec(profile));
    // Its options end at the first word that does not begin with `-`.
    let file: &Path = if program.as_os_str().as_bytes().starts_with(b"-") {
        &Path::new(".").join(program)
    } else {
        program
    };
    command.arg(file).args(arguments);
    command
        .env_clear()
        .envs(reduced(&meaning.policy().environment, own));
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Action, Environment, Policy};

    #[test]
    fn profile_program_and_variables() {
        let mut policy = Policy::of_rules("p", Action::Deny, Vec::new());
        policy.environment = Environment {
            pass: Some(vec!["PATH".to_owned()]),
            set: vec![("HOME".to_owned(), "/h".to_owned())],
        };
        let own = [("PATH", "/bin"), ("TOKEN", "x")].map(|(a, b)| (a.into(), b.into()));
        let arguments = ["-c".into(), "it's \"quoted\" $(here)".into()];
        let meaning = Meaning::new(&policy);
        let made = command(&meaning, Path::new("/bin/sh"), &arguments, own).unwrap();
        assert_eq!(made.get_program(), PROGRAM);
        let words: Vec<_> = made.get_args().collect();
        assert_eq!(words[0], "-p");
        let profile = words[1].to_str().unwrap();
        assert!(
            profile.contains("(version 1)") && profile.contains("(deny default"),
            "{profile}"
        );
        assert_eq!(words[2..], ["/bin/sh", "-c", "it's \"quoted\" $(here)"]);
        let variables: Vec<_> = made.get_envs().collect();
        assert_eq!(
            variables,
            [
                ("HOME".as_ref(), Some("/h".as_ref())),
                ("PATH".as_ref(), Some("/bin".as_ref()))
            ]
        );
        let made = command(&meaning, Path::new("-x"), &[], []).unwrap();
        assert_eq!(made.get_args().nth(2).unwrap(), "./-x");
    }
}
