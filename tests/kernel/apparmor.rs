//! AppArmor: the emitted profile, compiled here and loaded in the virtual machine.

use crate::kernels::Kernel;
use crate::lab::{self, Plan};
use crate::machine::{self, Image};
use crate::tool;
use polc::backend::Options;
use std::path::Path;

const MODULES: &str = "lsm=landlock,lockdown,yama,integrity,apparmor,bpf apparmor=1";

/// The profile as the kernel loads it, compiled for the features that the profile names.
fn blob(parser: &Path, text: &[u8]) -> Result<Vec<u8>, String> {
    let dir = tool::folder("lab-apparmor");
    let file = dir.path().join("profile");
    std::fs::write(&file, text).map_err(|e| e.to_string())?;
    let mut arguments = ["-Q", "-K", "-S", "-M", "/etc/apparmor.d/abi/3.0"]
        .map(AsRef::as_ref)
        .to_vec();
    arguments.push(file.as_os_str());
    let said = tool::run(parser, arguments);
    if said.ok() {
        Ok(said.stdout)
    } else {
        Err(said.words())
    }
}

fn check(kernel: Kernel) {
    let Some(parser) = tool::skip_or_fail("apparmor_parser") else {
        return;
    };
    let Some(probe) = machine::probe() else {
        return;
    };
    let (mut image, mut plan) = (Image::new(&probe), Plan::default());
    let all = lab::ready_and_random("apparmor", &Options::default());
    let file = |name: &str| format!("lab/{name}.profile");
    let confinement = |r: &lab::Ready| format!("apparmor {} /{}", r.policy.name, file(&r.name));
    for ready in &all {
        let bytes = blob(&parser, &ready.compiled.artifacts[0].bytes);
        image.file(
            &file(&ready.name),
            &bytes.unwrap_or_else(|e| panic!("{}: {e}", ready.name)),
        );
        plan.add(ready, &confinement(ready), |_, _| false);
    }
    let find = |name: &str| all.iter().find(|r| r.name == name).unwrap();
    plan.plant(find("nothing"), &confinement(find("everything")));
    plan.plant(find("everything"), &confinement(find("nothing")));
    plan.plant(find("write-parts"), &confinement(find("nesting")));
    plan.plant_hosts(find("everything"), &confinement(find("nothing")));
    image.file("lab/plan", plan.text());
    if let Some(console) = image.boot(kernel, MODULES) {
        plan.judge(&format!("AppArmor {}", kernel.name()), &console);
    }
}

#[test]
fn apparmor_on_6_1() {
    check(Kernel::V6_1);
}

#[test]
fn apparmor_on_6_12() {
    check(Kernel::V6_12);
}
