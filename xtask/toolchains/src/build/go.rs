//! A program in Go.

use std::process::Command;

use xtask_support::tools;

use super::Sources;
use crate::{Group, Program, component, toolchain};

pub(super) fn group(sources: &Sources) -> Group {
    let source = sources.path("go/ledger.go");
    let programs = tools::on_path("go").map(|go| {
        vec![Program {
            name: "go wasip1".to_owned(),
            build: Box::new(move |folder| {
                let out = folder.join("go.wasm");
                toolchain::run(
                    Command::new(&go)
                        .args(["build", "-o"])
                        .arg(&out)
                        .arg(&source)
                        .envs([("GOOS", "wasip1"), ("GOARCH", "wasm")]),
                )?;
                component::command(&std::fs::read(out)?)
            }),
            options: guest_heap::Options::default(),
        }]
    });
    Group {
        name: "go",
        programs,
    }
}
