//! Builds the code section of an instrumented module.

use std::collections::HashMap;

use wasm_encoder::{Encode, InstructionSink};

use super::allocator::Allocator;
use super::context::RewrittenBody;
use super::context_place::ContextPlace;
use super::entry_point::EntryPoint;
use super::error::Refusal;
use super::hook_body::{HookedFunction, RuntimeCalls, hook_body};
use super::interface::stub_parameters;
use super::link_runtime::{LinkedRuntime, trap};
use super::offset_map::OffsetMap;
use super::scan::CoreModule;

/// Where the heap tables of a module are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tables {
    /// In the module's own profiler memory, for this module only.
    Own,
    /// In the module's own profiler memory, which other modules import.
    Shared,
    /// In the profiler memory of another module. The number counts the modules that import it,
    /// from 1.
    Imported(u32),
}

/// Indices of the items that are appended to the module.
pub(super) struct AppendedIndices {
    pub(super) tables: Tables,
    /// Whether the stub passes the guest's memory to the host, for a known interpreter.
    pub(super) interprets: bool,
    /// Type of the stub.
    pub(super) stub_type: u32,
    pub(super) table: u32,
    pub(super) memory: u32,
    /// The global with the calling context, if the module has heap tables of its own.
    pub(super) context_global: u32,
    /// The function that calls the host through the table.
    pub(super) stub: u32,
    /// The first of the original bodies of the allocator entry points.
    pub(super) original_bodies: u32,
    /// The first function of the runtime.
    pub(super) runtime: u32,
}

/// How the hooks reach the original bodies of the entry points.
#[derive(Clone, Copy)]
pub(super) struct Originals<'a> {
    /// The function with the original body of each entry point, in their order.
    pub(super) functions: &'a [u32],
    pub(super) place: ContextPlace,
    /// Whether entry points may call each other.
    pub(super) hooks_nest: bool,
}

/// A code section, function by function.
pub(super) struct CodeSectionBuilder {
    /// The functions without their number.
    pub(super) bytes: Vec<u8>,
    /// Offsets count from the start of `bytes` and from the start of the original module.
    pub(super) offsets: OffsetMap,
    /// Number of functions in `bytes`.
    pub(super) count: u32,
    /// Type indices of the appended functions, from the stub on.
    pub(super) appended_types: Vec<u32>,
    pub(super) runtime: LinkedRuntime,
    /// Position in the runtime's bodies of the hook for each entry point, by function index.
    hooks: HashMap<u32, usize>,
    /// The hooks of the other entry points, by function index.
    shaped_hooks: HashMap<u32, Vec<u8>>,
    stub: Vec<u8>,
}

impl CodeSectionBuilder {
    pub(super) fn new(
        module: &CoreModule<'_>,
        allocator: &Allocator,
        runtime: LinkedRuntime,
        indices: &AppendedIndices,
        originals: Originals<'_>,
    ) -> Result<Self, Refusal> {
        let mut hooks = HashMap::new();
        let mut shaped_hooks = HashMap::new();
        let mut appended_types = vec![indices.stub_type];
        for ((entry, function), original) in allocator.entries.iter().zip(originals.functions) {
            appended_types.extend(module.type_of(*function));
            let EntryPoint::Shaped(shape) = entry else {
                let hook = runtime.export(&format!("hook_{}", entry.name()))?;
                hooks.insert(*function, (hook - indices.runtime) as usize);
                continue;
            };
            let ty = module.signature(*function);
            let ty = ty.ok_or_else(|| Refusal::internal("an entry point without a type"))?;
            let hooked = HookedFunction {
                params: ty.params().len() as u32,
                has_result: !ty.results().is_empty(),
                original: *original,
                place: originals.place,
                hooks_nest: originals.hooks_nest,
            };
            let body = hook_body(shape, &hooked, &RuntimeCalls::of(&runtime)?);
            shaped_hooks.insert(*function, body);
        }
        appended_types.extend(&runtime.functions);
        let mut stub = vec![0];
        let mut code = InstructionSink::new(&mut stub);
        for parameter in 0..stub_parameters(indices.interprets).len() as u32 {
            code.local_get(parameter);
        }
        code.i32_const(0)
            .call_indirect(indices.table, indices.stub_type)
            .end();
        Ok(Self {
            bytes: Vec::new(),
            offsets: OffsetMap::default(),
            count: 0,
            appended_types,
            runtime,
            hooks,
            shaped_hooks,
            stub,
        })
    }

    /// Adds a function body. The offsets count from the start of the body.
    pub(super) fn push(&mut self, body: &[u8], offsets: &OffsetMap) {
        (body.len() as u32).encode(&mut self.bytes);
        self.offsets.append(offsets, self.bytes.len(), 0);
        self.bytes.extend_from_slice(body);
        self.count += 1;
    }

    /// Adds a function body of the profiler.
    pub(super) fn push_profiler(&mut self, body: &[u8]) {
        let mut offsets = OffsetMap::default();
        offsets.push_profiler(0);
        self.push(body, &offsets);
    }

    /// Adds the wrapper of an export. `begins_stack` says whether each call begins a call stack.
    pub(super) fn push_wrapper(&mut self, body: &[u8], begins_stack: bool) {
        let mut offsets = OffsetMap::default();
        if begins_stack {
            offsets.push_stack_base(0);
        } else {
            offsets.push_profiler(0);
        }
        self.push(body, &offsets);
    }

    /// Adds the hook that replaces the body of an allocator entry point.
    pub(super) fn push_hook(&mut self, function: u32) -> Result<(), Refusal> {
        if let Some(body) = self.shaped_hooks.remove(&function) {
            self.push_profiler(&body);
            return Ok(());
        }
        let at = self.hooks.get(&function).copied();
        let body = at.and_then(|at| self.runtime.bodies.get_mut(at));
        let body = body.ok_or_else(|| Refusal::internal("the runtime lacks a hook"))?;
        let body = std::mem::replace(body, trap());
        self.push_profiler(&body);
        Ok(())
    }

    /// Adds the stub, the original bodies of the entry points in their order, and the runtime.
    pub(super) fn append_runtime(&mut self, original_bodies: &[RewrittenBody]) {
        let stub = std::mem::take(&mut self.stub);
        self.push_profiler(&stub);
        for body in original_bodies {
            self.push(&body.bytes, &body.offsets);
        }
        for body in std::mem::take(&mut self.runtime.bodies) {
            self.push_profiler(&body);
        }
    }
}
