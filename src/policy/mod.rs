//! The intermediate representation: a policy as the compiler sees it.
//!
//! Everything here is resolved (`~` and `${…}` expanded, includes inserted) and validated. Front-ends make it.
//! Back-ends and [`crate::semantics`] take it. Every rule keeps its [`Span`].

mod host;
mod name;
mod operation;
mod pattern;
mod platform;
mod rule;
mod settings;
mod source;
mod subject;
mod syntax;
pub mod syscalls;

pub use host::{Address, Cidr, Host, HostPattern, HostSpec, Ports, Protocol};
pub use name::Name;
pub use operation::{Action, Operation, OperationSet};
pub use pattern::{
    ByteSet, Component, PathPattern, PatternError, Sequence, Token, WordPattern, escape_literal,
};
pub use platform::{Platform, Platforms};
pub use rule::{
    ArgumentPattern, CommandPattern, Condition, CreateMissing, FollowedLink, Objects, Rate, Rule,
    RuleId, SyscallName, ToolPattern,
};
pub use settings::{Environment, Limits};
pub(crate) use source::visible;
pub use source::{FileId, SourceFile, Sources, Span};
pub use subject::{GitFiles, GitPaths, Kubernetes, Subject};

/// A whole policy.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The policy's name: `[A-Za-z0-9][A-Za-z0-9._-]*`, at most 63 bytes (front-ends check it).
    pub name: String,
    /// One or more lines for people.
    pub description: Option<String>,
    /// What happens if no rule matches. Never [`Action::Ask`].
    pub default_action: Action,
    /// The place of `default_action`, or the start of the file if it is absent.
    pub default_span: Span,
    /// Who is confined.
    pub subject: Subject,
    /// In order: the first that matches decides. `rules[i].id == RuleId(i)`.
    pub rules: Vec<Rule>,
    /// The first rule that comes from a base (`extends`). `None`: the policy has no base.
    pub base_rules: Option<RuleId>,
    /// Resource limits.
    pub limits: Limits,
    /// The environment that the program starts with.
    pub environment: Environment,
    /// The Linux capabilities that the program keeps, as `CAP_NET_BIND_SERVICE`, sorted.
    pub capabilities: Vec<String>,
    /// Lints that the author allows in the whole policy: (code, reason).
    pub lint_allowed: Vec<(String, String)>,
    /// The decisions that the author expects. `polc test` checks them.
    pub tests: Vec<PolicyTest>,
    /// Remarks of the front-end about parts that only some layers can keep.
    pub notes: Vec<Note>,
    /// The files the policy was read from, for messages.
    pub sources: Sources,
    /// The number of polc's own rules at the beginning ([`Policy::put_first`]). No policy can remove them.
    own_rules: u32,
}

/// One line of `tests:`.
#[derive(Debug, Clone)]
pub struct PolicyTest {
    /// The expected decision.
    pub expect: Action,
    /// The question.
    pub query: Query,
    /// Where it is asked, if its author says so; `None`: wherever the rule that decides is for.
    pub platforms: Option<Platforms>,
    /// The layers that it is for, by the names of their targets (some of [`LAYERS`]). Empty: every layer.
    pub layers: Vec<&'static str>,
    /// Where the line stands.
    pub span: Span,
}

/// The layers that a test can name: the targets that there are.
pub const LAYERS: [&str; 6] = [
    "landlock", "seccomp", "apparmor", "selinux", "sbpl", "tetragon",
];

impl PolicyTest {
    /// Whether it is for this layer.
    #[must_use]
    pub fn is_for(&self, layer: &str) -> bool {
        self.layers.is_empty() || self.layers.contains(&layer)
    }
}

/// A question to a policy: an operation on one object, or a command.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Query {
    /// Operations (all parts of a group such as `write`) on a path, given as bytes, absolute.
    Path(OperationSet, Vec<u8>),
    /// Connect or bind to a host.
    Host(Operation, HostSpec),
    /// Execute with arguments: the program (a path if it has a `/`, otherwise a base name), and its arguments.
    Command(Vec<Vec<u8>>),
    /// A system call by name.
    Syscall(String),
    /// A tool call by name.
    Tool(String),
}

/// A remark of a front-end, for the ledger and `check`.
#[derive(Debug, Clone)]
pub struct Note {
    /// The rule that it is about.
    pub rule: Option<RuleId>,
    /// One line, no capital, no full stop.
    pub text: String,
    /// The place.
    pub span: Span,
}

impl Policy {
    /// A policy that has only rules, for programs that build one. Front-ends fill in the rest. The order of the rules
    /// gives their ids.
    #[must_use]
    pub fn of_rules(name: &str, default_action: Action, rules: Vec<Rule>) -> Self {
        let mut rules = rules;
        for (i, r) in rules.iter_mut().enumerate() {
            r.id = RuleId(u32::try_from(i).unwrap_or(u32::MAX));
        }
        Self {
            name: name.to_owned(),
            description: None,
            default_action,
            default_span: Span::default(),
            subject: Subject::default(),
            rules,
            base_rules: None,
            limits: Limits::default(),
            environment: Environment::default(),
            capabilities: Vec::new(),
            lint_allowed: Vec::new(),
            tests: Vec::new(),
            notes: Vec::new(),
            sources: Sources::default(),
            own_rules: 0,
        }
    }

    /// Puts one of polc's own rules before all others.
    pub fn put_first(&mut self, rule: Rule) {
        self.rules.insert(0, rule);
        for (i, rule) in self.rules.iter_mut().enumerate() {
            rule.id = RuleId(u32::try_from(i).unwrap_or(u32::MAX));
        }
        let in_notes = self.notes.iter_mut().filter_map(|n| n.rule.as_mut());
        for id in in_notes.chain(&mut self.base_rules) {
            id.0 = id.0.saturating_add(1);
        }
        self.own_rules = self.own_rules.saturating_add(1);
    }

    /// The policy for what the confined program has made itself in the same run: without the rules that leave it out.
    /// `None`: there are no such rules.
    #[must_use]
    pub fn for_what_is_new(&self) -> Option<Self> {
        if !self.rules.iter().any(|r| r.except_new) {
            return None;
        }
        let mut new = self.clone();
        new.rules.retain(|r| !r.except_new);
        for (i, rule) in new.rules.iter_mut().enumerate() {
            rule.id = RuleId(u32::try_from(i).unwrap_or(u32::MAX));
        }
        // Nothing else of it is asked.
        new.notes.clear();
        new.base_rules = None;
        new.own_rules = 0;
        Some(new)
    }

    /// Whether a rule is polc's own: the policy's author did not write it, and cannot lift it.
    #[must_use]
    pub fn is_own(&self, rule: RuleId) -> bool {
        rule.0 < self.own_rules
    }

    /// What decided, for people: a rule (`None`: the default) and its place.
    #[must_use]
    pub fn decider(&self, rule: Option<RuleId>) -> String {
        match rule {
            Some(id) => {
                let rule = self.rule(id);
                format!("rule `{}` at {}", rule.name, self.sources.place(rule.span))
            }
            None => format!(
                "default_action at {}",
                self.sources.place(self.default_span)
            ),
        }
    }

    /// The rule with this id.
    #[must_use]
    pub fn rule(&self, id: RuleId) -> &Rule {
        &self.rules[id.0 as usize]
    }
}
