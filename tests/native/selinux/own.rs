//! The questions themselves, on modules whose meaning is plain.

use super::{Module, Tools, tools};
use crate::tool;
use std::process::Command;

const TE: &str = "module probe 1.0;
require {
  type unconfined_t, etc_t, bin_t, shadow_t;
  role unconfined_r;
  attribute domain, file_type, exec_type, entry_type;
  class process { transition sigchld };
  class file { read open getattr execute map entrypoint write };
}
type probe_t, domain;
type probe_exec_t, file_type, exec_type, entry_type;
type probe_work_t, file_type;
role unconfined_r types probe_t;
allow probe_t probe_exec_t:file { entrypoint execute read map getattr };
allow probe_t probe_work_t:file { read open };
allow unconfined_t probe_t:process transition;
type_transition unconfined_t probe_exec_t:process probe_t;
neverallow probe_t shadow_t:file read;
";

const FC: &str = "/usr/local/bin/probe\t--\tsystem_u:object_r:probe_exec_t:s0
/workspace(/.*)?\tsystem_u:object_r:probe_work_t:s0
/workspace/odd\\x22name\tsystem_u:object_r:probe_exec_t:s0
";

fn build(tools: &Tools, te: &str, fc: &str) -> Result<Module, String> {
    let dir = tool::folder("probe");
    let [te_file, fc_file] = ["probe.te", "probe.fc"].map(|f| dir.path().join(f));
    std::fs::write(&te_file, te).unwrap();
    std::fs::write(&fc_file, fc).unwrap();
    tools.build(&te_file, &fc_file)
}

#[test]
fn a_linked_module_answers() {
    let Some(tools) = tools() else { return };
    let module = build(&tools, TE, FC).unwrap();
    assert_eq!(module.types(), ["probe_t", "probe_exec_t", "probe_work_t"]);
    let dir = tool::folder("link");
    let policy = tools.link(&[&module], dir.path()).unwrap();
    let probe = &tools.ask(&policy, &["probe_t"]).unwrap()["probe_t"];
    assert!(probe.allows("probe_work_t", "file", "read"));
    assert!(!probe.allows("probe_work_t", "file", "write"));
    // By the attribute `domain`, not by a rule of the module.
    assert!(probe.allows("lib_t", "file", "execute"));
    assert!(!probe.allows("shadow_t", "file", "read"));
    assert_eq!(
        probe.on("probe_work_t").into_iter().collect::<Vec<_>>(),
        ["file open", "file read"]
    );

    // sesearch says the same.
    let said = tool::run_with(
        Command::new(tool::find("sesearch").unwrap())
            .args(["-A", "-s", "probe_t", "-t", "probe_work_t", "-c", "file"])
            .arg(&policy),
        b"",
        tool::PATIENCE,
    );
    assert_eq!(
        said.words().lines().last(),
        Some("allow probe_t probe_work_t:file { open read };")
    );
    assert!(tools.ask(&policy, &["no_such_t"]).is_err());
}

#[test]
fn an_assertion_that_does_not_hold_breaks_the_link() {
    let Some(tools) = tools() else { return };
    let te = format!("{TE}allow probe_t shadow_t:file read;\n");
    let module = build(&tools, &te, FC).unwrap();
    let dir = tool::folder("assertion");
    let words = tools.link(&[&module], dir.path()).unwrap_err();
    assert!(words.contains("neverallow"), "{words}");
}

#[test]
fn file_contexts_as_a_real_system_orders_them() {
    let Some(tools) = tools() else { return };
    let module = build(&tools, TE, FC).unwrap();
    let dir = tool::folder("contexts");
    let contexts = tools.contexts(&[&module], dir.path()).unwrap();
    let paths: &[&[u8]] = &[
        b"/usr/local/bin/probe",
        b"/workspace",
        b"/workspace/a\nb",
        b"/workspace/odd\"name",
        b"/workspaces",
        b"/etc/passwd",
        b"/home/agent/.ssh/id_ed25519",
        b"/",
    ];
    assert_eq!(
        tools.labels(&contexts, "file", paths).unwrap(),
        [
            "probe_exec_t",
            "probe_work_t",
            "probe_work_t",
            "probe_exec_t",
            "default_t",
            "etc_t",
            "ssh_home_t",
            "default_t",
        ]
    );
    assert_eq!(tools.labels(&contexts, "dir", &[b"/"]).unwrap(), ["root_t"]);
}

#[test]
fn a_pattern_that_the_base_policy_labels_otherwise_is_refused() {
    let Some(tools) = tools() else { return };
    let fc = "/srv\t-d\tsystem_u:object_r:probe_work_t:s0\n";
    let module = build(&tools, TE, fc).unwrap();
    let dir = tool::folder("conflict");
    let words = tools.contexts(&[&module], dir.path()).unwrap_err();
    assert!(words.contains("/srv"), "{words}");
}

#[test]
fn text_that_is_no_module_is_refused() {
    let Some(tools) = tools() else { return };
    assert!(build(&tools, "module probe 1.0;\nallow a_t b_t:file read;\n", FC).is_err());
    assert!(build(&tools, &TE.replace("module probe", "module other"), FC).is_err());
    assert!(build(&tools, TE, "/a b\tsystem_u:object_r:probe_t:s0\n").is_err());
}
