//! The line between the guard and polc outside: that the program has stopped, that it goes on, and what was refused.
//!
//! The guard does not stop when the program does: what the program has started may go on, and needs it. So polc outside
//! stops in its place, for the shell that waits there, and says when it goes on.

use crate::enforce::run::signals;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

/// The program has stopped.
const STOPPED: u8 = 1;
/// It is to go on.
const GO_ON: u8 = 2;
/// What was refused comes, until the end.
const REFUSED: u8 = 3;

/// The guard's end.
pub struct Line(UnixStream);

impl Line {
    /// Listens for when the program is to go on.
    #[must_use]
    pub fn new(line: UnixStream, program: libc::pid_t) -> Self {
        if let Ok(mut hears) = line.try_clone() {
            let hear = move || {
                let mut byte = [0];
                while hears.read_exact(&mut byte).is_ok() {
                    if byte == [GO_ON] {
                        // SAFETY: takes numbers; the guard ends once it has waited for that process.
                        unsafe { libc::kill(program, libc::SIGCONT) };
                    }
                }
            };
            // Without it the shell outside goes on with all of the group itself.
            let _ = Builder::new().stack_size(64 * 1024).spawn(hear);
        }
        Self(line)
    }

    /// Says that the program has stopped.
    pub fn stopped(&self) {
        let _ = (&self.0).write_all(&[STOPPED]);
    }

    /// Says what was refused.
    pub fn refused(&self, text: &str) {
        let _ = (&self.0).write_all(&[&[REFUSED], text.as_bytes()].concat());
    }
}

/// Hears the guard, until it is gone: stops this process when the program stops, and has it go on. The answer is what was
/// refused.
///
/// # Errors
/// There can be no more threads.
pub fn hear(mut line: UnixStream, deadline: Option<Instant>) -> io::Result<JoinHandle<String>> {
    let hear = move || {
        let mut byte = [0];
        while line.read_exact(&mut byte).is_ok() {
            match byte {
                [STOPPED] => {
                    let mut says = &line;
                    signals::stop_too(deadline, || {
                        let _ = says.write_all(&[GO_ON]);
                    });
                }
                [REFUSED] => {
                    let mut text = String::new();
                    let _ = line.read_to_string(&mut text);
                    return text;
                }
                _ => {}
            }
        }
        String::new()
    };
    Builder::new().name("polc-guard".to_owned()).spawn(hear)
}
