//! Links the profiler's runtime into a core module.
//!
//! The runtime is a module with code, a memory, data and a few globals. This stage renumbers its
//! items and appends them to the guest's module, so that instrumented code calls the runtime
//! directly. It also resolves the runtime's imports, to functions of the guest or to single
//! instructions.

use std::collections::HashMap;
use std::convert::Infallible;

use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{
    ConstExpr, DataSection, Encode, GlobalSection, Instruction, MemArg, MemArgTarget, MemoryType,
    TypeSection,
};
use wasmparser::{DataKind, ExternalKind, FunctionBody, Operator, Parser, Payload, TypeRef};

use super::error::Refusal;

/// The runtime, which the build script compiles.
const RUNTIME: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/runtime.wasm"));

/// What replaces a call of an import of the runtime.
#[derive(Clone, Copy, Debug)]
pub(super) enum ResolvedImport {
    /// A call of the function with this index.
    Function(u32),
    /// A read of the global with this index.
    GetGlobal(u32),
    /// A write of the global with this index.
    SetGlobal(u32),
    /// A 32-bit load from the guest's memory, which is the first memory of the module.
    Load,
    /// The sum of the sizes of the guest's memories, in pages.
    Pages,
    /// A constant.
    Constant(i32),
}

/// The indices that the first items of the runtime get in the module.
#[derive(Clone, Debug)]
pub(super) struct RuntimeBase<'m> {
    pub(super) types: u32,
    pub(super) functions: u32,
    pub(super) globals: u32,
    pub(super) memory: u32,
    /// The guest's memories, whose indices are below `memory`.
    pub(super) guest_memories: &'m [wasmparser::MemoryType],
    /// Declared maximum of the runtime's memory in wasm pages, by which the host recognises it.
    pub(super) maximum_pages: u64,
}

/// The items of the runtime with their indices in the module, ready to be appended.
pub(super) struct LinkedRuntime {
    pub(super) types: SectionItems,
    /// Type indices of the functions.
    pub(super) functions: Vec<u32>,
    pub(super) bodies: Vec<Vec<u8>>,
    pub(super) globals: SectionItems,
    pub(super) memory: SectionItems,
    pub(super) data: SectionItems,
    exports: HashMap<&'static str, u32>,
}

/// Encoded items of a section, without its header.
#[derive(Clone, Debug, Default)]
pub(super) struct SectionItems {
    pub(super) count: u32,
    pub(super) bytes: Vec<u8>,
}

impl SectionItems {
    /// The items of a section. An encoded section begins with its size and the number of its items.
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

impl LinkedRuntime {
    /// The index in the module of a function that the runtime exports under this name.
    pub(super) fn export(&self, name: &str) -> Result<u32, Refusal> {
        let found = self.exports.get(name).copied();
        found.ok_or_else(|| Refusal::internal(&format!("the runtime does not export {name}")))
    }
}

/// Links the runtime. A call of an import that `resolve` does not know becomes a trap: only hooks
/// of entry points that the module does not have contain such calls.
pub(super) fn link_runtime(
    base: RuntimeBase<'_>,
    resolve: impl Fn(&str) -> Option<ResolvedImport>,
) -> Result<LinkedRuntime, Refusal> {
    let mut linker = RuntimeLinker {
        base,
        imports: Vec::new(),
    };
    let mut linked = LinkedRuntime {
        types: SectionItems::default(),
        functions: Vec::new(),
        bodies: Vec::new(),
        globals: SectionItems::default(),
        memory: SectionItems::default(),
        data: SectionItems::default(),
        exports: HashMap::new(),
    };
    for payload in Parser::new(0).parse_all(RUNTIME) {
        linker.payload(payload?, &mut linked, &resolve)?;
    }
    Ok(linked)
}

struct RuntimeLinker<'m> {
    base: RuntimeBase<'m>,
    imports: Vec<Option<ResolvedImport>>,
}

impl RuntimeLinker<'_> {
    fn payload(
        &mut self,
        payload: Payload<'static>,
        linked: &mut LinkedRuntime,
        resolve: impl Fn(&str) -> Option<ResolvedImport>,
    ) -> Result<(), Refusal> {
        match payload {
            Payload::TypeSection(types) => {
                let count = types.count();
                let mut section = TypeSection::new();
                self.parse_type_section(&mut section, types)
                    .map_err(refusal)?;
                linked.types = SectionItems::of(count, &section)?;
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import?;
                    if !matches!(import.ty, TypeRef::Func(_)) {
                        return Err(Refusal::internal(
                            "the runtime imports something other than functions",
                        ));
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
                        // One page more than the linker asked for, where the live table begins.
                        minimum: memory.initial + 1,
                        maximum: Some(self.base.maximum_pages),
                        memory64: false,
                        shared: false,
                        page_size_log2: None,
                    });
                    linked.memory = SectionItems::of(1, &section)?;
                }
            }
            Payload::GlobalSection(globals) => {
                let count = globals.count();
                let mut section = GlobalSection::new();
                self.parse_global_section(&mut section, globals)
                    .map_err(refusal)?;
                linked.globals = SectionItems::of(count, &section)?;
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
                        return Err(Refusal::internal("the runtime has passive data"));
                    };
                    let offset: ConstExpr = self.const_expr(offset_expr).map_err(refusal)?;
                    section.active(self.base.memory, &offset, segment.data.iter().copied());
                }
                linked.data = SectionItems::of(count, &section)?;
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
                Some(Some(ResolvedImport::Pages)) => {
                    for instruction in self.pages() {
                        function.instruction(&instruction);
                    }
                    continue;
                }
                Some(import) => function.instruction(&replacement(*import)),
                None => function.instruction(&self.instruction(operator).map_err(refusal)?),
            };
        }
        Ok(function.into_raw_body())
    }

    /// The instructions that compute [`ResolvedImport::Pages`].
    fn pages(&self) -> Vec<Instruction<'static>> {
        let mut code = vec![Instruction::I32Const(0)];
        for (index, memory) in (0..).zip(self.base.guest_memories) {
            code.push(Instruction::MemorySize(index));
            if memory.memory64 {
                code.push(Instruction::I32WrapI64);
            }
            if let Some(log2) = memory.page_size_log2 {
                let shift = PAGE_LOG2.saturating_sub(log2);
                code.extend([Instruction::I32Const(shift as i32), Instruction::I32ShrU]);
            }
            code.push(Instruction::I32Add);
        }
        code
    }
}

/// Bytes of a page, as exponent of two.
const PAGE_LOG2: u32 = 16;

fn replacement(import: Option<ResolvedImport>) -> Instruction<'static> {
    match import {
        Some(ResolvedImport::Function(function)) => Instruction::Call(function),
        Some(ResolvedImport::GetGlobal(global)) => Instruction::GlobalGet(global),
        Some(ResolvedImport::SetGlobal(global)) => Instruction::GlobalSet(global),
        Some(ResolvedImport::Load) => Instruction::I32Load(MemArg {
            offset: 0,
            align: 2,
            target: MemArgTarget::Memory(0),
            ordering: None,
        }),
        Some(ResolvedImport::Constant(value)) => Instruction::I32Const(value),
        Some(ResolvedImport::Pages) | None => Instruction::Unreachable,
    }
}

fn refusal(error: reencode::Error<Infallible>) -> Refusal {
    Refusal::internal(&format!("the runtime cannot be linked: {error}"))
}

impl Reencode for RuntimeLinker<'_> {
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
