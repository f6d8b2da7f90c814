//! Makes system calls, each in a process of its own, and prints the results as `INDEX ERRNO`. 0 means no error. `-1`
//! means that the process was killed or did not return. A call is `NUMBER:ARGUMENT,ARGUMENT,…`.
//!
//! No call has an effect, because its arguments are wrong. The error shows whether the kernel looked at them.

use std::ffi::{c_int, c_long, c_uint};
use std::io::Write;

unsafe extern "C" {
    fn fork() -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn alarm(seconds: c_uint) -> c_uint;
    fn _exit(status: c_int) -> !;
    fn syscall(number: c_long, ...) -> c_long;
}

fn main() {
    let mut out = std::io::stdout();
    for (index, call) in std::env::args().skip(1).enumerate() {
        let (number, arguments) = call.split_once(':').expect("NUMBER:ARGUMENTS");
        let number: c_long = number.parse().expect("a number");
        let mut a = [-1 as c_long; 6];
        for (slot, text) in a.iter_mut().zip(arguments.split(',')) {
            *slot = text.parse().expect("an argument");
        }
        // SAFETY: one thread; the child makes one call, whose pointers are no addresses, and ends.
        let status = unsafe {
            let child = fork();
            if child == 0 {
                alarm(5);
                let answer = syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
                let error = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
                _exit(if answer == -1 { error } else { 0 });
            }
            let mut status = 0;
            if child < 0 || waitpid(child, &raw mut status, 0) != child {
                -1
            } else if status & 0x7f == 0 {
                status >> 8 & 0xff
            } else {
                -1
            }
        };
        writeln!(out, "{index} {status}").expect("somebody reads");
    }
    writeln!(out, "done").expect("somebody reads");
}
