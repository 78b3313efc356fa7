//! Finds the handles in one component definition.

use std::collections::{BTreeMap, BTreeSet};

use wasmparser::component_types::{ComponentAnyTypeId, ComponentFuncTypeId, ComponentValType};
use wasmparser::{CanonicalFunction, CanonicalOption};

use super::super::core_instances::CoreInstances;
use super::super::scope::{Lift, Scope};
use super::counted::{CountedExport, CountedImport, Given, ModuleHandles, Results};
use super::emitter::Place;
use super::layout::TooComplex;
use super::options::{memory, memory_option, plain};
use super::shape::{
    ERROR_CONTEXT, HandleTypes, READABLE_FUTURE, READABLE_STREAM, Sequence, Shape, Shapes,
};

/// Flat parameters of a function, at most. More are in memory.
const MAX_FLAT_PARAMS: u32 = 16;
/// The same for an import that is called asynchronously.
const MAX_FLAT_ASYNC_PARAMS: u32 = 4;

const WRITABLE_STREAM: &str = "stream (writable end)";
const WRITABLE_FUTURE: &str = "future (writable end)";
const SUBTASK: &str = "subtask";
const WAITABLE_SET: &str = "waitable set";

const LATE_RESULTS: &str =
    "handles in complex results of asynchronous imports that do not return at once";
const IN_STREAMS: &str = "handles that travel in streams and futures";
const UNKNOWN_CALLER: &str = "handles of functions whose caller is not known";
const NOT_EXAMINED: &str = "handles of functions whose types or options are too complex";

/// One component definition.
pub(super) struct Definition<'s, 'a, 't> {
    pub(super) scope: &'a Scope,
    pub(super) core: CoreInstances<'a>,
    pub(super) shapes: Shapes<'t>,
    pub(super) types: &'s mut HandleTypes,
    /// What is not counted.
    pub(super) gaps: &'s mut BTreeSet<String>,
    /// Functions of the canonical ABI that an instance imports.
    pub(super) seen: BTreeSet<u32>,
}

impl Definition<'_, '_, '_> {
    /// The handles of each core instance that has any, with the position of its module.
    pub(super) fn instances(&mut self) -> BTreeMap<u32, (usize, ModuleHandles)> {
        let mut found: BTreeMap<u32, (usize, ModuleHandles)> = BTreeMap::new();
        for (instance, module) in self.core.all() {
            let Some((_, code)) = self.core.module(instance) else {
                continue;
            };
            // A module without code only puts functions into tables.
            if code.bodies.is_empty() {
                continue;
            }
            for import in 0..code.imported.len() as u32 {
                let Some(canonical) = self.core.canonical_import(instance, import) else {
                    continue;
                };
                self.seen.insert(canonical);
                if let Some(counted) = self.import((instance, module), (import, canonical)) {
                    if code.referenced.contains(&import) && counted.has_handles() {
                        let why = "handles of imports that are called through a table";
                        self.gaps.insert(why.to_owned());
                    }
                    let (_, handles) = found
                        .entry(instance)
                        .or_insert((module, Default::default()));
                    handles.imports.insert(import, counted);
                }
            }
        }
        for lift in &self.scope.lifts {
            let Some(counted) = self.export(lift) else {
                continue;
            };
            match self.core.core_function(lift.function) {
                Some((function, name)) => {
                    let of_instance = found.entry(function.instance);
                    let (_, handles) = of_instance.or_insert((function.module, Default::default()));
                    let other = handles.exports.insert(name, counted.clone());
                    if other.is_some_and(|other| other != counted) {
                        self.gap(NOT_EXAMINED);
                    }
                }
                None => self.gap(UNKNOWN_CALLER),
            }
        }
        let unseen: Vec<u32> = self.scope.canonicals.keys().copied().collect();
        for canonical in unseen {
            if !self.seen.contains(&canonical)
                && self.canonical(canonical).is_ok_and(|it| it.is_some())
            {
                self.gap(UNKNOWN_CALLER);
            }
        }
        found
    }

    fn gap(&mut self, what: &str) {
        self.gaps.insert(what.to_owned());
    }

    /// What an imported function does with handles; `None` if nothing is known to be counted.
    fn import(
        &mut self,
        (instance, module): (u32, usize),
        (import, canonical): (u32, u32),
    ) -> Option<CountedImport> {
        let counted = self.canonical(canonical);
        match counted {
            Ok(Some(mut counted)) => {
                let memory = memory(self.scope.canonicals.get(&canonical)?);
                if !self.is_first_memory(instance, memory) {
                    if counted.needs_memory() {
                        self.gap(NOT_EXAMINED);
                        return None;
                    }
                    counted.results = None;
                }
                counted.results = counted
                    .results
                    .and_then(|results| results.of(module, import));
                Some(counted)
            }
            Ok(None) => None,
            Err(TooComplex) => {
                self.gap(NOT_EXAMINED);
                None
            }
        }
    }

    /// Whether this memory of the component is the first memory of an instance.
    fn is_first_memory(&self, instance: u32, memory: Option<u32>) -> bool {
        let export = memory.and_then(|it| self.scope.memories.get(it as usize)?.as_ref());
        let memory = export.and_then(|it| self.core.memory(it));
        memory.is_some() && memory == self.core.first_memory(instance)
    }

    /// What a function of the canonical ABI does with handles.
    fn canonical(&mut self, function: u32) -> Result<Option<CountedImport>, TooComplex> {
        use CanonicalFunction as F;
        let Some(function) = self.scope.canonicals.get(&function) else {
            return Ok(None);
        };
        let names = &mut *self.types;
        let ends = || CountedImport {
            // The type of a handle that ends is known already.
            taken: Some(Place::Flat(0, Shape::Handle(0))),
            ..CountedImport::default()
        };
        let gives = |given| CountedImport {
            given: Some(given),
            ..CountedImport::default()
        };
        let gives_one = |ty| gives(Given::Result(Shape::Handle(ty)));
        Ok(Some(match function {
            F::Lower {
                func_index,
                options,
            } => return self.lowered(*func_index, options),
            F::ResourceNew { resource } => {
                let types = self.shapes.types();
                let ComponentAnyTypeId::Resource(id) = types.component_any_type_at(*resource)
                else {
                    return Err(TooComplex);
                };
                gives_one(names.number(self.shapes.resource(id.resource())))
            }
            F::StreamNew { .. } => gives(Given::Pair(
                names.number(READABLE_STREAM),
                names.number(WRITABLE_STREAM),
            )),
            F::FutureNew { .. } => gives(Given::Pair(
                names.number(READABLE_FUTURE),
                names.number(WRITABLE_FUTURE),
            )),
            F::WaitableSetWait { .. } | F::WaitableSetPoll { .. } => gives(Given::Event),
            F::SubtaskCancel { .. } => gives(Given::Cancelled),
            F::WaitableSetNew => gives_one(names.number(WAITABLE_SET)),
            F::ErrorContextNew { .. } => gives_one(names.number(ERROR_CONTEXT)),
            F::ResourceDrop { .. }
            | F::StreamDropReadable { .. }
            | F::StreamDropWritable { .. }
            | F::FutureDropReadable { .. }
            | F::FutureDropWritable { .. }
            | F::WaitableSetDrop
            | F::ErrorContextDrop
            | F::SubtaskDrop => ends(),
            F::StreamRead { ty, .. }
            | F::StreamWrite { ty, .. }
            | F::FutureRead { ty, .. }
            | F::FutureWrite { ty, .. } => {
                if self.carries_handles(*ty) {
                    self.gap(IN_STREAMS);
                }
                return Ok(None);
            }
            F::StreamForward { .. } | F::FutureForward { .. } => {
                self.gap(IN_STREAMS);
                return Ok(None);
            }
            F::TaskReturn { result, options } => {
                let result = result.map(|ty| self.value(ty)).transpose()?;
                return self.returned(result, options);
            }
            _ => return Ok(None),
        }))
    }

    /// The type that the definition refers to.
    fn value(&self, ty: wasmparser::ComponentValType) -> Result<ComponentValType, TooComplex> {
        match ty {
            wasmparser::ComponentValType::Primitive(ty) => Ok(ComponentValType::Primitive(ty)),
            wasmparser::ComponentValType::Type(index) => {
                match self.shapes.types().component_any_type_at(index) {
                    ComponentAnyTypeId::Defined(id) => Ok(ComponentValType::Type(id)),
                    _ => Err(TooComplex),
                }
            }
        }
    }

    /// Whether the values of a stream or future have handles.
    fn carries_handles(&mut self, ty: u32) -> bool {
        use wasmparser::component_types::ComponentDefinedType as Defined;
        let types = self.shapes.types();
        let ComponentAnyTypeId::Defined(id) = types.component_any_type_at(ty) else {
            return false;
        };
        match types.get(id) {
            Some(Defined::Stream { ty: Some(ty), .. } | Defined::Future { ty: Some(ty), .. }) => {
                self.shapes.may_have_handles(*ty)
            }
            _ => false,
        }
    }

    fn sequence(&mut self, types: &[ComponentValType]) -> Result<Sequence, TooComplex> {
        self.shapes.sequence(types, self.types)
    }

    /// The parameters and the result of a function.
    fn function(
        &mut self,
        ty: ComponentFuncTypeId,
    ) -> Result<(Sequence, Option<Sequence>), TooComplex> {
        let ty = self.shapes.types().get(ty).ok_or(TooComplex)?;
        let params: Vec<ComponentValType> = ty.params.iter().map(|(_, ty)| *ty).collect();
        let params = self.sequence(&params)?;
        let result = ty.result.map(|ty| self.sequence(&[ty])).transpose()?;
        Ok((params, result))
    }

    fn lowered(
        &mut self,
        function: u32,
        options: &[CanonicalOption],
    ) -> Result<Option<CountedImport>, TooComplex> {
        let ty = self.shapes.types().component_function_at(function);
        let is_async = options.contains(&CanonicalOption::Async);
        let (params, result) = self.function(ty)?;
        let max = if is_async {
            MAX_FLAT_ASYNC_PARAMS
        } else {
            MAX_FLAT_PARAMS
        };
        let in_memory = params.flat > max;
        let result_pointer = if in_memory { 1 } else { params.flat };
        let (results, results_flat) = result.map_or((None, 0), |it| (it.shape, it.flat));
        let arrives_late = is_async || self.scope.used.suspends_calls;
        let late = if arrives_late && plain(options).is_ok() {
            self.results(ty, result_pointer)
        } else {
            None
        };
        let given = match (is_async, results) {
            (true, results) => {
                if results.is_some() && late.is_none() {
                    self.gap(LATE_RESULTS);
                }
                let results = results.map(|shape| (result_pointer, shape));
                Some(Given::Started(self.types.number(SUBTASK), results))
            }
            (false, None) => None,
            (false, Some(shape)) if results_flat <= 1 => Some(Given::Result(shape)),
            (false, Some(shape)) => Some(Given::Memory(result_pointer, shape)),
        };
        let taken = params.shape.map(|shape| place(shape, in_memory));
        if taken.is_none() && given.is_none() && late.is_none() {
            return Ok(None);
        }
        plain(options)?;
        Ok(Some(CountedImport {
            taken,
            given,
            results: late,
        }))
    }

    /// The blocks and handles in the results of a function, whose address is in a parameter.
    fn results(&mut self, ty: ComponentFuncTypeId, pointer: u32) -> Option<Results> {
        let result = self.shapes.types().get(ty)?.result?;
        let shape = self.shapes.sequence_with_blocks(&[result], self.types);
        let shape = shape.ok()?.shape?;
        Some(Results {
            number: 0,
            pointer,
            shape,
        })
    }

    /// The results of an asynchronous export.
    fn returned(
        &mut self,
        result: Option<ComponentValType>,
        options: &[CanonicalOption],
    ) -> Result<Option<CountedImport>, TooComplex> {
        let results: Vec<ComponentValType> = result.into_iter().collect();
        let results = self.sequence(&results)?;
        let Some(shape) = results.shape else {
            return Ok(None);
        };
        plain(options)?;
        Ok(Some(CountedImport {
            taken: Some(place(shape, results.flat > MAX_FLAT_PARAMS)),
            ..CountedImport::default()
        }))
    }

    /// The handles of an export; `None` if it has none, or if they cannot be counted.
    fn export(&mut self, lift: &Lift) -> Option<CountedExport> {
        let counted = self.lifted(lift);
        if counted.is_err() {
            self.gap(NOT_EXAMINED);
        }
        let counted = counted.ok()??;
        let needs_memory = matches!(counted.arguments, Some(Place::Memory(..)))
            || matches!(&counted.arguments, Some(Place::Flat(_, shape)) if shape.has_list())
            || matches!(counted.results, Some((true, _)));
        let instance = self
            .core
            .core_function(lift.function)
            .map(|it| it.0.instance);
        if needs_memory
            && !instance.is_some_and(|it| self.is_first_memory(it, memory_option(&lift.options)))
        {
            self.gap(NOT_EXAMINED);
            return None;
        }
        Some(counted)
    }

    fn lifted(&mut self, lift: &Lift) -> Result<Option<CountedExport>, TooComplex> {
        let ComponentAnyTypeId::Func(ty) = self.shapes.types().component_any_type_at(lift.ty)
        else {
            return Err(TooComplex);
        };
        let (params, result) = self.function(ty)?;
        let is_async = lift.options.contains(&CanonicalOption::Async);
        let in_memory = params.flat > MAX_FLAT_PARAMS;
        let arguments = params.shape.map(|shape| place(shape, in_memory));
        // An asynchronous export returns its results with `task.return`.
        let results = result
            .filter(|_| !is_async)
            .and_then(|result| Some((result.flat > 1, result.shape?)));
        if arguments.is_none() && results.is_none() {
            return Ok(None);
        }
        plain(&lift.options)?;
        Ok(Some(CountedExport { arguments, results }))
    }
}

/// Parameters that are in memory have one parameter with their address.
fn place(shape: Shape, in_memory: bool) -> Place {
    if in_memory {
        Place::Memory(0, shape)
    } else {
        Place::Flat(0, shape)
    }
}
