//! The steps without polc. Each does what its test looks for, so a refusal in the other tests comes from polc.

use super::agent::Agent;
use super::place::{Place, User, can_be};
use super::steps::{refused, works};

#[test]
fn every_refused_step_is_done_where_nobody_refuses_it() {
    let agent = Agent::of("claude-code");
    for user in [User::Root, User::Ordinary] {
        if !agent.is_there() || !can_be(user) {
            continue;
        }
        let place = Place::new(user, agent);
        place.write(&format!("home/{}", agent.settings), "{}\n");
        place.own_all();
        let shell = |script: &str| {
            let words = ["sh", "-c", script].map(str::to_owned);
            place.command(&words).output().unwrap()
        };
        for step in works() {
            if let Some(command) = step.step(&place)["shell"].as_str() {
                let done = shell(command);
                assert!(step.happened(&place), "{}: {done:?}", step.name);
            }
        }
        for step in refused(agent, true) {
            assert!(!step.happened(&place), "{}: before it", step.name);
            let done = shell(&place.filled(&step.command, ""));
            let expected = user == User::Root || !step.by_root;
            assert_eq!(step.happened(&place), expected, "{}: {done:?}", step.name);
        }
    }
}
