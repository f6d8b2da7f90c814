//! `polc test`: the policy's own tests.

use super::{Done, Global, Outcome, input, output};
use polc::semantics::decide_query;
use std::fmt::Write;

/// Run the policy's own tests.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Policies to test; without any, the policy of `--policy`
    #[arg(value_name = "FILE")]
    files: Vec<String>,
}

pub fn run(global: &Global, args: &Args) -> Done {
    let names: Vec<Option<String>> = if args.files.is_empty() {
        vec![global.policy.clone()]
    } else {
        args.files.iter().cloned().map(Some).collect()
    };
    let mut out = String::new();
    let (mut passed, mut failed) = (0usize, 0usize);
    for name in names {
        let loaded = input::load(
            &Global {
                policy: name,
                ..global.clone()
            },
            input::Purpose::Host,
        )?;
        let policy = &loaded.policy;
        for t in &policy.tests {
            let decision = decide_query(policy, &t.query);
            if decision.action == t.expect {
                passed += 1;
                continue;
            }
            failed += 1;
            let by = decision.rule.map_or("default_action".to_owned(), |id| {
                let r = policy.rule(id);
                format!("rule `{}` at {}", r.name, policy.sources.place(r.span))
            });
            let _ = writeln!(
                out,
                "FAILED {}: expected {}, but it is {} by {by}",
                policy.sources.place(t.span),
                t.expect,
                decision.action
            );
        }
    }
    let _ = writeln!(out, "{passed} passed, {failed} failed");
    output::stdout(out.as_bytes())?;
    Ok(if failed == 0 {
        Outcome::Fine
    } else {
        Outcome::Refused
    })
}
