//! Instruments a component, so that it counts its own allocations exactly, by call stack.
//!
//! Each stage has a file of its own:
//!
//! 1. `component` and `scan` read the structure of the component and of its core modules;
//!    `core_instances` finds out which items of core instances are the same.
//! 2. `allocator` selects the entry points that allocate memory, which `entry_point` lists.
//!    `repair` moves the hooks of entry points that an optimiser has bypassed. `audit` finds what
//!    else bypasses them, with `bypass`, `constants`, `debug_names` and `static_data`.
//! 3. `calls` and `reach` find the functions and the calls that may allocate.
//! 4. `context` rewrites function bodies, so that at each allocation a global identifies the call
//!    stack, with the numbers of `call_site_id`. `pass_through` finds the calls that need not set
//!    it. `body_writer` inserts the code. `growth` finds where memory may grow outside of the
//!    allocator, which the context then identifies, too.
//! 5. `link_runtime` links the profiler's runtime, whose hooks replace the entry points.
//!    `runtime_imports` resolves its imports.
//! 6. `exports` wraps exports, so that the runtime learns when the host calls them and for what.
//! 7. `handles` finds the imports and exports that get and end handles of the component model, and
//!    wraps them. `canonical` finds the functions behind imports.
//! 8. `module` runs these stages for one core module; `code_section` and `assemble` write it.
//!    `interpreted` decides whether contexts are the source lines of an interpreted program.
//! 9. `sharing` finds the modules that share heap tables; `plan` instruments the modules of the
//!    whole component.
//! 10. `write_component` writes the component, with the connectors of `connector`, which connect
//!     the instrumented core instances to the host.
//!
//! `interface` has the names that the instrumented modules and the host agree on. `offset_map` maps
//! offsets in the instrumented component back to the original. `forwarding` finds functions that
//! only call another one.
//!
//! Instrumenting only inserts bytes, and functions keep their indices. So the line tables and names
//! of the original stay valid, and symbols and backtraces refer to the original.

mod allocator;
mod assemble;
mod attribution;
mod audit;
mod body_writer;
mod bypass;
mod call_site_id;
mod calls;
mod canonical;
mod code_section;
mod component;
mod connector;
mod constants;
mod context;
mod context_place;
mod core_instances;
mod debug_names;
mod declaration_file;
mod declared;
mod entry_names;
mod entry_point;
mod error;
mod export_roles;
mod exports;
mod forwarding;
mod growth;
mod handles;
mod hook_body;
pub(crate) mod interface;
mod interpreted;
mod link_runtime;
mod meta;
mod module;
mod offset_map;
mod options;
mod pass_through;
mod plan;
mod reach;
mod reindex;
mod repair;
mod report;
mod resolved_import;
mod runtime_imports;
mod scan;
mod scope;
mod section_items;
mod sharing;
mod static_data;
mod structure;
mod survey;
mod write_component;

use std::sync::Arc;

use wasmparser::types::Types;
use wasmparser::{
    Encoding, FuncValidatorAllocations, Parser, Payload, ValidPayload, Validator, WasmFeatures,
};

use component::ComponentStructure;
use connector::ScopeCounts;
use declared::DeclaredEntries;
use error::Refusal;
use plan::Plan;
use scan::CoreModule;
use write_component::ComponentWriter;

pub(crate) use call_site_id::{MULTIPLIER, module_salt, site_id};

pub use attribution::{Attribution, Missing};
pub use declaration_file::embed_declarations;
pub use declared::EntryKind;
pub use error::{DeclarationError, InstrumentError, MetaError};
pub use meta::{HandleMeta, InstrumentedMeta, ModuleSpan};
pub use offset_map::OffsetMap;
pub use options::Options;
pub use report::{ModuleReport, Report};

/// A number that changes with every change of this library that can change the output of
/// [`instrument()`]. Use it in the key of a cache of that output.
pub const FINGERPRINT: &str = env!("GUEST_HEAP_FINGERPRINT");

/// Bytes of a wasm page.
const WASM_PAGE: u64 = 65_536;

/// An instrumented component.
#[derive(Clone, Debug)]
pub struct Instrumented {
    /// The component to compile and run. With [`Attribution::Off`] it is the original.
    pub component: Vec<u8>,
    /// The side data for a [`Recorder`](crate::Recorder). Keep it together with the component.
    pub meta: Arc<InstrumentedMeta>,
    /// What instrumenting has changed.
    pub report: Report,
}

impl Instrumented {
    /// How precisely the heap is attributed to call stacks.
    pub fn attribution(&self) -> &Attribution {
        self.meta.attribution()
    }
}

/// Instruments a component.
///
/// A component that cannot be attributed is returned unchanged, with [`Attribution::Off`] and the
/// reason.
///
/// # Errors
///
/// The bytes are not a valid component, or a declared entry point does not exist or does not fit.
pub fn instrument(component: &[u8], options: &Options) -> Result<Instrumented, InstrumentError> {
    check_encoding(component)?;
    // The validation includes the function bodies. A body that refers to a memory, function or
    // global that the module does not have could otherwise become valid: the profiler's own items
    // would get these indices.
    let types = validate(component)?;
    let options = options.with_embedded(component)?;
    check_declared(component, &options.entry_points)?;
    Ok(
        try_instrument(component, &types, &options).unwrap_or_else(|Refusal(why)| Instrumented {
            component: component.to_vec(),
            meta: Arc::new(InstrumentedMeta::off(why)),
            report: Report::default(),
        }),
    )
}

/// Checks that the declared entry points exist. A component whose structure cannot be read is
/// refused later, with the reason.
fn check_declared(bytes: &[u8], declared: &DeclaredEntries) -> Result<(), InstrumentError> {
    if declared.0.is_empty() {
        return Ok(());
    }
    let Ok(structure) = ComponentStructure::read(bytes) else {
        return Ok(());
    };
    let modules: Vec<CoreModule<'_>> = structure
        .modules
        .iter()
        .filter_map(|inline| CoreModule::scan(bytes.get(inline.bytes.clone())?).ok())
        .collect();
    declared.check(&modules)
}

fn check_encoding(bytes: &[u8]) -> Result<(), InstrumentError> {
    let first = Parser::new(0).parse_all(bytes).next();
    match first {
        Some(Ok(Payload::Version {
            encoding: Encoding::Component,
            ..
        })) => Ok(()),
        Some(Ok(_)) => Err(InstrumentError::NotAComponent("it is a core module")),
        _ => Err(InstrumentError::NotAComponent(
            "it does not begin with the WebAssembly header",
        )),
    }
}

/// Validates a component. Returns the types of each component definition in it, in the order of the
/// file.
fn validate(bytes: &[u8]) -> wasmparser::Result<Vec<Types>> {
    let mut validator = Validator::new_with_features(WasmFeatures::all());
    let mut definitions: Vec<Option<Types>> = Vec::new();
    // For each open module or component: its position, if it is a component.
    let mut open = Vec::new();
    let mut functions = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        if let Payload::Version { encoding, .. } = &payload {
            open.push((*encoding == Encoding::Component).then_some(definitions.len()));
            if *encoding == Encoding::Component {
                definitions.push(None);
            }
        }
        match validator.payload(&payload)? {
            ValidPayload::Func(function, body) => functions.push((function, body)),
            ValidPayload::End(types) => {
                let position = open.pop().flatten();
                if let Some(definition) = position.and_then(|at| definitions.get_mut(at)) {
                    *definition = Some(types);
                }
            }
            _ => {}
        }
    }
    let mut allocations = FuncValidatorAllocations::default();
    for (function, body) in functions {
        let mut function = function.into_validator(allocations);
        function.validate(&body)?;
        allocations = function.into_allocations();
    }
    Ok(definitions.into_iter().flatten().collect())
}

fn try_instrument(
    bytes: &[u8],
    types: &[Types],
    options: &Options,
) -> Result<Instrumented, Refusal> {
    let structure = ComponentStructure::read(bytes)?;
    refuse_own_imports(&structure)?;
    let plan = Plan::make(bytes, &structure, types, options)?;
    let counts: Vec<ScopeCounts> = types
        .iter()
        .map(|it| ScopeCounts::of(it.as_ref()))
        .collect();
    let writer = ComponentWriter {
        bytes,
        structure: &structure,
        counts: &counts,
        changes: plan.changes,
        modules: plan.modules,
    };
    let mut written = writer.write()?;
    Validator::new_with_features(WasmFeatures::all())
        .validate_all(&written.bytes)
        .map_err(|error| Refusal::internal(&error.to_string()))?;
    let attribution = if plan.gaps.reasons.is_empty() {
        Attribution::Exact
    } else {
        Attribution::Partial {
            why: plan.gaps.reasons.join("; "),
        }
    };
    let report = Report {
        modules: plan.reports,
        component_bytes_before: bytes.len(),
        component_bytes_after: written.bytes.len(),
    };
    written.offsets.shrink();
    Ok(Instrumented {
        component: written.bytes,
        meta: Arc::new(InstrumentedMeta {
            attribution,
            missing: plan.gaps.missing,
            offsets: written.offsets,
            synthetic_names: plan.names.0,
            modules: plan.spans,
            maximum_bytes: Some(plan.maximum_pages * WASM_PAGE),
            interpreters: plan.interpreters,
            without_lines: plan.without_lines,
            handles: plan.handles,
        }),
        report,
    })
}

/// Refuses a component that imports an interface of the profiler.
fn refuse_own_imports(structure: &ComponentStructure) -> Result<(), Refusal> {
    let imports = structure.scopes.iter().flat_map(|scope| &scope.imports);
    let own = imports
        .map(String::as_str)
        .find(|import| import.starts_with(interface::PACKAGE));
    match own {
        None => Ok(()),
        Some(interface::HOST) if structure.has_heap_tables() => {
            Err(Refusal("it is instrumented already".to_owned()))
        }
        Some(import) => Err(Refusal(format!(
            "it imports {import}, which only the profiler may import"
        ))),
    }
}
