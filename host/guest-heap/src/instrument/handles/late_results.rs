//! Follows the results of imports that arrive later, or while other calls run: their blocks and
//! handles belong to the call of the import.
//!
//! An asynchronous call leaves the address of its results with the host. The wrapper of the import
//! tells the runtime, with a number for the type of the results. When the guest gets an event, the
//! *arrival* function asks the runtime whether results have arrived, and walks through them.

use wasm_encoder::{BlockType, Function, InstructionSink, MemArg, MemArgTarget, ValType};

use super::super::error::Refusal;
use super::super::link_runtime::LinkedRuntime;
use super::counted::{CountedImport, Given, ModuleHandles};
use super::emitter::{Call, Emitter, LIST_LOCALS};

/// The code of the event that says that the state of a subtask has changed.
const SUBTASK: i32 = 1;

/// The functions of the runtime for results, by their indices in the module.
#[derive(Clone, Copy)]
pub(super) struct LateFunctions {
    started: u32,
    arrive: u32,
    pointer: u32,
    of_call: u32,
    block: u32,
    handle: u32,
}

impl LateFunctions {
    pub(super) fn of(runtime: &LinkedRuntime) -> Result<Self, Refusal> {
        Ok(Self {
            started: runtime.export("call_started")?,
            arrive: runtime.export("results_arrive")?,
            pointer: runtime.export("results_pointer")?,
            of_call: runtime.export("results_of_call")?,
            block: runtime.export("result_block")?,
            handle: runtime.export("result_handle")?,
        })
    }
}

/// The type and the body of the arrival function, if results may arrive. Its parameters are the
/// code of an event and the two words of the event.
pub(super) fn arrival(
    handles: &ModuleHandles,
    functions: LateFunctions,
    runtime: &LinkedRuntime,
) -> Result<Option<(u32, Vec<u8>)>, Refusal> {
    let late = || {
        let imports = handles.imports.values();
        let late = imports.filter(|import| matches!(import.given, Some(Given::Started(..))));
        late.filter_map(|import| import.results.as_ref())
    };
    if late().next().is_none() {
        return Ok(None);
    }
    let (number, pointer, lists) = (3, 4, 5);
    let mut body = Function::new([(2 + LIST_LOCALS, ValType::I32)]);
    let mut code = body.instructions();
    code.local_get(0).local_get(1).local_get(2);
    code.call(functions.arrive).local_tee(number);
    code.if_(BlockType::Empty);
    code.call(functions.pointer).local_set(pointer);
    for results in late() {
        code.local_get(number).i32_const(results.number as i32);
        code.i32_eq().if_(BlockType::Empty);
        let mut emitter = Emitter {
            code: &mut code,
            call: Call::Result(Some(functions.handle), functions.block),
            types: &[],
        };
        emitter.memory(&results.shape, pointer, 0, lists);
        code.return_().end();
    }
    code.end().end();
    // A function of the runtime that has the same type.
    let ty = runtime.type_of("handle_argument")?;
    Ok(Some((ty, body.into_raw_body())))
}

/// The locals of a wrapper.
pub(super) struct Locals {
    pub(super) result: u32,
    pub(super) context: u32,
    pub(super) state: u32,
    pub(super) lists: u32,
}

/// Writes what the wrapper of the import does with results after the import has returned.
pub(super) fn write_results(
    import: &CountedImport,
    code: &mut InstructionSink<'_>,
    functions: LateFunctions,
    arrival: Option<u32>,
    locals: &Locals,
) {
    match (&import.given, &import.results) {
        // No call of the module has results that arrive late.
        (Some(Given::Started(..)), _) if arrival.is_none() => {}
        (Some(Given::Started(..)), results) => {
            let pointer = results.as_ref().map_or(0, |it| it.pointer);
            code.local_get(locals.result).local_get(pointer);
            code.i32_const(results.as_ref().map_or(0, |it| it.number as i32));
            code.call(functions.started);
        }
        (Some(Given::Event), _) => {
            if let Some(arrival) = arrival {
                code.local_get(locals.result);
                for word in 0..2 {
                    code.local_get(1).i32_load(MemArg {
                        offset: 4 * word,
                        align: 2,
                        target: MemArgTarget::Memory(0),
                        ordering: None,
                    });
                }
                code.call(arrival);
            }
        }
        (Some(Given::Cancelled), _) => {
            if let Some(arrival) = arrival {
                code.i32_const(SUBTASK).local_get(0);
                code.local_get(locals.result).call(arrival);
            }
        }
        (_, Some(results)) => {
            code.call(functions.of_call);
            let mut emitter = Emitter {
                code,
                call: Call::Result(None, functions.block),
                types: &[],
            };
            emitter.memory(&results.shape, results.pointer, 0, locals.lists);
        }
        _ => {}
    }
}
