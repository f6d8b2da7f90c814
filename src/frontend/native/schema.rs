//! The JSON Schema of the language, for editors, and for the reference in `docs/`.
//!
//! The types here are the language as data: nothing is deserialised into them, since a reader made
//! from them would stop at the first error. A test holds them against the parser, on every policy of the
//! repository and on every wrong one. The schema is draft 7, which editors' YAML servers know. What a
//! schema cannot say (unique names, patterns that are well formed, values that exist) is the parser's alone.

// The fields are read by `derive` alone.
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
    /// The policy's name, from which artifacts take theirs.
    name: Name,
    /// For people: what the policy is for.
    #[schemars(length(min = 1))]
    description: Option<String>,
    /// The policy that this one builds on: `builtin:NAME`, or a file relative to this one. The rules of this file are
    /// read first, then those of the base. A key of this file replaces the same key of the base; in `subject`, `limits`
    /// and `environment.set` each entry does. `environment.pass`, `tests` and `allow_lints` are joined.
    extends: Option<BaseName>,
    /// The platforms that the rules and tests of this file are for; every platform if it is left out. A rule is for those platforms
    /// that it and its file name. A file that includes this one limits it further.
    #[schemars(length(min = 1))]
    platforms: Option<Vec<Platform>>,
    /// What happens where no rule matches; `deny` if it is left out.
    default_action: Option<DefaultAction>,
    /// Who is confined, and what `~`, `${home}`, `${workspace}` and `${tmp}` stand for.
    subject: Option<Subject>,
    /// Read from top to bottom: the first rule that matches decides.
    rules: Vec<Rule>,
    /// Resource limits.
    limits: Option<Limits>,
    /// The environment that the program starts with; without this key it keeps its own.
    environment: Option<Environment>,
    /// The Linux capabilities that are kept; none if it is left out. With or without `CAP_`.
    capabilities: Option<Vec<Capability>>,
    /// Lints that are meant in the whole policy.
    #[schemars(length(min = 1))]
    allow_lints: Option<Vec<AllowedLint>>,
    /// What must hold, checked by `polc test` and against every artifact. A test of this file replaces one of the base
    /// that asks the same question.
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

/// A name: letters, digits, `.`, `_` and `-`, unique in the policy.
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
    /// A person is asked. A layer that cannot ask denies.
    Ask,
}

/// What happens where no rule matches.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum DefaultAction {
    /// What no rule speaks of may happen.
    Allow,
    /// What no rule speaks of must not happen.
    Deny,
}

/// Who is confined.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Subject {
    /// The program, a path pattern: AppArmor's attachment, SELinux's entry point, Tetragon's matchBinaries.
    executable: Option<PathPattern>,
    /// The home directory, an absolute path as it is, or `auto`: the caller's (`/home/agent` for `emit`). `~` and
    /// `${home}` in paths.
    #[schemars(regex(pattern = "^(auto$|/)"), extend("examples" = ["auto", "/home/agent"]))]
    home: Option<String>,
    /// The directory that is worked in, or `auto`: the enclosing repository (`/workspace` for `emit`).
    /// `${workspace}` in paths.
    #[schemars(regex(pattern = r"^(auto$|/|~|\$\{)"), extend("examples" = ["auto", "/workspace"]))]
    workspace: Option<String>,
    /// The directory for temporary files, or `auto`: the system's (`/tmp` for `emit`). `${tmp}` in paths.
    #[schemars(regex(pattern = r"^(auto$|/|~|\$\{)"), extend("examples" = ["auto", "/tmp"]))]
    tmp: Option<String>,
    /// The pods that are confined, for targets of a cluster.
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

/// A path pattern, absolute once `~` and `${…}` are expanded. `*` any run of bytes but `/`, `?` one, `[a-z]` and `[!x]`
/// classes, `{a,b}` alternatives, `**` any number of components. `/a/**` is `/a` and everything beneath.
///
/// `${git_dir}`, `${git_common_dir}`, `${git_hooks}` and `${git_config}` begin a path. They stand for what the repository
/// of the workspace has on this host: the directory of this checkout, the directory that checkouts share, directories of
/// hooks (with what links in them lead to), and files that configurations include. Without a repository, and for `emit`
/// without such files, the pattern matches nothing. In a rule that allows, `${git_hooks}` and `${git_config}` leave out
/// what the repository's own configuration names, as whoever wrote the repository wrote that.
#[derive(JsonSchema)]
#[schemars(transparent)]
struct PathPattern(
    #[schemars(
        regex(pattern = r"^(/|~(/|$)|\$\{(home|workspace|tmp|git_dir|git_common_dir|git_hooks|git_config)\}|\{|\\)"),
        extend("examples" = ["${workspace}/**", "~/.ssh/**", "/usr/{bin,lib}/**", "${tmp}/**"])
    )]
    String,
);

/// `[tcp://|udp://]HOST[:PORTS]`: a name, `*.name`, an address, a block, `localhost` or `*`; a port, a range or `*`.
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

/// A program with its arguments, in a shell's words and quotes; nothing is expanded. `*` any run of bytes of an
/// argument, a last word `**` any number of arguments.
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

/// A rule: an action for operations on objects of one kind; or `include`.
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
            /// Unique in the policy; messages, the ledger and `explain` call the rule so.
            name: Name,
            /// What the rule says.
            action: Action,
            $($(#[$field_doc])* $field: $type,)*
            /// Where its objects are; everywhere if it is left out. A layer of another platform does not see the rule.
            #[schemars(length(min = 1))]
            platforms: Option<Vec<Platform>>,
            /// For the person who is refused or asked.
            #[schemars(length(min = 1))]
            message: Option<String>,
            /// How often it may be allowed, such as `10/1m`; only the tool-call gate can count.
            #[schemars(regex(pattern = "^[0-9]+/([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?[smhd]?$"))]
            rate: Option<String>,
            /// Lints that are meant here.
            #[schemars(length(min = 1))]
            allow_lints: Option<Vec<AllowedLint>>,
        }
    };
}

rule! {
    /// A rule over files, directories and unix sockets by their paths.
    PathRule {
        /// What is done.
        #[schemars(length(min = 1))]
        operations: Vec<PathOperation>,
        /// To any of these.
        #[schemars(length(min = 1))]
        paths: Vec<PathPattern>,
        /// But none of these.
        #[schemars(length(min = 1))]
        except: Option<Vec<PathPattern>>,
        /// Whether `run` makes what the rule names and what is not there when it starts: the directory of a path that ends
        /// in `/**`, an empty file for a path without wildcards. Parents are made too; in the home directory nobody else
        /// may read them. Nothing is made where a rule above denies it, or behind a symbolic link. With a list of
        /// programs, only where one of them is installed.
        create_missing: Option<CreateMissing>,
    }
}

rule! {
    /// A rule over network addresses.
    HostRule {
        /// What is done.
        #[schemars(length(min = 1))]
        operations: Vec<HostOperation>,
        /// With any of these.
        #[schemars(length(min = 1))]
        hosts: Vec<HostPattern>,
        /// But none of these.
        #[schemars(length(min = 1))]
        except: Option<Vec<HostPattern>>,
    }
}

rule! {
    /// A rule over programs with their arguments. A kernel layer sees the program only.
    CommandRule {
        /// Any of these is started.
        #[schemars(length(min = 1))]
        commands: Vec<CommandPattern>,
        /// But none of these.
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
        /// But none of these.
        #[schemars(length(min = 1))]
        except: Option<Vec<Syscall>>,
    }
}

rule! {
    /// A rule over an agent's tools, decided by the tool-call gate.
    ToolRule {
        /// Any of these is called.
        #[schemars(length(min = 1))]
        tools: Vec<Tool>,
        /// But none of these.
        #[schemars(length(min = 1))]
        except: Option<Vec<Tool>>,
    }
}

/// The rules of a set, put in here. They are called `set/rule`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Include {
    /// `builtin:NAME`, or a file relative to this one.
    include: IncludeName,
}

/// The name of something built in, or of a file.
fn builtin_or_file(all: &[Builtin]) -> Schema {
    let names: Vec<String> = all.iter().map(|b| format!("builtin:{}", b.name)).collect();
    json_schema!({
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
        builtin_or_file(builtin::rule_sets())
    }
}

struct BaseName;

impl JsonSchema for BaseName {
    fn schema_name() -> Cow<'static, str> {
        "BaseName".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        builtin_or_file(builtin::policies())
    }
}

/// Whether what is missing is made.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum CreateMissing {
    /// Always, or never.
    Plain(bool),
    /// Where one of these programs is installed.
    For(#[schemars(length(min = 1))] Vec<ProgramName>),
}

/// The name by which a program is found in PATH.
#[derive(JsonSchema)]
#[schemars(transparent)]
struct ProgramName(#[schemars(regex(pattern = "^[^/]+$"), extend("examples" = ["npm"]))] String);

/// A lint that is meant here.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct AllowedLint {
    /// Its code.
    #[schemars(regex(pattern = "^L[0-9]{3}$"))]
    code: String,
    /// Why, for the next reader.
    #[schemars(length(min = 1))]
    reason: String,
}

/// Resource limits. What is left out is not limited.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Limits {
    /// Memory.
    memory: Option<Size>,
    /// Processors; `0.5` is half of one.
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
    /// Time on the clock of the whole run.
    wall_time: Option<Duration>,
    /// The size of each file that is written.
    file_size: Option<Size>,
}

/// A number and `B`, `KiB`, `MiB`, `GiB` or `TiB`.
#[derive(JsonSchema)]
#[schemars(transparent)]
struct Size(
    #[schemars(regex(pattern = r"^[0-9]+(\.[0-9]{1,3})?(B|KiB|MiB|GiB|TiB)$"), extend("examples" = ["512MiB", "2GiB"]))]
     String,
);

/// A number and `s`, `m`, `h` or `d`, or several.
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
    /// Variables that are passed on; a name may end in `*`. Left out: all of them.
    pass: Option<Vec<PassedVariable>>,
    /// Variables that are set. `${home}`, `${workspace}` and `${tmp}` are expanded; `\$` is a `$`.
    #[schemars(extend("propertyNames" = {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}))]
    set: Option<BTreeMap<String, String>>,
}

/// The name of an environment variable; it may end in `*`.
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

/// A decision that is expected, and the question.
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
    /// Where it is asked; if it is left out, on every platform that the deciding rule is for.
    #[schemars(length(min = 1))]
    platforms: Option<Vec<Platform>>,
}

/// A question whose answer is `deny`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct DenyTest {
    /// An operation and one object, or `run` and a command.
    deny: Question,
    /// Where it is asked; if it is left out, on every platform that the deciding rule is for.
    #[schemars(length(min = 1))]
    platforms: Option<Vec<Platform>>,
}

/// A question whose answer is `ask`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct AskTest {
    /// An operation and one object, or `run` and a command.
    ask: Question,
    /// Where it is asked; if it is left out, on every platform that the deciding rule is for.
    #[schemars(length(min = 1))]
    platforms: Option<Vec<Platform>>,
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

/// A key that may be left out is an `Option` here, which also allows `null`; the language does not.
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
                    // Draft 7 overlooks what stands beside `$ref`, so the description goes round it.
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
