//! `polc schema`: the JSON Schema of the language.

use super::{Done, Outcome, output};

/// Print the JSON Schema of the language.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// The schema.
pub fn value() -> anyhow::Result<serde_json::Value> {
    Ok(polc::frontend::native::schema::schema())
}

pub fn run(_: &Args) -> Done {
    output::stdout(format!("{:#}\n", value()?).as_bytes())?;
    Ok(Outcome::Fine)
}
