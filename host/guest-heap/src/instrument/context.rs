//! The calling context: how code is made to know where it was called from.
//!
//! A global `V` names the call stack ("probabilistic calling context", Bond and McKinley, OOPSLA
//! 2007). Before a call that may come to allocate, a function sets `V` to `V · K + id`, where `V` is
//! what the function itself was entered with and `id` belongs to the call site. Nothing is undone
//! after the call: where more than one site may run in an activation, the function keeps `V · K` in
//! a local of its own.

use wasm_encoder::{Encode, InstructionSink};

use super::calls::{Calls, Site};
use super::error::Refusal;
use super::offset_map::OffsetMap;
use super::reach::{Reach, ReferencedImports};
use super::scan::{CoreModule, range};

/// Odd, so that no bit of the caller's context is lost, and without a pattern.
pub(super) const MULTIPLIER: u64 = 0x9E6C_63D0_876A_9A47;

/// Upper half of a context that stands for a call that does not come back.
const DIVERGING: u64 = 0xDEAD << 48;

const I64: u8 = 0x7E;
const RETURN: u8 = 0x0F;

/// What the inserted code refers to, and what decides where it goes.
pub(super) struct Tracking<'m> {
    pub(super) module: &'m CoreModule<'m>,
    /// Without the calls that do not come back, unless exceptions may be caught.
    pub(super) reach: Reach,
    /// With them.
    pub(super) full_reach: Reach,
    pub(super) ignores_diverging: bool,
    pub(super) imports: ReferencedImports,
    pub(super) context_global: u32,
    pub(super) import_begins: u32,
    pub(super) import_ends: u32,
    /// Distinguishes the call sites of one module from those of another.
    pub(super) salt: u64,
}

/// A rewritten function body. Offsets are counted from its start and from the module's.
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    pub(super) offsets: OffsetMap,
    /// Call sites that set the context.
    pub(super) sites: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Update {
    /// From the context that the function was entered with, which is still there.
    FromEntry,
    /// From the local.
    FromLocal,
    /// To a constant: it does not come back.
    Constant,
}

impl Tracking<'_> {
    /// Rewrites the body of a defined function.
    pub(super) fn rewrite(&self, function: u32, calls: &Calls) -> Result<Body, Refusal> {
        let defined = function.saturating_sub(self.module.first_defined());
        let body = self.module.bodies.get(defined as usize);
        let body = range(
            body.ok_or_else(|| Refusal::internal("a function without a body"))?
                .range(),
        );
        let updates = self.updates(function, calls);
        let mut out = Rewriting {
            module: self.module,
            bytes: Vec::with_capacity(body.len() * 5 / 4),
            offsets: OffsetMap::default(),
            copied: body.start,
        };
        out.offsets.copy(0, body.start);
        let local = calls.locals;
        if updates
            .iter()
            .any(|(_, update)| *update == Update::FromLocal)
        {
            out.add_local(calls)?;
            out.offsets.inserted(out.bytes.len(), calls.code);
            InstructionSink::new(&mut out.bytes)
                .global_get(self.context_global)
                .i64_const(MULTIPLIER as i64)
                .i64_mul()
                .local_set(local);
            out.offsets.copy(out.bytes.len(), calls.code);
        }
        for (site, update) in &updates {
            self.site(&mut out, site, *update, local)?;
        }
        out.copy_to(body.end)?;
        Ok(Body {
            bytes: out.bytes,
            offsets: out.offsets,
            sites: updates.len(),
        })
    }

    fn updates<'c>(&self, function: u32, calls: &'c Calls) -> Vec<(&'c Site, Update)> {
        let tracked = self.reach.function(function);
        let is_constant =
            |site: &Site| site.diverges && self.ignores_diverging && self.full_reach.site(site);
        let is_tracked = |site: &Site| {
            tracked && !(site.diverges && self.ignores_diverging) && self.reach.site(site)
        };
        if !calls
            .sites
            .iter()
            .any(|site| is_constant(site) || is_tracked(site))
        {
            return Vec::new();
        }
        let touched = calls.touched_before(|at| calls.sites.get(at).is_some_and(is_tracked));
        // Either the local is needed, and then using it everywhere is shortest, or it is not.
        let needs_local = calls
            .sites
            .iter()
            .zip(&touched)
            .any(|(site, touched)| *touched && is_tracked(site));
        let update = |site: &Site| {
            if is_constant(site) {
                Some(Update::Constant)
            } else if !is_tracked(site) {
                None
            } else if needs_local {
                Some(Update::FromLocal)
            } else {
                Some(Update::FromEntry)
            }
        };
        calls
            .sites
            .iter()
            .filter_map(|site| Some((site, update(site)?)))
            .collect()
    }

    fn site(
        &self,
        out: &mut Rewriting<'_>,
        site: &Site,
        update: Update,
        local: u32,
    ) -> Result<(), Refusal> {
        out.copy_to(site.start)?;
        out.offsets.inserted(out.bytes.len(), site.start);
        // 32 bits: a short instruction, both in wasm and in the machine's code.
        let id = mix(site.start as u64 ^ self.salt) as i32;
        let mut code = InstructionSink::new(&mut out.bytes);
        match update {
            Update::FromEntry => code
                .global_get(self.context_global)
                .i64_const(MULTIPLIER as i64)
                .i64_mul()
                .i64_const(i64::from(id))
                .i64_add(),
            Update::FromLocal => code.local_get(local).i64_const(i64::from(id)).i64_add(),
            Update::Constant => code.i64_const((DIVERGING | u64::from(id as u32)) as i64),
        };
        code.global_set(self.context_global);
        let may_import = self.imports.may_be_called_at(self.module, site);
        if may_import {
            code.call(self.import_begins);
        }
        out.offsets.copy(out.bytes.len(), site.start);
        if !may_import || update == Update::Constant {
            return out.copy_to(site.end);
        }
        // What an import's results were lowered into is reported when it has returned, so here it
        // has to return, even from a tail call.
        let at = out.bytes.len();
        out.copy_to(site.end)?;
        if site.tail {
            out.bytes
                .get_mut(at)
                .into_iter()
                .for_each(|opcode| *opcode = without_tail(*opcode));
        }
        out.offsets.inserted(out.bytes.len(), site.start);
        InstructionSink::new(&mut out.bytes).call(self.import_ends);
        if site.tail {
            out.bytes.push(RETURN);
        }
        out.offsets.copy(out.bytes.len(), site.end);
        Ok(())
    }
}

/// `return_call` → `call`, and so on.
fn without_tail(opcode: u8) -> u8 {
    match opcode {
        0x12 => 0x10,
        0x13 => 0x11,
        0x15 => 0x14,
        other => other,
    }
}

struct Rewriting<'m> {
    module: &'m CoreModule<'m>,
    bytes: Vec<u8>,
    offsets: OffsetMap,
    /// How far the module's bytes have been copied.
    copied: usize,
}

impl Rewriting<'_> {
    fn copy_to(&mut self, end: usize) -> Result<(), Refusal> {
        self.bytes
            .extend_from_slice(self.module.slice(self.copied..end)?);
        self.copied = end;
        Ok(())
    }

    /// Copies the declarations of locals with one more group: an i64, which comes last.
    fn add_local(&mut self, calls: &Calls) -> Result<(), Refusal> {
        let declarations = self.module.slice(self.copied..calls.code)?;
        let mut reader = wasmparser::BinaryReader::new(declarations, 0);
        let groups = reader.read_var_u32()?;
        (groups + 1).encode(&mut self.bytes);
        self.copied += reader.current_position();
        self.copy_to(calls.code)?;
        self.bytes.extend([1, I64]);
        Ok(())
    }
}

/// The finaliser of splitmix64: each bit of the input moves about half of the output's.
pub(super) fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}
