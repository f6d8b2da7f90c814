//! Where what is trusted is kept: never where a repository could have put it.

use super::*;

impl Place {
    fn with(&self, folder: &str, args: &[&str], variables: &[(&str, &Path)]) -> Output {
        let mut c = self.command(folder, args);
        c.envs(variables.iter().copied());
        c.output().unwrap()
    }
}

/// Copies the records, as a clone of a repository that holds them would.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn a_state_directory_that_the_repository_brings_is_not_believed() {
    if !landlock(1) {
        return;
    }
    let place = Place::new();
    place.trust();
    let trust = place.state().join("trust");
    for brought in [
        "home/repo/st/polc/trust",
        "home/repo/h/.local/state/polc/trust",
    ] {
        copy(&trust, &place.path(brought));
    }
    symlink("repo/st", place.path("home/away")).unwrap();
    let (st, h) = (place.path("home/repo/st"), place.path("home/repo/h"));
    let (away, above) = (place.path("home/away"), place.path("home"));
    let run = ["run", "--", "sh", "-c", "echo here"];
    let cases: [(&str, &Path, &str); 4] = [
        ("XDG_STATE_HOME", &st, "unset XDG_STATE_HOME"),
        ("XDG_STATE_HOME", &away, "unset XDG_STATE_HOME"),
        ("HOME", &h, "set HOME to"),
        (
            "XDG_STATE_HOME",
            &st.join("nothing"),
            "unset XDG_STATE_HOME",
        ),
    ];
    for (variable, value, fix) in cases {
        for args in [
            &run[..],
            &["trust"],
            &["trust", "--revoke"],
            &["trust", "--show"],
        ] {
            for folder in ["home/repo", "home/repo/sub"] {
                let done = place.with(folder, args, &[(variable, value)]);
                stopped(&done, "where the policy comes from");
                if variable == "XDG_STATE_HOME" {
                    assert!(err(&done).contains(fix), "{}", err(&done));
                }
            }
        }
    }
    assert!(!st.join("nothing").exists());
    // The policy lies within the state directory.
    std::fs::create_dir_all(place.path("home/polc/.git")).unwrap();
    place.write("home/polc/polc.yaml", POLICY);
    let done = place.with("home/polc", &run, &[("XDG_STATE_HOME", &above)]);
    stopped(&done, "where the policy comes from");
    // A policy that is named asks no record.
    let named = ["run", "-p", "polc.yaml", "--", "sh", "-c", "echo here"];
    started(&place.with("home/repo", &named, &[("XDG_STATE_HOME", &st)]));
    // One elsewhere is the user's.
    let elsewhere = place.path("bin");
    let variables = [("XDG_STATE_HOME", elsewhere.as_path())];
    stopped(
        &place.with("home/repo", &run, &variables),
        "is not trusted yet",
    );
    let done = place.with("home/repo", &["trust"], &variables);
    assert_eq!(status(&done), 0, "{}", err(&done));
    started(&place.with("home/repo", &run, &variables));
}

#[test]
fn a_submodule_is_of_the_repository_around() {
    if !landlock(1) {
        return;
    }
    let place = Place::new();
    place.write("home/repo/sub/.git", "gitdir: ../.git/modules/sub\n");
    place.write("home/repo/sub/polc.yaml", POLICY);
    let st = place.path("home/repo/st");
    let run = ["run", "--", "true"];
    let done = place.with("home/repo/sub", &run, &[("XDG_STATE_HOME", &st)]);
    stopped(&done, "where the policy comes from");
}

#[test]
fn a_record_that_a_checkout_makes_or_that_has_two_names_is_none() {
    if !landlock(1) {
        return;
    }
    let place = Place::new();
    place.trust();
    let record = std::fs::read_dir(place.state().join("trust"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| p.extension() == Some(OsStr::new("json")))
        .unwrap();
    let mode = |mode| {
        std::fs::set_permissions(&record, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(0o644);
    for done in place.starts("home/repo", "echo here") {
        stopped(&done, "can be read by others");
        assert!(err(&done).contains("`rm '"), "{}", err(&done));
    }
    mode(0o600);
    std::fs::hard_link(&record, place.path("home/second")).unwrap();
    for done in place.starts("home/repo", "echo here") {
        stopped(&done, "has a second name");
    }
    std::fs::remove_file(place.path("home/second")).unwrap();
    place
        .starts("home/repo", "echo here")
        .iter()
        .for_each(started);
}

/// What to do is said with the name of the directory.
#[test]
fn a_home_that_others_can_write_is_told_with_what_to_type() {
    if !landlock(1) {
        return;
    }
    let place = Place::new();
    place.trust();
    let home = place.path("home");
    std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o777)).unwrap();
    let [done, _] = place.starts("home/repo", "echo here");
    stopped(&done, &format!("type `chmod go-w '{}'`", home.display()));
}
