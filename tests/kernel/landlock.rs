//! Landlock: the emitted ruleset, applied unchanged.

use crate::kernels::Kernel;
use crate::lab::{self, Plan, Ready};
use crate::machine::{self, Image};
use crate::rows::hex;
use crate::tool;
use polc::backend::Options;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

/// The kernel's bits for the names of landlockconfig, in the order of the kernel's header.
const ON_PATHS: [&str; 16] = [
    "execute",
    "write_file",
    "read_file",
    "read_dir",
    "remove_dir",
    "remove_file",
    "make_char",
    "make_dir",
    "make_reg",
    "make_sock",
    "make_fifo",
    "make_block",
    "make_sym",
    "refer",
    "truncate",
    "ioctl_dev",
];
const ON_PORTS: [&str; 2] = ["bind_tcp", "connect_tcp"];
const SCOPES: [&str; 2] = ["abstract_unix_socket", "signal"];

/// The bits for a list of names. An unknown name means that the artifact cannot be applied.
fn bits(names: &[&str], list: &Value) -> u64 {
    let list = list.as_array().map_or(&[][..], Vec::as_slice);
    let bit = |name: &Value| {
        let at = names.iter().position(|n| name == n);
        1 << at.unwrap_or_else(|| panic!("no right {name}"))
    };
    list.iter().map(bit).fold(0, |all, one: u64| all | one)
}

/// The artifact in the words of the probe: what it handles, and what it grants.
fn digest(artifact: &[u8], abi: u32) -> String {
    let json: Value = serde_json::from_slice(artifact).unwrap();
    let known = ["$schema", "abi", "ruleset", "pathBeneath", "netPort"];
    for key in json.as_object().unwrap().keys() {
        assert!(
            known.contains(&key.as_str()),
            "the lab does not apply `{key}`"
        );
    }
    let mut handled = [0; 3];
    for ruleset in json["ruleset"].as_array().unwrap() {
        handled[0] |= bits(&ON_PATHS, &ruleset["handledAccessFs"]);
        handled[1] |= bits(&ON_PORTS, &ruleset["handledAccessNet"]);
        handled[2] |= bits(&SCOPES, &ruleset["scoped"]);
    }
    // How much of the structure the kernel knows.
    let size = match abi {
        0..=3 => 8,
        4..=5 => 16,
        _ => 24,
    };
    let mut text = format!(
        "handled {} {} {} {size}\n",
        handled[0], handled[1], handled[2]
    );
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for rule in list(&json["pathBeneath"]) {
        let rights = bits(&ON_PATHS, &rule["allowedAccess"]);
        for parent in list(&rule["parent"]) {
            writeln!(
                text,
                "path {rights} {}",
                hex(parent.as_str().unwrap().as_bytes())
            )
            .unwrap();
        }
    }
    for rule in list(&json["netPort"]) {
        let rights = bits(&ON_PORTS, &rule["allowedAccess"]);
        for port in list(&rule["port"]) {
            writeln!(text, "port {rights} {port}").unwrap();
        }
    }
    text
}

/// Whether a path that the artifact takes for a file is asked about as a directory. The ledger says what happens then.
fn skips(ready: &Ready, way: &str, path: &[u8]) -> bool {
    let directory = matches!(
        way,
        "list" | "mkdir" | "rmdir" | "rename-dir" | "rename-dir-to" | "rename-dir-out"
    );
    ready.compiled.files.iter().any(|file| {
        (directory && path == file)
            || path
                .strip_prefix(&**file)
                .is_some_and(|rest| rest.starts_with(b"/"))
    })
}

/// The paths on which the artifact has rules.
fn parents(artifact: &[u8]) -> BTreeSet<Vec<u8>> {
    let json: Value = serde_json::from_slice(artifact).unwrap();
    let rules = json["pathBeneath"].as_array().into_iter().flatten();
    let parents = rules.flat_map(|r| r["parent"].as_array().into_iter().flatten());
    parents
        .filter_map(|p| Some(p.as_str()?.as_bytes().to_vec()))
        .collect()
}

/// Fills a plan. `put` stores a file for the probe, and returns the file's name there.
fn fill(plan: &mut Plan, abi: u32, mut put: impl FnMut(&str, &[u8]) -> String) {
    let mut options = Options::default();
    options.values.insert("abi", abi.to_string());
    let all = lab::ready_and_random("landlock", &options);
    let mut confine = |r: &Ready| {
        let text = digest(&r.compiled.artifacts[0].bytes, abi);
        format!("landlock {}", put(&r.name, text.as_bytes()))
    };
    for ready in &all {
        let how = confine(ready);
        // A rule is on an object that exists when the ruleset is applied. An object that is made later does not get it.
        let parents = parents(&ready.compiled.artifacts[0].bytes);
        plan.add(ready, &how, |way, path| {
            skips(ready, way, path) || (way == "creat" && parents.contains(path))
        });
    }
    let find = |name: &str| all.iter().find(|r| r.name == name).unwrap();
    plan.plant(find("write-parts"), &confine(find("nesting")));
    plan.plant(find("nesting"), &confine(find("nothing")));
    if abi >= 4 {
        plan.plant_hosts(find("everything"), &confine(find("nothing")));
    }
}

fn check(kernel: Kernel, abi: u32) {
    let Some(probe) = machine::probe() else {
        return;
    };
    let (mut image, mut plan) = (Image::new(&probe), Plan::default());
    fill(&mut plan, abi, |name, text| {
        image.file(&format!("lab/{name}.rules"), text);
        format!("/lab/{name}.rules")
    });
    image.file("lab/plan", plan.text());
    if let Some(console) = image.boot(kernel, "lsm=landlock,lockdown,yama,integrity,bpf") {
        plan.judge(&format!("Landlock {}", kernel.name()), &console);
    }
}

#[test]
fn landlock_on_6_1() {
    check(Kernel::V6_1, 2);
}

#[test]
fn landlock_on_6_12() {
    check(Kernel::V6_12, 6);
}

/// The kernel of this machine. The probe changes its root before it makes anything.
#[test]
fn landlock_here() {
    let Some(probe) = machine::probe() else {
        return;
    };
    let ask = tool::run(&probe, ["abi"]);
    let abi: u32 = String::from_utf8_lossy(&ask.stdout)
        .trim()
        .parse()
        .unwrap_or(0);
    if abi == 0 {
        return tool::skip("this machine's kernel has no Landlock");
    }
    let root = tool::folder("lab-root");
    for name in ["lab", "proc", "sys", "dev"] {
        std::fs::create_dir(root.path().join(name)).unwrap();
    }
    let (mut plan, abi) = (Plan::default(), abi.min(9));
    fill(&mut plan, abi, |name, text| {
        std::fs::write(root.path().join(format!("lab/{name}.rules")), text).unwrap();
        format!("/lab/{name}.rules")
    });
    std::fs::write(root.path().join("lab/plan"), plan.text()).unwrap();
    let said = tool::run_with(
        Command::new(&probe).arg("root").arg(root.path() as &Path),
        b"",
        tool::PATIENCE * 3,
    );
    if !said.ok() {
        return tool::skip(&format!(
            "the lab cannot change root here: {}",
            said.words()
        ));
    }
    plan.judge("Landlock here", &String::from_utf8_lossy(&said.stdout));
}
