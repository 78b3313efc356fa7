//! Components that are made of several components.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use xtask_support::tools;

use super::{Sources, c};
use crate::{Build, Group, Program, component};

/// The name of a component's source, and its world.
#[derive(Clone)]
struct Part {
    source: PathBuf,
    world: &'static str,
    arguments: &'static [&'static str],
}

impl Part {
    fn build(&self, folder: &Path) -> Result<Vec<u8>> {
        let arguments: Vec<String> = self.arguments.iter().map(ToString::to_string).collect();
        let module = c::module(folder, &self.source, &arguments)?;
        component::of_world(&std::fs::read(module)?, self.world)
    }
}

/// Makes one component of a folder, a consumer and its providers.
type Compose = fn(&Path, &Path, &[u8], &[&[u8]]) -> Result<Vec<u8>>;

pub(super) fn wasm_tools(sources: &Sources) -> Group {
    let compose: Compose =
        |_, folder, consumer, providers| component::composed(folder, consumer, providers);
    Group {
        name: "wasm-tools compose",
        programs: c::probe().map(|()| programs("compose", sources, Path::new(""), compose)),
    }
}

pub(super) fn wac(sources: &Sources) -> Group {
    let compose: Compose =
        |wac, folder, consumer, providers| component::plugged((wac, folder), consumer, providers);
    let tools = tools::on_path("wac").context("cargo install wac-cli --no-default-features");
    let tools = c::probe().and(tools);
    Group {
        name: "wac",
        programs: tools.map(|wac| programs("wac", sources, &wac, compose)),
    }
}

fn programs(label: &str, sources: &Sources, tool: &Path, compose: Compose) -> Vec<Program> {
    const NAMED: &[&str] = &["-O2", "-g"];
    let part = |world: &'static str, arguments| Part {
        source: sources.path(&format!("compose/{world}.c")),
        world,
        arguments,
    };
    let program = |name: &str, build: Build| Program {
        name: format!("{label} {name}"),
        build,
        options: guest_heap::Options::default(),
    };
    let tool = tool.to_path_buf();
    let (consumer, provider) = (part("consumer", NAMED), part("provider", NAMED));
    let two = {
        let (tool, provider) = (tool.clone(), provider.clone());
        program(
            "two",
            Box::new(move |folder| {
                let (consumer, provider) = (consumer.build(folder)?, provider.build(folder)?);
                compose(&tool, folder, &consumer, &[&provider])
            }),
        )
    };
    let deep = |name, provider: Part| {
        let (outer, middle) = (part("outer", NAMED), part("middle", NAMED));
        let tool = tool.clone();
        program(
            name,
            Box::new(move |folder| {
                let provider = provider.build(folder)?;
                let middle = middle.build(folder)?;
                let inner = compose(&tool, folder, &middle, &[&provider])?;
                compose(&tool, folder, &outer.build(folder)?, &[&inner, &provider])
            }),
        )
    };
    let stripped = part("provider", &["-O2", "-Wl,--strip-all"]);
    vec![
        two,
        deep("three deep, one twice", provider),
        deep("three deep, one stripped", stripped),
    ]
}
