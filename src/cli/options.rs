//! The options that several commands have: the policy, the subject's paths, and the form of the output.
//!
//! Each command has the options that it uses, in its own help. All of them may also come before the command (`polc -p
//! FILE check`). There, too, polc refuses an option that the command does not use.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, ValueEnum};
use std::ffi::OsString;
use std::marker::PhantomData;

/// The options that were given, before or after the command.
#[derive(Debug, Clone)]
pub struct Global {
    /// The policy; `None`: the nearest `polc.yaml`.
    pub policy: Option<OsString>,
    /// `NAME=PATH` for the subject.
    pub set: Vec<OsString>,
    /// The form of the answer.
    pub format: Format,
    /// When to use colours.
    pub color: Color,
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text for people
    #[value(aliases = ["table", "text"])]
    Human,
    /// One JSON document
    Json,
    /// SARIF 2.1.0
    Sarif,
    /// Markdown
    Markdown,
    /// A page in one file
    Html,
}

impl Format {
    /// The word on the command line.
    fn word(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |v| v.get_name().to_owned())
    }
}

/// When messages have colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The options before the command.
#[derive(Debug, clap::Args)]
pub struct Before {
    #[arg(short, long, hide = true, value_name = "FILE|builtin:NAME")]
    policy: Option<OsString>,
    #[arg(long, hide = true, value_name = "NAME=PATH")]
    set: Vec<OsString>,
    #[arg(long, hide = true, value_enum, value_name = "FORM")]
    format: Option<Format>,
    /// Colours in messages
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, hide_possible_values = true, value_name = "auto|always|never")]
    color: Color,
}

/// Which policy it is about.
#[derive(Debug, Default, clap::Args)]
pub struct PolicyArgs {
    /// The policy: a file, `-` for standard input, or `builtin:NAME`. Without it: the nearest
    /// `polc.yaml`, here or in a directory above
    #[arg(short, long, global = true, value_name = "FILE|builtin:NAME")]
    policy: Option<OsString>,
    /// Set `workspace`, `home` or `tmp` of the subject, in place of the value in the policy
    #[arg(long, global = true, value_name = "NAME=PATH")]
    set: Vec<OsString>,
}

// No doc comments on these two, because they would become the help of the commands.

#[derive(Debug, clap::Args)]
pub struct With<A: clap::Args> {
    #[command(flatten)]
    pub args: A,
    #[command(flatten)]
    pub policy: PolicyArgs,
}

#[derive(Debug, clap::Args)]
pub struct Formed<A: clap::Args + Forms> {
    #[command(flatten)]
    pub args: A,
    #[command(flatten)]
    pub format: FormatArg<A>,
    #[command(flatten)]
    pub policy: PolicyArgs,
}

/// The forms in which a command can print its answer. The first one is for people, and is the default.
pub trait Forms {
    /// The forms.
    const FORMS: &'static [Format];
}

/// The option `--format` with the forms of one command.
#[derive(Debug)]
pub struct FormatArg<A> {
    asked: Option<Format>,
    of: PhantomData<fn() -> A>,
}

impl<A: Forms> clap::FromArgMatches for FormatArg<A> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let asked = matches.get_one::<String>("format");
        Ok(Self {
            asked: asked.and_then(|word| Format::from_str(word, false).ok()),
            of: PhantomData,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl<A: Forms> clap::Args for FormatArg<A> {
    fn augment_args(cmd: clap::Command) -> clap::Command {
        let values = A::FORMS.iter().filter_map(Format::to_possible_value);
        let arg = Arg::new("format")
            .long("format")
            .alias("as")
            .value_name("FORM")
            .value_parser(PossibleValuesParser::new(values))
            .help("The form of the answer on standard output [default: human]");
        cmd.arg(arg)
    }

    fn augment_args_for_update(cmd: clap::Command) -> clap::Command {
        Self::augment_args(cmd)
    }
}

/// One command's values for these options.
#[derive(Debug, Default)]
pub struct Shared<'a> {
    policy: Option<&'a PolicyArgs>,
    forms: &'static [Format],
    format: Option<Format>,
}

impl<A: clap::Args> With<A> {
    /// The options that several commands have.
    pub fn shared(&self) -> Shared<'_> {
        Shared {
            policy: Some(&self.policy),
            ..Shared::default()
        }
    }
}

impl<A: clap::Args + Forms> Formed<A> {
    /// The options that several commands have.
    pub fn shared(&self) -> Shared<'_> {
        Shared {
            policy: Some(&self.policy),
            forms: A::FORMS,
            format: self.format.asked,
        }
    }
}

impl Before {
    /// Merges these with the options after the command. Those after the command win.
    ///
    /// # Errors
    /// The command does not use an option that comes before it.
    pub fn with(self, command: Shared<'_>) -> Result<Global, String> {
        let unused = |name: &str| Err(format!("this command has no option `--{name}`"));
        let own = match command.policy {
            Some(own) => own,
            None if self.policy.is_some() => return unused("policy"),
            None if !self.set.is_empty() => return unused("set"),
            None => &PolicyArgs::default(),
        };
        let format = command.format.or(self.format).unwrap_or(Format::Human);
        if self.format.is_some() && command.forms.is_empty() {
            return unused("format");
        }
        if format != Format::Human && !command.forms.contains(&format) {
            let forms: Vec<String> = command.forms.iter().map(|f| f.word()).collect();
            return Err(format!(
                "this command has no form `{}`; it has {}",
                format.word(),
                forms.join(", ")
            ));
        }
        Ok(Global {
            policy: own.policy.clone().or(self.policy),
            set: self
                .set
                .into_iter()
                .chain(own.set.iter().cloned())
                .collect(),
            format,
            color: self.color,
        })
    }
}

/// What to write if a program follows `run` or `enforce landlock` without a `--` between them.
pub fn without_dashes(error: &clap::Error) -> Option<String> {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let given: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|w| polc::fidelity::show_bytes(w.as_encoded_bytes()))
        .collect();
    let at = given.iter().position(|w| w == word)?;
    let (before, program) = given.split_at(at);
    let starts = before.iter().any(|w| w == "run" || w == "landlock");
    (starts && !word.starts_with('-')).then(|| {
        format!(
            "`{word}` is not an option; a program comes after `--`: write `polc {} -- {}`",
            before.join(" "),
            program.join(" ")
        )
    })
}
