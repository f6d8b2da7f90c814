//! The names of the agents' tools, what each tool does, and the globs for them in a file.

use crate::policy::{ByteSet, Operation, OperationSet, Token, ToolPattern, WordPattern};
use Operation::{Connect, Create, Delete, Edit, Execute, List, Read};

/// The kind of a tool's argument. It decides which conditions can be about the tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A path (`file_path`, `path`, …).
    File,
    /// A command line (`command`, `cmd`).
    Shell,
    /// An address or a query (`url`, `query`, …).
    Web,
}

/// What a tool does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    Shell,
    ReadFile,
    WriteFile,
    EditFile,
    DeleteFile,
    ListFiles,
    SearchContents,
    Fetch,
    Search,
}

impl Does {
    fn operations(self) -> &'static [Operation] {
        match self {
            Self::Shell => &[Execute],
            Self::ReadFile => &[Read, List],
            Self::WriteFile => &[Edit, Create],
            Self::EditFile => &[Edit],
            Self::DeleteFile => &[Delete],
            Self::ListFiles => &[List],
            Self::SearchContents => &[Read],
            Self::Fetch | Self::Search => &[Connect],
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Shell => Kind::Shell,
            Self::Fetch | Self::Search => Kind::Web,
            _ => Kind::File,
        }
    }
}

/// AvaKill's own (canonical) names, and those of Claude Code, Gemini CLI, Cursor, Windsurf, Codex and Cline. The
/// operations for writing, editing, deleting, running and fetching come from the tables for Landlock and Seatbelt in
/// AvaKill's documentation.
const KNOWN: &[(&str, Does)] = &[
    ("shell_execute", Does::Shell),
    ("file_read", Does::ReadFile),
    ("file_write", Does::WriteFile),
    ("file_edit", Does::EditFile),
    ("file_delete", Does::DeleteFile),
    ("file_list", Does::ListFiles),
    ("file_search", Does::ListFiles),
    ("content_search", Does::SearchContents),
    ("web_fetch", Does::Fetch),
    ("web_search", Does::Search),
    // Claude Code.
    ("Bash", Does::Shell),
    ("Read", Does::ReadFile),
    ("NotebookRead", Does::ReadFile),
    ("Write", Does::WriteFile),
    ("Edit", Does::EditFile),
    ("MultiEdit", Does::EditFile),
    ("NotebookEdit", Does::EditFile),
    ("Glob", Does::ListFiles),
    ("LS", Does::ListFiles),
    ("Grep", Does::SearchContents),
    ("WebFetch", Does::Fetch),
    ("WebSearch", Does::Search),
    // Gemini CLI.
    ("run_shell_command", Does::Shell),
    ("read_file", Does::ReadFile),
    ("read_many_files", Does::ReadFile),
    ("write_file", Does::WriteFile),
    ("edit_file", Does::EditFile),
    ("replace", Does::EditFile),
    ("search_files", Does::ListFiles),
    ("list_files", Does::ListFiles),
    ("list_directory", Does::ListFiles),
    ("glob", Does::ListFiles),
    ("search_file_content", Does::SearchContents),
    ("google_web_search", Does::Search),
    // Cursor.
    ("Shell", Does::Shell),
    ("shell_command", Does::Shell),
    ("Delete", Does::DeleteFile),
    ("delete_file", Does::DeleteFile),
    // Windsurf.
    ("run_command", Does::Shell),
    ("write_code", Does::WriteFile),
    ("read_code", Does::ReadFile),
    // Codex.
    ("shell", Does::Shell),
    ("local_shell", Does::Shell),
    ("exec_command", Does::Shell),
    ("apply_patch", Does::WriteFile),
    ("list_dir", Does::ListFiles),
    ("grep_files", Does::SearchContents),
    // Cline.
    ("execute_command", Does::Shell),
    ("write_to_file", Does::WriteFile),
    ("replace_in_file", Does::EditFile),
];

/// What the tools of a rule do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Reach {
    /// Operations on files.
    pub files: OperationSet,
    /// They start programs.
    pub shell: bool,
    /// They reach hosts.
    pub web: bool,
    /// Every tool, also unknown ones.
    pub everything: bool,
    /// They search contents, but do not read them in other ways.
    pub only_searches: bool,
    /// They either fetch or search on the web, but not both.
    pub half_the_web: bool,
    /// They change existing files by either writing or editing, but not both.
    pub half_the_edits: bool,
}

impl Reach {
    /// Whether none of the tools is known.
    pub fn is_empty(self) -> bool {
        self.files.is_empty() && !self.shell && !self.web
    }
}

/// What the tools do that some patterns match.
pub(super) fn reach(patterns: &[ToolPattern]) -> Reach {
    let mut found: Vec<Does> = Vec::new();
    for (name, does) in KNOWN {
        let hit = |p: &ToolPattern| crate::semantics::matches_word(&p.glob, name.as_bytes());
        if !found.contains(does) && patterns.iter().any(hit) {
            found.push(*does);
        }
    }
    let has = |d| found.contains(&d);
    Reach {
        files: found
            .iter()
            .filter(|d| d.kind() == Kind::File)
            .flat_map(|d| d.operations().iter().copied())
            .collect(),
        shell: has(Does::Shell),
        web: has(Does::Fetch) || has(Does::Search),
        everything: patterns
            .iter()
            .any(|p| p.glob.alternatives.iter().any(|t| t == &[Token::Star])),
        only_searches: has(Does::SearchContents) && !has(Does::ReadFile),
        half_the_web: has(Does::Fetch) != has(Does::Search),
        half_the_edits: has(Does::WriteFile) != has(Does::EditFile),
    }
}

/// The kind of tool that has an argument of this name. `None`: any tool may have it.
pub(super) fn kind_of_argument(name: &str) -> Option<Kind> {
    match name.to_ascii_lowercase().as_str() {
        "command" | "cmd" => Some(Kind::Shell),
        "url" | "urls" | "uri" | "domain" | "host" | "hostname" => Some(Kind::Web),
        "file_path"
        | "filepath"
        | "path"
        | "paths"
        | "file"
        | "filename"
        | "absolute_path"
        | "target_file"
        | "notebook_path"
        | "relative_workspace_path"
        | "directory"
        | "dir_path"
        | "source"
        | "destination"
        | "old_string"
        | "new_string"
        | "content"
        | "contents" => Some(Kind::File),
        _ => None,
    }
}

/// A pattern of AvaKill: `*`, `?`, `[seq]`, `[!seq]` as Python's fnmatch reads them, and `all`. There is no escape. A
/// `[` without its `]` stands for itself.
pub(super) fn pattern(text: &str) -> ToolPattern {
    let bytes = if text == "all" { b"*" } else { text.as_bytes() };
    let mut tokens: Vec<Token> = Vec::new();
    let mut at = 0;
    while let Some(b) = bytes.get(at) {
        at += 1;
        match b {
            b'*' if tokens.last() == Some(&Token::Star) => {}
            b'*' => tokens.push(Token::Star),
            b'?' => tokens.push(Token::Any),
            b'[' => match class(&bytes[at..]) {
                Some((set, length)) => {
                    tokens.push(Token::Class(set));
                    at += length;
                }
                None => tokens.push(Token::Byte(b'[')),
            },
            b => tokens.push(Token::Byte(*b)),
        }
    }
    ToolPattern {
        text: text.to_owned(),
        glob: WordPattern {
            alternatives: vec![tokens],
        },
    }
}

/// The class after a `[`, and its length with the `]`.
fn class(rest: &[u8]) -> Option<(ByteSet, usize)> {
    let negated = rest.first() == Some(&b'!');
    let start = usize::from(negated);
    // A `]` in first place is a member.
    let length = 1 + rest.get(start + 1..)?.iter().position(|b| *b == b']')?;
    let members = &rest[start..start + length];
    let mut set = ByteSet::EMPTY;
    let mut at = 0;
    while let Some(low) = members.get(at) {
        match (members.get(at + 1), members.get(at + 2)) {
            (Some(b'-'), Some(high)) => {
                (*low..=*high).for_each(|b| set.insert(b));
                at += 3;
            }
            _ => {
                set.insert(*low);
                at += 1;
            }
        }
    }
    let set = if negated { set.complement() } else { set };
    Some((set, start + length + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> Reach {
        reach(&names.iter().map(|n| pattern(n)).collect::<Vec<_>>())
    }

    fn set(operations: &[Operation]) -> OperationSet {
        operations.iter().copied().collect()
    }

    #[test]
    fn a_tool_stands_for_its_operations() {
        assert_eq!(of(&["file_write"]).files, set(&[Edit, Create]));
        assert_eq!(of(&["file_edit"]).files, set(&[Edit]));
        assert_eq!(of(&["Edit", "MultiEdit"]).files, set(&[Edit]));
        assert_eq!(of(&["file_delete"]).files, set(&[Delete]));
        assert_eq!(of(&["Read"]).files, set(&[Read, List]));
        assert!(of(&["run_command"]).shell && of(&["exec_*"]).shell && of(&["shell"]).shell);
        assert!(of(&["WebFetch"]).web && !of(&["WebFetch"]).shell);
        assert!(of(&["mcp__*", "database_*"]).is_empty());
    }

    #[test]
    fn globs_are_those_of_fnmatch() {
        let all = of(&["all"]);
        assert!(all.everything && all.shell && all.web);
        assert_eq!(all, of(&["*"]));
        assert_eq!(
            of(&["file_*"]).files,
            set(&[Read, List, Edit, Create, Delete])
        );
        assert!(!of(&["file_*"]).everything && !of(&["file_*"]).shell);
        // Case matters, a class is a class, and what fnmatch does not escape stays literal.
        assert!(of(&["bash"]).is_empty() && of(&["[B]ash"]).shell && of(&["[!C]ash"]).shell);
        assert!(of(&["{Bash,Read}"]).is_empty() && of(&["B\\ash"]).is_empty());
        let matches =
            |p: &str, w: &str| crate::semantics::matches_word(&pattern(p).glob, w.as_bytes());
        assert!(matches("[", "[") && matches("a[]]", "a]") && matches("[]-a]x", "`x"));
        assert!(!matches("[z-a]", "m") && matches("[!z-a]", "m"));
    }
}
