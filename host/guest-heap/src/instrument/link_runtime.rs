//! Links the profiler's runtime into a core module.
//!
//! The runtime is a module of its own: code, a memory, data, a few globals. All of it is appended to
//! the guest's module with its indices moved up, so that instrumented code calls it directly. What it
//! imports is resolved here, to functions of the guest or to an instruction or two.

use std::collections::HashMap;
use std::convert::Infallible;

use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{
    ConstExpr, DataSection, Encode, GlobalSection, Instruction, MemArg, MemArgTarget, MemoryType,
    TypeSection,
};
use wasmparser::{DataKind, ExternalKind, FunctionBody, Operator, Parser, Payload, TypeRef};

use super::error::Refusal;

/// The runtime, compiled by the build script.
const RUNTIME: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/runtime.wasm"));

/// What an import of the runtime becomes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Import {
    /// A function of the module.
    Function(u32),
    /// Reading a global.
    GetGlobal(u32),
    /// Writing it.
    SetGlobal(u32),
    /// Reading a word of the guest's memory, which is the module's first.
    Load,
    /// A number.
    Constant(i32),
}

/// Where in the module the runtime's parts begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Base {
    pub(super) types: u32,
    pub(super) functions: u32,
    pub(super) globals: u32,
    pub(super) memory: u32,
    /// The memory's maximum in pages, by which the host knows it.
    pub(super) maximum_pages: u64,
}

/// The runtime's parts, with the module's indices, ready to be appended.
pub(super) struct Linked {
    pub(super) types: Items,
    pub(super) functions: Vec<u32>,
    pub(super) bodies: Vec<Vec<u8>>,
    pub(super) globals: Items,
    pub(super) memory: Items,
    pub(super) data: Items,
    exports: HashMap<&'static str, u32>,
}

/// Encoded items of a section.
#[derive(Clone, Debug, Default)]
pub(super) struct Items {
    pub(super) count: u32,
    pub(super) bytes: Vec<u8>,
}

impl Items {
    /// The items of an encoded section, which begins with its size and their number.
    fn of(count: u32, section: &impl Encode) -> Result<Self, Refusal> {
        let mut bytes = Vec::new();
        section.encode(&mut bytes);
        let mut reader = wasmparser::BinaryReader::new(&bytes, 0);
        reader.read_var_u32()?;
        reader.read_var_u32()?;
        let start = reader.current_position();
        bytes.drain(..start);
        Ok(Self { count, bytes })
    }
}

impl Linked {
    /// The index in the module of a function that the runtime exports.
    pub(super) fn export(&self, name: &str) -> Result<u32, Refusal> {
        let found = self.exports.get(name).copied();
        found.ok_or_else(|| Refusal::internal(&format!("the runtime exports no {name}")))
    }
}

/// Links the runtime. An import that `resolve` knows nothing of becomes a trap: it is only called by
/// hooks that stand for nothing in this module.
pub(super) fn link_runtime(
    base: Base,
    resolve: impl Fn(&str) -> Option<Import>,
) -> Result<Linked, Refusal> {
    let mut linker = Linker {
        base,
        imports: Vec::new(),
    };
    let mut linked = Linked {
        types: Items::default(),
        functions: Vec::new(),
        bodies: Vec::new(),
        globals: Items::default(),
        memory: Items::default(),
        data: Items::default(),
        exports: HashMap::new(),
    };
    for payload in Parser::new(0).parse_all(RUNTIME) {
        linker.payload(payload?, &mut linked, &resolve)?;
    }
    Ok(linked)
}

struct Linker {
    base: Base,
    imports: Vec<Option<Import>>,
}

impl Linker {
    fn payload(
        &mut self,
        payload: Payload<'static>,
        linked: &mut Linked,
        resolve: impl Fn(&str) -> Option<Import>,
    ) -> Result<(), Refusal> {
        match payload {
            Payload::TypeSection(types) => {
                let count = types.count();
                let mut section = TypeSection::new();
                self.parse_type_section(&mut section, types)
                    .map_err(refusal)?;
                linked.types = Items::of(count, &section)?;
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import?;
                    if !matches!(import.ty, TypeRef::Func(_)) {
                        return Err(Refusal::internal("the runtime imports more than functions"));
                    }
                    self.imports.push(resolve(import.name));
                }
            }
            Payload::FunctionSection(functions) => {
                for ty in functions {
                    linked.functions.push(ty? + self.base.types);
                }
            }
            Payload::MemorySection(memories) => {
                for memory in memories {
                    let memory = memory?;
                    let mut section = wasm_encoder::MemorySection::new();
                    section.memory(MemoryType {
                        // The live table begins in the page that the linker did not ask for.
                        minimum: memory.initial + 1,
                        maximum: Some(self.base.maximum_pages),
                        memory64: false,
                        shared: false,
                        page_size_log2: None,
                    });
                    linked.memory = Items::of(1, &section)?;
                }
            }
            Payload::GlobalSection(globals) => {
                let count = globals.count();
                let mut section = GlobalSection::new();
                self.parse_global_section(&mut section, globals)
                    .map_err(refusal)?;
                linked.globals = Items::of(count, &section)?;
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    if export.kind == ExternalKind::Func {
                        let index = self.function_index(export.index).map_err(refusal)?;
                        linked.exports.insert(export.name, index);
                    }
                }
            }
            Payload::DataSection(segments) => {
                let count = segments.count();
                let mut section = DataSection::new();
                for segment in segments {
                    let segment = segment?;
                    let DataKind::Active { offset_expr, .. } = segment.kind else {
                        return Err(Refusal::internal("passive data in the runtime"));
                    };
                    let offset: ConstExpr = self.const_expr(offset_expr).map_err(refusal)?;
                    section.active(self.base.memory, &offset, segment.data.iter().copied());
                }
                linked.data = Items::of(count, &section)?;
            }
            Payload::CodeSectionEntry(body) => linked.bodies.push(self.body(&body)?),
            _ => {}
        }
        Ok(())
    }

    fn body(&mut self, body: &FunctionBody<'static>) -> Result<Vec<u8>, Refusal> {
        let mut function = self
            .new_function_with_parsed_locals(body)
            .map_err(refusal)?;
        for operator in body.get_operators_reader()? {
            let operator = operator?;
            let import = match operator {
                Operator::Call { function_index } => self.imports.get(function_index as usize),
                _ => None,
            };
            match import {
                Some(import) => function.instruction(&replacement(*import)),
                None => function.instruction(&self.instruction(operator).map_err(refusal)?),
            };
        }
        Ok(function.into_raw_body())
    }
}

fn replacement(import: Option<Import>) -> Instruction<'static> {
    match import {
        Some(Import::Function(function)) => Instruction::Call(function),
        Some(Import::GetGlobal(global)) => Instruction::GlobalGet(global),
        Some(Import::SetGlobal(global)) => Instruction::GlobalSet(global),
        Some(Import::Load) => Instruction::I32Load(MemArg {
            offset: 0,
            align: 2,
            target: MemArgTarget::Memory(0),
            ordering: None,
        }),
        Some(Import::Constant(value)) => Instruction::I32Const(value),
        None => Instruction::Unreachable,
    }
}

fn refusal(error: reencode::Error<Infallible>) -> Refusal {
    Refusal::internal(&format!("the runtime cannot be linked: {error}"))
}

impl Reencode for Linker {
    type Error = Infallible;

    fn type_index(&mut self, ty: u32) -> Result<u32, reencode::Error> {
        Ok(ty + self.base.types)
    }

    fn function_index(&mut self, function: u32) -> Result<u32, reencode::Error> {
        Ok(function - self.imports.len() as u32 + self.base.functions)
    }

    fn global_index(&mut self, global: u32) -> Result<u32, reencode::Error> {
        Ok(global + self.base.globals)
    }

    fn memory_index(&mut self, memory: u32) -> Result<u32, reencode::Error> {
        Ok(memory + self.base.memory)
    }
}
