//! Instruments a component, so that it keeps exact books of its heap by call stack.
//!
//! The stages, each with a file of its own: `component` and `scan` find out what there is;
//! `allocator` which functions hand out memory; `calls` and `reach` which functions and calls may
//! come to that; `context` rewrites function bodies so that at any allocation a global names the
//! call stack; `link_runtime` links in the profiler's runtime and puts it in the allocator's place;
//! `exports` tells it who is calling; `module` and `assemble` put a core module together again
//! and `component_tail` the component. `offset_map` is the way back to the original.
//!
//! Bytes are only inserted and functions keep their indices, so line tables, names and traces of the
//! original stay right, and are read from the original.

mod allocator;
mod assemble;
mod calls;
mod component;
mod component_tail;
mod context;
mod error;
mod exports;
mod link_runtime;
mod meta;
mod module;
mod offset_map;
mod reach;
mod report;
mod scan;

use std::sync::Arc;

use wasm_encoder::{ComponentSectionId, Encode};
use wasmparser::types::Types;
use wasmparser::{Encoding, Parser, Payload, Validator, WasmFeatures};

use allocator::Allocator;
use component::Component;
use component_tail::{Target, tail};
use error::Refusal;
use exports::Specials;
use module::{Rewritten, Settings, rewrite};
use scan::CoreModule;

pub(crate) use component_tail::names;
pub use error::{InstrumentError, MetaError};
pub use meta::{InstrumentedMeta, ModuleSpan};
pub use offset_map::OffsetMap;
pub use report::{ModuleReport, Report};

/// Pages that a profiler memory may grow to: room for 94 million live blocks, and a number that no
/// guest is likely to ask for. Where one does, the next number is taken.
const MAXIMUM_PAGES: u64 = 17_011;

/// Changes with every change of what [`instrument()`] gives: for the key of a cache of its output.
pub const FINGERPRINT: &str = env!("GUEST_HEAP_FINGERPRINT");

const WASM_PAGE: u64 = 65_536;

/// How to instrument.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Options {
    /// Has the host capture the call stack at every allocation, not only at the first of a context,
    /// and compare: a hundred times slower, and a proof that no context stands for two stacks. The
    /// outcome is [`Recorder::checked`](crate::Recorder::checked).
    pub check_contexts: bool,
}

/// How far the heap of a component can be told by call stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribution {
    /// Every block, from instantiation on.
    Exact,
    /// What is there is right, but not all is there, or some of it has a coarser name than its call
    /// stack.
    Partial {
        /// What is missing, for people.
        why: String,
    },
    /// Nothing: the component is unchanged.
    Off {
        /// The reason, for people.
        why: String,
    },
}

/// An instrumented component.
#[derive(Clone, Debug)]
pub struct Instrumented {
    /// The component to compile and run. With [`Attribution::Off`], the original.
    pub component: Vec<u8>,
    /// What is needed beside it; keep the two together.
    pub meta: Arc<InstrumentedMeta>,
    /// What has been done.
    pub report: Report,
}

impl Instrumented {
    /// How far the heap can be told by call stack.
    pub fn attribution(&self) -> &Attribution {
        self.meta.attribution()
    }
}

/// Instruments a component. One that cannot be attributed comes back unchanged, with
/// [`Attribution::Off`] and the reason.
///
/// # Errors
///
/// The bytes are not a valid component.
pub fn instrument(component: &[u8], options: &Options) -> Result<Instrumented, InstrumentError> {
    check_encoding(component)?;
    // With its bodies: what is invalid only for naming what a module does not have would be valid once the profiler's
    // own memory, functions and globals are there.
    let types = Validator::new_with_features(WasmFeatures::all()).validate_all(component)?;
    Ok(
        attempt(component, &types, options).unwrap_or_else(|Refusal(why)| Instrumented {
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
            "the first bytes are not WebAssembly's",
        )),
    }
}

/// A core module that is to be instrumented.
struct Candidate<'a> {
    index: u32,
    module: CoreModule<'a>,
    allocator: Allocator,
    instances: Vec<u32>,
}

fn attempt(bytes: &[u8], types: &Types, options: &Options) -> Result<Instrumented, Refusal> {
    let component = Component::survey(bytes)?;
    if component.imports.iter().any(|import| import == names::HOST) {
        return Err(Refusal("it is instrumented already".to_owned()));
    }
    let (mut candidates, mut missing, maximum_pages) = candidates(bytes, &component)?;
    let settings = Settings {
        maximum_pages,
        report_every_event: options.check_contexts,
    };
    let mut specials = Specials::default();
    let mut rewritten = Vec::new();
    let mut targets = Vec::new();
    for candidate in &mut candidates {
        let Candidate {
            index,
            module,
            allocator,
            instances,
        } = candidate;
        let roles = component.roles(*index);
        match rewrite(module, *index, allocator, &roles, settings, &mut specials) {
            Ok(module) => {
                targets.extend(instances.iter().map(|instance| Target {
                    instance: *instance,
                    module: *index,
                }));
                let reservation = allocator
                    .reservation
                    .map(|what| format!("core module {index} {what}"));
                missing.extend(reservation);
                rewritten.push((*index, module));
            }
            Err(Refusal(why)) => missing.push(format!("core module {index} {why}")),
        }
    }
    if rewritten.is_empty() {
        return Err(Refusal(missing.join("; ")));
    }
    assemble(
        (bytes, types),
        &component,
        rewritten,
        &targets,
        specials,
        missing,
        maximum_pages,
    )
}

/// The modules to instrument; what is said about the others; the profiler memories' maximum.
fn candidates<'a>(
    bytes: &'a [u8],
    component: &Component,
) -> Result<(Vec<Candidate<'a>>, Vec<String>, u64), Refusal> {
    let slice = |range: &std::ops::Range<usize>| {
        let module = bytes.get(range.clone());
        module.ok_or_else(|| Refusal::internal("a module beyond the component's end"))
    };
    let mut candidates = Vec::new();
    let mut without = Vec::new();
    let mut missing = Vec::new();
    let mut maxima = Vec::new();
    for inline in &component.modules {
        let index = inline.index;
        let module = CoreModule::scan(slice(&inline.bytes)?)?;
        maxima.extend(module.memories.iter().filter_map(|memory| memory.maximum));
        let instances = component.instances_of(index);
        match Allocator::find(&module) {
            Ok(_) if instances.is_empty() => missing.push(format!(
                "core module {index} allocates and is instantiated by a component inside this one"
            )),
            Ok(allocator) => candidates.push(Candidate {
                index,
                module,
                allocator,
                instances,
            }),
            Err(_) if module.imports_allocator => missing.push(format!(
                "core module {index} allocates through another one, and what it allocates is named \
                 after the function that it calls there"
            )),
            // Adapters have no heap of their own; only where nothing else has is it worth a word.
            Err(why) if !module.defined.is_empty() => {
                without.push(format!("core module {index}: {why}"))
            }
            Err(_) => {}
        }
    }
    for nested in &component.nested {
        let module = CoreModule::scan(slice(nested)?)?;
        maxima.extend(module.memories.iter().filter_map(|memory| memory.maximum));
        if Allocator::find(&module).is_ok() {
            missing
                .push("a component inside this one allocates, which is not looked into".to_owned());
        }
    }
    missing.dedup();
    if candidates.is_empty() && missing.is_empty() {
        missing.push(if without.is_empty() {
            "it has no code".to_owned()
        } else {
            format!("no allocator found ({})", without.join("; "))
        });
    }
    let mut maximum = MAXIMUM_PAGES;
    while maxima.contains(&maximum) {
        maximum += 1;
    }
    Ok((candidates, missing, maximum))
}

fn assemble(
    (bytes, types): (&[u8], &Types),
    component: &Component,
    rewritten: Vec<(u32, Rewritten)>,
    targets: &[Target],
    specials: Specials,
    missing: Vec<String>,
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
    let copy = |out: &mut Vec<u8>, range: std::ops::Range<usize>| {
        let part = bytes.get(range);
        part.map(|part| out.extend_from_slice(part))
            .ok_or_else(|| Refusal::internal("a section beyond the component's end"))
    };
    for (index, module) in rewritten {
        let original = component
            .modules
            .iter()
            .find(|inline| inline.index == index);
        let original = original.ok_or_else(|| Refusal::internal("a module that is not there"))?;
        let range = original.bytes.clone();
        // The section's header is its id and its size.
        copy(&mut out, copied..header_of(bytes, copied, range.start)?)?;
        out.push(ComponentSectionId::CoreModule as u8);
        (module.bytes.len() as u32).encode(&mut out);
        let start = out.len();
        offsets.append(&module.offsets, start, range.start);
        out.extend_from_slice(&module.bytes);
        offsets.copy(out.len(), range.end);
        copied = range.end;
        modules.push(ModuleSpan {
            index,
            original: range.start as u32..range.end as u32,
        });
        report.modules.push(module.report);
    }
    copy(&mut out, copied..bytes.len())?;
    offsets.profiler(out.len());
    out.extend_from_slice(&tail(types.as_ref(), targets));
    report.component_bytes_after = out.len();
    Validator::new_with_features(WasmFeatures::all())
        .validate_all(&out)
        .map_err(|error| Refusal::internal(&error.to_string()))?;
    let attribution = if missing.is_empty() {
        Attribution::Exact
    } else {
        Attribution::Partial {
            why: missing.join("; "),
        }
    };
    Ok(Instrumented {
        component: out,
        meta: Arc::new(InstrumentedMeta {
            attribution,
            offsets,
            specials: specials.0,
            modules,
            maximum_bytes: Some(maximum_pages * WASM_PAGE),
        }),
        report,
    })
}

/// Where the header of the module section begins whose body begins at `body`. Sections before it
/// begin at `from`.
fn header_of(bytes: &[u8], from: usize, body: usize) -> Result<usize, Refusal> {
    // Backwards: the last byte of the size, those before it, which say that there is more, and the
    // section's id, which cannot be mistaken for one of them.
    let length = bytes.get(from..body).map(|before| before.iter().rev());
    let length = length.ok_or_else(|| Refusal::internal("modules out of order"))?;
    let more = length.skip(1).take_while(|byte| **byte & 0x80 != 0).count();
    body.checked_sub(1 + more + 1)
        .ok_or_else(|| Refusal::internal("a module without a header"))
}
