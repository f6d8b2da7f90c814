//! Starts the program for `enforce` and `run`.

use super::{Outcome, Stop, output};
use polc::enforce::command::{self, NotFound, Program};
use polc::policy::Policy;
use std::ffi::OsString;

/// The exit status if the program does not exist, as in shells.
pub const NOT_FOUND: u8 = 127;
/// The exit status if the program may not be started.
pub const NOT_STARTED: u8 = 126;

/// The words to start: those of the command line, or the user's shell.
fn words(given: &[OsString]) -> Result<Vec<OsString>, Stop> {
    if !given.is_empty() {
        return Ok(given.to_vec());
    }
    let shell = std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
    output::stderr(&format!(
        "starting {} in the sandbox; leave it with `exit`\n",
        polc::fidelity::show_bytes(shell.as_encoded_bytes())
    ))?;
    Ok(vec![shell])
}

/// Finds the program, and asks the policy whether it may start. The inner error says how the command ends.
pub fn program(
    policy: &Policy,
    given: &[OsString],
) -> Result<Result<(Program, Vec<OsString>), Outcome>, Stop> {
    let words = words(given)?;
    let Some((name, arguments)) = words.split_first() else {
        return Err(Stop::Usage("there is no program to start".to_owned()));
    };
    let program = match command::find(name, std::env::var_os("PATH").as_deref()) {
        Ok(program) => program,
        Err(e) => {
            output::stderr(&format!("error: {e}\n"))?;
            let status = match e {
                NotFound::Missing(_) => NOT_FOUND,
                NotFound::NotExecutable(_) => NOT_STARTED,
            };
            return Ok(Err(Outcome::Program(status)));
        }
    };
    let decision = command::decision(policy, &program.resolved, arguments);
    if !decision.action.permits() {
        let message = decision
            .rule
            .and_then(|id| policy.rule(id).message.as_ref());
        let message = message.map_or_else(String::new, |m| {
            format!(
                ": {}",
                polc::fidelity::show_bytes(m.replace('\n', " ").as_bytes())
            )
        });
        let by = policy.decider(decision.rule) + &message;
        output::stderr(&format!(
            "error: the policy does not let `{}` start: {} by {by}\n",
            polc::fidelity::show_bytes(program.resolved.as_os_str().as_encoded_bytes()),
            decision.action
        ))?;
        return Ok(Err(Outcome::Program(NOT_STARTED)));
    }
    Ok(Ok((program, arguments.to_vec())))
}

/// The name that the program gets, as the user wrote it.
#[cfg(target_os = "linux")]
pub fn name<'a>(given: &'a [OsString], program: &'a Program) -> &'a std::ffi::OsStr {
    given
        .first()
        .map_or(program.file.as_os_str(), OsString::as_os_str)
}

/// Becomes the program. Returns only if that fails.
#[cfg(target_os = "linux")]
pub fn replace(program: &Program, arguments: &[OsString]) -> Stop {
    use std::os::unix::process::CommandExt;
    let error = std::process::Command::new(&program.file)
        .args(arguments)
        .exec();
    failed(program, &error)
}

/// The error for a program that was found and did not start.
pub fn failed(program: &Program, error: &std::io::Error) -> Stop {
    Stop::NotStarted(format!(
        "cannot start `{}`: {error}",
        polc::fidelity::show_bytes(program.file.as_os_str().as_encoded_bytes())
    ))
}
