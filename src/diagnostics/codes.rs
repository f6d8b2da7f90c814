//! Every code, with its long explanation.
//!
//! `polc explain CODE` prints this text, and the reference in `docs/` is generated from it. P0xx: the file and its
//! shape. P1xx: names and values. P2xx: patterns, hosts, commands. P3xx: includes and the subject. E1xx: back-ends.
//! L0xx: lints. A released code keeps its meaning. A code that is not used any more is never used again.

/// One code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// Such as `P006`.
    pub code: &'static str,
    /// One line: no capital, no full stop.
    pub title: &'static str,
    /// What it means, why it is so, an example: Markdown.
    pub explanation: &'static str,
}

/// The code with this name, in any case.
#[must_use]
pub fn find(code: &str) -> Option<&'static Code> {
    ALL.iter().find(|c| c.code.eq_ignore_ascii_case(code))
}

macro_rules! codes {
    ($($name:ident = $code:literal, $title:literal, $long:literal;)*) => {
        $(
            #[doc = $title]
            pub const $name: &str = $code;
        )*
        /// All of them, in order.
        pub static ALL: &[Code] = &[$(Code { code: $code, title: $title, explanation: $long }),*];
    };
}

codes! {
    SYNTAX = "P001", "the file is not valid YAML",
"polc could not read the file as YAML, so it looked at nothing in it. Common causes are a tab in the indentation, a bracket
that is not closed, and a text without quotes that begins with `*`, `&`, `!`, `%`, `@` or a backtick.

```yaml
hosts: [*.example.org]      # `*` begins an alias
hosts: [\"*.example.org\"]    # a text
```";
    TOO_LARGE = "P002", "the file is too large, or nests too deep",
"A policy may have 4 MiB, half a million nodes and 48 levels, aliases followed. A larger file is a mistake, or an attack on
the machine that reads it. A few lines of aliases can mean billions of nodes.";
    NOT_UTF8 = "P003", "the file is not UTF-8",
"A policy is a text in UTF-8. To name a file whose name is not UTF-8, write `\\xNN` in the pattern.

```yaml
paths: ['/srv/caf\\xe9']
```";
    EMPTY_FILE = "P004", "the file is empty",
"The file has nothing but blanks and comments. The smallest policy has `version`, `name` and `rules`. `polc init` writes one
to start from.";
    SEVERAL_DOCUMENTS = "P005", "the file holds several documents",
"A policy is one YAML document. If polc ignored the second document, it would ignore the rules in it.";
    UNKNOWN_KEY = "P006", "a key that is not part of the language",
"Every key that polc does not know is an error. If polc ignored the key, the policy would lose what it says. With `excpet:`
for `except:`, a rule would allow what it was written to forbid.";
    DUPLICATE_KEY = "P007", "a key that is written twice",
"The same key is written twice in one mapping. YAML forbids that, and readers differ in which one they keep.";
    MISSING_KEY = "P008", "a required key is missing",
"A policy needs `version`, `name` and `rules` (which may be empty). A rule needs `name`, `action`, one kind of
object, and, if that is `paths` or `hosts`, `operations`.";
    WRONG_TYPE = "P009", "a value of the wrong type",
"There is a list where a text belongs, or a text where a list belongs. A list with one entry is still a list.

```yaml
paths: /etc/hosts        # a text
paths: [\"/etc/hosts\"]    # a list of one
```";
    EMPTY_VALUE = "P010", "a value that must not be empty",
"A rule with an empty list of operations or objects matches nothing. Leave the rule out, or write what you meant. These
lists may be empty: `rules`, `tests`, `capabilities`, `environment.pass`.";
    YAML_FEATURE = "P011", "a part of YAML that the language does not have",
"The language has no tags (`!thing`), no merge keys (`<<`), no keys that are not texts, and no alias inside the node that it
names. Other anchors and aliases work.";
    NOT_TEXT = "P012", "a text that YAML takes for something else",
"Some readers of YAML take `yes`, `no`, `on`, `off`, `true`, `false`, `null`, `~` and numbers for something else than a text.
Put them in quotes where a text belongs. Then every tool reads the same policy.

```yaml
commands: [yes]      # a boolean, for many readers
commands: [\"yes\"]
```";
    MISPLACED_KEY = "P013", "a key that cannot be used here",
"The key is known, but it may not be here:

- A rule has exactly one of `paths`, `hosts`, `commands`, `syscalls` and `tools`.
- A rule over `commands`, `syscalls` or `tools` has no `operations`.
- An entry with `include` has no other key.
- A file that is included has rules and tests alone. Subject, limits and environment come from the policy that includes it.
  To build on a whole policy, use `extends`.
- `create_missing` is for a rule that allows something on `paths`. At least one of them must have no wildcard before its
  end.
- `platforms` of a rule must name a platform that its file is for.
- `except_new` is for a rule that denies `edit`, `delete` or `metadata` on `paths`, and no other operation.";
    MANY_ERRORS = "P014", "more errors than are shown",
"polc shows the first hundred errors. Correct these first.";

    VERSION = "P101", "a version of the language that this polc does not know",
"The only version is `version: 1`. It is the version of the language, not of your policy.";
    BAD_NAME = "P102", "not a valid name",
"A name begins with a letter or digit. Letters, digits, `.`, `_` and `-` may follow, 63 bytes at most. Names become file names,
profile names and names of Kubernetes objects. A `/` separates an included set from its rule.";
    DUPLICATE_NAME = "P103", "a name that is already taken",
"Every rule of a policy has its own name: messages, the ledger and `explain` use it. The rules of an included set are called
`set/rule`, and the rules of the policy that `extends` names are called `base/rule`. So your rule may have the same name as a
rule of the base. Sets and bases need names of their own as well.";
    UNKNOWN_VALUE = "P104", "not one of the known values",
"`action` is `allow`, `deny` or `ask`; `default_action` is `allow` or `deny`; `create_missing` is `true`, `false` or a list
of programs; `except_new` is `true` or `false`; `platforms` is a list of `linux` and `macos`.";
    UNKNOWN_OPERATION = "P105", "an operation that is not part of the language",
"The operations are `read`, `list`, `edit`, `create`, `delete`, `metadata`, `write` (the four before it), `execute`, `connect`
and `bind`.";
    WRONG_OPERATION = "P106", "an operation that cannot be used with this kind of object",
"`paths` may have every operation but `bind`. `hosts` may have `connect` and `bind`. To bind a unix socket to a path is
`create`; to connect to it is `connect` with `paths`.";
    UNKNOWN_CAPABILITY = "P107", "not a Linux capability",
"Write a name from capabilities(7), with or without `CAP_`.";
    BAD_SIZE = "P108", "not a size",
"Write a number and a unit: `B`, `KiB`, `MiB`, `GiB` or `TiB`. `MB` is not accepted: it means 1,000,000 to some readers and
1,048,576 to others.";
    BAD_DURATION = "P109", "not a duration",
"Write a number and a unit (`s`, `m`, `h` or `d`), or several: `30s`, `1h`, `1h30m`.";
    BAD_NUMBER = "P110", "not a number that fits",
"`processes` and `open_files` are whole numbers from 1. `cpus` may have up to three decimals: `0.5`.";
    BAD_VARIABLE_NAME = "P111", "not the name of an environment variable",
"The name of a variable has letters, digits and `_`, and does not begin with a digit. In `pass` it may end in `*`.";
    BAD_RATE = "P112", "not a rate",
"A rate says how many calls, and in which time: `10/1m` is ten in a minute. Only the tool-call gate, which an agent asks before
each call, can count. A rule that denies has no rate.";
    UNKNOWN_SYSCALL = "P113", "not a system call or a group of them",
"Write the name of a Linux system call, or of a group with `@` before it: `@mount`, `@io_uring`.";
    BAD_TEST = "P114", "not a test",
"A test is `allow`, `deny` or `ask`, and a question. A question is an operation and one object, or `run` and a command.

```yaml
tests:
  - allow: read ${workspace}/src/main.rs
  - deny: connect 169.254.169.254:80
  - ask: run git push origin main
  - deny: syscall mount
  - allow: tool Read
```";
    BAD_LABEL = "P115", "not a valid namespace or label of Kubernetes",
"A namespace has lower-case letters, digits and `-`, 63 at most. A label follows the syntax of Kubernetes: an optional prefix
and `/`, then a name. A value has 63 bytes at most.";
    BAD_LINT = "P116", "not a lint that can be allowed",
"`allow_lints` takes the codes of lints (`L0xx`), each with a reason for the next reader.";

    BAD_PATH = "P201", "not a valid path pattern",
"A path is absolute after `~` and `${…}` are expanded. It has no `//`, `.` or `..`, and no `/` at its end. In a pattern:

- `*` is any run of bytes but `/`, and `?` is one byte but `/`
- `[a-z]` and `[!x]` are classes of bytes, and `{a,b}` is either of two
- `**` is any number of components; it is always a whole component
- `\\` takes the next byte literally, and `\\xNN` is that byte.";
    BAD_HOST = "P202", "not a valid host pattern",
"A host is `[tcp://|udp://]HOST[:PORTS]`. HOST is one of these:

- a name, `*.name`, `localhost` or `*`
- an address (IPv6 in brackets if ports follow), or a block such as `10.0.0.0/8`

PORTS is a number, a range such as `8000-8080`, or `*`.";
    BAD_COMMAND = "P203", "not a valid command pattern",
"polc splits a command into words as a shell does, with its quotes. It expands nothing: there are no pipes, no lists and no
substitutions. The first word is a path pattern if it has a `/`, else the name of the program. In the other words `*` is any
run of bytes. A last word `**` is any number of arguments.";
    UNKNOWN_VARIABLE = "P204", "a variable that is not part of the language",
"`${home}`, `${workspace}` and `${tmp}` have their values in `subject`. In paths there are also `${git_dir}`,
`${git_common_dir}`, `${git_hooks}` and `${git_config}`, which follow from the workspace. To write the text itself, use
`$\\{home\\}` in a path and `\\${home}` in `environment.set`. polc does not expand environment variables: the policy would mean
something else on each machine.";
    TILDE_USER = "P205", "`~user` is not part of the language",
"`~` is the home directory of the subject. Write the home directory of another user in full.";
    BAD_TOOL = "P206", "not a valid pattern of tool names",
"A tool is named by a glob over the names of an agent's tools: `*`, `?`, `[…]`, `{a,b}`.";
    NOT_EXPANDED = "P207", "a variable in a place where polc expands none",
"polc expands nothing in the arguments of a command: `${workspace}` there is these twelve characters. To confine the paths
that the program opens, write a rule over `paths`.";

    UNKNOWN_INCLUDE = "P301", "an included set or a base that does not exist",
"`builtin:NAME` comes with polc: a rule set for `include`, a whole policy for `extends`. Anything else is a file, relative to
the file that names it. `polc init --list` shows the built-in policies and sets.";
    INCLUDE_CYCLE = "P302", "a file that includes or extends itself",
"A file includes or extends itself, perhaps through other files. Then its rules have no order.";
    INCLUDE_UNREADABLE = "P303", "an included file or a base that cannot be read",
"polc does not ignore a file that it cannot read. Its rules may be the ones that deny.";
    BAD_SUBJECT_PATH = "P304", "not a valid path of the subject",
"`home`, `workspace` and `tmp` are absolute paths, not patterns. `workspace` and `tmp` may begin with `~/` or `${home}/`.
`executable` is a path pattern.";
    UNDEFINED_VARIABLE = "P305", "a variable that has no value",
"`~` and `${home}` need `subject.home`, `${workspace}` needs `subject.workspace`, and `${tmp}` needs `subject.tmp`. The value
`auto` takes the caller's path; for `emit` it takes `/home/agent`, `/workspace` and `/tmp`. `${git_dir}` and the other git
variables have a value if the workspace is a repository. Without one, a pattern with them matches nothing, and a question
about them is this error.";
    NO_AUTO = "P306", "polc cannot find the value of `auto`",
"polc could not find the caller's home, workspace or temporary directory. Write the path, or give it with `--set`.";
    BAD_SETTING = "P307", "not a valid `--set`",
"Write `--set NAME=PATH` with an absolute path. NAME is `home`, `workspace`, `tmp`, `git_dir`, `git_common_dir`, `git_hooks` or
`git_config`.";
    TOO_MANY_INCLUDES = "P308", "too many files",
"A policy may consist of 256 files beside its own, with 16 MiB together. Sets may include sets, and policies may extend
policies, 16 deep.";

    PEER_MEANING = "P401", "what a rule of another tool's file means here",
"A file of AvaKill is about tool calls and their arguments. A kernel layer sees paths, programs and hosts. Only the tool-call
gate can keep a condition such as `shell_safe`. polc treats such a rule in one of two ways, and the note says which:

- A rule that denies is left to the gate. Without the condition it would deny everything.
- A rule that allows holds in the kernel layers without the condition. It does not open what a later rule denies.

```yaml
- name: no-forced-deletion
  tools: [Bash]
  action: deny
  conditions: {args_match: {command: [\"rm -rf\"]}}   # the gate sees the arguments, a kernel the program
```";
    NO_READER = "E100", "artifacts of this target cannot be read back",
"polc can write artifacts for this target, but it has no reader for them yet. So `verify` cannot compare them with the
policy.";
    TOO_COMPLEX = "E101", "the policy is too complex to be decided",
"Many patterns that begin with `**` can need a larger automaton than polc builds. polc stops instead of guessing. Use fewer
patterns that begin with `**`, or give them a longer fixed beginning.";
    BAD_OPTION = "E102", "an option of a target with a wrong value",
"`polc emit --help` lists the options of each target with their values. `polc targets` shows all of them.";
    UNNAMEABLE = "E110", "a name that the target cannot write",
"Some languages cannot write every name that Linux allows: a byte that is not UTF-8, a newline, a path beyond a fixed length.
polc never writes another name in its place, so it writes nothing. The message names the rule and the target.";
    TARGET_LIMIT = "E111", "more than the target can hold",
"The target has a fixed limit, such as the selectors of a hook or the values of a filter. The policy needs more, even after
polc has joined what it can. The message names the limit.";
    NOT_RENDERED = "E112", "an artifact that polc could not write",
"polc could not make the text of the artifact. This is a fault of polc: please report it, with the policy.";
    TARGET_NEEDS = "E113", "the target needs something that the policy does not say",
"An example is the namespace of a namespaced TracingPolicy. Without it the artifact would confine nobody, or everybody.";
    NOTHING_TO_RESTRICT = "E114", "the policy restricts nothing that the target knows",
"An artifact that restricts nothing would look like protection, and its own tool may refuse it. Leave the target out, or
choose a version of it that knows more.";
    NOT_READ_BACK = "E115", "an artifact that polc cannot read back",
"`verify`, `coverage` and `diff` read artifacts by the rules of their target. A part that polc does not understand could mean
anything. So polc refuses the artifact, and names the line. If you wrote it by hand, use the forms that `polc emit` writes.";

    NEVER_DECIDES = "L001", "a rule that never decides anything",
"polc reads rules from top to bottom, and the first one that matches decides. Rules above this one match everything that it
matches. So this rule has no effect. The lint shows the rules that decide in its place.

```yaml
- {name: all, action: allow, operations: [read], paths: [\"/srv/**\"]}
- {name: keys, action: deny, operations: [read], paths: [\"/srv/keys/**\"]}   # too late
```";
    CHANGES_NOTHING = "L002", "a rule that changes nothing",
"Without this rule, the rules below it (or the default) would decide everything in the same way. The rule may be left over, or
a rule that it belongs with is missing. The lint leaves out rules with a `message`: they may be there to be read.";
    VOID_PATTERN = "L003", "a pattern that allows nothing, because rules above decide all of it",
"Rules above this one decide every path that one of its patterns matches. The other patterns of the rule still count. A reader
would take the pattern for an allowance that is not there.";
    WRITTEN_AND_RUN = "L004", "something that can be written and then started",
"The policy allows making files in a tree and starting them there. So an agent can start any program that it can write or
copy there, and rules about installed programs do not stop it. Building and testing software needs this, so you may
want it: then say so with `allow_lints`. All other rules still hold for what is started.";
    CREDENTIALS_READABLE = "L005", "keys or tokens that the program can read",
"The policy allows reading a file that the set `builtin:credentials` names: keys of ssh and clouds, tokens of package
registries, stores of browsers, `.env` files. An agent can send or write elsewhere what it has read.";
    LATER_ESCAPE = "L006", "a way to run something later, outside the sandbox",
"The policy allows writing a file that a program outside the sandbox runs or reads later. Such files are hooks of git, start-up
files of shells, settings of editors and agents, files of build servers, and the policy itself.";
    CONTAINER_SOCKET = "L007", "the socket of a container engine is in reach",
"A program that can connect to the socket of Docker, containerd or Podman can start a container. That container can have any
file of the host in it, as root. Then no other rule holds.";
    MOVED_AND_READ = "L008", "a rename goes round a rule that denies reading",
"The rule denies reading an object. But the policy allows renaming it to a place where reading is allowed: it allows
`delete` here, and `create` and `read` there. Deny `write` here as well.

```yaml
- {name: keys, action: deny, operations: [read], paths: [\"/work/keys/**\"]}    # write is not denied
- {name: work, action: allow, operations: [read, write], paths: [\"/work/**\"]}
```";
    INTERPRETED = "L009", "an interpreter goes round a rule that denies starting a program",
"The rule denies starting a program, but the program may be read. The policy also allows starting an interpreter or the
dynamic loader, and these can run it: `sh script`, `ld.so /path/to/program`. Landlock and SELinux then see only that a file is read.";
    CANNOT_ASK = "L010", "an `ask` rule that no layer can ask about",
"The tool-call gate keeps `ask`. It sees the commands, files and addresses that an agent calls a tool with. It does not see
system calls, changes of mode or times, local sockets and listening. For these `ask` means `deny`.";
    DIRECTORY_ALONE = "L011", "a rule that denies a directory, but not what is in it",
"A path without `/**` is that one object. A rule that denies `~/.ssh` denies the directory itself. It says nothing of
`~/.ssh/id_ed25519`, and another rule may allow that file. polc looks at this host to see that the path is a directory.
`polc check --no-host` leaves the lint out.

```yaml
paths: [\"~/.ssh\"]       # the directory alone
paths: [\"~/.ssh/**\"]    # the directory and everything beneath
```";
    LINK_ROUND = "L012", "a symbolic link of this host goes round a rule that denies",
"A policy is about real paths, after symbolic links are followed. Here a denied name is a link, or leads through one. polc
denies what the link leads to as well, in the place of the rule. This lint says that something there is still allowed, for one
of two reasons:

- A rule above allows it.
- The link leads to the workspace, the home directory or a directory of the system. If all of that were denied, the program
  could do nothing. `polc run` and `polc enforce` do not start the program then. They only warn where the rule does not name
  the link, but a directory above it.";
    WHOLE_HOME = "L013", "a rule that allows changing the whole home directory",
"The rule allows changing every file in the home directory that no other rule names: start-up files of shells, settings, other
projects. Mostly the cause is a workspace that is the home directory, because polc was started there.";
    LINK_ELSEWHERE = "L014", "an allowed path that is a symbolic link to a path that is not allowed",
"A policy is about real paths, after symbolic links are followed. The path that the rule allows is a link here, or leads through
one, to a path that the policy does not allow. So the program cannot open it by this name. polc does not follow links for rules
that allow: whoever can make a link could then give rights.";
    OTHER_NAME = "L015", "a denied file that has another name on this host (a hard link)",
"Hard links are names of one file, and each is as good as the other. The policy denies the file by this name. The kernel does not
tell where the other name is. If the policy allows that name, the program reads or changes the file by it. polc cannot prevent that.

```text
find / -xdev -samefile ~/.ssh/id_ed25519    # prints all names of the file
```

Remove the other name, or add it to the rule. `polc run` and `polc enforce` say this before they start the program.";
    NOT_LOOKED_THROUGH = "L016", "a denied directory with too much in it to look for symbolic links",
"A symbolic link beneath a denied directory may lead to a path that the policy allows. polc looks for such links and denies what
they lead to as well. It looks at 1,000 entries in each denied directory, at 10,000 in all, and at 500 links. Here there are more. If a link
further down matters to you, deny what it leads to by its own path.";
}

/// All codes as one page of the reference: Markdown.
#[must_use]
pub fn reference() -> String {
    let mut out = String::from("# Codes\n\n`polc explain CODE` prints the same.\n");
    for c in ALL {
        out.push_str(&format!(
            "\n## {}: {}\n\n{}\n",
            c.code, c.title, c.explanation
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A code that users have seen keeps its meaning. Codes are added here, and never changed or reused.
    #[test]
    fn the_list_of_codes() {
        let pinned: Vec<&str> = "\
            P001 P002 P003 P004 P005 P006 P007 P008 P009 P010 P011 P012 P013 P014 \
            P101 P102 P103 P104 P105 P106 P107 P108 P109 P110 P111 P112 P113 P114 P115 P116 \
            P201 P202 P203 P204 P205 P206 P207 \
            P301 P302 P303 P304 P305 P306 P307 P308 P401 \
            E100 E101 E102 E110 E111 E112 E113 E114 E115 \
            L001 L002 L003 L004 L005 L006 L007 L008 L009 L010 L011 L012 L013 L014 L015 L016"
            .split_whitespace()
            .collect();
        assert_eq!(ALL.iter().map(|c| c.code).collect::<Vec<_>>(), pinned);
    }

    #[test]
    fn titles_and_explanations_are_there() {
        for c in ALL {
            assert!(!c.title.ends_with('.') && !c.title.is_empty(), "{}", c.code);
            assert!(
                c.explanation.len() > 40 && c.explanation.trim_end().ends_with(['.', '`']),
                "{}",
                c.code
            );
            assert_eq!(find(&c.code.to_lowercase()), Some(c));
        }
    }

    /// Every diagnostic has a code from the table.
    #[test]
    fn every_code_in_the_sources_is_in_the_table() {
        fn walk(dir: &std::path::Path, found: &mut Vec<(std::path::PathBuf, String)>) {
            for e in std::fs::read_dir(dir).unwrap() {
                let p = e.unwrap().path();
                if p.is_dir() {
                    walk(&p, found);
                } else if p.extension().is_some_and(|e| e == "rs") {
                    let text = std::fs::read_to_string(&p).unwrap();
                    for (i, _) in text.match_indices('"') {
                        let word = &text.as_bytes()[i + 1..];
                        if word.len() > 4
                            && b"PEL".contains(&word[0])
                            && word[1..4].iter().all(u8::is_ascii_digit)
                            && word[4] == b'"'
                        {
                            found.push((
                                p.clone(),
                                String::from_utf8_lossy(&word[..4]).into_owned(),
                            ));
                        }
                    }
                }
            }
        }
        let mut found = Vec::new();
        walk(
            &std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
            &mut found,
        );
        assert!(found.len() > 40);
        for (path, code) in found {
            assert!(
                find(&code).is_some(),
                "{} makes {code}, which codes.rs does not have",
                path.display()
            );
        }
    }
}
