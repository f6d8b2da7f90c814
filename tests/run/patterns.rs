//! Rights that a pattern gives, inside a tree that is granted whole for something else, and outside of every tree.

use super::covers::users;
use super::place::{Place, landlock, said, text};
use std::os::unix::fs::PermissionsExt;

const POLICY: &str = r#"version: 1
name: patterns
subject: {home: HOME, workspace: auto, tmp: /nonexistent}
rules:
  - name: locked
    action: deny
    operations: [read, write, execute]
    paths: ["${workspace}/**/locked", "${home}/**/locked"]
  - name: frozen
    action: deny
    operations: [write]
    paths: ["${workspace}/**/frozen/**", "${home}/**/frozen/**"]
  - name: places
    action: allow
    operations: [write]
    paths:
      - "${workspace}/*/out/**"
      - "${workspace}/{left,right/inner}/alt/**"
      - "${workspace}/[xy]z/**"
      - "${workspace}/q?/**"
      - "${workspace}/*/*/deep/**"
      - "${workspace}/**/build/**"
      - "${workspace}/notes-*.txt"
  - name: scripts
    action: allow
    operations: [execute]
    paths: ["${workspace}/tools/*.sh"]
  - name: projects
    action: allow
    operations: [read, write]
    paths: ["${home}/srv/*/data/**", "${home}/names/**/cache/**"]
  - {name: tree, action: allow, operations: [read], paths: ["${workspace}/**"]}
  - include: builtin:linux-runtime
  - include: builtin:system-programs
"#;

/// Directories that a pattern lets the program write, and one in which there is something that it does not.
const WRITABLE: [&str; 12] = [
    "ws/d1/out",
    "ws/d2/out/sub",
    "ws/left/alt",
    "ws/right/inner/alt",
    "ws/xz",
    "ws/q7",
    "ws/a/b/deep",
    "ws/build",
    "ws/one/two/three/build",
    "home/srv/p1/data",
    "home/names/cache",
    "home/names/n1/n2/cache",
];

/// Directories beside them.
const CLOSED: [&str; 8] = [
    "ws/d1",
    "ws/left",
    "ws/zz",
    "ws/q77",
    "ws/a/deep",
    "ws/one/two",
    "home/srv/p1",
    "home/names/n1",
];

#[test]
fn a_pattern_gives_rights_and_what_is_denied_in_them_is_kept() {
    if !landlock() {
        return;
    }
    for user in users() {
        let place = Place::new(user);
        for folder in WRITABLE.iter().chain(&CLOSED) {
            let folder = place.path("").join(folder);
            std::fs::create_dir_all(folder.join("frozen")).unwrap();
            for name in ["locked", "frozen/f", "free"] {
                std::fs::write(folder.join(name), "old\n").unwrap();
            }
        }
        std::fs::create_dir_all(place.path("ws/tools")).unwrap();
        for name in ["ws/tools/run.sh", "ws/tools/run.py", "ws/notes-1.txt"] {
            std::fs::write(place.path(name), "#!/bin/sh\necho ran\n").unwrap();
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(place.path(name), mode).unwrap();
        }
        place.own_all();
        let policy = POLICY.replace("HOME", place.path("home").to_str().unwrap());
        let mut script = String::from("cd ..\n");
        for folder in WRITABLE {
            script += &format!(
                "echo new > {folder}/free && echo new > {folder}/made && mkdir {folder}/dir && \
                 mv {folder}/made {folder}/dir && rm -r {folder}/dir && chmod 700 {folder}/free || echo NOT {folder}\n\
                 cat {folder}/locked; rm -f {folder}/locked; mv {folder}/locked {folder}/taken\n\
                 echo new > {folder}/frozen/f; touch {folder}/frozen/g; rm -rf {folder}/frozen; mv {folder}/frozen {folder}/away\n"
            );
        }
        for folder in CLOSED {
            script += &format!(
                "echo new > {folder}/free; touch {folder}/made; rm -f {folder}/free; chmod 700 {folder}/free\n"
            );
        }
        script += "ws/tools/run.sh; ws/tools/run.py; echo more >> ws/notes-1.txt && echo noted\n";
        let done = super::covers::by(&place, &policy, &["-q"], &script);
        assert_eq!(
            text(&done.stdout),
            "ran\nnoted\n",
            "{user:?}: {}",
            said(&done)
        );
        let now = |name: &str| std::fs::read_to_string(place.path("").join(name)).unwrap();
        for folder in WRITABLE {
            assert_eq!(
                now(&format!("{folder}/free")),
                "new\n",
                "{user:?}: {folder}"
            );
        }
        for folder in CLOSED {
            assert_eq!(
                now(&format!("{folder}/free")),
                "old\n",
                "{user:?}: {folder}"
            );
            assert!(
                !place.path("").join(folder).join("made").exists(),
                "{folder}"
            );
        }
        for folder in WRITABLE.iter().chain(&CLOSED) {
            for name in ["locked", "frozen/f"] {
                assert_eq!(
                    now(&format!("{folder}/{name}")),
                    "old\n",
                    "{user:?}: {folder}"
                );
            }
            assert!(!place.path("").join(folder).join("frozen/g").exists());
        }
    }
}
