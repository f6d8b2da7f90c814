//! The line between the guard and polc outside. It carries: the program has stopped, it should go on, what was refused.
//!
//! The guard does not stop when the program stops, because other processes of the program may go on and need it. So
//! polc outside stops in its place, for the waiting shell. It tells the guard when the program should go on.

use crate::enforce::run::signals;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

/// The program has stopped.
const STOPPED: u8 = 1;
/// The program should go on.
const GO_ON: u8 = 2;
/// What was refused follows, until the end.
const REFUSED: u8 = 3;

/// The guard's end of the line.
pub struct Line(UnixStream);

impl Line {
    /// Waits for the message that the program should go on.
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
            // Without this thread, the shell outside still continues the whole group.
            let _ = Builder::new().stack_size(64 * 1024).spawn(hear);
        }
        Self(line)
    }

    /// Reports that the program has stopped.
    pub fn stopped(&self) {
        let _ = (&self.0).write_all(&[STOPPED]);
    }

    /// Reports what was refused.
    pub fn refused(&self, text: &str) {
        let _ = (&self.0).write_all(&[&[REFUSED], text.as_bytes()].concat());
    }
}

/// Listens to the guard until it is gone. Stops this process when the program stops, and continues the program later.
/// Returns what was refused.
///
/// # Errors
/// The kernel makes no more threads.
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
