//! The program under test.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::fixtures;

/// A component of `fixtures/` as a file, and a folder for the cache and for outputs.
pub(crate) struct Program {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) component: PathBuf,
}

/// What the program has printed, and its exit code.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: Option<i32>,
}

impl Program {
    /// Commands on the component `name`.
    pub(crate) fn on(name: &str) -> Self {
        Self::on_bytes(&fixtures::rust(name))
    }

    pub(crate) fn on_bytes(component: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.wasm");
        std::fs::write(&path, component).unwrap();
        Self {
            folder,
            component: path,
        }
    }

    /// `guest-heap COMMAND APP.wasm ARGUMENTS`, not started yet.
    pub(crate) fn command(&self, command: &str, arguments: &[&str]) -> Command {
        let mut program = Command::new(env!("CARGO_BIN_EXE_guest-heap"));
        program
            .arg(command)
            .arg(&self.component)
            .args(arguments)
            .env("GUEST_HEAP_CACHE", self.folder.path().join("cache"))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        program
    }

    pub(crate) fn run(&self, command: &str, arguments: &[&str]) -> Ran {
        Ran::from(self.command(command, arguments).output().unwrap())
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            code: output.status.code(),
        }
    }
}

/// The number of the line of a fixture's source that has the comment `LEAK name`.
pub(crate) fn line_of(source: &str, name: &str) -> usize {
    let source = std::fs::read_to_string(fixtures::folder().join(source)).unwrap();
    let marker = format!("// LEAK {name}");
    let mut lines = source.lines();
    lines.position(|line| line.ends_with(&marker)).unwrap() + 1
}
