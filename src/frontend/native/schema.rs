//! The JSON Schema of the language, for editors, and for the reference in `docs/`.
//!
//! The types here describe the language as data. No policy is parsed into them, because such a parser would stop at the
//! first error. A test compares them with the real parser, on every policy of the repository and on every wrong one.
//! The schema is draft 7, which editors' YAML servers know. Only the parser checks what a schema cannot say: unique
//! names, valid patterns, values that exist.

// Only `derive` reads the fields.
#![allow(dead_code)]

use super::value::CAPABILITIES;
use crate::frontend::builtin::{self, Builtin};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A policy: what a program may do. Every key that is not known is an error.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, title = "polc policy")]
struct Policy {
    /// The version of the language.
    version: Version,
    /// The name of the policy. Artifacts are named after it.
    name: Name,
    /// What the policy is for, in words for people.
    #[schemars(length(min = 1))]
    description: Option<String>,
    /// The policy that this one builds on: `builtin:NAME`, or a file relative to this one. polc reads the rules of this
    /// file first, then the rules of the base. A key of this file replaces the same key of the base. In `subject`,
    /// `limits` and `environment.set` each entry replaces the same entry. `environment.pass`, `tests` and `allow_lints`
    /// are joined.
    extends: Option<BaseName>,
    /// The platforms that the rules and tests of this file are for. The default is all of them. A file that includes this
    /// one may name fewer.
    #[schemars(length(min = 1))]
    platforms: Option<Vec<Platform>>,
    /// What happens if no rule matches. The default is `deny`.
    default_action: Option<DefaultAction>,
    /// Who is confined, and the values of `~`, `${home}`, `${workspace}` and `${tmp}`.
    subject: Option<Subject>,
    /// The rules, read from top to bottom. The first rule that matches decides.
    rules: Vec<Rule>,
    /// Resource limits.
    limits: Option<Limits>,
    /// The environment variables that the program gets. Without this key it gets all of the caller's.
    environment: Option<Environment>,
    /// The Linux capabilities that the program keeps. The default is none. Names are with or without `CAP_`.
    capabilities: Option<Vec<Capability>>,
    /// Lints that are allowed in the whole policy.
    #[schemars(length(min = 1))]
    allow_lints: Option<Vec<AllowedLint>>,
    /// Questions with the answer that you expect. `polc test` asks them of the policy and of the layers of this host. A
    /// test of this file replaces a test of the base that asks the same question.
    tests: Option<Vec<Test>>,
}

struct Version;

impl JsonSchema for Version {
    fn schema_name() -> Cow<'static, str> {
        "Version".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "const": 1})
    }
}

/// A name has letters, digits, `.`, `_` and `-`. It is unique in the policy.
#[derive(JsonSchema)]
#[schemars(transparent)]
struct Name(#[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"))] String);

/// What a rule says.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Action {
    /// It may happen.
    Allow,
    /// It must not happen.
    Deny,
    /// A person is asked. A layer that cannot ask denies it.
    Ask,
}

/// What happens if no rule matches.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum DefaultAction {
    /// It may happen.
    Allow,
    /// It must not happen.
    Deny,
}

/// Who is confined.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Subject {
    /// The program, as a path pattern. AppArmor attaches the profile to it, SELinux makes it the entry point, and Tetragon
    /// matches it.
    executable: Option<PathPattern>,
    /// The home directory: an absolute path, or `auto`, which is the caller's (`/home/agent` for `emit`). It is the value
    /// of `~` and `${home}`.
    #[schemars(regex(pattern = "^(auto$|/)"), extend("examples" = ["auto", "/home/agent"]))]
    home: Option<String>,
    /// The directory that the program works in, or `auto`, which is the enclosing repository (`/workspace` for `emit`). It
    /// is the value of `${workspace}`.
    #[schemars(regex(pattern = r"^(auto$|/|~|\$\{)"), extend("examples" = ["auto", "/workspace"]))]
    workspace: Option<String>,
    /// The directory for temporary files, or `auto`, which is the system's (`/tmp` for `emit`). It is the value of
    /// `${tmp}`.
    #[schemars(regex(pattern = r"^(auto$|/|~|\$\{)"), extend("examples" = ["auto", "/tmp"]))]
    tmp: Option<String>,
    /// The pods that are confined, for targets in a cluster.
    kubernetes: Option<Kubernetes>,
}

/// A selection of pods.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Kubernetes {
    /// The namespace.
    #[schemars(regex(pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"))]
    namespace: Option<String>,
    /// Labels that a pod must have, all of them.
    labels: Option<BTreeMap<String, Label>>,
}

/// The value of a label.
#[derive(JsonSchema)]
#[schemars(transparent)]
struct Label(
    #[schemars(regex(pattern = r"^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$"))] String,
);

/// A path pattern is absolute after `~` and `${…}` are expanded. `*` is any run of bytes but `/`, and `?` is one byte but
/// `/`. `[a-z]` and `[!x]` are classes, `{a,b}` is either, and `**` is any number of components. `/a/**` is `/a` and
/// everything beneath it.
///
/// Four variables are about the repository of the workspace, as it is on this host. They can only begin a path:
///
/// - `${git_dir}` is the directory of this checkout, and `${git_common_dir}` the one that checkouts share
/// - `${git_hooks}` are the directories of hooks, with what links in them lead to
/// - `${git_config}` are the files that configurations include
///
/// Without a repository, and for `emit` without such files, the pattern matches nothing. In a rule that allows,
/// `${git_hooks}` and `${git_config}` leave out what the repository's own configuration names: whoever wrote the
/// repository wrote that.
#[derive(JsonSchema)]
#[schemars(transparent)]
struct PathPattern(
    #[schemars(
        regex(pattern = r"^(/|~(/|$)|\$\{(home|workspace|tmp|git_dir|git_common_dir|git_hooks|git_config)\}|\{|\\)"),
        extend("examples" = ["${workspace}/**", "~/.ssh/**", "/usr/{bin,lib}/**", "${tmp}/**"])
    )]
    String,
);

/// A host is `[tcp://|udp://]HOST[:PORTS]`. HOST is a name, `*.name`, an address, a block, `localhost` or `*`. PORTS is a
/// port, a range or `*`.
#[derive(JsonSchema)]
#[schemars(transparent)]
struct HostPattern(
    #[schemars(
        length(min = 1),
        regex(pattern = r"^((tcp|udp)://)?[^/ ]+(/[0-9]{1,3}.*)?$"),
        extend("examples" = ["example.org:443", "*.example.org:443", "10.0.0.0/8", "udp://10.0.0.2:53", "localhost:8000-8080"])
    )]
    String,
);

/// A program with its arguments, in the words and quotes of a shell. polc expands nothing in it. `*` is any run of bytes
/// of an argument. A last word `**` is any number of arguments.
#[derive(JsonSchema)]
#[schemars(transparent)]
struct CommandPattern(
    #[schemars(regex(pattern = r"[^ \t\n]"), extend("examples" = ["git status", "cargo **", "/usr/bin/make *"]))]
     String,
);

/// A system call by its name, or a group with `@` before it.
#[derive(JsonSchema)]
#[schemars(transparent)]
struct Syscall(
    #[schemars(regex(pattern = "^@?[a-z0-9_]+$"), extend("examples" = ["@mount", "@io_uring", "ptrace"]))]
     String,
);

/// A glob over the names of an agent's tools.
#[derive(JsonSchema)]
#[schemars(transparent)]
struct Tool(#[schemars(length(min = 1), extend("examples" = ["Bash", "mcp__*"]))] String);

/// What is done to a file, a directory or a unix socket.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum PathOperation {
    /// The contents of files, the entries of directories, and mapping a file as code.
    Read,
    /// The entries of directories alone.
    List,
    /// Changing the contents of a file that exists.
    Edit,
    /// Making a file, directory, symbolic link, fifo, socket or device.
    Create,
    /// Removing it, or renaming it away.
    Delete,
    /// Mode, owner, times, extended attributes.
    Metadata,
    /// `edit`, `create`, `delete` and `metadata` together.
    Write,
    /// Starting it as a program.
    Execute,
    /// Connecting to a unix socket.
    Connect,
}

/// What is done with a network address.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum HostOperation {
    /// Connecting to it.
    Connect,
    /// Listening on it.
    Bind,
}

/// A rule: an action for operations on objects of one kind. Or `include`.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Rule {
    Paths(PathRule),
    Hosts(HostRule),
    Commands(CommandRule),
    Syscalls(SyscallRule),
    Tools(ToolRule),
    Include(Include),
}

/// The keys that all rules have, with those of one kind. (A flattened struct would come out as
/// `unevaluatedProperties`, which draft 7 does not have.)
macro_rules! rule {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(JsonSchema)]
        #[schemars(deny_unknown_fields)]
        struct $name {
            /// The name of the rule, unique in the policy. Messages, the ledger and `explain` use it.
            name: Name,
            /// Whether the operations are allowed, denied or asked about.
            action: Action,
            $($(#[$field_doc])* $field: $type,)*
            /// The platforms on which its objects exist. The default is all of them. A layer of another platform does not
            /// see the rule.
            #[schemars(length(min = 1))]
            platforms: Option<Vec<Platform>>,
            /// A text for the person who is refused or asked.
            #[schemars(length(min = 1))]
            message: Option<String>,
            /// How often it may be allowed, such as `10/1m`. Only the tool-call gate can count.
            #[schemars(regex(pattern = "^[0-9]+/([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?[smhd]?$"))]
            rate: Option<String>,
            /// Lints that are allowed for this rule.
            #[schemars(length(min = 1))]
            allow_lints: Option<Vec<AllowedLint>>,
        }
    };
}

rule! {
    /// A rule over files, directories and unix sockets by their paths.
    PathRule {
        /// The operations that the rule is about.
        #[schemars(length(min = 1))]
        operations: Vec<PathOperation>,
        /// The paths that the rule is about.
        #[schemars(length(min = 1))]
        paths: Vec<PathPattern>,
        /// What the rule leaves out.
        #[schemars(length(min = 1))]
        except: Option<Vec<PathPattern>>,
        /// Whether `run` makes what the rule names, if it does not exist at start. It makes a directory for a path that ends
        /// in `/**`, and a file for a path without wildcards: empty, or `{}` where its name ends in `.json`. It makes parents
        /// too; in the home directory nobody else may read them. It makes nothing that a rule above denies, and nothing
        /// behind a symbolic link. With a list of programs, it does so only if one of them is installed.
        create_missing: Option<CreateMissing>,
        /// Whether a rule that denies `edit`, `delete` or `metadata` leaves out what the program itself has made in the same
        /// run, at a name where the policy allows `create`. Only `run` with the guard can tell. Every other layer denies
        /// it, or leaves it open as the ledger says; `--require` denies it. The default is `false`.
        except_new: Option<bool>,
    }
}

rule! {
    /// A rule over network addresses.
    HostRule {
        /// The operations that the rule is about.
        #[schemars(length(min = 1))]
        operations: Vec<HostOperation>,
        /// The hosts that the rule is about.
        #[schemars(length(min = 1))]
        hosts: Vec<HostPattern>,
        /// What the rule leaves out.
        #[schemars(length(min = 1))]
        except: Option<Vec<HostPattern>>,
    }
}

rule! {
    /// A rule over programs with their arguments. A kernel layer sees only the program.
    CommandRule {
        /// The commands that the rule is about.
        #[schemars(length(min = 1))]
        commands: Vec<CommandPattern>,
        /// What the rule leaves out.
        #[schemars(length(min = 1))]
        except: Option<Vec<CommandPattern>>,
    }
}

rule! {
    /// A rule over system calls.
    SyscallRule {
        /// Any of these is called.
        #[schemars(length(min = 1))]
        syscalls: Vec<Syscall>,
        /// What the rule leaves out.
        #[schemars(length(min = 1))]
        except: Option<Vec<Syscall>>,
    }
}

rule! {
    /// A rule over an agent's tools. No kernel layer sees tool calls: only a gate that the agent asks before each call does.
    ToolRule {
        /// Any of these is called.
        #[schemars(length(min = 1))]
        tools: Vec<Tool>,
        /// What the rule leaves out.
        #[schemars(length(min = 1))]
        except: Option<Vec<Tool>>,
    }
}

/// The rules of a set, inserted at this place. They are called `set/rule`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Include {
    /// `builtin:NAME`, or a file relative to this one.
    include: IncludeName,
}

/// The name of something built in, or of a file.
fn builtin_or_file(all: &[Builtin], description: &str) -> Schema {
    let names: Vec<String> = all.iter().map(|b| format!("builtin:{}", b.name)).collect();
    json_schema!({
        "description": description,
        "anyOf": [
            {"type": "string", "enum": names},
            {"type": "string", "pattern": "^(?!builtin:).+"},
        ]
    })
}

struct IncludeName;

impl JsonSchema for IncludeName {
    fn schema_name() -> Cow<'static, str> {
        "IncludeName".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        builtin_or_file(
            builtin::rule_sets(),
            "A built-in rule set, or a file relative to this one.",
        )
    }
}

struct BaseName;

impl JsonSchema for BaseName {
    fn schema_name() -> Cow<'static, str> {
        "BaseName".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        builtin_or_file(
            builtin::policies(),
            "A built-in policy, or a file relative to this one.",
        )
    }
}

/// Whether `run` makes what does not exist.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum CreateMissing {
    /// Always, or never.
    Plain(bool),
    /// Only if one of these programs is installed.
    For(#[schemars(length(min = 1))] Vec<ProgramName>),
}

/// The name by which a program is found in PATH.
#[derive(JsonSchema)]
#[schemars(transparent)]
struct ProgramName(#[schemars(regex(pattern = "^[^/]+$"), extend("examples" = ["npm"]))] String);

/// A lint that is allowed.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct AllowedLint {
    /// The code of the lint, such as `L004`.
    #[schemars(regex(pattern = "^L[0-9]{3}$"))]
    code: String,
    /// Why it is allowed, for the next reader.
    #[schemars(length(min = 1))]
    reason: String,
}

/// Resource limits. Without a key there is no such limit.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Limits {
    /// Memory.
    memory: Option<Size>,
    /// Processors. `0.5` is half of one.
    #[schemars(range(min = 0.001, max = 1000))]
    cpus: Option<f64>,
    /// Processes and threads.
    #[schemars(range(min = 1, max = 4_194_304))]
    processes: Option<u64>,
    /// Open descriptors of each process.
    #[schemars(range(min = 1, max = 2_147_483_584_u64))]
    open_files: Option<u64>,
    /// Processor time of each process.
    cpu_time: Option<Duration>,
    /// Elapsed time of the whole run.
    wall_time: Option<Duration>,
    /// The size of each file that is written.
    file_size: Option<Size>,
}

/// A number and `B`, `KiB`, `MiB`, `GiB` or `TiB`: `2GiB`.
#[derive(JsonSchema)]
#[schemars(transparent)]
struct Size(
    #[schemars(regex(pattern = r"^[0-9]+(\.[0-9]{1,3})?(B|KiB|MiB|GiB|TiB)$"), extend("examples" = ["512MiB", "2GiB"]))]
     String,
);

/// A number and `s`, `m`, `h` or `d`, or several: `1h30m`.
#[derive(JsonSchema)]
#[schemars(transparent)]
struct Duration(
    #[schemars(
        regex(pattern = "^(?=.)([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$"),
        extend("examples" = ["30s", "1h", "1h30m"])
    )]
    String,
);

/// The environment that the program starts with.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Environment {
    /// The variables that the program gets from the caller. A name may end in `*`. The default is all of them.
    pass: Option<Vec<PassedVariable>>,
    /// The variables that polc sets. It expands `${home}`, `${workspace}` and `${tmp}`. `\$` is a `$`.
    #[schemars(extend("propertyNames" = {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}))]
    set: Option<BTreeMap<String, String>>,
}

/// The name of an environment variable. It may end in `*`.
#[derive(JsonSchema)]
#[schemars(transparent)]
struct PassedVariable(#[schemars(regex(pattern = r"^([A-Za-z_][A-Za-z0-9_]*\*?|\*)$"))] String);

struct Capability;

impl JsonSchema for Capability {
    fn schema_name() -> Cow<'static, str> {
        "Capability".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<String> = CAPABILITIES.iter().map(|c| format!("CAP_{c}")).collect();
        json_schema!({
            "description": "A Linux capability, as in capabilities(7).",
            "anyOf": [
                {"type": "string", "enum": names},
                {"type": "string", "pattern": "^([Cc][Aa][Pp]_)?[A-Za-z_]+$"},
            ]
        })
    }
}

/// A system that a rule or a test is for.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Platform {
    /// Linux.
    Linux,
    /// macOS.
    MacOs,
}

/// A question, and the answer that you expect.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Test {
    Allow(AllowTest),
    Deny(DenyTest),
    Ask(AskTest),
}

/// A question whose answer is `allow`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct AllowTest {
    /// An operation and one object, or `run` and a command.
    allow: Question,
    /// The platforms on which it is asked. Without them all rules answer.
    #[schemars(length(min = 1))]
    platforms: Option<Vec<Platform>>,
    /// The layers that must let it happen. Without this key: every layer. The policy is always asked.
    #[schemars(length(min = 1))]
    layers: Option<Vec<Layer>>,
}

/// A question whose answer is `deny`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct DenyTest {
    /// An operation and one object, or `run` and a command.
    deny: Question,
    /// The platforms on which it is asked. Without them all rules answer.
    #[schemars(length(min = 1))]
    platforms: Option<Vec<Platform>>,
    /// The layers that must refuse it. Without this key a layer may let it through if its ledger says so.
    #[schemars(length(min = 1))]
    layers: Option<Vec<Layer>>,
}

/// A question whose answer is `ask`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct AskTest {
    /// An operation and one object, or `run` and a command.
    ask: Question,
    /// The platforms on which it is asked. Without them all rules answer.
    #[schemars(length(min = 1))]
    platforms: Option<Vec<Platform>>,
    /// The layers that must refuse it. Without this key a layer may let it through if its ledger says so.
    #[schemars(length(min = 1))]
    layers: Option<Vec<Layer>>,
}

/// A layer, by the name of its target.
struct Layer;

impl JsonSchema for Layer {
    fn schema_name() -> Cow<'static, str> {
        "Layer".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A layer, by the name of its target.",
            "type": "string",
            "enum": crate::policy::LAYERS,
        })
    }
}

/// An operation and one object, or `run` and a command.
#[derive(JsonSchema)]
#[schemars(transparent)]
struct Question(
    #[schemars(
        regex(pattern = "^(read|list|edit|create|delete|metadata|write|execute|connect|bind|run|syscall|tool) *[^ ]"),
        extend("examples" = ["read ${workspace}/src/main.rs", "connect example.org:443", "run git push", "syscall mount"])
    )]
    String,
);

/// The schema.
#[must_use]
pub fn schema() -> serde_json::Value {
    let mut schema = SchemaSettings::draft07()
        .into_generator()
        .into_root_schema_for::<Policy>()
        .to_value();
    without_null(&mut schema);
    schema
}

/// A key that may be missing is an `Option` here, which also allows `null`. The language does not allow `null`.
fn without_null(schema: &mut serde_json::Value) {
    use serde_json::Value;
    match schema {
        Value::Object(map) => {
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|t| t != "null");
                if let [one] = types.as_slice() {
                    let one = one.clone();
                    map.insert("type".to_owned(), one);
                }
            }
            if let Some(Value::Array(any)) = map.get_mut("anyOf") {
                any.retain(|s| s.get("type").is_none_or(|t| t != "null"));
                if any.len() == 1
                    && let Some(Value::Object(one)) = any.pop()
                {
                    map.shift_remove("anyOf");
                    // Draft 7 ignores keys beside `$ref`, so the description is put around it.
                    if one.contains_key("$ref") {
                        map.insert("allOf".to_owned(), Value::Array(vec![Value::Object(one)]));
                    } else {
                        map.extend(one);
                    }
                }
            }
            map.values_mut().for_each(without_null);
        }
        Value::Array(list) => list.iter_mut().for_each(without_null),
        _ => {}
    }
}

/// The schema as text, with a newline at its end.
#[must_use]
pub fn text() -> String {
    let mut out = serde_json::to_string_pretty(&schema()).unwrap_or_default();
    out.push('\n');
    out
}
