//! What the imports and exports of a core module do with handles and with late results.

use std::collections::{BTreeMap, HashMap};

use super::emitter::Place;
use super::shape::Shape;

/// The handles that a core module gets and ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct ModuleHandles {
    /// By imported function.
    pub(in super::super) imports: BTreeMap<u32, CountedImport>,
    /// By the name of an export.
    pub(in super::super) exports: HashMap<String, CountedExport>,
}

/// How an import gives handles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// In its only result.
    Result(Shape),
    /// Two handles of these types in an i64, the first in the lower half.
    Pair(u32, u32),
    /// In memory, at the address in this parameter.
    Memory(u32, Shape),
    /// An asynchronous call: a subtask of this type, or results in memory if the call has returned.
    Started(u32, Option<(u32, Shape)>),
    /// An event, whose code is the result and whose other two words are at the address in the
    /// second parameter. The results of an asynchronous call may have arrived.
    Event,
    /// The status of the subtask in the first parameter. The same is true.
    Cancelled,
}

/// An import that gives or ends handles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct CountedImport {
    /// Handles that it ends.
    pub(super) taken: Option<Place>,
    pub(super) given: Option<Given>,
    /// Results that arrive later, or while other calls run.
    pub(super) results: Option<Results>,
}

/// An export that gets handles as arguments, or passes them on as results.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct CountedExport {
    pub(super) arguments: Option<Place>,
    /// Whether the result is the address of the results in memory, and their handles.
    pub(super) results: Option<(bool, Shape)>,
}

impl CountedImport {
    /// Whether it gives or ends handles.
    pub(super) fn has_handles(&self) -> bool {
        self.taken.is_some() || self.given.is_some()
    }

    /// Whether its handles cannot be found without the memory.
    pub(super) fn needs_memory(&self) -> bool {
        matches!(self.taken, Some(Place::Memory(..)))
            || matches!(&self.taken, Some(Place::Flat(_, shape)) if shape.has_list())
            || matches!(
                self.given,
                Some(Given::Memory(..) | Given::Started(_, Some(_)) | Given::Event)
            )
    }

    /// Whether the import gives handles.
    pub(in super::super) fn gives(&self) -> bool {
        !matches!(self.given, None | Some(Given::Event | Given::Cancelled))
    }
}

/// Results in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Results {
    /// The number of the imported function, see [`of`](Self::of).
    pub(super) number: u32,
    /// The parameter with their address.
    pub(super) pointer: u32,
    /// Their blocks and handles.
    pub(super) shape: Shape,
}

impl Results {
    /// These results with the number of an imported function: one that no other import of the
    /// component has, and that is not 0. `None` if there are too many.
    pub(super) fn of(self, module: usize, import: u32) -> Option<Self> {
        let (module, import) = (u16::try_from(module).ok()?, u16::try_from(import).ok()?);
        let number = (u32::from(module) << 16 | u32::from(import)).checked_add(1)?;
        Some(Self { number, ..self })
    }
}
