//! Standard output and standard error.

use super::{Color, Format, Global, Stop};
use anyhow::Context;
use polc::diagnostics::{self, Diagnostics, Style};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

/// Writes to standard output, and sees that it arrived.
pub fn stdout(bytes: &[u8]) -> Result<(), Stop> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()?;
    Ok(())
}

/// Writes to standard error. A closed one is no reason to fail.
pub fn stderr(text: &str) -> Result<(), Stop> {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
    Ok(())
}

/// Prints diagnostics as the user asked for.
pub fn diagnostics(global: &Global, d: &Diagnostics) -> anyhow::Result<()> {
    let text = match global.format {
        Format::Human => {
            let colored = match global.color {
                Color::Always => true,
                Color::Never => false,
                Color::Auto => {
                    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
                }
            };
            diagnostics::render(
                d,
                if colored {
                    Style::Coloured
                } else {
                    Style::Plain
                },
            )
        }
        Format::Json => format!("{:#}\n", diagnostics::json(d)),
        Format::Sarif => format!("{:#}\n", diagnostics::sarif(d)),
    };
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
    Ok(())
}

/// Whether a reader such as `head` went away.
pub fn is_broken_pipe(e: &anyhow::Error) -> bool {
    e.chain().any(|c| {
        c.downcast_ref::<std::io::Error>()
            .is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

/// Writes every file beside its place first, then renames them all: nothing is half-written.
pub fn write_all(files: &[(PathBuf, &[u8])]) -> Result<(), Stop> {
    let mut ready = Vec::new();
    for (path, bytes) in files {
        let folder = match path.parent() {
            Some(p) if !p.as_os_str().is_empty() => p,
            _ => Path::new("."),
        };
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
        // A device or a pipe (`-o /dev/stdout`) is written as it is: it cannot be replaced.
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
