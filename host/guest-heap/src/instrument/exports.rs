//! Wraps exported functions, so that the runtime learns when the host calls them and for what.

use std::collections::HashSet;
use std::sync::Arc;

use wasm_encoder::{Function, InstructionSink, ValType};

use super::call_site_id::{MULTIPLIER, mix};
use super::context_place::ContextPlace;
use super::error::Refusal;
use super::export_roles::ExportRoles;
use super::handles::{CountedExport, HandleFunctions, ModuleHandles};
use super::link_runtime::LinkedRuntime;
use super::scan::CoreModule;

/// Number of the synthetic context for everything that the host lowers before a callback.
const IMPORT_RESULTS: u32 = 4;

/// Parameters of a callback.
const EVENT_WORDS: u32 = 3;

/// The names of the synthetic contexts, by number. A synthetic context has a name instead of a call
/// stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SyntheticNames(pub(super) Vec<Arc<str>>);

impl Default for SyntheticNames {
    /// The contexts whose numbers are constants in the runtime's `phase.rs`. 0 is the overflow.
    fn default() -> Self {
        Self(
            [
                "overflow",
                "initialisation",
                "arguments",
                "other modules",
                "results of imports",
            ]
            .map(Arc::from)
            .into(),
        )
    }
}

impl SyntheticNames {
    fn add(&mut self, name: String) -> u32 {
        let number = self.0.len() as u32;
        self.0.push(name.into());
        number
    }
}

/// The wrapper of one export.
pub(super) struct ExportWrapper {
    /// Type index of the export.
    pub(super) ty: u32,
    pub(super) body: Vec<u8>,
    /// Whether each call begins a call stack: nothing of the caller belongs to the context.
    pub(super) begins_stack: bool,
}

/// Makes the wrappers of a module's exports.
pub(super) struct ExportWrapping<'m> {
    pub(super) module: &'m CoreModule<'m>,
    pub(super) runtime: &'m LinkedRuntime,
    pub(super) roles: &'m ExportRoles,
    pub(super) place: ContextPlace,
    /// Functions that something other than the modules with the same heap tables calls. `None` if
    /// that may be all functions.
    pub(super) called_from_outside: Option<&'m HashSet<u32>>,
    /// The handles that are counted.
    pub(super) handles: Option<&'m ModuleHandles>,
    /// The function to call with the event that a callback gets.
    pub(super) arrival: Option<u32>,
}

impl ExportWrapping<'_> {
    /// The wrapper of an export, if it needs one. Exports that the component uses always need one;
    /// others need one if they may allocate.
    pub(super) fn wrap(
        &self,
        name: &str,
        function: u32,
        may_allocate: bool,
        synthetic_names: &mut SyntheticNames,
    ) -> Result<Option<ExportWrapper>, Refusal> {
        let short = short_name(name);
        let mut begins_stack = true;
        let body = if self.roles.lifted.contains(name) {
            let arguments = synthetic_names.add(format!("arguments of {short}"));
            self.lifted(name, function, arguments)?
        } else if self.roles.callbacks.contains(name) {
            // The component model enters no other call of the instance before this one returns or
            // waits, so it begins and ends like a lifted function.
            self.lifted(name, function, IMPORT_RESULTS)?
        } else if self.roles.reallocs.contains(name) {
            self.realloc(function)?
        } else if self.roles.post_returns.contains(name) {
            let of = short_name(name.strip_prefix("cabi_post_").unwrap_or(name));
            let synthetic = synthetic_names.add(format!("post-return of {of}"));
            self.post_return(name, function, synthetic)?
        } else if may_allocate && self.is_called_from_outside(name, function) {
            begins_stack = false;
            let synthetic = synthetic_names.add(format!("other modules through {short}"));
            self.unlifted(name, function, synthetic)?
        } else {
            return Ok(None);
        };
        let ty = self.module.type_of(function);
        let ty = ty.ok_or_else(|| Refusal::internal("an export without a type"))?;
        Ok(Some(ExportWrapper {
            ty,
            body,
            begins_stack,
        }))
    }

    fn is_called_from_outside(&self, name: &str, function: u32) -> bool {
        self.roles.destructors.contains(name)
            || self
                .called_from_outside
                .is_none_or(|functions| functions.contains(&function))
    }

    fn set_context(&self, code: &mut InstructionSink<'_>, context: i64) {
        self.place.set(code, |code| {
            code.i64_const(context);
        });
    }

    fn lifted(&self, name: &str, function: u32, arguments: u32) -> Result<Vec<u8>, Refusal> {
        let handles = self.handles.and_then(|it| it.exports.get(name));
        let passes_on = handles.is_some_and(CountedExport::passes_on);
        let mut locals = vec![ValType::I32; usize::from(passes_on)];
        locals.extend(handles.iter().flat_map(|_| CountedExport::LIST_LOCALS));
        self.emit(function, &locals, |code, call| {
            let signature = self.module.signature(function);
            let params = signature.map_or(&[][..], |ty| ty.params());
            let (result, lists) = (
                params.len() as u32,
                params.len() as u32 + u32::from(passes_on),
            );
            code.i32_const(arguments as i32)
                .call(self.runtime.export("export_begins")?);
            if let Some(arrival) = self.arrival.filter(|_| arguments == IMPORT_RESULTS) {
                for word in 0..EVENT_WORDS {
                    code.local_get(word);
                }
                code.call(arrival);
            }
            if let Some(handles) = handles {
                let functions = HandleFunctions::of(self.runtime)?;
                handles.count_arguments(code, functions, arguments, (params, lists));
            }
            self.set_context(code, root(name));
            call(code);
            if let Some(handles) = handles.filter(|_| passes_on) {
                code.local_set(result);
                let functions = HandleFunctions::of(self.runtime)?;
                handles.count_results(code, functions, (result, lists));
                code.local_get(result);
            }
            self.set_context(code, 0);
            code.call(self.runtime.export("export_ends")?);
            Ok(())
        })
    }

    fn post_return(&self, name: &str, function: u32, synthetic: u32) -> Result<Vec<u8>, Refusal> {
        self.emit(function, &[ValType::I32], |code, call| {
            let before = self.parameters(function);
            code.i32_const(synthetic as i32)
                .call(self.runtime.export("phase_begins")?);
            code.local_set(before);
            self.set_context(code, root(name));
            call(code);
            self.set_context(code, 0);
            code.local_get(before)
                .call(self.runtime.export("phase_ends")?);
            Ok(())
        })
    }

    /// The host calls this export many times while it lowers the arguments or results of one call,
    /// so the wrapper restores the context.
    fn realloc(&self, function: u32) -> Result<Vec<u8>, Refusal> {
        self.emit(
            function,
            &[ValType::I64, ValType::I32, ValType::I32],
            |code, call| {
                let context = self.parameters(function);
                let (purpose, pointer) = (context + 1, context + 2);
                self.place.get(code);
                code.local_set(context);
                code.call(self.runtime.export("lowering_begins")?)
                    .local_set(purpose);
                call(code);
                code.local_tee(pointer).local_get(purpose);
                code.call(self.runtime.export("lowering_ends")?);
                self.place.set(code, |code| {
                    code.local_get(context);
                });
                code.local_get(pointer);
                Ok(())
            },
        )
    }

    /// Another core module calls this export, or the host calls it for something that is no export
    /// of the component, such as a destructor. The wrapper restores the context, because a lifted
    /// export of this module may be running.
    fn unlifted(&self, name: &str, function: u32, synthetic: u32) -> Result<Vec<u8>, Refusal> {
        self.emit(function, &[ValType::I64, ValType::I32], |code, call| {
            let context = self.parameters(function);
            let before = context + 1;
            self.place.get(code);
            code.local_set(context);
            self.place.set(code, |code| {
                code.local_get(context)
                    .i64_const(MULTIPLIER as i64)
                    .i64_mul()
                    .i64_const(root(name))
                    .i64_add();
            });
            code.i32_const(synthetic as i32)
                .call(self.runtime.export("entry_begins")?);
            code.local_set(before);
            call(code);
            code.local_get(before)
                .call(self.runtime.export("phase_ends")?);
            self.place.set(code, |code| {
                code.local_get(context);
            });
            Ok(())
        })
    }

    /// Emits a wrapper with these additional locals. `write` gets a closure that emits the call of
    /// the export with its own arguments.
    fn emit(
        &self,
        function: u32,
        locals: &[ValType],
        write: impl FnOnce(
            &mut InstructionSink<'_>,
            &dyn Fn(&mut InstructionSink<'_>),
        ) -> Result<(), Refusal>,
    ) -> Result<Vec<u8>, Refusal> {
        let mut wrapper = Function::new_with_locals_types(locals.iter().copied());
        let call = |code: &mut InstructionSink<'_>| {
            for parameter in 0..self.parameters(function) {
                code.local_get(parameter);
            }
            code.call(function);
        };
        let mut code = wrapper.instructions();
        write(&mut code, &call)?;
        code.end();
        Ok(wrapper.into_raw_body())
    }

    /// Number of parameters, which is also the index of the first additional local.
    fn parameters(&self, function: u32) -> u32 {
        let signature = self.module.signature(function);
        signature.map_or(0, |ty| ty.params().len() as u32)
    }
}

/// The calling context in which an export begins.
fn root(name: &str) -> i64 {
    let fold = |hash: u64, byte: u8| mix(hash ^ u64::from(byte));
    name.bytes().fold(0, fold) as i64
}

/// `leak-lab:plugin/leak@0.1.0#on-request` → `leak#on-request`.
fn short_name(export: &str) -> String {
    let export = export.strip_prefix("[async-lift]").unwrap_or(export);
    let Some((interface, function)) = export.rsplit_once('#') else {
        return export.to_owned();
    };
    let interface = interface
        .rsplit_once('/')
        .map_or(interface, |(_, name)| name);
    let interface = interface
        .split_once('@')
        .map_or(interface, |(name, _)| name);
    format!("{interface}#{function}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_consist_of_interface_and_function() {
        for (export, short) in [
            ("leak-lab:plugin/leak@0.1.0#on-request", "leak#on-request"),
            ("run", "run"),
            ("a:b/c#[method]d.e", "c#[method]d.e"),
            ("[async-lift]a:b/c#d", "c#d"),
        ] {
            assert_eq!(short_name(export), short);
        }
    }
}
