//! Builds the programs with componentize-py.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use xtask_support::tools::{Fetch, obtain, on_path, run_quietly};

/// The newest version that the matrix has.
pub(crate) const NEWEST: &str = "0.25.1";

/// The versions of the matrix: the newest of each minor version, with the CPython that it contains.
/// No version contains CPython 3.13.
pub(crate) const VERSIONS: [(&str, &str); 9] = [
    ("0.17.2", "3.12"),
    ("0.18.0", "3.14"),
    ("0.19.3", "3.14"),
    ("0.20.0", "3.14"),
    ("0.21.0", "3.14"),
    ("0.22.1", "3.14"),
    ("0.23.0", "3.14"),
    ("0.24.0", "3.14"),
    (NEWEST, "3.14"),
];

/// The component of a program. It is built once: the file stays in `folder`.
///
/// # Errors
/// When Python or this version is not available, or the program does not build.
pub(crate) fn component(
    fetch: Fetch,
    version: &str,
    programs: &Path,
    program: &str,
    folder: &Path,
) -> Result<Vec<u8>> {
    let tool = tool(fetch, version)?;
    let source = programs.join(program);
    let copy = folder.join(format!("{program}-{version}"));
    fs::create_dir_all(&copy)?;
    let out = copy.join("component.wasm");
    let mut is_same = out.is_file();
    // Copies, because the interpreter writes compiled files next to its sources.
    for file in ["app.py", "world.wit"] {
        let text = fs::read(source.join(file)).with_context(|| format!("{program}/{file}"))?;
        is_same &= fs::read(copy.join(file)).is_ok_and(|known| known == text);
        fs::write(copy.join(file), text)?;
    }
    if !is_same {
        let mut command = Command::new("python3");
        command
            .env("PYTHONPATH", tool)
            .args(["-c", START])
            .arg("-d")
            .arg(copy.join("world.wit"))
            .args(["-w", program, "componentize", "-p"])
            .arg(&copy)
            .args(["app", "-o"])
            .arg(&out);
        run_quietly(&mut command)?;
    }
    fs::read(&out).context("componentize-py has written no component")
}

/// Starts the command of the package.
const START: &str = "import sys; from componentize_py import script; \
                     sys.argv[0] = 'componentize-py'; sys.exit(script())";

/// The folder with this version of the package.
fn tool(fetch: Fetch, version: &str) -> Result<PathBuf> {
    on_path("python3").context("Python 3 is missing")?;
    obtain(
        fetch,
        "componentize-py",
        version,
        "componentize_py",
        |folder| {
            let mut pip = Command::new("python3");
            pip.args(["-m", "pip", "install", "--quiet", "--target"]);
            let package = format!("componentize-py=={version}");
            run_quietly(pip.arg(folder).arg(package))
                .context("pip cannot install it; is the Debian package python3-pip installed?")?;
            Ok(())
        },
    )
}
