//! Lints, which find what the author of a policy probably does not mean.
//!
//! A lint never guesses. Each is a statement about the policy's meaning, with an object that shows it. The author may
//! still want what a lint shows. So every lint can be allowed with a reason, on its rule or for the whole policy:
//!
//! ```yaml
//! - name: build-tree
//!   action: allow
//!   operations: [read, write, execute]
//!   paths: ["${workspace}/**"]
//!   allow_lints: [{code: L004, reason: the build runs what it has built}]
//! ```
//!
//! L001 to L003 do not apply to the rules of polc's own sets, because a set is written for many policies. They do not
//! apply to rules that polc derives for links of this host either.

mod dangers;
mod dead;
mod keys;
mod links;
#[cfg(test)]
mod tests;

pub use keys::{Key, keys};

use crate::diagnostics::Diagnostic;
use crate::fidelity::Object;
use crate::host::{Followed, View};
use crate::policy::{FileId, Platform, Policy, Rule, RuleId};
use crate::semantics::{Meaning, TooLarge};

/// How a policy is judged.
#[derive(Debug, Clone, Default)]
pub struct Judge {
    /// Home directories whose keys and start-up files count, in addition to the policy's own home.
    pub homes: Vec<Vec<u8>>,
    /// A stranger wrote the policy, so its `allow_lints` do not count. Those in polc's own files still count.
    pub of_a_stranger: bool,
}

/// All lints of a policy, as warnings, in the order of their rules.
///
/// # Errors
/// The policy's automata are too large: then nothing is known.
pub fn lints(meaning: &Meaning<'_>, judge: &Judge) -> Result<Vec<Diagnostic>, TooLarge> {
    let policy = meaning.policy();
    let differ = Platform::ALL.into_iter().any(|p| policy.hides_from(p));
    let platforms = &Platform::ALL[..if differ { Platform::ALL.len() } else { 1 }];
    let mut useless: Vec<(Platform, Finding)> = Vec::new();
    let mut found: Vec<Finding> = Vec::new();
    for platform in platforms {
        let here = meaning.on(*platform);
        let mut own: Vec<Finding> = Vec::new();
        dead::find(here, &mut own)?;
        useless.extend(own.into_iter().map(|f| (*platform, f)));
        let mut own: Vec<Finding> = Vec::new();
        dangers::find(here, &judge.homes, &mut own)?;
        own.retain(|f| !found.iter().any(|known| known.is_like(f)));
        found.append(&mut own);
    }
    // A danger on one platform is one. A rule is of no use where it is of none on each platform that it is for.
    let mut of_no_use: Vec<Finding> = Vec::new();
    for (_, f) in &useless {
        let everywhere = platforms.iter().all(|p| {
            let seen = f
                .rule
                .is_none_or(|id| policy.rule(id).platforms.contains(*p));
            !seen
                || useless
                    .iter()
                    .any(|(on, other)| on == p && other.is_like(f))
        });
        if everywhere && !of_no_use.iter().any(|known| known.is_like(f)) {
            of_no_use.push(f.clone());
        }
    }
    of_no_use.append(&mut found);
    Ok(told(policy, judge, of_no_use))
}

/// The lints that need this host: what its directories and links mean for the policy. `followed` is what polc found
/// when it loaded the policy.
#[must_use]
pub fn on_host(
    meaning: &Meaning<'_>,
    judge: &Judge,
    followed: &Followed,
    view: &dyn View,
) -> Vec<Diagnostic> {
    let mut found: Vec<Finding> = Vec::new();
    // Where an automaton is too large, `lints` has said so.
    let _ = links::find(meaning.on(Platform::HOST), followed, view, &mut found);
    told(meaning.policy(), judge, found)
}

fn told(policy: &Policy, judge: &Judge, mut found: Vec<Finding>) -> Vec<Diagnostic> {
    found.retain(|f| {
        let allowed = |list: &[(String, String)]| list.iter().any(|(code, _)| code == f.code);
        let believed = |rule: &Rule| !judge.of_a_stranger || comes_with_polc(policy, rule);
        let by_rule = f
            .rule
            .map(|id| policy.rule(id))
            .is_some_and(|rule| believed(rule) && allowed(&rule.lint_allowed));
        let by_policy = !judge.of_a_stranger && allowed(&policy.lint_allowed);
        !by_rule && !by_policy
    });
    found.sort_by_key(|f| (f.rule.map_or(u32::MAX, |r| r.0), f.code));
    found
        .into_iter()
        .map(|f| f.into_diagnostic(policy))
        .collect()
}

/// One lint that was found.
#[derive(Clone)]
struct Finding {
    code: &'static str,
    /// The rule that it is about. `None`: the default.
    rule: Option<RuleId>,
    message: String,
    help: Vec<String>,
    /// Other rules that matter, and why.
    others: Vec<(RuleId, String)>,
}

impl Finding {
    fn new(code: &'static str, rule: Option<RuleId>, message: String) -> Self {
        Self {
            code,
            rule,
            message,
            help: Vec::new(),
            others: Vec::new(),
        }
    }

    /// Whether it says the same, perhaps of another object or with other help.
    fn is_like(&self, other: &Self) -> bool {
        let same = (self.code, self.rule) == (other.code, other.rule);
        // L003 is about one pattern of a rule, which its message names.
        same && (self.code != "L003" || self.message == other.message)
    }

    fn help(mut self, text: impl Into<String>) -> Self {
        self.help.push(text.into());
        self
    }

    fn into_diagnostic(self, policy: &Policy) -> Diagnostic {
        let span = self
            .rule
            .map_or(policy.default_span, |id| policy.rule(id).span);
        let mut out = Diagnostic::warning(self.code, self.message).at(span, "");
        for (rule, text) in self.others {
            out = out.and_at(policy.rule(rule).span, text);
        }
        out.help = self.help;
        out
    }
}

/// Whether the user wrote the rule, so that it is not from a set that comes with polc.
fn is_own(policy: &Policy, rule: &Rule) -> bool {
    rule.link.is_none() && (rule.span.file == FileId(0) || !comes_with_polc(policy, rule))
}

/// Whether the rule is in a file that is built into polc.
fn comes_with_polc(policy: &Policy, rule: &Rule) -> bool {
    let source = policy.sources.get(rule.span.file);
    source.is_some_and(|s| s.name.starts_with("builtin:"))
}

fn path(bytes: Vec<u8>) -> Object {
    Object::Path(bytes)
}
