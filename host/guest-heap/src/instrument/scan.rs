//! Reads everything of a core module that the later stages need, except the instructions.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use wasmparser::{
    CompositeInnerType, ConstExpr, DataKind, ElementItems, ElementKind, ExternalKind, FuncType,
    FunctionBody, KnownCustom, MemoryType, Name, Operator, Parser, Payload, TypeRef,
};

use super::debug_names::DebugNames;
use super::entry_names::{self, Named};
use super::entry_point::{EntryPoint, Family};
use super::error::Refusal;
use crate::collected_heap;

/// The parts of a core module.
#[derive(Default)]
pub(super) struct CoreModule<'a> {
    pub(super) bytes: &'a [u8],
    /// By type index; `None` for a type that is not a function type.
    pub(super) types: Vec<Option<FuncType>>,
    /// Type indices of the imported functions.
    pub(super) imported: Vec<u32>,
    /// Module names and names of the imported functions.
    pub(super) imported_names: Vec<(&'a str, &'a str)>,
    /// Module names and names of the imported memories.
    pub(super) imported_memories: Vec<(&'a str, &'a str)>,
    /// Module names and names of the imported tables.
    pub(super) imported_tables: Vec<(&'a str, &'a str)>,
    /// Names and indices of the exported tables.
    pub(super) exported_tables: Vec<(&'a str, u32)>,
    /// The functions that the module puts into imported tables at constant positions.
    pub(super) filled: Vec<FilledTable>,
    /// Whether the module imports or exports a table, so that other modules may change it.
    pub(super) has_open_table: bool,
    /// Type indices of the defined functions.
    pub(super) defined: Vec<u32>,
    pub(super) bodies: Vec<FunctionBody<'a>>,
    /// Names and indices of the exported functions.
    pub(super) exports: Vec<(&'a str, u32)>,
    /// The same by name.
    pub(super) export_indices: HashMap<&'a str, u32>,
    /// Names and indices of the exported memories.
    pub(super) exported_memories: Vec<(&'a str, u32)>,
    /// Functions that the module takes references to, except in its function bodies.
    pub(super) referenced: HashSet<u32>,
    /// Number of tables.
    pub(super) tables: u32,
    /// Number of globals.
    pub(super) globals: u32,
    pub(super) memories: Vec<MemoryType>,
    /// Whether another module defines the first memory.
    pub(super) imports_memory: bool,
    pub(super) start: Option<u32>,
    /// End of the active data segments in the first memory.
    pub(super) data_end: u64,
    /// Values of the immutable 32-bit globals that begin with a constant, by index.
    pub(super) constant_globals: HashMap<u32, u32>,
    /// First value of the stack pointer: the first mutable global, by the convention of LLVM.
    pub(super) stack_pointer: Option<u32>,
    /// The largest value of the linker's symbols for the end of static data, if they are exported.
    pub(super) data_end_symbol: Option<u32>,
    /// Names of functions, from the name section.
    pub(super) function_names: HashMap<u32, &'a str>,
    /// Whether the module may catch an exception: then it may survive a call that never returns.
    pub(super) has_exceptions: bool,
    /// Whether a call through a table may reach functions of other types than the call's own.
    pub(super) has_subtypes: bool,
    /// Whether the name section names a function.
    pub(super) has_names: bool,
    pub(super) has_default_rust_allocator: bool,
    /// Whether the module imports an allocator entry point.
    pub(super) imports_allocator: bool,
    /// Functions with the name of an entry point: from the name section first, then from exports.
    pub(super) entry_points: Vec<(EntryPoint, u32)>,
    /// Functions that implement an entry point, such as `dlmalloc`, from the name section.
    pub(super) implementations: Vec<(EntryPoint, u32)>,
    /// Parts of an allocator that only its entry points call.
    pub(super) allocator_internals: HashSet<u32>,
    /// Parts of an allocator that others may call, too.
    pub(super) allocator_shared: HashSet<u32>,
    /// Whether the module has a collector that takes its heap in chunks.
    pub(super) has_collected_heap: bool,
    /// Whether the module has the allocator of Go's runtime.
    pub(super) has_go_runtime: bool,
    pub(super) debug_names: DebugNames,
    /// The functions of the name section.
    pub(super) names: Vec<(&'a str, u32)>,
}

/// Functions that a module puts into an imported table.
pub(super) struct FilledTable {
    pub(super) table: u32,
    /// Position of the first function in the table.
    pub(super) offset: u32,
    pub(super) functions: Vec<u32>,
}

impl<'a> CoreModule<'a> {
    /// Reads a module. `bytes` must be exactly the module.
    pub(super) fn scan(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let mut module = Self {
            bytes,
            ..Self::default()
        };
        for payload in Parser::new(0).parse_all(bytes) {
            module.payload(payload?)?;
        }
        module.read_names();
        module.export_indices = module.exports.iter().copied().collect();
        Ok(module)
    }

    /// Finds the parts of an allocator by the names of functions. Their meaning depends on the
    /// signatures, so this comes after all sections.
    fn read_names(&mut self) {
        for (name, function) in std::mem::take(&mut self.names) {
            self.names.push((name, function));
            self.has_default_rust_allocator |= entry_names::is_default_rust_allocator(name);
            self.debug_names.read_function(name);
            self.has_go_runtime |= name == "runtime.mallocgc";
            self.has_collected_heap |= collected_heap::takes_chunk(name);
            match entry_names::read(name, self.signature(function)) {
                Some(Named::Entry(entry)) => self.entry_points.push((entry, function)),
                Some(Named::Implementation(entry)) => self.implementations.push((entry, function)),
                Some(Named::Internal) => {
                    self.allocator_internals.insert(function);
                }
                Some(Named::Shared) => {
                    self.allocator_shared.insert(function);
                }
                None => {}
            }
        }
        let has_own_runtime = self
            .entry_points
            .iter()
            .any(|(entry, _)| entry.family() == Family::AssemblyScript);
        if has_own_runtime {
            // Functions of the program that happen to have the names of C's.
            let is_c = |(entry, _): &(EntryPoint, u32)| entry.family() == Family::C;
            self.entry_points.retain(|entry| !is_c(entry));
            self.implementations.retain(|entry| !is_c(entry));
            return;
        }
        let exported = self.exports.iter();
        let exported = exported.filter_map(|(name, f)| Some((entry_names::exported(name)?, *f)));
        self.entry_points.extend(exported.collect::<Vec<_>>());
    }

    fn payload(&mut self, payload: Payload<'a>) -> Result<(), Refusal> {
        match payload {
            Payload::TypeSection(types) => {
                for group in types {
                    for ty in group?.types() {
                        self.has_subtypes |= !ty.is_final || !ty.supertype_idxs.is_empty();
                        self.types.push(match &ty.composite_type.inner {
                            CompositeInnerType::Func(ty) => Some(ty.clone()),
                            _ => None,
                        });
                    }
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import?;
                    match import.ty {
                        TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                            self.imported.push(ty);
                            self.imported_names.push((import.module, import.name));
                            self.imports_allocator |= entry_names::exported(import.name).is_some();
                        }
                        TypeRef::Table(_) => {
                            self.has_open_table = true;
                            self.imported_tables.push((import.module, import.name));
                            self.tables += 1;
                        }
                        TypeRef::Memory(ty) => {
                            self.imports_memory |= self.memories.is_empty();
                            self.imported_memories.push((import.module, import.name));
                            self.memories.push(ty);
                        }
                        TypeRef::Global(_) => self.globals += 1,
                        TypeRef::Tag(_) => self.has_exceptions = true,
                    }
                }
            }
            Payload::FunctionSection(functions) => {
                for ty in functions {
                    self.defined.push(ty?);
                }
            }
            Payload::TableSection(tables) => {
                self.tables += tables.count();
                for table in tables {
                    if let wasmparser::TableInit::Expr(init) = table?.init {
                        self.references(&init)?;
                    }
                }
            }
            Payload::MemorySection(memories) => {
                for memory in memories {
                    self.memories.push(memory?);
                }
            }
            Payload::TagSection(tags) => self.has_exceptions |= tags.count() > 0,
            Payload::GlobalSection(globals) => {
                let first = self.globals;
                self.globals += globals.count();
                for (index, global) in (first..).zip(globals) {
                    let global = global?;
                    self.references(&global.init_expr)?;
                    match i32_constant(&global.init_expr)? {
                        Some(value) if !global.ty.mutable => {
                            self.constant_globals.insert(index, value);
                        }
                        Some(value) => {
                            self.stack_pointer.get_or_insert(value);
                        }
                        None => {}
                    }
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    match export.kind {
                        ExternalKind::Func | ExternalKind::FuncExact => {
                            self.exports.push((export.name, export.index));
                        }
                        ExternalKind::Memory => {
                            self.exported_memories.push((export.name, export.index));
                        }
                        ExternalKind::Table => {
                            self.has_open_table = true;
                            self.exported_tables.push((export.name, export.index));
                        }
                        ExternalKind::Global
                            if matches!(export.name, "__heap_base" | "__data_end") =>
                        {
                            let value = self.constant_globals.get(&export.index).copied();
                            self.data_end_symbol = self.data_end_symbol.max(value);
                        }
                        _ => {}
                    }
                }
            }
            Payload::ElementSection(elements) => {
                for element in elements {
                    let element = element?;
                    match element.items {
                        ElementItems::Functions(functions) => {
                            let functions = functions.into_iter().collect::<Result<Vec<_>, _>>()?;
                            self.referenced.extend(&functions);
                            self.fill(&element.kind, functions)?;
                        }
                        ElementItems::Expressions(_, items) => {
                            for item in items {
                                self.references(&item?)?;
                            }
                        }
                    }
                }
            }
            Payload::StartSection { func, .. } => self.start = Some(func),
            Payload::DataSection(segments) => {
                for segment in segments {
                    let segment = segment?;
                    if let DataKind::Active {
                        memory_index: 0,
                        offset_expr,
                    } = segment.kind
                        && let Some(start) = i32_constant(&offset_expr)?
                    {
                        let end = u64::from(start) + segment.data.len() as u64;
                        self.data_end = self.data_end.max(end);
                    }
                }
            }
            Payload::CodeSectionEntry(body) => self.bodies.push(body),
            Payload::CustomSection(section) => {
                if let KnownCustom::Name(names) = section.as_known() {
                    self.names(names);
                } else if section.name() == ".debug_str" {
                    self.debug_names.read(section.data());
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Notes which functions the module puts into an imported table.
    fn fill(&mut self, kind: &ElementKind<'_>, functions: Vec<u32>) -> Result<(), Refusal> {
        if let ElementKind::Active {
            table_index,
            offset_expr,
        } = kind
            && (table_index.unwrap_or(0) as usize) < self.imported_tables.len()
            && let Some(offset) = i32_constant(offset_expr)?
        {
            self.filled.push(FilledTable {
                table: table_index.unwrap_or(0),
                offset,
                functions,
            });
        }
        Ok(())
    }

    fn references(&mut self, init: &ConstExpr<'_>) -> Result<(), Refusal> {
        let mut operators = init.get_operators_reader();
        while !operators.eof() {
            if let Operator::RefFunc { function_index } = operators.read()? {
                self.referenced.insert(function_index);
            }
        }
        Ok(())
    }

    /// Ignores the damaged part of a name section: by the specification, the section is optional.
    fn names(&mut self, names: wasmparser::NameSectionReader<'a>) {
        for subsection in names {
            let Ok(Name::Function(functions)) = subsection else {
                continue;
            };
            for naming in functions.into_iter().map_while(Result::ok) {
                self.has_names = true;
                self.function_names.insert(naming.index, naming.name);
                self.names.push((naming.name, naming.index));
            }
        }
    }

    /// Whether a function grows a memory.
    pub(super) fn grows(&self) -> bool {
        self.bodies.iter().any(|body| {
            let operators = body.get_operators_reader().into_iter().flatten();
            operators
                .map_while(Result::ok)
                .any(|operator| matches!(operator, Operator::MemoryGrow { .. }))
        })
    }

    /// Number of imported and defined functions.
    pub(super) fn function_count(&self) -> u32 {
        (self.imported.len() + self.defined.len()) as u32
    }

    /// Index of the first function that is not imported.
    pub(super) fn first_defined(&self) -> u32 {
        self.imported.len() as u32
    }

    pub(super) fn is_defined(&self, function: u32) -> bool {
        (self.first_defined()..self.function_count()).contains(&function)
    }

    /// Whether a function is a part of an allocator: it implements an entry point, or entry points
    /// call it.
    pub(super) fn is_part_of_allocator(&self, function: u32) -> bool {
        self.allocator_internals.contains(&function)
            || self.allocator_shared.contains(&function)
            || self.implementations.iter().any(|(_, it)| *it == function)
    }

    /// The type index of a function.
    pub(super) fn type_of(&self, function: u32) -> Option<u32> {
        match function.checked_sub(self.first_defined()) {
            Some(defined) => self.defined.get(defined as usize).copied(),
            None => self.imported.get(function as usize).copied(),
        }
    }

    pub(super) fn signature(&self, function: u32) -> Option<&FuncType> {
        self.types.get(self.type_of(function)? as usize)?.as_ref()
    }

    pub(super) fn slice(&self, range: Range<usize>) -> Result<&'a [u8], Refusal> {
        self.bytes
            .get(range)
            .ok_or_else(|| Refusal::internal("a range extends beyond the module"))
    }
}

/// The value of an initialiser that is a single 32-bit constant.
fn i32_constant(init: &ConstExpr<'_>) -> Result<Option<u32>, Refusal> {
    let mut operators = init.get_operators_reader();
    let value = match operators.read()? {
        Operator::I32Const { value } => value as u32,
        _ => return Ok(None),
    };
    Ok(matches!(operators.read()?, Operator::End).then_some(value))
}

/// Converts a range of wasmparser, which counts in 64 bits. A range of bytes in memory always fits.
pub(super) fn usize_range(range: Range<u64>) -> Range<usize> {
    range.start as usize..range.end as usize
}
