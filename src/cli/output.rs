//! Standard output and standard error.

use super::{Color, Format, Global, Stop};
use anyhow::Context;
use polc::diagnostics::{self, Diagnostics, Style};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

/// Writes to standard output, and checks that it worked.
pub fn stdout(bytes: &[u8]) -> Result<(), Stop> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()?;
    Ok(())
}

/// Writes to standard error. If that is closed, polc does not fail.
pub fn stderr(text: &str) -> Result<(), Stop> {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
    Ok(())
}

/// Prints diagnostics on standard error: as JSON if the answer would be JSON, and otherwise for people.
pub fn diagnostics(global: &Global, d: &Diagnostics) -> anyhow::Result<()> {
    let text = if global.format == Format::Json {
        format!("{:#}\n", diagnostics::json(d))
    } else {
        diagnostics::render(d, style(global))
    };
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
    Ok(())
}

/// The style of standard error.
pub fn style(global: &Global) -> Style {
    if is_coloured(global, std::io::stderr().is_terminal()) {
        Style::Coloured
    } else {
        Style::Plain
    }
}

/// Whether a stream gets colours. It may be a terminal.
fn is_coloured(global: &Global, terminal: bool) -> bool {
    match global.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
    }
}

/// The colours of standard output.
#[derive(Debug, Clone, Copy)]
pub struct Paint(bool);

impl Paint {
    /// As the user asked.
    pub fn stdout(global: &Global) -> Self {
        Self(is_coloured(global, std::io::stdout().is_terminal()))
    }

    /// For output that goes to a file.
    pub fn file(global: &Global) -> Self {
        Self(is_coloured(global, false))
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// Allowed, or kept.
    pub fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    /// Denied, or leaking.
    pub fn bad(self, text: &str) -> String {
        self.with("31", text)
    }

    /// Something between the two.
    pub fn middle(self, text: &str) -> String {
        self.with("33", text)
    }

    /// A heading.
    pub fn head(self, text: &str) -> String {
        self.with("1", text)
    }
}

/// How many columns a table may use: those of the terminal, or 80.
pub fn columns() -> usize {
    const NARROW: usize = 80;
    let size = terminal_size::terminal_size_of(std::io::stdout());
    size.map_or(NARROW, |(width, _)| usize::from(width.0).max(NARROW))
}

/// Whether a reader such as `head` has closed the pipe.
pub fn is_broken_pipe(e: &anyhow::Error) -> bool {
    e.chain().any(|c| {
        c.downcast_ref::<std::io::Error>()
            .is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

/// Writes every file under another name first, and then renames them all. So no file is half-written.
pub fn write_all(files: &[(PathBuf, &[u8])]) -> Result<(), Stop> {
    let mut ready = Vec::new();
    for (path, bytes) in files {
        let folder = match path.parent() {
            Some(p) if !p.as_os_str().is_empty() => p,
            _ => Path::new("."),
        };
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
        // A device or a pipe (`-o /dev/stdout`) is written directly, because it cannot be replaced.
        if path.exists() && !path.is_file() {
            std::fs::OpenOptions::new()
                .write(true)
                .open(path)
                .and_then(|mut f| f.write_all(bytes))
                .with_context(|| format!("cannot write `{}`", path.display()))?;
            continue;
        }
        let mut file = tempfile::Builder::new();
        file.prefix(".polc-");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            file.permissions(std::fs::Permissions::from_mode(0o644));
        }
        let mut file = file
            .tempfile_in(folder)
            .with_context(|| format!("cannot write in `{}`", folder.display()))?;
        file.write_all(bytes)
            .with_context(|| format!("cannot write for `{}`", path.display()))?;
        ready.push((file, path));
    }
    for (file, path) in ready {
        file.persist(path)
            .with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    Ok(())
}
