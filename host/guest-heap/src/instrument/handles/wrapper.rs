//! The wrappers of imports, and the parts of the wrappers of exports, that count handles.

use std::collections::{BTreeMap, HashMap};

use wasm_encoder::{BlockType, Function, InstructionSink, ValType};

use super::super::context_place::ContextPlace;
use super::super::error::Refusal;
use super::super::link_runtime::LinkedRuntime;
use super::super::scan::CoreModule;
use super::emitter::{Call, Emitter, LIST_LOCALS, Place};
use super::shape::Shape;

/// The handles that a core module gets and ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct ModuleHandles {
    /// By imported function.
    pub(in super::super) imports: BTreeMap<u32, CountedImport>,
    /// By the name of an export.
    pub(in super::super) exports: HashMap<String, CountedExport>,
}

/// How an import gives handles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// In its only result.
    Result(Shape),
    /// Two handles of these types in an i64, the first in the lower half.
    Pair(u32, u32),
    /// In memory, at the address in this parameter.
    Memory(u32, Shape),
    /// An asynchronous call: a subtask of this type, or results in memory if the call has returned.
    Started(u32, Option<(u32, Shape)>),
}

/// An import that gives or ends handles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct CountedImport {
    /// Handles that it ends.
    pub(super) taken: Option<Place>,
    pub(super) given: Option<Given>,
}

/// An export that gets handles as arguments, or passes them on as results.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct CountedExport {
    pub(super) arguments: Option<Place>,
    /// Whether the result is the address of the results in memory, and their handles.
    pub(super) results: Option<(bool, Shape)>,
}

impl CountedImport {
    /// Whether the import gives handles.
    pub(in super::super) fn gives(&self) -> bool {
        self.given.is_some()
    }
}

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
            let given = counted.given.as_ref();
            let saves = suspends && given.is_some();
            if saves {
                place.get(&mut code);
                code.local_set(locals.context);
                code.call(functions.suspends).local_set(locals.state);
            }
            for parameter in 0..params {
                code.local_get(parameter);
            }
            code.call(*import);
            if let Some(given) = given {
                if result.is_some() {
                    code.local_set(locals.result);
                }
                if saves {
                    place.set(&mut code, |code| {
                        code.local_get(locals.context);
                    });
                    code.local_get(locals.state).call(functions.begin);
                }
                count_given(given, &mut code, functions.made, &locals);
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

/// The locals of a wrapper.
struct Locals {
    result: u32,
    context: u32,
    state: u32,
    lists: u32,
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
