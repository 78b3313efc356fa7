//! Connects the instrumented core instances of a component to the host.
//!
//! For each instrumented core instance, this stage appends a connector to the component definition:
//! a small module whose start function registers the instance's heap tables with the host. An
//! instance whose heap tables another one holds only gets the host's function.
//!
//! Imports and definitions may follow at the end of a component, so no index changes. The start
//! functions of the connectors run last when the component is instantiated. Until then the runtime
//! counts allocations, but the host cannot capture the call stack of a new context.
//!
//! Only a component that passes the host's interface on to components inside it imports the
//! interface at its start: see `write_component`.

use std::borrow::Cow;

use wasm_encoder::{
    Alias, CanonicalFunctionSection, CanonicalOption, CodeSection, Component,
    ComponentAliasSection, ComponentExportKind, ComponentImportSection, ComponentTypeRef,
    ComponentTypeSection, ComponentValType, ConstExpr, ElementSection, Elements, EntityType,
    ExportKind, Function, FunctionSection, ImportSection, InstanceSection, InstanceType, Module,
    ModuleArg, ModuleSection, PrimitiveValType, StartSection, TypeSection, ValType,
};
use wasmparser::types::TypesRef;

use super::interface;

/// An instrumented core instance.
#[derive(Clone, Copy, Debug)]
pub(super) struct InstrumentedInstance {
    /// Index of the core instance in its component.
    pub(super) instance: u32,
    /// Position of its core module in the list of all modules of the file.
    pub(super) module: u32,
    /// Whether another instance holds its heap tables.
    pub(super) imports_tables: bool,
    /// Whether the host may read its memory, for a known interpreter.
    pub(super) interprets: bool,
}

/// The host's functions, by their indices in the component.
#[derive(Clone, Copy)]
struct HostFunctions {
    new_context: u32,
    register: u32,
    new_interpreted_context: u32,
}

/// Number of items of each kind in a component definition.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScopeCounts {
    types: u32,
    component_instances: u32,
    component_functions: u32,
    core: CoreCounts,
}

impl ScopeCounts {
    pub(super) fn of(types: TypesRef<'_>) -> Self {
        Self {
            types: types.component_type_count(),
            component_instances: types.component_instance_count(),
            component_functions: types.component_function_count(),
            core: CoreCounts {
                modules: types.module_count(),
                functions: types.function_count(),
                tables: types.table_count(),
                memories: types.memory_count(),
                instances: types.core_instance_count(),
            },
        }
    }
}

/// The encoded sections to append to a component definition. `host` is the index of the host's
/// instance if the definition imports it already.
pub(super) fn connectors(
    counts: &ScopeCounts,
    host: Option<u32>,
    instances: &[InstrumentedInstance],
) -> Vec<u8> {
    let mut component = Component::new();
    if host.is_none() {
        import_host(&mut component, counts.types);
    }
    let host = host.unwrap_or(counts.component_instances);
    let functions = HostFunctions {
        new_context: counts.component_functions,
        register: counts.component_functions + 1,
        new_interpreted_context: counts.component_functions + 2,
    };
    let mut aliases = ComponentAliasSection::new();
    for name in [
        interface::NEW_CONTEXT,
        interface::REGISTER_INSTANCE,
        interface::NEW_INTERPRETED_CONTEXT,
    ] {
        aliases.alias(Alias::InstanceExport {
            instance: host,
            kind: ComponentExportKind::Func,
            name,
        });
    }
    component.section(&aliases);

    let mut counts = counts.core;
    for instance in instances {
        if instance.imports_tables {
            connect_importer(&mut component, &mut counts, *instance, functions);
        } else {
            connect(&mut component, &mut counts, *instance, functions);
        }
    }
    without_header(component)
}

/// The encoded sections that import the host's instance at the start of a component definition.
pub(super) fn leading_import() -> Vec<u8> {
    let mut component = Component::new();
    import_host(&mut component, 0);
    without_header(component)
}

/// The sections of a component, which has a header already.
fn without_header(component: Component) -> Vec<u8> {
    let bytes = component.finish();
    bytes.get(8..).unwrap_or_default().to_vec()
}

/// Number of core items of each kind, which is also the index of the next one.
#[derive(Clone, Copy, Debug, Default)]
struct CoreCounts {
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
        .params([
            ("instance", u32_type),
            ("index", u32_type),
            (
                "context",
                ComponentValType::Primitive(PrimitiveValType::U64),
            ),
        ])
        .result(Some(u32_type));
    host.export(interface::NEW_CONTEXT, ComponentTypeRef::Func(0));
    host.ty().defined_type().list(PrimitiveValType::U64);
    host.ty()
        .function()
        .params([
            ("heap-tables", ComponentValType::Type(1)),
            ("module", u32_type),
        ])
        .result(Some(u32_type));
    host.export(interface::REGISTER_INSTANCE, ComponentTypeRef::Func(2));
    let u64_type = ComponentValType::Primitive(PrimitiveValType::U64);
    host.ty().defined_type().list(PrimitiveValType::U8);
    host.ty()
        .function()
        .params([
            ("instance", u32_type),
            ("index", u32_type),
            ("context", u64_type),
            ("window", ComponentValType::Type(3)),
        ])
        .result(Some(u64_type));
    host.export(
        interface::NEW_INTERPRETED_CONTEXT,
        ComponentTypeRef::Func(4),
    );
    let mut types = ComponentTypeSection::new();
    types.instance(&host);
    component.section(&types);
    let mut imports = ComponentImportSection::new();
    imports.import(interface::HOST, ComponentTypeRef::Instance(ty));
    component.section(&imports);
}

/// Lowers the host's functions for an instance and instantiates a connector for it.
fn connect(
    component: &mut Component,
    counts: &mut CoreCounts,
    target: InstrumentedInstance,
    host: HostFunctions,
) {
    let mut aliases = ComponentAliasSection::new();
    let mut alias = |kind, name| {
        aliases.alias(Alias::CoreInstanceExport {
            instance: target.instance,
            kind,
            name,
        });
    };
    alias(ExportKind::Memory, interface::MEMORY);
    if target.interprets {
        alias(ExportKind::Memory, interface::GUEST_MEMORY);
    }
    alias(ExportKind::Table, interface::TABLE);
    for (name, _) in interface::FUNCTIONS {
        alias(ExportKind::Func, name);
    }
    component.section(&aliases);
    let mut lowered = CanonicalFunctionSection::new();
    lower_report(&mut lowered, host, target, counts.memories + 1);
    lowered.lower(host.register, [CanonicalOption::Memory(counts.memories)]);
    component.section(&lowered);

    component.section(&ModuleSection(&connector(target)));
    let function = |n: u32| counts.functions + n;
    let mut instances = InstanceSection::new();
    instances.export_items([
        ("heap-tables", ExportKind::Func, function(0)),
        ("heap-table-words", ExportKind::Func, function(1)),
        ("registered", ExportKind::Func, function(2)),
        ("new-context", ExportKind::Func, function(3)),
        ("register", ExportKind::Func, function(4)),
        ("table", ExportKind::Table, counts.tables),
    ]);
    instances.instantiate(
        counts.modules,
        [("", ModuleArg::Instance(counts.instances))],
    );
    component.section(&instances);
    counts.modules += 1;
    counts.functions += interface::FUNCTIONS.len() as u32 + 2;
    counts.tables += 1;
    counts.memories += 1 + u32::from(target.interprets);
    counts.instances += 2;
}

/// Lowers the function that reports contexts. `guest_memory` is the index of the guest's memory.
fn lower_report(
    lowered: &mut CanonicalFunctionSection,
    host: HostFunctions,
    target: InstrumentedInstance,
    guest_memory: u32,
) {
    if target.interprets {
        let memory = CanonicalOption::Memory(guest_memory);
        lowered.lower(host.new_interpreted_context, [memory]);
    } else {
        lowered.lower(host.new_context, []);
    }
}

/// Connects an instance whose heap tables another one holds: only its table is filled.
fn connect_importer(
    component: &mut Component,
    counts: &mut CoreCounts,
    target: InstrumentedInstance,
    host: HostFunctions,
) {
    let mut aliases = ComponentAliasSection::new();
    aliases.alias(Alias::CoreInstanceExport {
        instance: target.instance,
        kind: ExportKind::Table,
        name: interface::TABLE,
    });
    if target.interprets {
        aliases.alias(Alias::CoreInstanceExport {
            instance: target.instance,
            kind: ExportKind::Memory,
            name: interface::GUEST_MEMORY,
        });
    }
    component.section(&aliases);
    let mut lowered = CanonicalFunctionSection::new();
    lower_report(&mut lowered, host, target, counts.memories);
    counts.memories += u32::from(target.interprets);
    component.section(&lowered);

    let mut types = TypeSection::new();
    report_type(&mut types, target.interprets);
    let mut imports = ImportSection::new();
    imports.import("", "new-context", EntityType::Function(0));
    imports.import("", "table", interface::host_table());
    let mut elements = ElementSection::new();
    let entries = Elements::Functions(Cow::Borrowed(&[0]));
    elements.active(Some(0), &ConstExpr::i32_const(0), entries);
    let mut connector = Module::new();
    connector
        .section(&types)
        .section(&imports)
        .section(&elements);
    component.section(&ModuleSection(&connector));
    let mut instances = InstanceSection::new();
    instances.export_items([
        ("new-context", ExportKind::Func, counts.functions),
        ("table", ExportKind::Table, counts.tables),
    ]);
    instances.instantiate(
        counts.modules,
        [("", ModuleArg::Instance(counts.instances))],
    );
    component.section(&instances);
    counts.modules += 1;
    counts.functions += 1;
    counts.tables += 1;
    counts.instances += 2;
}

/// The type of the function that reports contexts, in core modules.
fn report_type(types: &mut TypeSection, interprets: bool) {
    let parameters = interface::stub_parameters(interprets);
    let result = interface::stub_result(interprets);
    types.ty().function(parameters.iter().copied(), [result]);
}

/// The module that connects an instance of a core module to the host. Its element segment
/// puts the host's `new-context` into the instance's table. Its start function registers the heap
/// tables with the host and passes the instance's number, which the host returns, to the runtime.
fn connector(target: InstrumentedInstance) -> Module {
    const TO_I32: u32 = 0;
    const I32_TO_NOTHING: u32 = 1;
    const REPORT: u32 = 2;
    const I32_I32_I32_TO_I32: u32 = 3;
    const TO_NOTHING: u32 = 4;
    let imports = [
        ("heap-tables", TO_I32),
        ("heap-table-words", TO_I32),
        ("registered", I32_TO_NOTHING),
        ("new-context", REPORT),
        ("register", I32_I32_I32_TO_I32),
    ];
    let [
        heap_tables,
        heap_table_words,
        registered,
        new_context,
        register,
    ] = [0, 1, 2, 3, 4];

    let mut types = TypeSection::new();
    types.ty().function([], [ValType::I32]);
    types.ty().function([ValType::I32], []);
    report_type(&mut types, target.interprets);
    types.ty().function([ValType::I32; 3], [ValType::I32]);
    types.ty().function([], []);
    let mut section = ImportSection::new();
    for (name, ty) in imports {
        section.import("", name, EntityType::Function(ty));
    }
    section.import("", "table", interface::host_table());
    let mut functions = FunctionSection::new();
    functions.function(TO_NOTHING);
    let mut elements = ElementSection::new();
    let entries = Elements::Functions(Cow::Borrowed(&[new_context]));
    elements.active(Some(0), &ConstExpr::i32_const(0), entries);
    let mut start = Function::new([]);
    start
        .instructions()
        .call(heap_tables)
        .call(heap_table_words)
        .i32_const(target.module as i32)
        .call(register)
        .call(registered)
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
