//! The programs of each toolchain.

mod assembly_script;
mod c;
mod composed;
mod emscripten;
mod go;
mod javascript;
mod quickjs;
mod rust;
mod zig;

use std::path::{Path, PathBuf};

use xtask_support::tools::Fetch;
use xtask_support::workspace::Workspace;

use crate::{Group, Program, component};

/// The sources of the programs.
pub(crate) struct Sources(PathBuf);

impl Sources {
    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// All groups of programs, in the order of the table.
pub(crate) fn groups(workspace: &Workspace, fetch: Fetch) -> Vec<Group> {
    let sources = || Sources(workspace.root().join("xtask/toolchains/programs"));
    let binaryen = || crate::toolchain::npm_package(fetch, "binaryen", c::BINARYEN);
    let mut groups = vec![c::clang(&sources()), c::wasm_opt(&sources(), binaryen())];
    groups.extend(zig::groups(&sources(), fetch));
    groups.push(assembly_script::group(&sources(), fetch));
    groups.push(rust::group(workspace, &sources()));
    groups.push(go::group(&sources()));
    groups.push(javascript::group(&sources(), fetch));
    groups.push(quickjs::group(&sources(), fetch));
    groups.push(Group {
        name: "tinygo",
        programs: Err(anyhow::anyhow!(
            "no registry has it: it comes as a prebuilt archive only"
        )),
    });
    groups.push(composed::wasm_tools(&sources()));
    groups.push(composed::wac(&sources()));
    groups.push(emscripten::group(&sources()));
    for (name, why) in [
        (
            "threads",
            "no tool makes a component of a module whose memory threads share",
        ),
        (
            "legacy exceptions",
            "the engine does not load modules with them",
        ),
    ] {
        groups.push(Group {
            name,
            programs: Err(anyhow::anyhow!(why)),
        });
    }
    groups
}

/// The group of these files.
pub(crate) fn files(paths: &[PathBuf]) -> Group {
    let program = |path: &PathBuf| {
        let (name, path) = (path.display().to_string(), path.clone());
        let build = move |_: &Path| component::of_any(&std::fs::read(&path)?);
        Program {
            name,
            build: Box::new(build),
            options: guest_heap::Options::default(),
        }
    };
    Group {
        name: "files",
        programs: Ok(paths.iter().map(program).collect()),
    }
}
