//! What is appended to the component: the import of the host's side, and for each instrumented core
//! instance a small module whose start function brings the two together.
//!
//! It stands at the end, where imports and definitions may stand as well as anywhere, so that nothing
//! in the component is renumbered. Its start functions are the last thing that happens when the
//! component is instantiated: until then the books are kept, but nobody can be told of a context.

use std::borrow::Cow;

use wasm_encoder::{
    Alias, CanonicalFunctionSection, CanonicalOption, CodeSection, Component,
    ComponentAliasSection, ComponentExportKind, ComponentImportSection, ComponentTypeRef,
    ComponentTypeSection, ComponentValType, ConstExpr, ElementSection, Elements, EntityType,
    ExportKind, Function, FunctionSection, ImportSection, InstanceSection, InstanceType, Module,
    ModuleArg, ModuleSection, PrimitiveValType, StartSection, TypeSection, ValType,
};
use wasmparser::types::TypesRef;

use super::assemble::host_table;

/// Names that the instrumented code and the host agree on.
pub(crate) mod names {
    /// The imported instance.
    pub(crate) const HOST: &str = "guest-heap:profiler/host";
    /// `func(book: u32, index: u32)`: a context was seen for the first time.
    pub(crate) const CONTEXT: &str = "new-context";
    /// `func(books: list<u64>, module: u32) -> u32`: an instance's books, and of which core module;
    /// the answer is the instance's number.
    pub(crate) const ANNOUNCE: &str = "announce";

    pub(crate) const TABLE: &str = "guest-heap:table";
    pub(crate) const MEMORY: &str = "guest-heap:memory";
    pub(crate) const BOOKS: &str = "guest-heap:books";
    const BOOK_WORDS: &str = "guest-heap:book-words";
    const ANNOUNCED: &str = "guest-heap:announced";

    /// Exported functions, with their names in the runtime.
    pub(crate) const FUNCTIONS: [(&str, &str); 3] = [
        (BOOKS, "heap_tables"),
        (BOOK_WORDS, "heap_table_words"),
        (ANNOUNCED, "registered"),
    ];
}

/// An instrumented core instance.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) instance: u32,
    /// Index of its module in the component.
    pub(super) module: u32,
}

/// The tail of a component with these types, as encoded sections.
pub(super) fn tail(types: TypesRef<'_>, targets: &[Target]) -> Vec<u8> {
    let mut component = Component::new();
    let host = types.component_instance_count();
    import_host(&mut component, types.component_type_count());
    let (report, announce) = (
        types.component_function_count(),
        types.component_function_count() + 1,
    );
    let mut aliases = ComponentAliasSection::new();
    for name in [names::CONTEXT, names::ANNOUNCE] {
        aliases.alias(Alias::InstanceExport {
            instance: host,
            kind: ComponentExportKind::Func,
            name,
        });
    }
    component.section(&aliases);

    let mut counts = Counts {
        modules: types.module_count(),
        functions: types.function_count(),
        tables: types.table_count(),
        memories: types.memory_count(),
        instances: types.core_instance_count(),
    };
    for target in targets {
        connect(&mut component, &mut counts, *target, report, announce);
    }
    let bytes = component.finish();
    // Without the header, which the component has.
    bytes.get(8..).unwrap_or_default().to_vec()
}

/// How many core items of each kind there are.
struct Counts {
    modules: u32,
    functions: u32,
    tables: u32,
    memories: u32,
    instances: u32,
}

fn import_host(component: &mut Component, ty: u32) {
    let u32_type = ComponentValType::Primitive(PrimitiveValType::U32);
    let mut host = InstanceType::new();
    host.ty()
        .function()
        .params([("book", u32_type), ("index", u32_type)])
        .result(None);
    host.export(names::CONTEXT, ComponentTypeRef::Func(0));
    host.ty().defined_type().list(PrimitiveValType::U64);
    host.ty()
        .function()
        .params([("books", ComponentValType::Type(1)), ("module", u32_type)])
        .result(Some(u32_type));
    host.export(names::ANNOUNCE, ComponentTypeRef::Func(2));
    let mut types = ComponentTypeSection::new();
    types.instance(&host);
    component.section(&types);
    let mut imports = ComponentImportSection::new();
    imports.import(names::HOST, ComponentTypeRef::Instance(ty));
    component.section(&imports);
}

/// Lowers the host's functions for an instance and instantiates a connector for it.
fn connect(
    component: &mut Component,
    counts: &mut Counts,
    target: Target,
    report: u32,
    announce: u32,
) {
    let mut aliases = ComponentAliasSection::new();
    let mut alias = |kind, name| {
        aliases.alias(Alias::CoreInstanceExport {
            instance: target.instance,
            kind,
            name,
        });
    };
    alias(ExportKind::Memory, names::MEMORY);
    alias(ExportKind::Table, names::TABLE);
    for (name, _) in names::FUNCTIONS {
        alias(ExportKind::Func, name);
    }
    component.section(&aliases);
    let mut lowered = CanonicalFunctionSection::new();
    lowered.lower(report, []);
    lowered.lower(announce, [CanonicalOption::Memory(counts.memories)]);
    component.section(&lowered);

    component.section(&ModuleSection(&connector(target.module)));
    let function = |n: u32| counts.functions + n;
    let mut instances = InstanceSection::new();
    instances.export_items([
        ("books", ExportKind::Func, function(0)),
        ("book-words", ExportKind::Func, function(1)),
        ("announced", ExportKind::Func, function(2)),
        ("report", ExportKind::Func, function(3)),
        ("announce", ExportKind::Func, function(4)),
        ("table", ExportKind::Table, counts.tables),
    ]);
    instances.instantiate(
        counts.modules,
        [("", ModuleArg::Instance(counts.instances))],
    );
    component.section(&instances);
    counts.modules += 1;
    counts.functions += names::FUNCTIONS.len() as u32 + 2;
    counts.tables += 1;
    counts.memories += 1;
    counts.instances += 2;
}

/// The module that connects an instance of core module `module` to the host: its start function puts
/// the host's function into the instance's table, hands the books to the host, and tells the runtime
/// the number that the host has given them.
fn connector(module: u32) -> Module {
    const TO_I32: u32 = 0;
    const I32_TO_NOTHING: u32 = 1;
    const I32_I32_TO_NOTHING: u32 = 2;
    const I32_I32_I32_TO_I32: u32 = 3;
    const TO_NOTHING: u32 = 4;
    let imports = [
        ("books", TO_I32),
        ("book-words", TO_I32),
        ("announced", I32_TO_NOTHING),
        ("report", I32_I32_TO_NOTHING),
        ("announce", I32_I32_I32_TO_I32),
    ];
    let [books, book_words, announced, report, announce] = [0, 1, 2, 3, 4];

    let mut types = TypeSection::new();
    types.ty().function([], [ValType::I32]);
    types.ty().function([ValType::I32], []);
    types.ty().function([ValType::I32; 2], []);
    types.ty().function([ValType::I32; 3], [ValType::I32]);
    types.ty().function([], []);
    let mut section = ImportSection::new();
    for (name, ty) in imports {
        section.import("", name, EntityType::Function(ty));
    }
    section.import("", "table", host_table());
    let mut functions = FunctionSection::new();
    functions.function(TO_NOTHING);
    let mut elements = ElementSection::new();
    let reported = Elements::Functions(Cow::Borrowed(&[report]));
    elements.active(Some(0), &ConstExpr::i32_const(0), reported);
    let mut start = Function::new([]);
    start
        .instructions()
        .call(books)
        .call(book_words)
        .i32_const(module as i32)
        .call(announce)
        .call(announced)
        .end();
    let mut code = CodeSection::new();
    code.function(&start);

    let mut connector = Module::new();
    connector
        .section(&types)
        .section(&section)
        .section(&functions)
        .section(&StartSection {
            function_index: imports.len() as u32,
        })
        .section(&elements)
        .section(&code);
    connector
}
