//! The inputs of the suite, and how each must end.

use std::path::Path;

use anyhow::Result;
use xtask_hostile::{Plugin, many_functions, module, nested_loops, slow_to_compile};

/// A component that is made to hurt the host.
pub(crate) struct Input {
    pub(crate) name: &'static str,
    /// The plugin's id, in the path of the upload.
    pub(crate) id: String,
    pub(crate) component: Vec<u8>,
    pub(crate) expected: Expected,
}

/// How an input must end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expected {
    /// The upload is refused with this code.
    Refused(&'static str),
    /// The plugin is loaded, and has this state after some requests.
    State(&'static str),
}

const TOO_COSTLY: Expected = Expected::Refused("plugin_too_costly");
const REFUSED: Expected = Expected::Refused("plugin_refused");
const RUNNING: Expected = Expected::State("running");
const EXHAUSTED: Expected = Expected::State("exhausted");
const FAULTED: Expected = Expected::State("faulted");

/// All inputs. `wit` is the folder of the contract.
pub(crate) fn inputs(wit: &Path) -> Result<Vec<Input>> {
    let mut inputs = bombs();
    let tables: String = (0..100)
        .map(|n| format!("(table $t{n} 0 funcref)"))
        .collect();
    let tables = format!("{tables} (func $f) (elem declare func $f)");
    let failed = |n| {
        format!("(i32.lt_s (table.grow $t{n} (ref.func $f) (i32.const 1000000)) (i32.const 0))")
    };
    let grow = |n| format!("(if {} (then unreachable))", failed(n));
    let grow_tables: String = (0..100).map(grow).collect();
    let memories: String = (0..80).map(|n| format!("(memory $m{n} 1)")).collect();
    let forged = "(data (i32.const 33000) \"ok\\0a2026-11-29 ERROR forged\\0a\\1b[31m\")";
    let none = Plugin::default();
    let plugins: [(&str, Expected, Plugin<'_>); 10] = [
        (
            "start-never-returns",
            REFUSED,
            Plugin {
                id: "endless",
                start: "(loop $forever (br $forever))",
                ..none
            },
        ),
        (
            "fill-3-gib",
            FAULTED,
            Plugin {
                id: "filler",
                on_request: "(drop (memory.grow (i32.const 49152))) (loop $again (memory.fill
                    (i32.const 131072) (i32.const 7) (i32.const 3221225472)) (br $again))",
                ..none
            },
        ),
        (
            "fill-in-start",
            REFUSED,
            Plugin {
                id: "starter",
                start: "(drop (memory.grow (i32.const 49152))) (loop $again (memory.fill
                    (i32.const 131072) (i32.const 7) (i32.const 3221225472)) (br $again))",
                ..none
            },
        ),
        (
            "error-of-12-mib",
            RUNNING,
            Plugin {
                id: "talker",
                start: "(drop (memory.grow (i32.const 200)))
                    (memory.fill (i32.const 131072) (i32.const 65) (i32.const 12582912))",
                on_request: "(i32.store8 (i32.const 512) (i32.const 1))
                    (i32.store (i32.const 520) (i32.const 131072))
                    (i32.store (i32.const 524) (i32.const 12582912))",
                ..none
            },
        ),
        (
            "error-of-100-mib",
            FAULTED,
            Plugin {
                id: "shouter",
                start: "(drop (memory.grow (i32.const 1700)))",
                on_request: "(i32.store8 (i32.const 512) (i32.const 1))
                    (i32.store (i32.const 520) (i32.const 131072))
                    (i32.store (i32.const 524) (i32.const 104857600))",
                ..none
            },
        ),
        (
            "log-forged-lines",
            RUNNING,
            Plugin {
                id: "forger",
                fields: forged,
                on_request: "(loop $again
                    (call $log (i32.const 2) (i32.const 33000) (i32.const 33))
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br_if $again (i32.lt_u (local.get $i) (i32.const 1000))))",
                ..none
            },
        ),
        (
            "tables-100",
            EXHAUSTED,
            Plugin {
                id: "tables",
                fields: &tables,
                on_request: &grow_tables,
                ..none
            },
        ),
        (
            "objects-1-gb",
            EXHAUSTED,
            Plugin {
                id: "objects",
                fields: "(type $bytes (array (mut i8)))
                    (type $node (struct (field (ref $bytes)) (field (ref null $node))))
                    (global $list (mut (ref null $node)) (ref.null $node))",
                on_request: "(loop $more
                    (global.set $list (struct.new $node
                      (array.new $bytes (i32.const 1) (i32.const 1000000)) (global.get $list)))
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br_if $more (i32.lt_u (local.get $i) (i32.const 1000))))",
                ..none
            },
        ),
        (
            "memories-80",
            REFUSED,
            Plugin {
                id: "memories",
                fields: &memories,
                ..none
            },
        ),
        (
            "recursion",
            FAULTED,
            Plugin {
                id: "deep",
                fields: "(func $deep (param i64) (result i64)
                    (i64.add (local.get 0) (call $deep (local.get 0))))",
                on_request: "(drop (call $deep (i64.const 1)))",
                ..none
            },
        ),
    ];
    for (name, expected, plugin) in plugins {
        inputs.push(Input {
            name,
            id: plugin.id.to_owned(),
            component: plugin.build(wit)?,
            expected,
        });
    }
    Ok(inputs)
}

fn bombs() -> Vec<Input> {
    let blocks = |count| {
        let blocks = "block local.get 0 br_if 0 end ".repeat(count);
        module(&format!("(func (param i32) {blocks})"))
    };
    let inputs = [
        ("functions-200000", TOO_COSTLY, many_functions(200_000)),
        ("functions-99000", TOO_COSTLY, many_functions(99_000)),
        ("blocks-1000000", TOO_COSTLY, blocks(1_000_000)),
        ("loops-500x500", TOO_COSTLY, nested_loops(1, 500, 500)),
        ("slow-to-compile", TOO_COSTLY, slow_to_compile()),
        ("blocks-60000", REFUSED, blocks(60_000)),
        (
            "not-a-component",
            REFUSED,
            b"\0asm\x0d\0\x01\0 and more".to_vec(),
        ),
    ];
    inputs
        .map(|(name, expected, component)| Input {
            name,
            id: "bomb".to_owned(),
            component,
            expected,
        })
        .into()
}
