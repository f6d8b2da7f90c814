//! Every code, with its long explanation.
//!
//! `polc explain CODE` prints what stands here, and the reference in `docs/` is generated from it.
//! P0xx: the file and its shape. P1xx: names and values. P2xx: patterns, hosts, commands. P3xx:
//! includes and the subject. E1xx: back-ends. L0xx: lints. A code that has been released keeps its
//! meaning; one that is given up is never used again.

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
"The file could not be read as YAML, so nothing in it was looked at. Tabs for indentation, a bracket that
is not closed, and a text that begins with `*`, `&`, `!`, `%`, `@` or a backtick without quotes are what it mostly is.

```yaml
hosts: [*.example.org]      # `*` begins an alias
hosts: [\"*.example.org\"]    # a text
```";
    TOO_LARGE = "P002", "the file is too large, or nests too deep",
"A policy has 4 MiB, half a million nodes and 48 levels at most, aliases followed. A file beyond that is a mistake or an
attack on the machine that reads it: a few lines of aliases can stand for billions of nodes.";
    NOT_UTF8 = "P003", "the file is not UTF-8",
"A policy is a text in UTF-8. A file name that is not UTF-8 is written with `\\xNN` in a pattern.

```yaml
paths: ['/srv/caf\\xe9']
```";
    EMPTY_FILE = "P004", "the file is empty",
"There is nothing in it but blanks and comments. The smallest policy is `version`, `name` and `rules`; `polc init`
writes one to start from.";
    SEVERAL_DOCUMENTS = "P005", "the file holds several documents",
"A policy is one YAML document. Were the second one left out without a word, so were its rules.";
    UNKNOWN_KEY = "P006", "a key that is not part of the language",
"Every key that is not known is an error. A key that is ignored is a rule that is not there: with `excpet:` for
`except:` the policy would allow what it was written to forbid.";
    DUPLICATE_KEY = "P007", "a key that stands twice",
"Two equal keys in one mapping. YAML forbids them, and readers differ in which one they keep.";
    MISSING_KEY = "P008", "a key that must be there is missing",
"A policy needs `version`, `name` and `rules` (which may be empty). A rule needs `name`, `action`, one kind of
object, and, if that is `paths` or `hosts`, `operations`.";
    WRONG_TYPE = "P009", "a value of the wrong type",
"A list stands where a text belongs, or the other way round. Lists are lists even where they have one entry.

```yaml
paths: /etc/hosts        # a text
paths: [\"/etc/hosts\"]    # a list of one
```";
    EMPTY_VALUE = "P010", "a value that must not be empty",
"A list of operations or objects with nothing in it matches nothing, so the rule says nothing. Leave the rule out, or
write what was meant. Lists that mean something when they are empty may be: `rules`, `tests`, `capabilities`,
`environment.pass`.";
    YAML_FEATURE = "P011", "a part of YAML that the language does not have",
"Tags (`!thing`), merge keys (`<<`), keys that are not texts, and aliases inside the node that they name. Anchors and
aliases are otherwise fine.";
    NOT_TEXT = "P012", "a text that YAML takes for something else",
"`yes`, `no`, `on`, `off`, `true`, `false`, `null`, `~` and numbers are not texts for every reader of YAML. Where a text
belongs they need quotes, so that every tool reads the same policy.

```yaml
commands: [yes]      # a boolean, for many readers
commands: [\"yes\"]
```";
    MISPLACED_KEY = "P013", "a key that does not go with the others",
"The key is known, but not here: a rule has exactly one of `paths`, `hosts`, `commands`, `syscalls` and `tools`; a rule
over commands, system calls or tools has no `operations`; beside `include` nothing else stands; and a file that is
included has rules and tests, but neither subject nor limits nor environment, which are the including policy's. A whole
policy is built on with `extends`. `create_missing` goes with a rule that allows something on `paths`, of which at least one
has no wildcard before its end. The `platforms` of a rule are among those of its file.";
    MANY_ERRORS = "P014", "more errors than are shown",
"Only the first hundred are shown. Mend these first.";

    VERSION = "P101", "a version of the language that this polc does not know",
"The only one there is: `version: 1`. It is the version of the language, not of the policy.";
    BAD_NAME = "P102", "a name that cannot be one",
"Names begin with a letter or digit and go on with letters, digits, `.`, `_` and `-`, 63 bytes at most. They become
names of files, profiles and Kubernetes objects. A `/` is what stands between an included set and its rule.";
    DUPLICATE_NAME = "P103", "a name that is taken",
"Names are unique over the whole policy: messages, the ledger and `explain` tell rules apart by them. The same holds for
included sets, whose rules are called `set/rule`, and for the policy that `extends` names, whose rules are called
`base/rule`. So a rule may have the name of one in the base.";
    UNKNOWN_VALUE = "P104", "a value that is not one of the known ones",
"`action` is `allow`, `deny` or `ask`; `default_action` is `allow` or `deny`; `create_missing` is `true`, `false` or a list
of programs; `platforms` is a list of `linux` and `macos`.";
    UNKNOWN_OPERATION = "P105", "an operation that is not part of the language",
"`read`, `list`, `edit`, `create`, `delete`, `metadata`, `write` (the four before it), `execute`, `connect`, `bind`.";
    WRONG_OPERATION = "P106", "an operation that does not go with this kind of object",
"`paths` go with every operation but `bind`; `hosts` with `connect` and `bind`. Binding a unix socket to a path is
`create`, connecting to it is `connect` with `paths`.";
    UNKNOWN_CAPABILITY = "P107", "not a Linux capability",
"A name from capabilities(7), with or without `CAP_`.";
    BAD_SIZE = "P108", "not a size",
"A number and a unit: `B`, `KiB`, `MiB`, `GiB` or `TiB`. `MB` means a thousand thousands to some and 1,048,576 to others,
so it is not taken.";
    BAD_DURATION = "P109", "not a duration",
"A number and a unit, `s`, `m`, `h` or `d`, or several: `30s`, `1h`, `1h30m`.";
    BAD_NUMBER = "P110", "not a number that fits",
"`processes` and `open_files` are whole numbers from 1; `cpus` may have up to three decimals, `0.5`.";
    BAD_VARIABLE_NAME = "P111", "not the name of an environment variable",
"Letters, digits and `_`, not beginning with a digit. In `pass` it may end in `*`.";
    BAD_RATE = "P112", "not a rate",
"How many, and in which time: `10/1m` is ten in a minute. Only the tool-call gate can count. A rule that denies has
none.";
    UNKNOWN_SYSCALL = "P113", "not a system call or a group of them",
"The name of a Linux system call, or of a group with `@` before it, such as `@mount` or `@io_uring`.";
    BAD_TEST = "P114", "not a test",
"`allow`, `deny` or `ask`, and a question: an operation and one object, or `run` and a command.

```yaml
tests:
  - allow: read ${workspace}/src/main.rs
  - deny: connect 169.254.169.254:80
  - ask: run git push origin main
  - deny: syscall mount
  - allow: tool Read
```";
    BAD_LABEL = "P115", "not a name or label of Kubernetes",
"Namespaces are lower-case letters, digits and `-`, 63 at most. Labels follow the syntax of Kubernetes: an optional prefix
and `/`, then a name; values have 63 bytes at most.";
    BAD_LINT = "P116", "not a lint that can be allowed",
"`allow_lints` takes the codes of lints, `L0xx`, each with a reason for the next reader.";

    BAD_PATH = "P201", "a path pattern that cannot be one",
"Paths are absolute once `~` and `${…}` are expanded, without `//`, `.`, `..` or a `/` at the end. `*` is any run of bytes
but `/`, `?` one of them, `[a-z]` and `[!x]` classes, `{a,b}` alternatives, `**` any number of components and always a whole
one. `\\` takes the next byte literally; `\\xNN` is that byte.";
    BAD_HOST = "P202", "a host pattern that cannot be one",
"`[tcp://|udp://]HOST[:PORTS]`: HOST is a name, `*.name`, an address (IPv6 in brackets where ports follow), a block such as
`10.0.0.0/8`, `localhost` or `*`; PORTS is a number, a range `8000-8080` or `*`.";
    BAD_COMMAND = "P203", "a command pattern that cannot be one",
"A command is split into words as a shell does, with its quotes, and nothing is expanded: no pipes, no lists, no
substitutions. The first word is a path pattern if it has a `/`, else the name of the program. In the others `*` is any run
of bytes, and a last word `**` any number of arguments.";
    UNKNOWN_VARIABLE = "P204", "a variable that is not part of the language",
"`${home}`, `${workspace}` and `${tmp}`, whose values stand in `subject`, and in paths `${git_dir}`, `${git_common_dir}`,
`${git_hooks}` and `${git_config}`, which follow from the workspace. In a path `$\\{home\\}` is the text itself, in
`environment.set` `\\${home}`. Environment variables are
not expanded: the policy would mean something else on each machine.";
    TILDE_USER = "P205", "`~user` is not part of the language",
"`~` is the home directory of the subject. Another user's is written out.";
    BAD_TOOL = "P206", "a pattern of tool names that cannot be one",
"A glob over the names of an agent's tools: `*`, `?`, `[…]`, `{a,b}`.";
    NOT_EXPANDED = "P207", "a variable where nothing is expanded",
"In the arguments of a command nothing is expanded: `${workspace}` there is these twelve characters. What a kernel layer
confines are the paths that the program opens, which `paths` are for.";

    UNKNOWN_INCLUDE = "P301", "an included set or a base that does not exist",
"`builtin:NAME` comes with polc: a rule set for `include`, a whole policy for `extends`. Anything else is a file, relative
to the one that names it. `polc init --list` shows both.";
    INCLUDE_CYCLE = "P302", "a file that includes or extends itself",
"A file includes itself or builds on itself, perhaps through others. There is no order of rules in which that could be
meant.";
    INCLUDE_UNREADABLE = "P303", "an included file or a base that cannot be read",
"A file that cannot be read is not left out: the rules that it would bring may be the ones that deny.";
    BAD_SUBJECT_PATH = "P304", "a path of the subject that cannot be one",
"`home`, `workspace` and `tmp` are absolute paths as they are, not patterns; `executable` is a path pattern. `workspace` and
`tmp` may begin with `~/` or `${home}/`.";
    UNDEFINED_VARIABLE = "P305", "a variable whose value the subject does not give",
"`~` and `${home}` need `subject.home`, `${workspace}` needs `subject.workspace`, `${tmp}` needs `subject.tmp`. A value of
`auto` takes the caller's (or, for `emit`, `/home/agent`, `/workspace` and `/tmp`). `${git_dir}` and its siblings have a value
where the workspace is a repository; a question about them needs one, while a pattern without one matches nothing.";
    NO_AUTO = "P306", "`auto` cannot be found out here",
"The caller's home, workspace or temporary directory could not be found. Write the path, or give it with `--set`.";
    BAD_SETTING = "P307", "a `--set` that cannot be one",
"`--set NAME=PATH`, where NAME is `home`, `workspace`, `tmp`, `git_dir`, `git_common_dir`, `git_hooks` or `git_config`, and PATH an
absolute path.";
    TOO_MANY_INCLUDES = "P308", "too many files",
"A policy is read from at most 256 files beside its own, with 16 MiB together. Sets may include sets, and policies extend
policies, 16 deep.";

    PEER_MEANING = "P401", "what a rule of another tool's file means here",
"A file of AvaKill speaks of tool calls and their arguments. A kernel layer sees paths, programs and peers, so that a
condition such as `shell_safe` is kept by the tool-call gate alone. A denial with such a condition is left to the gate
(without the condition it would deny everything); an allowance holds in the kernel layers without it, but not over what
a later rule denies. The note says which of the two happened, and what was taken for granted.

```yaml
- name: no-forced-deletion
  tools: [Bash]
  action: deny
  conditions: {args_match: {command: [\"rm -rf\"]}}   # the gate sees the arguments, a kernel the program
```";
    NO_READER = "E100", "artifacts of this target cannot be read back",
"The back-end writes artifacts but has no reader for them yet, so `verify` cannot compare them with the policy.";
    TOO_COMPLEX = "E101", "the policy is too complex to be decided",
"Patterns that begin with `**` in great number can make an automaton beyond the size that polc builds. It says so instead of
guessing. Fewer floating patterns, or longer fixed beginnings, help.";
    BAD_OPTION = "E102", "an option of a target with a value that it cannot have",
"`polc emit TARGET --help` lists the options with their values, and `polc targets` shows all of them.";
    UNNAMEABLE = "E110", "a name that the target has no way to write",
"Some languages cannot hold every name that Linux can: a byte that is not UTF-8, a newline, a path beyond a fixed
length. polc never writes something else in its place, so it writes nothing. The message names the rule and the target.";
    TARGET_LIMIT = "E111", "more than the target can hold",
"The target has a fixed limit (selectors of a hook, values of a filter), and what the policy says does not fit even after
everything that can be joined has been. The message names the limit.";
    NOT_RENDERED = "E112", "an artifact that could not be written",
"The text of the artifact could not be made. This is a fault of polc: please report it, with the policy.";
    TARGET_NEEDS = "E113", "the target needs something that the policy does not say",
"Such as the namespace of a namespaced TracingPolicy. An artifact without it would bind nobody, or everybody.";
    NOTHING_TO_RESTRICT = "E114", "the policy restricts nothing that the target knows",
"An artifact that restricts nothing may be refused by its own tool, and would look like protection. Leave the target \
out, or choose a version of it that knows more.";
    NOT_READ_BACK = "E115", "an artifact that cannot be read back",
"`verify`, `coverage` and `diff` read artifacts by the rules of their own target. A part that the reader does not
understand could mean anything, so it is never passed over: the artifact is refused, with the place. What was written
by hand can mostly be said in the forms that `polc emit` uses.";

    NEVER_DECIDES = "L001", "a rule that never decides anything",
"Rules are read from top to bottom and the first that matches decides. Whatever this rule matches, rules above it match
first, so that it is as if it were not there. The rules that take its place are shown.

```yaml
- {name: all, action: allow, operations: [read], paths: [\"/srv/**\"]}
- {name: keys, action: deny, operations: [read], paths: [\"/srv/keys/**\"]}   # too late
```";
    CHANGES_NOTHING = "L002", "a rule that changes nothing",
"The rule decides something, but without it the rules below it (or the default) would decide all of that the same way. It
may be left over, or a rule that it was written against is missing. A rule with a `message` is taken to be there to be
read.";
    VOID_PATTERN = "L003", "a pattern of an allowance of which nothing is left",
"One of the patterns that the rule allows is decided by rules above it, every path of it. The rule's other patterns still
count. The one that is named says something that is not so.";
    WRITTEN_AND_RUN = "L004", "something that can be written and then started",
"A tree in which files can be made and started lets an agent start any program it can write or copy there: what the rules
say of installed programs does not bind it. That is what building and testing software needs, so it is often wanted; then
the rule says so with `allow_lints`. The other rules still hold for what is started.";
    CREDENTIALS_READABLE = "L005", "keys or tokens that can be read",
"The policy lets a file be read that the set `builtin:credentials` names: keys of ssh and clouds, tokens of package
registries, browsers' stores, `.env` files. What an agent has read it can send or write elsewhere.";
    LATER_ESCAPE = "L006", "a way to run something later, outside of the sandbox",
"The policy lets a file be written that is run or read later by something that is not confined: hooks of git, start-up files
of shells, configuration of editors and agents, files of build servers, or the policy itself.";
    CONTAINER_SOCKET = "L007", "the socket of a container engine that can be reached",
"Who can connect to the socket of Docker, containerd or Podman can start a container with any file of the host in it, as
root. No other rule holds then.";
    MOVED_AND_READ = "L008", "a denial of reading that a rename goes round",
"The rule keeps an object from being read, but it may be deleted there and made elsewhere, which is what a rename is, and
elsewhere it may be read.

```yaml
- {name: keys, action: deny, operations: [read], paths: [\"/work/keys/**\"]}    # write is not denied
- {name: work, action: allow, operations: [read, write], paths: [\"/work/**\"]}
```";
    INTERPRETED = "L009", "a denial of starting a program that an interpreter goes round",
"The rule keeps a program from being started, but it may be read, and an interpreter or the dynamic loader may be started:
`ld.so /path/to/program`, `sh script`. Landlock and SELinux see only that a file is read then.";
    CANNOT_ASK = "L010", "a question that no layer can put",
"`ask` is kept by the gate for tool calls, which sees the commands, files and addresses that a tool is called with. It sees
no system calls, no changes of mode or times, no local sockets and no listening. For these `ask` is `deny`.";
    DIRECTORY_ALONE = "L011", "a directory that is denied without what is in it",
"A path without `/**` is that one object. A rule that denies `~/.ssh` denies the directory itself, and says nothing of
`~/.ssh/id_ed25519`, which another rule then allows. The lint looks at this host, where the path is a directory; `polc check
--no-host` leaves it out.

```yaml
paths: [\"~/.ssh\"]       # the directory alone
paths: [\"~/.ssh/**\"]    # the directory and everything beneath
```";
    LINK_ROUND = "L012", "a denial that this host's links go round",
"A policy speaks of resolved paths, and a denied name is a symbolic link here, or leads through one. What it leads to is
denied as well, in the place of the rule. This lint says that something there is allowed all the same: a rule above allows
it, or the link leads to so much (the workspace, the home directory, a directory of the system) that the program could do
nothing if all of it were denied. In the second case `polc run` and `polc enforce` do not start the program.";
    WHOLE_HOME = "L013", "a rule that opens the whole home directory to changes",
"Files may be changed anywhere in the home directory that no other rule speaks of: start-up files of shells, settings, other
people's work. It mostly comes from a workspace that is the home directory itself, as `polc` was started there.";
    LINK_ELSEWHERE = "L014", "an allowed path that this host's links lead elsewhere",
"A policy speaks of resolved paths. The path that the rule allows is a symbolic link here, or leads through one, to a place
that the policy does not allow: what is opened by this name is refused. Rules that allow are not followed through links, as
whoever can make a link could then give rights.";
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

    /// A code that users have met keeps its meaning. Codes are added here, never changed or used again.
    #[test]
    fn the_list_of_codes() {
        let pinned: Vec<&str> = "\
            P001 P002 P003 P004 P005 P006 P007 P008 P009 P010 P011 P012 P013 P014 \
            P101 P102 P103 P104 P105 P106 P107 P108 P109 P110 P111 P112 P113 P114 P115 P116 \
            P201 P202 P203 P204 P205 P206 P207 \
            P301 P302 P303 P304 P305 P306 P307 P308 P401 \
            E100 E101 E102 E110 E111 E112 E113 E114 E115 \
            L001 L002 L003 L004 L005 L006 L007 L008 L009 L010 L011 L012 L013 L014"
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

    /// No diagnostic is made with a code that the table does not have.
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
