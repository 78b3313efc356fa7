//! Resolves the imports of the profiler's runtime for one module.

use super::allocator::Allocator;
use super::audit::Audit;
use super::calls::Calls;
use super::code_section::{AppendedIndices, Tables};
use super::forwarding::forwards_to;
use super::reach::{Diverging, Reach};
use super::resolved_import::ResolvedImport;
use super::scan::CoreModule;
use super::static_data::StaticData;
use crate::interpreter::Interpreter;

/// What the imports of the runtime stand for in one module.
pub(super) struct RuntimeImports<'m> {
    pub(super) module: &'m CoreModule<'m>,
    pub(super) calls: &'m [Calls],
    pub(super) allocator: &'m Allocator,
    pub(super) audit: &'m Audit,
    pub(super) static_data: StaticData,
    pub(super) indices: &'m AppendedIndices,
    pub(super) report_every_event: bool,
    /// Whether blocks may be freed where no hook sees it.
    pub(super) misses_frees: bool,
    pub(super) suspends_calls: bool,
    pub(super) interpreter: Option<&'m Interpreter>,
}

impl RuntimeImports<'_> {
    /// What an import becomes; `None` for the body of an entry point that the module does not have.
    pub(super) fn resolve(&self, import: &str) -> Option<ResolvedImport> {
        let flag = |flag| ResolvedImport::Constant(i32::from(flag));
        let number = |number: u32| ResolvedImport::Constant(number as i32);
        // An allocator may call one of another module that shares the heap tables.
        let shared = self.indices.tables != Tables::Own;
        let interprets = self.interpreter.is_some();
        if let Some(constant) = self.interpreter.and_then(|it| it.constant(import)) {
            return Some(number(constant));
        }
        Some(match import {
            "key" if interprets => ResolvedImport::Runtime("interpreter_key"),
            "key" if shared => ResolvedImport::SharedContextAsKey,
            "key" => ResolvedImport::ContextAsKey(self.indices.context_global),
            "report_context" if interprets => ResolvedImport::Runtime("report_interpreted"),
            "report_window" if interprets => ResolvedImport::Function(self.indices.stub),
            "context" if shared => ResolvedImport::GetSharedContext,
            "set_context" if shared => ResolvedImport::SetSharedContext,
            "context" => ResolvedImport::GetContext(self.indices.context_global),
            "set_context" => ResolvedImport::SetContext(self.indices.context_global),
            "load" => ResolvedImport::Load,
            "hooks_nest" => flag(shared || self.hooks_nest()),
            "guards" => flag(shared || self.audit.may_grow_outside),
            "frees_grow" => flag(shared || self.audit.frees_grow),
            "guest_pages" => ResolvedImport::Pages,
            "owns_memory" => flag(!self.module.imports_memory),
            "initial_pages" => number(self.static_data.initial_pages),
            "static_bytes" => number(self.static_data.bytes),
            "segments_end" => number(self.static_data.segments_end),
            "report_every_event" => flag(self.report_every_event),
            "misses_frees" => flag(self.misses_frees),
            "suspends_calls" => flag(self.suspends_calls),
            "report_context" => ResolvedImport::Function(self.indices.stub),
            _ => ResolvedImport::Function(self.original(import.strip_prefix("original_")?)?),
        })
    }

    /// The functions with the original bodies of the entry points. If an entry point only forwards
    /// to another function, the hook can call that function directly.
    pub(super) fn originals(&self) -> impl Iterator<Item = u32> {
        let bodies = (self.indices.original_bodies..).zip(&self.allocator.entries);
        bodies.map(|(body, (_, function))| {
            forwards_to(self.module, self.calls, *function).unwrap_or(body)
        })
    }

    /// The function with the original body of an entry point whose hook is in the runtime.
    fn original(&self, name: &str) -> Option<u32> {
        let entries = self.allocator.entries.iter();
        let mut originals = self.originals().zip(entries);
        let (original, _) =
            originals.find(|(_, (entry, _))| entry.has_runtime_hook() && entry.name() == name)?;
        Some(original)
    }

    /// Whether hooks have to note that an entry point runs: another one may be called, or memory
    /// may grow without one.
    pub(super) fn hooks_note_activity(&self) -> bool {
        self.indices.tables != Tables::Own || self.audit.may_grow_outside || self.hooks_nest()
    }

    /// Whether the original body of an entry point may call another entry point.
    fn hooks_nest(&self) -> bool {
        let Self { module, calls, .. } = *self;
        let entries = &self.allocator.entries;
        let hooks: Vec<u32> = entries.iter().map(|(_, function)| *function).collect();
        let reach = Reach::compute(module, calls, &hooks, &hooks, false, Diverging::Ignored);
        let of =
            |function: &u32| calls.get(function.saturating_sub(module.first_defined()) as usize);
        let sites = hooks.iter().filter_map(of).flat_map(|calls| &calls.sites);
        sites
            .filter(|site| !site.diverges)
            .any(|site| reach.site(site))
    }
}
