//! Rewrites function bodies so that they track the calling context.
//!
//! A global `V` identifies the call stack, as in "Probabilistic Calling Context" (Bond and
//! McKinley, OOPSLA 2007). Before a call that may allocate, a function sets `V` to `V · K + id`.
//! The `V` on the right is the value that the function was entered with, and `id` identifies the
//! call site. Nothing restores `V` after the call. A function in which more than one site may run
//! per activation keeps `V · K` in an additional local.

use wasm_encoder::InstructionSink;

use super::body_writer::BodyWriter;
use super::call_site_id::{MULTIPLIER, site_id};
use super::calls::{CallSite, Callee, Calls};
use super::context_place::ContextPlace;
use super::error::Refusal;
use super::growth::GrowthTracking;
use super::handles::ImportWrappers;
use super::offset_map::OffsetMap;
use super::reach::{HostImports, Reach};
use super::scan::{CoreModule, usize_range};

/// Upper half of the context of a call that does not return.
const DIVERGING: u64 = 0xDEAD << 48;

const RETURN: u8 = 0x0F;

/// Selects the call sites that set the context, and inserts the code.
pub(super) struct ContextTracking<'m> {
    pub(super) module: &'m CoreModule<'m>,
    /// Functions that may allocate. If `ignores_diverging`, calls that do not return do not count.
    pub(super) reach: &'m Reach,
    /// Functions that may allocate. Calls that do not return count.
    pub(super) full_reach: &'m Reach,
    /// Where memory may grow while no entry point runs; `None` if that is impossible.
    pub(super) growth: Option<&'m GrowthTracking>,
    /// Functions of the runtime to call before and after the growth of a memory; `None` if growths
    /// in this module do not count.
    pub(super) growth_calls: Option<(u32, u32)>,
    /// Whether calls set the context. If not, the functions of the module are in no call stack.
    pub(super) tracks_calls: bool,
    /// True unless the module may catch exceptions.
    pub(super) ignores_diverging: bool,
    pub(super) imports: &'m HostImports,
    pub(super) place: ContextPlace,
    /// Functions of the runtime to call before and after a call of an import.
    pub(super) import_begins: u32,
    pub(super) import_ends: u32,
    /// The functions to call instead if other calls may run while an import has not returned. The
    /// first one returns a state, which the second one takes.
    pub(super) suspending: Option<(u32, u32)>,
    /// The wrappers of imports that count handles, which are called instead.
    pub(super) wrappers: ImportWrappers,
    /// Makes the call sites of different modules different.
    pub(super) salt: u64,
    /// Offsets of the calls that leave the context as it is, in ascending order.
    pub(super) pass_through: Vec<u32>,
}

/// A rewritten function body. Offsets count from its start and from the start of the original
/// module.
pub(super) struct RewrittenBody {
    pub(super) bytes: Vec<u8>,
    pub(super) offsets: OffsetMap,
    /// Number of call sites that set the context.
    pub(super) sites: usize,
}

/// How a call site computes the context.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ContextUpdate {
    /// From the global, which still holds the context that the function was entered with.
    FromEntry,
    /// From the local.
    FromLocal,
    /// A constant, since the call does not return.
    Constant,
    /// Not at all: the functions of the module are in no call stack.
    Unchanged,
}

impl ContextTracking<'_> {
    /// Rewrites the body of a defined function.
    pub(super) fn rewrite(&self, function: u32, calls: &Calls) -> Result<RewrittenBody, Refusal> {
        self.write_body(function, calls, &self.updates(function, calls))
    }

    /// Rewrites the original body of an entry point. It does not track the context, which the hook
    /// restores, but reports the growth of memory.
    pub(super) fn rewrite_original(
        &self,
        function: u32,
        calls: &Calls,
    ) -> Result<RewrittenBody, Refusal> {
        let growths = calls.sites.iter().filter(|site| grows(site));
        let growths: Vec<_> = growths.map(|site| (site, None)).collect();
        self.write_body(function, calls, &growths)
    }

    /// Writes a body with code at these sites.
    fn write_body(
        &self,
        function: u32,
        calls: &Calls,
        updates: &[(&CallSite, Option<ContextUpdate>)],
    ) -> Result<RewrittenBody, Refusal> {
        let defined = function.saturating_sub(self.module.first_defined());
        let body = self.module.bodies.get(defined as usize);
        let body = usize_range(
            body.ok_or_else(|| Refusal::internal("a function without a body"))?
                .range(),
        );
        let mut out = BodyWriter {
            module: self.module,
            bytes: Vec::with_capacity(body.len() * 5 / 4),
            offsets: OffsetMap::default(),
            copied: body.start,
        };
        out.offsets.push_copy(0, body.start);
        let local = calls.locals;
        if updates
            .iter()
            .any(|(_, update)| *update == Some(ContextUpdate::FromLocal))
        {
            out.add_locals(calls, self.suspending.is_some())?;
            out.offsets.push_inserted(out.bytes.len(), calls.code);
            let mut code = InstructionSink::new(&mut out.bytes);
            self.place.get(&mut code);
            code.i64_const(MULTIPLIER as i64).i64_mul().local_set(local);
            out.offsets.push_copy(out.bytes.len(), calls.code);
        }
        for (site, update) in updates {
            match update {
                Some(update) if grows(site) => {
                    self.write_update(&mut out, site, *update, local)?;
                    self.write_growth(&mut out, site)?;
                }
                Some(update) => self.write_call(&mut out, site, *update, local)?,
                None if grows(site) => self.write_growth(&mut out, site)?,
                None => {
                    out.copy_to(site.start)?;
                    self.write_callee(&mut out, site)?;
                }
            }
        }
        out.copy_to(body.end)?;
        Ok(RewrittenBody {
            bytes: out.bytes,
            offsets: out.offsets,
            sites: updates
                .iter()
                .filter(|(_, update)| update.is_some())
                .count(),
        })
    }

    /// Whether a site of a function sets the context, and the call returns.
    pub(super) fn is_tracked(&self, function: u32, site: &CallSite) -> bool {
        let grows = || {
            let growth = self.growth_outside(function);
            growth.is_some_and(|growth| growth.reach.site(site))
        };
        !(site.diverges && self.ignores_diverging)
            && (self.reach.function(function) && self.reach.site(site) || grows())
    }

    fn growth_outside(&self, function: u32) -> Option<&GrowthTracking> {
        self.growth.filter(|growth| growth.is_outside(function))
    }

    /// The sites that set the context or grow memory, in order.
    pub(super) fn updates<'c>(
        &self,
        function: u32,
        calls: &'c Calls,
    ) -> Vec<(&'c CallSite, Option<ContextUpdate>)> {
        let growth = self.growth_outside(function);
        let is_constant = |site: &CallSite| {
            site.diverges
                && self.ignores_diverging
                && (self.full_reach.site(site)
                    || growth.is_some_and(|growth| growth.full_reach.site(site)))
        };
        let is_tracked = |site: &CallSite| self.is_tracked(function, site);
        if !calls
            .sites
            .iter()
            .any(|site| is_constant(site) || is_tracked(site) || self.changes_untracked(site))
        {
            return Vec::new();
        }
        if !self.tracks_calls {
            let leaves = |site: &CallSite| is_tracked(site) && self.imports.may_be_called_at(site);
            let sites = calls.sites.iter();
            return sites
                .map(|site| (site, leaves(site).then_some(ContextUpdate::Unchanged)))
                .filter(|(site, update)| update.is_some() || self.changes_untracked(site))
                .collect();
        }
        let changed = calls.changed_before(|at| calls.sites.get(at).is_some_and(is_tracked));
        // If one site needs the local, it is shortest to use it at all sites.
        let needs_local = calls
            .sites
            .iter()
            .zip(&changed)
            .any(|(site, changed)| (*changed || self.suspends(site)) && is_tracked(site));
        let passes = |site: &CallSite| {
            let at = site.start as u32;
            self.pass_through.binary_search(&at).is_ok()
        };
        let update = |site: &CallSite| {
            if is_constant(site) {
                Some(ContextUpdate::Constant)
            } else if !is_tracked(site) || passes(site) {
                None
            } else if needs_local {
                Some(ContextUpdate::FromLocal)
            } else {
                Some(ContextUpdate::FromEntry)
            }
        };
        calls
            .sites
            .iter()
            .map(|site| (site, update(site)))
            .filter(|(site, update)| update.is_some() || self.changes_untracked(site))
            .collect()
    }

    /// Whether a site changes even if it does not set the context.
    fn changes_untracked(&self, site: &CallSite) -> bool {
        grows(site) || self.wrapper(site).is_some()
    }

    /// The wrapper to call instead of an import.
    fn wrapper(&self, site: &CallSite) -> Option<u32> {
        match site.callee {
            Callee::Function(function) => self.wrappers.functions.get(&function).copied(),
            _ => None,
        }
    }

    /// Copies a call, or writes the call of a wrapper instead.
    fn write_callee(&self, out: &mut BodyWriter<'_>, site: &CallSite) -> Result<(), Refusal> {
        let Some(wrapper) = self.wrapper(site) else {
            return out.copy_to(site.end);
        };
        out.offsets.push_inserted(out.bytes.len(), site.start);
        let mut code = InstructionSink::new(&mut out.bytes);
        if site.tail {
            code.return_call(wrapper);
        } else {
            code.call(wrapper);
        }
        out.copied = site.end;
        out.offsets.push_copy(out.bytes.len(), site.end);
        Ok(())
    }

    /// Whether other calls may run before the call at this site returns.
    fn suspends(&self, site: &CallSite) -> bool {
        self.suspending.is_some() && self.imports.may_be_called_at(site)
    }

    /// Copies the body up to and including the growth of a memory, and reports it to the runtime.
    fn write_growth(&self, out: &mut BodyWriter<'_>, site: &CallSite) -> Result<(), Refusal> {
        out.copy_to(site.start)?;
        let Some((begins, ends)) = self.growth_calls else {
            return out.copy_to(site.end);
        };
        out.offsets.push_inserted(out.bytes.len(), site.start);
        InstructionSink::new(&mut out.bytes).call(begins);
        out.offsets.push_copy(out.bytes.len(), site.start);
        out.copy_to(site.end)?;
        out.offsets.push_inserted(out.bytes.len(), site.start);
        InstructionSink::new(&mut out.bytes).call(ends);
        out.offsets.push_copy(out.bytes.len(), site.end);
        Ok(())
    }

    /// Copies the body up to a site, and adds the code that sets the context.
    fn write_update(
        &self,
        out: &mut BodyWriter<'_>,
        site: &CallSite,
        update: ContextUpdate,
        local: u32,
    ) -> Result<(), Refusal> {
        out.copy_to(site.start)?;
        if update == ContextUpdate::Unchanged {
            return Ok(());
        }
        out.offsets.push_inserted(out.bytes.len(), site.start);
        let id = site_id(site.start as u64, self.salt);
        let mut code = InstructionSink::new(&mut out.bytes);
        self.place.set(&mut code, |code| match update {
            ContextUpdate::FromEntry => {
                self.place.get(code);
                code.i64_const(MULTIPLIER as i64)
                    .i64_mul()
                    .i64_const(i64::from(id))
                    .i64_add();
            }
            ContextUpdate::FromLocal => {
                code.local_get(local).i64_const(i64::from(id)).i64_add();
            }
            ContextUpdate::Unchanged => {
                self.place.get(code);
            }
            ContextUpdate::Constant => {
                code.i64_const((DIVERGING | u64::from(id as u32)) as i64);
            }
        });
        out.offsets.push_copy(out.bytes.len(), site.start);
        Ok(())
    }

    /// Copies the body up to and including a call, with the code that sets the context.
    fn write_call(
        &self,
        out: &mut BodyWriter<'_>,
        site: &CallSite,
        update: ContextUpdate,
        local: u32,
    ) -> Result<(), Refusal> {
        self.write_update(out, site, update, local)?;
        out.offsets.push_inserted(out.bytes.len(), site.start);
        let mut code = InstructionSink::new(&mut out.bytes);
        let may_import = self.imports.may_be_called_at(site);
        let suspending = self
            .suspending
            .filter(|_| update == ContextUpdate::FromLocal);
        match suspending {
            _ if !may_import => {}
            Some((suspends, _)) => {
                code.call(suspends).local_set(local + 1);
            }
            None => {
                code.call(self.import_begins);
            }
        }
        out.offsets.push_copy(out.bytes.len(), site.start);
        if !may_import || update == ContextUpdate::Constant {
            return self.write_callee(out, site);
        }
        // The runtime reports the context of lowered results after the import has returned. So the
        // call must return here, even if the original is a tail call.
        let at = out.bytes.len();
        self.write_callee(out, site)?;
        if site.tail {
            out.bytes
                .get_mut(at)
                .into_iter()
                .for_each(|opcode| *opcode = without_tail(*opcode));
        }
        out.offsets.push_inserted(out.bytes.len(), site.start);
        let mut code = InstructionSink::new(&mut out.bytes);
        match suspending {
            Some((_, resumes)) => {
                let id = i64::from(site_id(site.start as u64, self.salt));
                self.place.set(&mut code, |code| {
                    code.local_get(local).i64_const(id).i64_add();
                });
                code.local_get(local + 1).call(resumes);
            }
            None => {
                code.call(self.import_ends);
            }
        }
        if site.tail {
            out.bytes.push(RETURN);
        }
        out.offsets.push_copy(out.bytes.len(), site.end);
        Ok(())
    }
}

fn grows(site: &CallSite) -> bool {
    matches!(site.callee, Callee::Growth)
}

/// The opcode of the plain call for a tail call: `return_call` → `call`, and so on.
fn without_tail(opcode: u8) -> u8 {
    match opcode {
        0x12 => 0x10,
        0x13 => 0x11,
        0x15 => 0x14,
        other => other,
    }
}
