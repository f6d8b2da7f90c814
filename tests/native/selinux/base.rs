//! What the reader takes the base policy for: its table of types and of what every domain may do is held against
//! `matchpathcon` on the installed file contexts and against the linked policy.
//!
//! For each type a module gives one domain everything on it and nothing else. The reader says where that domain may do
//! what; the policy says it of the label that each path has.

use super::{Allowed, Module, Tools, tools};
use crate::tool;
use polc::backend::{Artifact, Evaluate, Form, OnPaths, Options};
use polc::policy::Operation;
use std::collections::BTreeMap;

/// The types that rules of an emitted module are about, those that `domain` is granted something on, and all at once.
const TYPES: [&str; 16] = [
    "bin_t",
    "shell_exec_t",
    "lib_t",
    "usr_t",
    "etc_t",
    "cert_t",
    "locale_t",
    "root_t",
    "device_t",
    "tmp_t",
    "var_run_t",
    "net_conf_t",
    "selinux_config_t",
    "man_t",
    "var_lib_t",
    "non_security_file_type",
];

/// Paths at which a label begins or ends; what lies beneath and beside them is asked about, too.
const BOUNDARIES: &[&str] = &[
    "/",
    "/bin",
    "/bin/sh",
    "/bin/su",
    "/dev",
    "/etc",
    "/etc/NetworkManager/system-connections",
    "/etc/X11/xinit",
    "/etc/audit",
    "/etc/bind",
    "/etc/bind/named.conf",
    "/etc/cron.daily",
    "/etc/cron.daily/logrotate",
    "/etc/fonts",
    "/etc/init.d/ssh",
    "/etc/letsencrypt",
    "/etc/mysql",
    "/etc/nginx",
    "/etc/pki/tls/private",
    "/etc/profile.d",
    "/etc/ssh",
    "/etc/ssh/ssh_host_rsa_key",
    "/etc/ssh/ssh_host_rsa_key.pub",
    "/etc/ssl/private",
    "/etc/systemd/system",
    "/etc/xen/scripts",
    "/etc/gshadow",
    "/etc/hosts",
    "/etc/krb5.keytab",
    "/etc/ld-musl-x86_64.path",
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/etc/localtime",
    "/etc/monit",
    "/etc/passwd",
    "/etc/resolv.conf",
    "/etc/selinux",
    "/etc/selinux/default/policy",
    "/etc/selinux/policy",
    "/etc/shadow",
    "/etc/ssl",
    "/etc/ssl/certs",
    "/etc/tcb",
    "/etc/timezone",
    "/lib",
    "/lib/locale",
    "/lib32",
    "/lib64",
    "/libx32",
    "/opt",
    "/opt/a.so",
    "/opt/bin",
    "/opt/tool/bin",
    "/opt/tool/bin/a.so",
    "/opt/tool/bin/java8",
    "/opt/tool/bin/lib",
    "/opt/tool/bin2",
    "/opt/tool/lib",
    "/opt/tool/lib/bin",
    "/opt/tool/lib64",
    "/opt/tool/lib64/sbin",
    "/opt/tool/libexec",
    "/opt/tool/libexec/lib64",
    "/opt/tool/man",
    "/opt/tool/man/lib",
    "/opt/tool/sbin",
    "/opt/tool/sbin/man",
    "/opt/tool/var/lib",
    "/opt/tool/var/lib/libexec",
    "/opt/tool/x.cgi",
    "/run",
    "/run/resolvconf",
    "/sbin",
    "/sbin/nft",
    "/tmp",
    "/usr",
    "/usr/bin",
    "/usr/bin/at",
    "/usr/bin/bash",
    "/usr/bin/dash",
    "/usr/bin/git",
    "/usr/bin/ksh93",
    "/usr/bin/mount",
    "/usr/bin/passwd",
    "/usr/bin/python3",
    "/usr/bin/ssh",
    "/usr/bin/sudo",
    "/usr/bin/sudoedit",
    "/usr/bin/zsh",
    "/usr/games",
    "/usr/lib",
    "/usr/lib/locale",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/lib64/locale",
    "/usr/libexec",
    "/usr/libx32",
    "/usr/local",
    "/usr/local/bin",
    "/usr/local/lib",
    "/usr/local/lib/locale",
    "/usr/local/sbin",
    "/usr/sbin",
    "/usr/sbin/iptables",
    "/usr/sbin/mkfs",
    "/usr/share",
    "/usr/share/locale",
    "/usr/share/zoneinfo",
    "/usr/src",
    "/var/log/audit",
    "/workspace",
];

const ON_FILES: &str = "create execute execute_no_trans getattr open read setattr unlink write";
const ON_DIRECTORIES: &str =
    "add_name create getattr open read remove_name rmdir search setattr write";

fn text(label: &str) -> (String, String) {
    let name = format!("base_{label}");
    let kind = match label.ends_with("_type") {
        true => "attribute",
        false => "type",
    };
    let te = format!(
        "module {name} 1.0;
require {{
  {kind} {label}; attribute domain; attribute file_type;
  class file {{ {ON_FILES} }}; class dir {{ {ON_DIRECTORIES} }};
}}
type {name}_d; typeattribute {name}_d domain;
allow {name}_d file_type:dir {{ getattr search }};
allow {name}_d {label}:file {{ {ON_FILES} }};
allow {name}_d {label}:dir {{ {ON_DIRECTORIES} }};
"
    );
    (name, te)
}

fn above(path: &str) -> &str {
    match path.rfind('/') {
        Some(at) if at > 0 => &path[..at],
        _ => "/",
    }
}

/// Whether the policy lets a domain do it: the types of the object as what it is asked about, and of its directory.
fn truth(
    domain: &Allowed,
    operation: Operation,
    form: Form,
    own: &str,
    folder: &str,
) -> Option<bool> {
    let class = match form {
        Form::File => "file",
        _ => "dir",
    };
    let on = |t: &str, class: &str, list: &[&str]| list.iter().all(|p| domain.allows(t, class, p));
    let names = |permission| on(folder, "dir", &[permission, "search", "write"]);
    Some(match (operation, form) {
        (Operation::Read, Form::File) => on(own, class, &["open", "read"]),
        (Operation::List, Form::Directory) => on(own, class, &["open", "read"]),
        (Operation::Edit, Form::File) => on(own, class, &["open", "write"]),
        (Operation::Metadata, _) => on(own, class, &["setattr"]) || on(own, class, &["write"]),
        (Operation::Execute, Form::File) => {
            on(own, class, &["execute", "execute_no_trans", "open", "read"])
        }
        (Operation::Create, _) => names("add_name") && on(folder, class, &["create"]),
        (Operation::Delete, Form::File) => names("remove_name") && on(own, class, &["unlink"]),
        (Operation::Delete, _) => names("remove_name") && on(own, class, &["rmdir"]),
        _ => return None,
    })
}

fn says(reader: &dyn Evaluate, operation: Operation, form: Form, path: &str) -> bool {
    let OnPaths::Allows(forms) = reader.paths(operation).unwrap() else {
        panic!("it says nothing of {operation}");
    };
    let mut own = forms
        .iter()
        .filter(|f| f.form == form || f.form == Form::Either);
    own.any(|f| f.paths.contains(path.as_bytes()))
}

/// The type of each path as a file and as a directory.
fn labels(tools: &Tools, paths: &[String]) -> BTreeMap<String, [String; 2]> {
    let dir = tool::folder("base-contexts");
    let contexts = tools.contexts(&[], dir.path()).unwrap();
    let bytes: Vec<&[u8]> = paths.iter().map(String::as_bytes).collect();
    let [files, directories] =
        ["file", "dir"].map(|kind| tools.labels(&contexts, kind, &bytes).unwrap());
    let types = files.into_iter().zip(directories).map(|(f, d)| [f, d]);
    paths.iter().cloned().zip(types).collect()
}

#[test]
fn the_readers_table_is_the_installed_policy() {
    let Some(tools) = tools() else { return };
    let dir = tool::folder("base-modules");
    let build = |label: &&str| -> (Module, Box<dyn Evaluate>) {
        let (name, te) = text(label);
        let [te_file, fc_file] = ["te", "fc"].map(|end| dir.path().join(format!("{name}.{end}")));
        std::fs::write(&te_file, &te).unwrap();
        std::fs::write(&fc_file, "").unwrap();
        let artifact = Artifact {
            file_name: format!("{name}.te"),
            bytes: te.into_bytes(),
        };
        let backend = polc::backend::find("selinux").unwrap();
        let read = backend.read_back(&[artifact], &Options::default());
        let read = read.unwrap_or_else(|e| panic!("{label}: {:?}", e.items));
        (tools.build(&te_file, &fc_file).unwrap(), read)
    };
    let built: Vec<_> = TYPES.iter().map(build).collect();
    let modules: Vec<&Module> = built.iter().map(|b| &b.0).collect();
    let policy = tools.link(&modules, dir.path()).unwrap();
    let domains: Vec<String> = TYPES.iter().map(|t| format!("base_{t}_d")).collect();
    let names: Vec<&str> = domains.iter().map(String::as_str).collect();
    let answers = tools.ask(&policy, &names).unwrap();

    let mut paths: Vec<String> = Vec::new();
    for path in BOUNDARIES {
        let top = path.trim_end_matches('/');
        paths.extend([
            (*path).to_owned(),
            format!("{top}/polc"),
            format!("{top}/polc/x"),
        ]);
        if !top.is_empty() {
            paths.push(format!("{top}.polc"));
        }
    }
    for at in 0..paths.len() {
        let mut folder = above(&paths[at]).to_owned();
        while folder != "/" {
            paths.push(folder.clone());
            folder = above(&folder).to_owned();
        }
    }
    paths.sort();
    paths.dedup();
    let labels = labels(&tools, &paths);
    let directories = tools.never_files().unwrap();
    let (mut asked, mut faults) = (0, Vec::new());
    for ((label, (_, reader)), domain) in TYPES.iter().zip(&built).zip(&names) {
        for (path, types) in &labels {
            let folder = &labels[above(path)][1];
            for (at, form) in [Form::File, Form::Directory].into_iter().enumerate() {
                // What has no label by its path, and a file where there is none, is not asked about.
                let no_file =
                    form == Form::File && (path == "/" || directories.contains(path.as_bytes()));
                if no_file || types[at] == "<<none>>" || folder == "<<none>>" {
                    continue;
                }
                for operation in Operation::ON_PATHS {
                    let own = &types[at];
                    let truth = truth(&answers[*domain], operation, form, own, folder);
                    // The root is there, and in no directory.
                    let named = matches!(operation, Operation::Create | Operation::Delete);
                    let Some(truth) = truth.filter(|_| !(named && path == "/")) else {
                        continue;
                    };
                    asked += 1;
                    if says(reader.as_ref(), operation, form, path) != truth {
                        faults.push(format!(
                            "{label}: {operation} {path} as {form:?} ({own} in {folder}): the policy {}",
                            if truth { "allows" } else { "denies" }
                        ));
                    }
                }
            }
        }
    }
    assert!(asked > 20_000, "only {asked} questions");
    println!("{asked} questions about {} paths", labels.len());
    assert!(
        faults.is_empty(),
        "{} of {asked} differ:\n{}",
        faults.len(),
        faults[..faults.len().min(80)].join("\n")
    );
}
