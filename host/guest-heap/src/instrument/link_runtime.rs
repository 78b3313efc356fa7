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
    ConstExpr, DataSection, GlobalSection, Instruction, InstructionSink, MemArg, MemArgTarget,
    MemoryType, TypeSection,
};
use wasmparser::{DataKind, ExternalKind, FunctionBody, Operator, Parser, Payload, TypeRef};

use super::context_place::ContextPlace;
use super::error::Refusal;
use super::interface::HANDLE_FUNCTIONS;
use super::resolved_import::ResolvedImport;
use super::section_items::SectionItems;

/// The runtime, which the build script compiles.
const RUNTIME: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/runtime.wasm"));

/// The indices that the first items of the runtime get in the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct RuntimeBase<'m> {
    pub(super) types: u32,
    pub(super) functions: u32,
    pub(super) globals: u32,
    pub(super) memory: u32,
    /// The guest's memories, whose indices are below `memory`.
    pub(super) guest_memories: &'m [wasmparser::MemoryType],
    /// Declared maximum of the runtime's memory in wasm pages, by which the host recognises it.
    pub(super) maximum_pages: u64,
    /// Whether the memory and its data belong to another module, which shares them.
    pub(super) imports_memory: bool,
    /// Number of the copy of the runtime among the copies that share the memory.
    pub(super) copy: u32,
    /// Whether the functions for a known interpreter are necessary.
    pub(super) interprets: bool,
    /// Whether the functions that count handles are necessary.
    pub(super) counts_handles: bool,
}

/// The runtime's functions for a known interpreter.
const INTERPRETER_FUNCTIONS: [&str; 3] = [
    "interpreter_key",
    "report_interpreted",
    "hook__Py_NewReference",
];

/// Name of the runtime's static that holds the shared calling context.
const SHARED_CONTEXT: &str = "SHARED_CONTEXT";
/// Name of the runtime's function that sets the shared calling context.
const SET_SHARED_CONTEXT: &str = "set_shared_context";

/// Bytes of the runtime's stack for each of the copies that share its memory. A copy may call
/// another one through the guest, so they must not use the same bytes. The deepest frames of the
/// runtime take less than 200 bytes.
const STACK_SLICE: i32 = 1024;
/// Copies with a part of the stack of their own. Further ones share the last part.
const STACK_SLICES: u32 = 31;

/// The items of the runtime with their indices in the module, ready to be appended.
pub(super) struct LinkedRuntime {
    pub(super) types: SectionItems,
    /// Type indices of the functions.
    pub(super) functions: Vec<u32>,
    pub(super) bodies: Vec<Vec<u8>>,
    pub(super) globals: SectionItems,
    pub(super) memory: SectionItems,
    pub(super) memory_type: Option<MemoryType>,
    pub(super) data: SectionItems,
    /// Address of the shared calling context in the runtime's memory.
    shared_context: Option<u32>,
    exports: HashMap<&'static str, u32>,
    /// The index of the first function.
    first_function: u32,
}

impl LinkedRuntime {
    /// The place of the calling context that modules with the same heap tables share.
    pub(super) fn shared_context(&self, memory: u32) -> Result<ContextPlace, Refusal> {
        let address = self.shared_context;
        let address =
            address.ok_or_else(|| Refusal::internal("the runtime has no shared context"))?;
        Ok(ContextPlace::Memory { memory, address })
    }

    /// The index in the module of a function that the runtime exports under this name.
    pub(super) fn export(&self, name: &str) -> Result<u32, Refusal> {
        let found = self.exports.get(name).copied();
        found.ok_or_else(|| Refusal::internal(&format!("the runtime does not export {name}")))
    }

    /// The type index of such a function.
    pub(super) fn type_of(&self, name: &str) -> Result<u32, Refusal> {
        let position = self.export(name)?.checked_sub(self.first_function);
        let ty = position.and_then(|at| self.functions.get(at as usize));
        ty.copied()
            .ok_or_else(|| Refusal::internal("a function of the runtime without a type"))
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
        constants: Vec::new(),
        set_shared_context: None,
    };
    let mut linked = LinkedRuntime {
        types: SectionItems::default(),
        functions: Vec::new(),
        bodies: Vec::new(),
        globals: SectionItems::default(),
        memory: SectionItems::default(),
        memory_type: None,
        data: SectionItems::default(),
        shared_context: None,
        exports: HashMap::new(),
        first_function: base.functions,
    };
    for payload in Parser::new(0).parse_all(RUNTIME) {
        linker.payload(payload?, &mut linked, &resolve)?;
    }
    let interpreter = INTERPRETER_FUNCTIONS.iter().filter(|_| !base.interprets);
    let handles = HANDLE_FUNCTIONS.iter().filter(|_| !base.counts_handles);
    for name in interpreter.chain(handles) {
        let position = linked.export(name)?.checked_sub(base.functions);
        let body = position.and_then(|at| linked.bodies.get_mut(at as usize));
        *body.ok_or_else(|| Refusal::internal("an export without a body"))? = trap();
    }
    Ok(linked)
}

/// The body of a function that nothing calls.
pub(super) fn trap() -> Vec<u8> {
    let mut body = vec![0];
    InstructionSink::new(&mut body).unreachable().end();
    body
}

struct RuntimeLinker<'m> {
    base: RuntimeBase<'m>,
    imports: Vec<Option<ResolvedImport>>,
    /// The initial values of the globals.
    constants: Vec<i32>,
    set_shared_context: Option<u32>,
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
                    let ty = MemoryType {
                        // One page more than the linker asked for, where the live table begins.
                        minimum: memory.initial + 1,
                        maximum: Some(self.base.maximum_pages),
                        memory64: false,
                        shared: false,
                        page_size_log2: None,
                    };
                    section.memory(ty);
                    linked.memory_type = Some(ty);
                    if !self.base.imports_memory {
                        linked.memory = SectionItems::of(1, &section)?;
                    }
                }
            }
            Payload::GlobalSection(globals) => {
                let mut section = GlobalSection::new();
                for global in globals.clone() {
                    let global = global?;
                    let mut value = self.constant(&global.init_expr)?;
                    if global.ty.mutable {
                        // The stack pointer: each copy has its own part of the stack.
                        value -= self.base.copy.min(STACK_SLICES) as i32 * STACK_SLICE;
                    }
                    self.constants.push(value);
                    let ty = self.global_type(global.ty).map_err(refusal)?;
                    section.global(ty, &ConstExpr::i32_const(value));
                }
                linked.globals = SectionItems::of(globals.count(), &section)?;
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    if export.kind == ExternalKind::Global && export.name == SHARED_CONTEXT {
                        let address = self.constants.get(export.index as usize);
                        linked.shared_context = address.map(|address| *address as u32);
                    }
                    if export.kind == ExternalKind::Func {
                        let index = self.function_index(export.index).map_err(refusal)?;
                        linked.exports.insert(export.name, index);
                        if export.name == SET_SHARED_CONTEXT {
                            self.set_shared_context = Some(index);
                        }
                    }
                }
            }
            Payload::DataSection(_) if self.base.imports_memory => {}
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
            Payload::CodeSectionEntry(body) => {
                let body = self.body(&body, linked)?;
                linked.bodies.push(body);
            }
            _ => {}
        }
        Ok(())
    }

    /// The value of an initialiser, which is a constant in the runtime.
    fn constant(&self, init: &wasmparser::ConstExpr<'_>) -> Result<i32, Refusal> {
        match init.get_operators_reader().read()? {
            Operator::I32Const { value } => Ok(value),
            _ => Err(Refusal::internal("the runtime has an unusual global")),
        }
    }

    fn body(
        &mut self,
        body: &FunctionBody<'static>,
        linked: &LinkedRuntime,
    ) -> Result<Vec<u8>, Refusal> {
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
                Some(import) => self
                    .replacement(*import, linked)?
                    .iter()
                    .for_each(|instruction| {
                        function.instruction(instruction);
                    }),
                None => {
                    function.instruction(&self.instruction(operator).map_err(refusal)?);
                }
            };
        }
        Ok(function.into_raw_body())
    }

    fn replacement(
        &self,
        import: Option<ResolvedImport>,
        linked: &LinkedRuntime,
    ) -> Result<Vec<Instruction<'static>>, Refusal> {
        Ok(vec![match import {
            Some(ResolvedImport::Function(function)) => Instruction::Call(function),
            Some(ResolvedImport::GetContext(global)) => Instruction::GlobalGet(global),
            Some(ResolvedImport::SetContext(global)) => Instruction::GlobalSet(global),
            Some(ResolvedImport::GetSharedContext) => return Ok(self.get_shared_context(linked)),
            Some(ResolvedImport::ContextAsKey(global)) => {
                return Ok(vec![Instruction::Drop, Instruction::GlobalGet(global)]);
            }
            Some(ResolvedImport::SharedContextAsKey) => {
                let mut code = vec![Instruction::Drop];
                code.extend(self.get_shared_context(linked));
                return Ok(code);
            }
            Some(ResolvedImport::Runtime(name)) => Instruction::Call(linked.export(name)?),
            Some(ResolvedImport::SetSharedContext) => match self.set_shared_context {
                Some(function) => Instruction::Call(function),
                None => Instruction::Unreachable,
            },
            Some(ResolvedImport::Load) => Instruction::I32Load(MemArg {
                offset: 0,
                align: 2,
                target: MemArgTarget::Memory(0),
                ordering: None,
            }),
            Some(ResolvedImport::Pages) => return Ok(self.pages()),
            Some(ResolvedImport::Constant(value)) => Instruction::I32Const(value),
            None => Instruction::Unreachable,
        }])
    }

    fn get_shared_context(&self, linked: &LinkedRuntime) -> Vec<Instruction<'static>> {
        let place = linked.shared_context.map(|address| MemArg {
            offset: u64::from(address),
            align: 3,
            target: MemArgTarget::Memory(self.base.memory),
            ordering: None,
        });
        match place {
            Some(place) => vec![Instruction::I32Const(0), Instruction::I64Load(place)],
            None => vec![Instruction::Unreachable],
        }
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
