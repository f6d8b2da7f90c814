//! The program that the guard's tests run, with and without polc.
//!
//! The test builds it statically, with `rustc` alone. So it makes only the calls that it names.

mod attack_disk;
mod attack_kernel;
mod attack_memory;
mod conf;
mod conf_metadata;
mod conf_names;
mod conf_open;
mod conf_paths;
mod conf_process;
mod conf_sockets;
mod denied;
mod plan;
mod storm;
mod sys;
mod tell;

use attack_memory::PAIRS;
use sys::{call, nr, o};

/// A handler that does nothing.
pub extern "C" fn nothing(_: i32) {}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    sys::drop_capabilities();
    let status = match words[1..] {
        ["conf"] => conf::run(None),
        ["conf", section] => conf::run(Some(section)),
        ["denied"] => denied::run(false),
        ["denied", "bare"] => denied::run(true),
        ["denied", "objects"] => {
            denied::fixture("SECRET");
            0
        }
        ["plan", file] => plan::run(file),
        ["storm", which, count] => storm::run(which, count.parse().unwrap_or(100)),
        ["attack", which, count] => attack(which, count.parse().unwrap_or(100)),
        ["wait"] => {
            sys::sleep_ms(10_000);
            0
        }
        ["make", path] => sys::open(path, o::WRONLY | o::CREAT | o::EXCL, 0o644).err().unwrap_or(0),
        // One bit for each open descriptor.
        ["open-ones", ref ones @ ..] => {
            let is_open = |fd: &&str| call(nr::FCNTL, &[fd.parse().unwrap_or(-1), 1]).is_ok();
            ones.iter().enumerate().filter(|(_, fd)| is_open(fd)).map(|(i, _)| 1 << i).sum()
        }
        _ => {
            eprintln!("not understood: {words:?}");
            2
        }
    };
    sys::leave(status);
}

/// One attack, or several of one kind.
fn attack(which: &str, count: usize) -> i32 {
    match which {
        // With a number, the program may read the denied objects.
        "objects" => {
            denied::fixture(if count == 0 { "SECRET" } else { "plain" });
            attack_memory::fixture();
        }
        "opens" => PAIRS.iter().for_each(|p| attack_memory::opens(count, *p)),
        "names" => PAIRS.iter().for_each(|p| attack_memory::names(count, *p)),
        "metadata" => PAIRS.iter().for_each(|p| attack_memory::metadata(count, *p)),
        "sockets" => attack_memory::sockets(count),
        "descriptors" => PAIRS.iter().for_each(|p| attack_memory::descriptors(count, *p)),
        "directory" => PAIRS.iter().for_each(|p| attack_memory::directory(count, *p)),
        "processes" => PAIRS.iter().for_each(|p| attack_memory::processes(count, *p)),
        "links" => attack_disk::links(count),
        "directories" => attack_disk::directories(count),
        "parents" => attack_disk::parents(count),
        "moved" => attack_disk::moved(count),
        "outside" => attack_kernel::outside(),
        "ways" => attack_disk::ways(),
        "entries" => attack_kernel::entries(),
        "namespaces" => attack_kernel::namespaces(),
        "datagrams" => attack_kernel::datagrams(),
        "supervisor" => attack_kernel::supervisor(),
        "listener" => attack_kernel::listener(),
        _ => return 2,
    }
    0
}
