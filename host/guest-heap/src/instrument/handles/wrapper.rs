//! The wrappers of imports, and the parts of the wrappers of exports, that count handles.

use std::collections::HashMap;

use wasm_encoder::{BlockType, Function, InstructionSink, ValType};

use super::super::context_place::ContextPlace;
use super::super::error::Refusal;
use super::super::link_runtime::LinkedRuntime;
use super::super::scan::CoreModule;
use super::counted::{CountedExport, Given, ModuleHandles};
use super::emitter::{Call, Emitter, LIST_LOCALS};
use super::late_results::{LateFunctions, Locals, arrival, write_results};

/// State of an asynchronous call that has returned, in the lower four bits of its status.
const RETURNED: i32 = 2;
const STATE_BITS: i32 = 4;

/// The functions of the runtime that count handles, by their indices in the module.
#[derive(Clone, Copy)]
pub(in super::super) struct HandleFunctions {
    made: u32,
    argument: u32,
    ended: u32,
    suspends: u32,
    begin: u32,
    end: u32,
    pub(super) late: LateFunctions,
}

impl HandleFunctions {
    pub(in super::super) fn of(runtime: &LinkedRuntime) -> Result<Self, Refusal> {
        Ok(Self {
            made: runtime.export("handle_made")?,
            argument: runtime.export("handle_argument")?,
            ended: runtime.export("handle_ended")?,
            suspends: runtime.export("import_suspends")?,
            begin: runtime.export("handles_begin")?,
            end: runtime.export("handles_end")?,
            late: LateFunctions::of(runtime)?,
        })
    }
}

/// The wrappers of the imports of a module.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct ImportWrappers {
    /// By imported function: the function that calls it and counts.
    pub(in super::super) functions: HashMap<u32, u32>,
    /// Type index and body of each wrapper, in the order of their indices.
    pub(in super::super) bodies: Vec<(u32, Vec<u8>)>,
    /// The function to call with each event that the guest gets: its code, and two words.
    pub(in super::super) arrival: Option<u32>,
}

impl ImportWrappers {
    /// Writes the wrappers. `first` is the index of the first one. `suspends` says whether other
    /// calls may run before an import returns.
    pub(in super::super) fn write(
        handles: Option<&ModuleHandles>,
        module: &CoreModule<'_>,
        runtime: &LinkedRuntime,
        (place, suspends): (ContextPlace, bool),
        first: u32,
    ) -> Result<Self, Refusal> {
        let mut wrappers = Self::default();
        let Some(handles) = handles else {
            return Ok(wrappers);
        };
        let functions = HandleFunctions::of(runtime)?;
        if let Some(arrival) = arrival(handles, functions.late, runtime)? {
            wrappers.arrival = Some(first);
            wrappers.bodies.push(arrival);
        }
        let first = first + wrappers.bodies.len() as u32;
        for (next, (import, counted)) in (first..).zip(&handles.imports) {
            let lacks = || Refusal::internal("an import without a type");
            let ty = module.type_of(*import).ok_or_else(lacks)?;
            let signature = module.signature(*import).ok_or_else(lacks)?;
            let params = signature.params().len() as u32;
            let result = match signature.results() {
                [wasmparser::ValType::I64] => Some(ValType::I64),
                [_] => Some(ValType::I32),
                _ => None,
            };
            let locals = Locals {
                result: params,
                context: params + 1,
                state: params + 2,
                lists: params + 3,
            };
            let mut body = Function::new([
                (1, result.unwrap_or(ValType::I32)),
                (1, ValType::I64),
                (1 + LIST_LOCALS, ValType::I32),
            ]);
            let mut code = body.instructions();
            if let Some(taken) = &counted.taken {
                let mut emitter = Emitter {
                    code: &mut code,
                    call: Call::Ended(functions.ended),
                    types: signature.params(),
                };
                emitter.place(taken, locals.lists);
            }
            let saves = suspends && (counted.gives() || counted.results.is_some());
            if saves {
                place.get(&mut code);
                code.local_set(locals.context);
                code.call(functions.suspends).local_set(locals.state);
            }
            for parameter in 0..params {
                code.local_get(parameter);
            }
            code.call(*import);
            if counted.given.is_some() || counted.results.is_some() {
                if result.is_some() {
                    code.local_set(locals.result);
                }
                if saves {
                    place.set(&mut code, |code| {
                        code.local_get(locals.context);
                    });
                    code.local_get(locals.state).call(functions.begin);
                }
                if let Some(given) = &counted.given {
                    count_given(given, &mut code, functions.made, &locals);
                }
                write_results(
                    counted,
                    &mut code,
                    functions.late,
                    wrappers.arrival,
                    &locals,
                );
                if saves {
                    code.local_get(locals.state).call(functions.end);
                }
                if result.is_some() {
                    code.local_get(locals.result);
                }
            }
            code.end();
            wrappers.functions.insert(*import, next);
            wrappers.bodies.push((ty, body.into_raw_body()));
        }
        Ok(wrappers)
    }
}

fn count_given(given: &Given, code: &mut InstructionSink<'_>, made: u32, locals: &Locals) {
    let mut emitter = Emitter {
        code,
        call: Call::Made(made),
        types: &[],
    };
    match given {
        Given::Result(shape) => emitter.flat(shape, locals.result, locals.lists),
        Given::Memory(pointer, shape) => emitter.memory(shape, *pointer, 0, locals.lists),
        Given::Pair(low, high) => {
            emitter.code.local_get(locals.result).i32_wrap_i64();
            emitter.count(*low);
            let code = &mut emitter.code;
            code.local_get(locals.result).i64_const(32).i64_shr_u();
            code.i32_wrap_i64();
            emitter.count(*high);
        }
        Given::Started(subtask, results) => {
            let code = &mut emitter.code;
            code.local_get(locals.result).i32_const(STATE_BITS);
            code.i32_shr_u();
            // Without a subtask, this is 0, which is no handle.
            emitter.count(*subtask);
            if let Some((pointer, shape)) = results {
                let code = &mut emitter.code;
                code.local_get(locals.result);
                code.i32_const((1 << STATE_BITS) - 1).i32_and();
                code.i32_const(RETURNED).i32_eq().if_(BlockType::Empty);
                emitter.memory(shape, *pointer, 0, locals.lists);
                emitter.code.end();
            }
        }
        // They give no handle of their own.
        Given::Event | Given::Cancelled => {}
    }
}

impl CountedExport {
    /// The type of the locals that the wrapper of an export needs for lists.
    pub(in super::super) const LIST_LOCALS: [ValType; LIST_LOCALS as usize] =
        [ValType::I32; LIST_LOCALS as usize];

    /// Counts the arguments, which belong to this synthetic context.
    pub(in super::super) fn count_arguments(
        &self,
        code: &mut InstructionSink<'_>,
        functions: HandleFunctions,
        synthetic: u32,
        (types, lists): (&[wasmparser::ValType], u32),
    ) {
        if let Some(arguments) = &self.arguments {
            let mut emitter = Emitter {
                code,
                call: Call::Argument(functions.argument, synthetic),
                types,
            };
            emitter.place(arguments, lists);
        }
    }

    /// Counts the results. Their flat form, or their address, is in a local.
    pub(in super::super) fn count_results(
        &self,
        code: &mut InstructionSink<'_>,
        functions: HandleFunctions,
        (result, lists): (u32, u32),
    ) {
        let mut emitter = Emitter {
            code,
            call: Call::Ended(functions.ended),
            types: &[],
        };
        match &self.results {
            Some((true, shape)) => emitter.memory(shape, result, 0, lists),
            Some((false, shape)) => emitter.flat(shape, result, lists),
            None => {}
        }
    }

    /// Whether the results have handles.
    pub(in super::super) fn passes_on(&self) -> bool {
        self.results.is_some()
    }
}
