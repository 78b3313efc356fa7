//! What has to be known of a core module before it is rewritten.

use std::collections::HashSet;
use std::ops::Range;

use wasmparser::{
    CompositeInnerType, ConstExpr, ElementItems, ExternalKind, FuncType, FunctionBody, KnownCustom,
    MemoryType, Name, Operator, Parser, Payload, TypeRef,
};

use super::allocator::{EntryPoint, is_default_rust_allocator};
use super::error::Refusal;

/// A core module, outlined: everything but its function bodies' instructions.
#[derive(Default)]
pub(super) struct CoreModule<'a> {
    pub(super) bytes: &'a [u8],
    /// `None` for a type that is not a function's.
    pub(super) types: Vec<Option<FuncType>>,
    /// Types of the imported functions.
    pub(super) imported: Vec<u32>,
    /// Types of the module's own.
    pub(super) defined: Vec<u32>,
    pub(super) bodies: Vec<FunctionBody<'a>>,
    pub(super) exports: Vec<(&'a str, u32)>,
    /// Functions that may be called by reference.
    pub(super) referenced: HashSet<u32>,
    pub(super) tables: u32,
    pub(super) globals: u32,
    pub(super) memories: Vec<MemoryType>,
    /// Whether a call that never returns may still be survived: by an exception that is caught.
    pub(super) has_exceptions: bool,
    /// Whether a call through a table may reach functions of other types than its own.
    pub(super) has_subtypes: bool,
    pub(super) has_names: bool,
    pub(super) has_default_rust_allocator: bool,
    /// Whether it uses another module's allocator.
    pub(super) imports_allocator: bool,
    /// Functions with an allocator's name, by the name section first, then by export.
    pub(super) entry_points: Vec<(EntryPoint, u32)>,
    /// Functions that do the work of those, by the name section.
    pub(super) workers: Vec<(EntryPoint, u32)>,
}

impl<'a> CoreModule<'a> {
    /// Outlines a module whose first byte is at index 0 of `bytes`.
    pub(super) fn scan(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let mut module = Self {
            bytes,
            ..Self::default()
        };
        for payload in Parser::new(0).parse_all(bytes) {
            module.payload(payload?)?;
        }
        let exported = module.exports.iter();
        let exported = exported.filter_map(|(name, f)| Some((EntryPoint::of_symbol(name)?, *f)));
        module.entry_points.extend(exported.collect::<Vec<_>>());
        Ok(module)
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
                            self.imports_allocator |= EntryPoint::of_symbol(import.name).is_some();
                        }
                        TypeRef::Table(_) => self.tables += 1,
                        TypeRef::Memory(ty) => self.memories.push(ty),
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
                self.globals += globals.count();
                for global in globals {
                    self.references(&global?.init_expr)?;
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    if export.kind == ExternalKind::Func {
                        self.exports.push((export.name, export.index));
                    }
                }
            }
            Payload::ElementSection(elements) => {
                for element in elements {
                    match element?.items {
                        ElementItems::Functions(functions) => {
                            for function in functions {
                                self.referenced.insert(function?);
                            }
                        }
                        ElementItems::Expressions(_, items) => {
                            for item in items {
                                self.references(&item?)?;
                            }
                        }
                    }
                }
            }
            Payload::CodeSectionEntry(body) => self.bodies.push(body),
            Payload::CustomSection(section) => {
                if let KnownCustom::Name(names) = section.as_known() {
                    self.names(names);
                }
            }
            _ => {}
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

    /// A damaged name section is as good as none, as the specification has it.
    fn names(&mut self, names: wasmparser::NameSectionReader<'a>) {
        for part in names {
            let Ok(Name::Function(functions)) = part else {
                continue;
            };
            for naming in functions.into_iter().map_while(Result::ok) {
                self.has_names = true;
                self.has_default_rust_allocator |= is_default_rust_allocator(naming.name);
                if let Some(entry) = EntryPoint::of_symbol(naming.name) {
                    self.entry_points.push((entry, naming.index));
                }
                if let Some(entry) = EntryPoint::of_worker(naming.name) {
                    self.workers.push((entry, naming.index));
                }
            }
        }
    }

    /// Imported and defined functions.
    pub(super) fn functions(&self) -> u32 {
        (self.imported.len() + self.defined.len()) as u32
    }

    /// How many functions are imported, which is the index of the first that is not.
    pub(super) fn first_defined(&self) -> u32 {
        self.imported.len() as u32
    }

    pub(super) fn is_defined(&self, function: u32) -> bool {
        (self.first_defined()..self.functions()).contains(&function)
    }

    /// The type's index.
    pub(super) fn type_of(&self, function: u32) -> Option<u32> {
        match function.checked_sub(self.first_defined()) {
            Some(defined) => self.defined.get(defined as usize).copied(),
            None => self.imported.get(function as usize).copied(),
        }
    }

    pub(super) fn signature(&self, function: u32) -> Option<&FuncType> {
        self.types.get(self.type_of(function)? as usize)?.as_ref()
    }

    /// A part of the module's bytes.
    pub(super) fn slice(&self, range: Range<usize>) -> Result<&'a [u8], Refusal> {
        self.bytes
            .get(range)
            .ok_or_else(|| Refusal::internal("a range beyond the module"))
    }
}

/// Wasmparser counts in 64 bits; what is in memory fits.
pub(super) fn range(range: Range<u64>) -> Range<usize> {
    range.start as usize..range.end as usize
}
