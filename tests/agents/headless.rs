//! Each agent without a person: it starts, does what the policy allows, and cannot do the rest.

use super::agent::{AGENTS, Agent, folder};
use super::model::Model;
use super::place::{Place, SECRET, User, can_be};
use super::steps::{refused, works};
use std::process::Stdio;
use std::time::Instant;

/// The first run in a home in which the agent has never run, and a second run with the files of the first.
fn both_runs(agent: &Agent, user: User) {
    if !agent.is_there() || !can_be(user) {
        return;
    }
    if user == User::Ordinary {
        assert!(
            Place::reachable(&folder()),
            "an ordinary user cannot reach {}: set POLC_AGENTS_DIR to a directory that everybody can read",
            folder().display()
        );
    }
    let place = Place::new(user, agent);
    once(agent, &place, false);
    assert!(
        place.path(&format!("home/{}", agent.state)).exists(),
        "{}: its state was not kept",
        agent.policy
    );
    place.write(&format!("home/{}", agent.settings), own_settings(agent));
    place.fresh_workspace();
    once(agent, &place, true);
}

/// Settings without any effect.
fn own_settings(agent: &Agent) -> &'static str {
    if agent.settings.ends_with(".toml") {
        "# mine\n"
    } else {
        "{}\n"
    }
}

fn once(agent: &Agent, place: &Place, with_state: bool) {
    let (works, refused) = (works(), refused(agent, with_state));
    let steps: Vec<_> = works
        .iter()
        .map(|s| s.step(place))
        .chain(refused.iter().map(|s| s.step(place)))
        .collect();
    let model = Model::start(&place.path(""), &steps);
    let mut words = vec![place.path("bin/polc").display().to_string()];
    words.extend(["run", "-p"].map(str::to_owned));
    words.push(place.policy(agent, &model.host).display().to_string());
    words.push("--".to_owned());
    words.extend(agent.words(place, &model.url));
    let began = Instant::now();
    let done = place
        .command(&words)
        .envs(agent.variables(place, &model.url))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let took = began.elapsed();
    let results = model.results();
    let said = format!(
        "{} as {:?}, {}: {}\n{}\n{}\n{results:#?}",
        agent.policy,
        place.user,
        if with_state {
            "with state"
        } else {
            "first run"
        },
        done.status,
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr),
    );
    assert!(done.status.success(), "{said}");
    assert_eq!(
        results.len(),
        steps.len(),
        "not every step was tried: {said}"
    );
    let mut wrong: Vec<String> = Vec::new();
    for s in works.iter().filter(|s| !s.happened(place)) {
        wrong.push(format!("{} does not work", s.name));
    }
    for s in refused.iter().filter(|s| s.happened(place)) {
        wrong.push(format!("{} was not refused", s.name));
    }
    if results.iter().any(|r| r.contains(SECRET)) {
        wrong.push("a secret reached the model".to_owned());
    }
    assert!(wrong.is_empty(), "{wrong:#?}\n{said}");
    eprintln!(
        "{} as {:?}, {}: {} work, {} refused, {:.1} s",
        agent.policy,
        place.user,
        if with_state {
            "with state"
        } else {
            "first run"
        },
        works.len(),
        refused.len(),
        took.as_secs_f32()
    );
}

macro_rules! agents {
    ($($name:ident $policy:literal)*) => {
        $(mod $name {
            use super::{Agent, User, both_runs};

            #[test]
            fn as_root() {
                both_runs(Agent::of($policy), User::Root);
            }

            #[test]
            fn as_an_ordinary_user() {
                both_runs(Agent::of($policy), User::Ordinary);
            }
        })*

        #[test]
        fn every_agent_is_tried() {
            let tried = [$($policy),*];
            assert_eq!(AGENTS.each_ref().map(|a| a.policy), tried);
        }
    };
}

agents! {
    claude_code "claude-code"
    codex "codex"
    gemini_cli "gemini-cli"
    qwen_code "qwen-code"
    opencode "opencode"
    copilot_cli "copilot-cli"
}
