//! SELinux: the emitted modules are linked with Debian's policy, loaded and enforced. Objects get the labels that
//! `restorecon` would give.
//!
//! The probe becomes `unconfined_t`, like a user of that policy. It starts each module's entry point in the module's
//! domain once. After that, each attempt is a process that takes on the domain. The lab's own rules allow this.
//!
//! An object is tried only as a kind that it can have. `/etc` is a directory, also in the base policy's file contexts.

use crate::kernels::Kernel;
use crate::lab::{self, Plan, Ready};
use crate::link::{self, Module, Tools};
use crate::machine::{self, Image};
use crate::rows::{hex, is_on_host};
use crate::tool;
use polc::backend::Options;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

const MODULES: &str = "lsm=landlock,lockdown,yama,integrity,selinux,bpf selinux=1 enforcing=0";

/// What the lab adds to the policy. An initramfs is a special file system, on which Debian's policy has no labelled
/// files. Also, the probe must be allowed to take on domains.
fn own_rules(modules: &[Module]) -> String {
    let mut rules = String::from(
        "(allow file_type root_t (filesystem (associate)))
         (typeattributeset set_curr_context (unconfined_t))
         (allow unconfined_t self (process (setcurrent)))\n",
    );
    for domain in modules.iter().flat_map(Module::domains) {
        writeln!(
            rules,
            "(allow unconfined_t {domain} (process (dyntransition)))"
        )
        .unwrap();
    }
    rules
}

/// The kind of object whose label counts for a way. For a new object, it is a directory's.
fn kind(way: &str) -> &'static str {
    match way {
        "connect" | "send" | "unlink-socket" => "sock_file",
        "read-fifo" | "append-fifo" | "unlink-fifo" => "fifo_file",
        "unlink-link" => "lnk_file",
        "read" | "append" | "truncate" | "unlink" | "rename" | "chmod" | "touch" | "exec"
        | "map" | "open-truncate" | "rewrite" | "chown" | "utime" | "setxattr" | "exec-fd"
        | "read-linked" | "open-read-truncate" | "append-linked" | "rename-over" | "exchange"
        | "rename-out" | "rename-above" | "chmod-read" | "chmod-linked" | "exec-linked" => "file",
        _ => "dir",
    }
}

/// The label of an object of a type.
fn object(name: &str) -> String {
    format!("system_u:object_r:{name}:s0")
}

fn build(tools: &Tools, ready: &Ready) -> Result<Module, String> {
    let dir = tool::folder("lab-selinux");
    let mut te = None;
    for artifact in &ready.compiled.artifacts {
        let file = dir.path().join(&artifact.file_name);
        std::fs::write(&file, &artifact.bytes).map_err(|e| e.to_string())?;
        te = te.or(artifact.file_name.ends_with(".te").then_some(file));
    }
    let te = te.ok_or("no .te")?;
    tools.build(&te, &te.with_extension("fc"))
}

/// The labels of all objects in a policy's rows, and of the directories above them, by kind of object.
type Labels = BTreeMap<(&'static str, Vec<u8>), String>;

fn labels(tools: &Tools, module: &Module, paths: &BTreeSet<Vec<u8>>) -> Result<Labels, String> {
    let dir = tool::folder("lab-contexts");
    let contexts = tools.contexts(&[module], dir.path())?;
    let mut all = paths.clone();
    for path in paths {
        let ends = path
            .iter()
            .enumerate()
            .filter(|(at, b)| *at > 0 && **b == b'/');
        all.extend(ends.map(|(at, _)| path[..at].to_vec()));
    }
    // matchpathcon prints one label for each line. Names that it cannot be asked about get none.
    let list: Vec<&[u8]> = all
        .iter()
        .map(Vec::as_slice)
        .filter(|p| !p.contains(&b'\n'))
        .collect();
    let made_in_tmp = format!("{}_tmp_t", module.name);
    let mut labels = Labels::new();
    for (kind, asked) in [
        ("file", "file"),
        ("dir", "dir"),
        ("sock_file", "socket"),
        ("fifo_file", "pipe"),
        ("lnk_file", "link"),
    ] {
        for (path, found) in list.iter().zip(tools.labels(&contexts, asked, &list)?) {
            let in_tmp = path.starts_with(b"/tmp/") && module.types().contains(&&*made_in_tmp);
            match found.as_str() {
                // The objects that the domain makes in `/tmp` itself.
                "<<none>>" if in_tmp => labels.insert((kind, path.to_vec()), made_in_tmp.clone()),
                "<<none>>" => None,
                _ => labels.insert((kind, path.to_vec()), found),
            };
        }
    }
    Ok(labels)
}

fn check(kernel: Kernel) {
    let Some(tools) = link::tools() else { return };
    let Some(probe) = machine::probe() else {
        return;
    };
    let (mut image, mut plan) = (Image::new(&probe), Plan::default());
    let all = lab::ready_and_random("selinux", &Options::default());
    let build = |r: &Ready| build(&tools, r).unwrap_or_else(|e| panic!("{}: {e}", r.name));
    let modules: Vec<Module> = all.iter().map(build).collect();
    let directories = tools.never_files().unwrap();
    assert!(directories.contains(b"/etc".as_slice()));
    plan.start("selinux /lab/policy");
    // The domain, and the label of its entry point: the module's own type, which every module has.
    let how = |m: &Module| {
        let domain = m.domains().first().copied().expect("no domain");
        let entry = object(&format!("{}_exec_t", m.name));
        format!("selinux unconfined_u:unconfined_r:{domain}:s0-s0:c0.c1023 {entry}")
    };
    for (ready, module) in all.iter().zip(&modules) {
        let every = lab::sheet(ready, |_, _| false);
        let files = every.rows.iter().filter(|r| !is_on_host(r.way));
        let paths = files.flat_map(|r| [Some(r.path.clone()), r.ally.clone()]);
        let paths = paths.flatten().collect();
        let known = labels(&tools, module, &paths);
        let known = known.unwrap_or_else(|e| panic!("{}: {e}", ready.name));
        let mut lines = String::new();
        for ((kind, path), label) in &known {
            writeln!(lines, "label {kind} {} {}", hex(path), object(label)).unwrap();
        }
        // An object without a label of its own is not tried: its maker decides its label.
        let sheet = lab::sheet(ready, |way, path| {
            let kind = kind(way);
            let own = |label: &String| label.starts_with(&*module.name);
            // The domain reads programs because it starts by them. Fifos among them are not read.
            if kind == "fifo_file" && !known.get(&(kind, path.to_vec())).is_some_and(own) {
                return true;
            }
            // Mapping as code has a setting in the ledger, because it needs the right to execute.
            way == "map"
                || !known.contains_key(&(kind, path.to_vec()))
                || (kind != "dir" && directories.contains(path))
        });
        plan.add_sheet(ready, sheet, &how(module), &lines);
    }
    let find = |name: &str| all.iter().position(|r| r.name == name).unwrap();
    plan.plant(&all[find("write-parts")], &how(&modules[find("nesting")]));
    plan.plant_hosts(&all[find("everything")], &how(&modules[find("nothing")]));
    let list: Vec<&Module> = modules.iter().collect();
    let dir = tool::folder("lab-link");
    let policy = tools
        .link_with(&list, &own_rules(&modules), dir.path())
        .unwrap();
    image.file("lab/policy", &std::fs::read(policy).unwrap());
    image.file("lab/plan", plan.text());
    if let Some(console) = image.boot(kernel, MODULES) {
        plan.judge(&format!("SELinux {}", kernel.name()), &console);
    }
}

#[test]
fn selinux_on_6_1() {
    check(Kernel::V6_1);
}

#[test]
fn selinux_on_6_12() {
    check(Kernel::V6_12);
}
