//! Programs that are built from Go modules.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, anyhow};

use crate::tools::run_quietly;

/// Runs the `go` command in `folder`, which is also where `go install` puts programs.
///
/// # Errors
/// When it cannot be started or fails.
pub fn go(folder: &Path, args: &[&str]) -> Result<()> {
    let mut go = Command::new("go");
    environment(folder, go.args(args));
    run_quietly(&mut go)?;
    Ok(())
}

/// Static programs that need no C compiler.
pub fn environment(folder: &Path, command: &mut Command) {
    command
        .current_dir(folder)
        .env("GOBIN", folder)
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-buildvcs=false");
}

/// Of the output of a Go build that fails, the last line is the reason.
#[must_use]
pub fn last_line(error: anyhow::Error) -> anyhow::Error {
    let text = format!("{error:#}");
    let last = text.lines().next_back().unwrap_or_default().to_owned();
    anyhow!(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_a_failed_build_is_the_reason() {
        let error = anyhow!("go: downloading a\ngo: no such module");
        assert_eq!(last_line(error).to_string(), "go: no such module");
    }
}
