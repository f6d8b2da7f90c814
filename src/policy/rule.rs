//! Rules and their objects.

use super::{
    Action, HostPattern, Operation, OperationSet, PathPattern, Platforms, Sequence, Span,
    WordPattern,
};

/// The index of a rule in its policy. It is also the priority: a rule with a smaller index decides first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId(pub u32);

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its index.
    pub id: RuleId,
    /// Its name, unique in the policy; `set/name` for a rule of an included set.
    pub name: String,
    /// Its action.
    pub action: Action,
    /// The operations that it is about. For commands: execute. For syscalls: syscall. For tools: tool.
    pub operations: OperationSet,
    /// The objects that it is about.
    pub objects: Objects,
    /// Where its objects are: a layer of another platform does not see the rule.
    pub platforms: Platforms,
    /// A text for the person who is refused.
    pub message: Option<String>,
    /// Whether `run` makes the directories and files that the rule names and that do not exist.
    pub create_missing: CreateMissing,
    /// A rule that denies leaves out what the program itself has made in the same run, where `run` can tell.
    pub except_new: bool,
    /// How often it may be allowed; only the tool-call gate can count.
    pub rate: Option<Rate>,
    /// Lints that the author allows here: (code, reason).
    pub lint_allowed: Vec<(String, String)>,
    /// The place of the rule's name, or of the rule itself if it has no name.
    pub span: Span,
    /// The rule before it has names that are links on this host. This rule denies what they lead to.
    pub link: Option<Box<FollowedLink>>,
}

/// A name that leads through a symbolic link of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowedLink {
    /// The name.
    pub named: Vec<u8>,
    /// The path that it leads to.
    pub real: Vec<u8>,
}

/// Whether `run` makes what a rule names and what does not exist at the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CreateMissing {
    /// It does not.
    #[default]
    No,
    /// It does.
    Always,
    /// It does if one of these programs is installed.
    For(Vec<String>),
}

/// The objects of a rule, all of one kind. A rule matches what the first list matches and `except` does not.
#[derive(Debug, Clone)]
pub enum Objects {
    /// Files, directories and unix sockets by path.
    Paths {
        /// Any of these.
        paths: Vec<PathPattern>,
        /// None of these.
        except: Vec<PathPattern>,
    },
    /// Network addresses.
    Hosts {
        /// Any of these.
        hosts: Vec<HostPattern>,
        /// None of these.
        except: Vec<HostPattern>,
    },
    /// Programs with their arguments.
    Commands {
        /// Any of these.
        commands: Vec<CommandPattern>,
        /// None of these.
        except: Vec<CommandPattern>,
    },
    /// System calls.
    Syscalls {
        /// Any of these.
        syscalls: Vec<SyscallName>,
        /// None of these.
        except: Vec<SyscallName>,
    },
    /// An agent's tools. `conditions` must all hold for the rule to match.
    Tools {
        /// Any of these.
        tools: Vec<ToolPattern>,
        /// None of these.
        except: Vec<ToolPattern>,
        /// Conditions on the call's arguments, which only the gate sees.
        conditions: Vec<Condition>,
    },
}

/// A system call or a group of them, as in the policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SyscallName {
    /// By name, such as `ptrace`.
    Name(String),
    /// A group, without its `@`, such as `mount`.
    Group(String),
}

/// A glob over tool names: `*` any run of characters, `?` one, case-sensitive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolPattern {
    /// The text in the policy.
    pub text: String,
    /// The pattern for matching.
    pub glob: WordPattern,
}

/// A condition on the arguments of a tool call. Only the tool-call gate can check it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The argument contains one of these texts, in any case of letters. With `negated`, it must not.
    ArgumentContains {
        /// Which argument.
        argument: String,
        /// Any of these.
        texts: Vec<String>,
        /// Reverses the condition.
        negated: bool,
    },
    /// The argument is a path in one of these. With `negated`, it must not be.
    PathWithin {
        /// Which argument. Empty: any argument that is a path.
        argument: String,
        /// Any of these.
        paths: Vec<PathPattern>,
        /// Reverses the condition.
        negated: bool,
    },
    /// The command has no shell metacharacters.
    ShellSafe,
    /// The first word of the command is one of these.
    CommandIn(Vec<String>),
    /// The contents are scanned for secrets and injected instructions.
    ContentScan(Vec<String>),
}

/// A rate: at most `calls` in `seconds`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The number of calls.
    pub calls: u32,
    /// The time.
    pub seconds: u32,
}

/// A program with patterns for its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandPattern {
    /// The text in the policy.
    pub text: String,
    /// The program as a path pattern. A base name `git` becomes `/**/git`, with [`CommandPattern::base_name`] set.
    pub program: PathPattern,
    /// Whether the first word had no `/`.
    pub base_name: bool,
    /// The other words.
    pub arguments: ArgumentPattern,
}

/// A pattern over a list of arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgumentPattern {
    /// One pattern for each argument.
    pub words: Vec<WordPattern>,
    /// Whether any number of arguments may follow (a last word `**`).
    pub rest: bool,
}

impl ArgumentPattern {
    /// Any arguments. A path rule with `execute` has this pattern.
    #[must_use]
    pub fn any() -> Self {
        Self {
            words: Vec::new(),
            rest: true,
        }
    }

    /// Whether every list of arguments matches.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.words.is_empty() && self.rest
    }
}

impl Rule {
    /// A rule that has only a name, an action, operations and objects.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        action: Action,
        operations: OperationSet,
        objects: Objects,
    ) -> Self {
        Self {
            id: RuleId(0),
            name: name.into(),
            action,
            operations,
            objects,
            platforms: Platforms::ALL,
            message: None,
            create_missing: CreateMissing::No,
            except_new: false,
            rate: None,
            lint_allowed: Vec::new(),
            span: Span::default(),
            link: None,
        }
    }

    /// The path patterns of the rule, with its exceptions. Programs are paths.
    #[must_use]
    pub fn sequences(&self) -> Vec<&Sequence> {
        match &self.objects {
            Objects::Paths { paths, except } => paths
                .iter()
                .chain(except)
                .flat_map(|p| &p.sequences)
                .collect(),
            Objects::Commands { commands, except } => commands
                .iter()
                .chain(except)
                .flat_map(|c| &c.program.sequences)
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Whether the rule is about `operation`, on paths (or programs, for execute).
    #[must_use]
    pub fn concerns_paths(&self, operation: Operation) -> bool {
        self.operations.contains(operation)
            && matches!(
                self.objects,
                Objects::Paths { .. } | Objects::Commands { .. }
            )
    }

    /// Whether the rule is about `operation`, on hosts.
    #[must_use]
    pub fn concerns_hosts(&self, operation: Operation) -> bool {
        self.operations.contains(operation) && matches!(self.objects, Objects::Hosts { .. })
    }
}
