//! The text files of the checkout.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::lexer::{Piece, Syntax, pieces};

/// One file that the checks read.
#[derive(Debug)]
pub(crate) struct SourceFile {
    /// Relative to the root of the checkout.
    pub(crate) path: PathBuf,
    pub(crate) syntax: Syntax,
    pub(crate) text: String,
}

impl SourceFile {
    /// The file in pieces of code, comment and text.
    pub(crate) fn pieces(&self) -> Vec<Piece<'_>> {
        pieces(self.syntax, &self.text)
    }
}

/// Every text file that Git tracks or would add.
///
/// # Errors
/// When Git cannot list them, or a file cannot be read.
pub(crate) fn read_all(root: &Path) -> Result<Vec<SourceFile>> {
    let listed = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root)
        .stdin(Stdio::null())
        .output()
        .context("cannot start git")?;
    if !listed.status.success() {
        bail!(
            "git cannot list the files: {}",
            String::from_utf8_lossy(&listed.stderr).trim()
        );
    }
    let mut sources = Vec::new();
    for path in String::from_utf8_lossy(&listed.stdout).split('\0') {
        let path = Path::new(path);
        let Some(syntax) = syntax_of(path) else {
            continue;
        };
        // A file that is deleted but not yet committed is still listed.
        if !root.join(path).is_file() {
            continue;
        }
        let text = std::fs::read_to_string(root.join(path))
            .with_context(|| format!("cannot read {}", path.display()))?;
        sources.push(SourceFile {
            path: path.to_path_buf(),
            syntax,
            text,
        });
    }
    Ok(sources)
}

/// How a file is read; `None` for one that the checks do not read.
fn syntax_of(path: &Path) -> Option<Syntax> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    match extension {
        Some("rs") => Some(Syntax::Rust),
        Some("js" | "mjs") => Some(Syntax::JavaScript),
        Some("c" | "h" | "wit" | "css") => Some(Syntax::C),
        Some("toml" | "yaml" | "yml" | "py" | "sh") => Some(Syntax::Hash),
        Some("md") => Some(Syntax::Markdown),
        Some("html" | "lua") => Some(Syntax::Plain),
        Some("json") if path.starts_with("grafana") => Some(Syntax::Plain),
        Some(_) => None,
        None => {
            let name = path.file_name()?.to_str()?;
            let script = name == "Dockerfile" || path.starts_with(".ci");
            script.then_some(Syntax::Hash)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_decides_how_a_file_is_read() {
        for (path, syntax) in [
            ("host/a.rs", Some(Syntax::Rust)),
            ("compose/Dockerfile", Some(Syntax::Hash)),
            (".ci/run", Some(Syntax::Hash)),
            ("README.md", Some(Syntax::Markdown)),
            ("Cargo.lock", None),
            ("LICENSE-MIT", None),
            ("package.json", None),
        ] {
            assert_eq!(syntax_of(Path::new(path)), syntax, "{path}");
        }
    }
}
