//! Instruments a component, so that it counts its own allocations exactly, by call stack.
//!
//! Each stage has a file of its own:
//!
//! 1. `component` and `scan` read the structure of the component and of its core modules.
//! 2. `allocator` selects the entry points that allocate memory, which `entry_point` lists.
//! 3. `calls` and `reach` find the functions and the calls that may allocate.
//! 4. `context` rewrites function bodies, so that at each allocation a global identifies the call
//!    stack.
//! 5. `link_runtime` links the profiler's runtime, whose hooks replace the entry points.
//! 6. `exports` wraps exports, so that the runtime learns when the host calls them and for what.
//! 7. `module` runs these stages for one core module; `code_section` and `assemble` write it.
//! 8. `connector` connects the instrumented core instances to the host.
//!
//! `interface` has the names that the instrumented modules and the host agree on. `offset_map` maps
//! offsets in the instrumented component back to the original.
//!
//! Instrumenting only inserts bytes, and functions keep their indices. So the line tables and names
//! of the original stay valid, and symbols and backtraces refer to the original.

mod allocator;
mod assemble;
mod attribution;
mod audit;
mod calls;
mod code_section;
mod component;
mod connector;
mod constants;
mod context;
mod entry_point;
mod error;
mod exports;
pub(crate) mod interface;
mod link_runtime;
mod meta;
mod module;
mod offset_map;
mod reach;
mod repair;
mod report;
mod runtime_imports;
mod scan;
mod static_data;

use std::ops::Range;
use std::sync::Arc;

use wasm_encoder::{ComponentSectionId, Encode};
use wasmparser::types::Types;
use wasmparser::{Encoding, Parser, Payload, Validator, WasmFeatures};

use allocator::Allocator;
use assemble::RewrittenModule;
use component::ComponentStructure;
use connector::{InstrumentedInstance, connectors};
use error::Refusal;
use exports::SyntheticNames;
use module::{RewriteSettings, rewrite};
use scan::CoreModule;

pub use attribution::Attribution;
pub use error::{InstrumentError, MetaError};
pub use meta::{InstrumentedMeta, ModuleSpan};
pub use offset_map::OffsetMap;
pub use report::{ModuleReport, Report};

/// Declared maximum of the profiler's memories, in wasm pages: room for 94 million live blocks. The
/// number marks the memory as the profiler's, because a guest is unlikely to declare the same one.
/// If a guest does, the next free number is used.
const MAXIMUM_PAGES: u64 = 17_011;

/// A number that changes with every change of this library that can change the output of
/// [`instrument()`]. Use it in the key of a cache of that output.
pub const FINGERPRINT: &str = env!("GUEST_HEAP_FINGERPRINT");

/// Bytes of a wasm page.
const WASM_PAGE: u64 = 65_536;

/// Options of [`instrument()`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Options {
    /// Has the host capture the call stack at every allocation, not only at the first one of a
    /// context, and compare it with the stack of the context.
    ///
    /// This makes the guest a hundred times slower. It proves for a run that no context represents
    /// two call stacks. [`Recorder::checked`](crate::Recorder::checked) returns the outcome.
    pub check_contexts: bool,
}

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
/// The bytes are not a valid component.
pub fn instrument(component: &[u8], options: &Options) -> Result<Instrumented, InstrumentError> {
    check_encoding(component)?;
    // The validation includes the function bodies. A body that refers to a memory, function or
    // global that the module does not have could otherwise become valid: the profiler's own items
    // would get these indices.
    let types = Validator::new_with_features(WasmFeatures::all()).validate_all(component)?;
    Ok(
        try_instrument(component, &types, options).unwrap_or_else(|Refusal(why)| Instrumented {
            component: component.to_vec(),
            meta: Arc::new(InstrumentedMeta::off(why)),
            report: Report::default(),
        }),
    )
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

/// A core module to instrument.
struct Candidate<'a> {
    /// Index in the component.
    index: u32,
    module: CoreModule<'a>,
    allocator: Allocator,
    /// Indices of the module's core instances.
    instances: Vec<u32>,
}

/// The core modules to instrument.
struct Candidates<'a> {
    modules: Vec<Candidate<'a>>,
    /// Why the attribution is only partial, or off.
    gaps: Vec<String>,
    /// Declared maximum of the profiler's memories, in wasm pages.
    maximum_pages: u64,
}

fn try_instrument(bytes: &[u8], types: &Types, options: &Options) -> Result<Instrumented, Refusal> {
    let component = ComponentStructure::read(bytes)?;
    if component
        .imports
        .iter()
        .any(|import| import == interface::HOST)
    {
        return Err(Refusal("it is instrumented already".to_owned()));
    }
    let Candidates {
        mut modules,
        mut gaps,
        maximum_pages,
    } = candidates(bytes, &component)?;
    let settings = RewriteSettings {
        maximum_pages,
        report_every_event: options.check_contexts,
    };
    let mut names = SyntheticNames::default();
    let mut rewritten = Vec::new();
    let mut instrumented_instances = Vec::new();
    for candidate in &mut modules {
        let Candidate {
            index,
            module,
            allocator,
            instances,
        } = candidate;
        let roles = component.roles(*index);
        match rewrite(module, *index, allocator, &roles, settings, &mut names) {
            Ok(module) => {
                instrumented_instances.extend(instances.iter().map(|instance| {
                    InstrumentedInstance {
                        instance: *instance,
                        module: *index,
                    }
                }));
                let of_module = module.gaps.iter();
                gaps.extend(of_module.map(|gap| format!("core module {index} {gap}")));
                rewritten.push((*index, module));
            }
            Err(Refusal(why)) => gaps.push(format!("core module {index} {why}")),
        }
    }
    if rewritten.is_empty() {
        return Err(Refusal(gaps.join("; ")));
    }
    assemble_component(
        (bytes, types),
        &component,
        rewritten,
        &instrumented_instances,
        names,
        gaps,
        maximum_pages,
    )
}

/// Finds the core modules to instrument.
fn candidates<'a>(
    bytes: &'a [u8],
    component: &ComponentStructure,
) -> Result<Candidates<'a>, Refusal> {
    let slice = |range: &Range<usize>| {
        let module = bytes.get(range.clone());
        module.ok_or_else(|| Refusal::internal("a module extends beyond the component's end"))
    };
    let mut modules = Vec::new();
    let mut without_allocator = Vec::new();
    let mut gaps = Vec::new();
    let mut guest_maxima = Vec::new();
    for inline in &component.modules {
        let index = inline.index;
        let module = CoreModule::scan(slice(&inline.bytes)?)?;
        guest_maxima.extend(module.memories.iter().filter_map(|memory| memory.maximum));
        let instances = component.instances_of(index);
        match Allocator::find(&module) {
            Ok(_) if instances.is_empty() => gaps.push(format!(
                "core module {index} allocates, but only a nested component instantiates it"
            )),
            Ok(allocator) => modules.push(Candidate {
                index,
                module,
                allocator,
                instances,
            }),
            Err(_) if module.imports_allocator => gaps.push(format!(
                "core module {index} uses the allocator of another core module: its blocks are \
                 named after the function that it calls there"
            )),
            // Pages can be counted in every language.
            Err(why) if !module.imports_memory && !instances.is_empty() && module.grows() => {
                gaps.push(format!(
                    "core module {index}: {why}, so only the growth of its memory is counted, in \
                     pages of 64 KiB by call stack"
                ));
                modules.push(Candidate {
                    index,
                    module,
                    allocator: Allocator::default(),
                    instances,
                });
            }
            // Adapters have no heap of their own, so this is a reason only if no module allocates.
            Err(why) if !module.defined.is_empty() => {
                without_allocator.push(format!("core module {index}: {why}"))
            }
            Err(_) => {}
        }
    }
    for nested in &component.nested {
        let module = CoreModule::scan(slice(nested)?)?;
        guest_maxima.extend(module.memories.iter().filter_map(|memory| memory.maximum));
        if Allocator::find(&module).is_ok() {
            gaps.push(
                "a nested component allocates, and nested components are not instrumented"
                    .to_owned(),
            );
        }
    }
    gaps.dedup();
    if modules.is_empty() && gaps.is_empty() {
        gaps.push(if without_allocator.is_empty() {
            "it has no code".to_owned()
        } else {
            format!("no allocator found ({})", without_allocator.join("; "))
        });
    }
    let mut maximum_pages = MAXIMUM_PAGES;
    while guest_maxima.contains(&maximum_pages) {
        maximum_pages += 1;
    }
    Ok(Candidates {
        modules,
        gaps,
        maximum_pages,
    })
}

/// Writes the component with the rewritten modules and the connectors.
fn assemble_component(
    (bytes, types): (&[u8], &Types),
    component: &ComponentStructure,
    rewritten: Vec<(u32, RewrittenModule)>,
    instances: &[InstrumentedInstance],
    names: SyntheticNames,
    gaps: Vec<String>,
    maximum_pages: u64,
) -> Result<Instrumented, Refusal> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut offsets = OffsetMap::default();
    let mut report = Report {
        component_bytes_before: bytes.len(),
        ..Report::default()
    };
    let mut modules = Vec::new();
    let mut copied = 0;
    let copy = |out: &mut Vec<u8>, range: Range<usize>| {
        let copied = bytes.get(range);
        copied
            .map(|copied| out.extend_from_slice(copied))
            .ok_or_else(|| Refusal::internal("a section extends beyond the component's end"))
    };
    for (index, module) in rewritten {
        let original = component
            .modules
            .iter()
            .find(|inline| inline.index == index);
        let original =
            original.ok_or_else(|| Refusal::internal("a rewritten module has no original"))?;
        let range = original.bytes.clone();
        // The new section header: the id and the size.
        copy(&mut out, copied..header_of(bytes, copied, range.start)?)?;
        out.push(ComponentSectionId::CoreModule as u8);
        (module.bytes.len() as u32).encode(&mut out);
        let start = out.len();
        offsets.append(&module.offsets, start, range.start);
        out.extend_from_slice(&module.bytes);
        offsets.push_copy(out.len(), range.end);
        copied = range.end;
        modules.push(ModuleSpan {
            index,
            original: range.start as u32..range.end as u32,
            entry_points: module
                .report
                .entry_points
                .iter()
                .map(|name| (*name).to_owned())
                .collect(),
        });
        report.modules.push(module.report);
    }
    copy(&mut out, copied..bytes.len())?;
    offsets.push_profiler(out.len());
    out.extend_from_slice(&connectors(types.as_ref(), instances));
    report.component_bytes_after = out.len();
    Validator::new_with_features(WasmFeatures::all())
        .validate_all(&out)
        .map_err(|error| Refusal::internal(&error.to_string()))?;
    let attribution = if gaps.is_empty() {
        Attribution::Exact
    } else {
        Attribution::Partial {
            why: gaps.join("; "),
        }
    };
    Ok(Instrumented {
        component: out,
        meta: Arc::new(InstrumentedMeta {
            attribution,
            offsets,
            synthetic_names: names.0,
            modules,
            maximum_bytes: Some(maximum_pages * WASM_PAGE),
        }),
        report,
    })
}

/// Finds the start of the header of the module section whose contents start at `contents`. The
/// header is at or after `from`.
fn header_of(bytes: &[u8], from: usize, contents: usize) -> Result<usize, Refusal> {
    // A header is the section's id, then the size in LEB128. Read backwards, it is the last byte of
    // the size, the bytes of the size with the continuation bit, and the id, which has no such bit.
    let header = bytes
        .get(from..contents)
        .map(|before| before.iter().rev())
        .ok_or_else(|| Refusal::internal("the modules are not in order"))?;
    let continued = header.skip(1).take_while(|byte| **byte & 0x80 != 0).count();
    contents
        .checked_sub(1 + continued + 1)
        .ok_or_else(|| Refusal::internal("a module has no section header"))
}
