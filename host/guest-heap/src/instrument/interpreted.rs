//! Decides whether the contexts of a group of modules are the source lines of an interpreted
//! program.

use std::collections::HashMap;

use super::entry_point::{EntryPoint, Family, Pointer, Role, Shape, Size};
use super::scan::CoreModule;
use super::sharing::Group;
use super::survey::AnalysedMember;
use crate::interpreter::{Detection, Interpreter};

/// The function that runs Python code. A module that has it is CPython.
const EVALUATION: &str = "_PyEval_EvalFrameDefault";
/// The function with which CPython takes objects from its free lists.
const NEW_REFERENCE: &str = "_Py_NewReference";

/// Offsets beyond this size cannot be told from the numbers of source frames.
const MAX_COMPONENT_BYTES: usize = 1 << 31;

/// What is known about the interpreter in a group of modules.
pub(super) struct InterpretedGroup {
    interpreter: Option<Interpreter>,
    /// Why there are no source lines, as a clause whose subject is the interpreter.
    why: Option<String>,
}

/// How the contexts of a group are the source lines of an interpreter.
#[derive(Default)]
pub(super) struct Prepared {
    /// The interpreter whose frames are in the contexts.
    pub(super) interpreter: Option<Interpreter>,
    /// Why the lines are only partial.
    pub(super) gap: Option<String>,
    /// Why there are no lines, in a sentence.
    pub(super) without_lines: Option<String>,
}

/// Looks for an interpreter in the modules that work in the memory of a group. `frames` is the
/// number of frames that identify a context; 0 turns source lines off.
pub(super) fn find(modules: &[&CoreModule<'_>], group: &Group, frames: u32) -> InterpretedGroup {
    let detection = Interpreter::find(modules.iter().map(|module| module.bytes));
    let reason = |why: &str| InterpretedGroup {
        interpreter: None,
        why: Some(why.to_owned()),
    };
    match detection {
        Detection::Found(_) | Detection::Unusable(_) if frames == 0 => {
            reason("is not asked for source lines")
        }
        Detection::Found(interpreter) => {
            let size: usize = modules.iter().map(|module| module.bytes.len()).sum();
            let members = group.members.iter();
            let instances = members.map(|member| member.instances.len()).max();
            if size >= MAX_COMPONENT_BYTES {
                reason("is in a component of 2 GiB or more")
            } else if instances > Some(1) {
                reason("is instantiated more than once")
            } else {
                InterpretedGroup {
                    interpreter: Some(interpreter.with_depth(frames)),
                    why: None,
                }
            }
        }
        Detection::Unusable(why) => reason(&why),
        Detection::Nothing => InterpretedGroup {
            interpreter: None,
            why: modules
                .iter()
                .any(|module| function(module, EVALUATION).is_some())
                .then(|| {
                    "has no table of offsets in its data, so it is older than CPython 3.13"
                        .to_owned()
                }),
        },
    }
}

impl InterpretedGroup {
    /// Prepares the modules of the group for the source lines of the interpreter.
    pub(super) fn prepare(mut self, members: &mut [AnalysedMember<'_>]) -> Prepared {
        if self.interpreter.is_some() {
            let mut modules = members.iter().map(|member| member.analysis.module());
            if modules.any(|module| module.memories.len() > 1) {
                self.why = Some("works in more than one memory".to_owned());
            } else if members.iter().any(|member| member.roles.suspends_calls) {
                self.why = Some("may run several calls at a time".to_owned());
            }
        }
        for member in &mut *members {
            let entries = object_allocators(member.analysis.module());
            member.analysis.hook(entries);
        }
        if let Some(why) = self.why {
            return Prepared {
                without_lines: Some(format!(
                    "no source lines, because the interpreter {why}: the call stacks are those of \
                     the interpreter"
                )),
                ..Prepared::default()
            };
        }
        let Some(interpreter) = self.interpreter else {
            return Prepared::default();
        };
        let mut hooked = false;
        for member in members {
            let module = member.analysis.module();
            let new_reference = function(module, NEW_REFERENCE).filter(|function| {
                let ty = module.signature(*function);
                ty.is_some_and(|ty| EntryPoint::PyNewReference.fits(ty))
            });
            let is_interpreter = new_reference.is_some() || function(module, EVALUATION).is_some();
            // The frames of the program say more than those of the interpreter. In a module with
            // an allocator, there is other code, too.
            if is_interpreter && !member.analysis.has_allocator() {
                member.analysis.tracks_calls = false;
            }
            if let Some(function) = new_reference.filter(|_| !hooked) {
                let entry = (EntryPoint::PyNewReference, function);
                member.analysis.hook([entry]);
                hooked = true;
            }
        }
        let gap = (!hooked).then(|| {
            format!(
                "{} has no function named {NEW_REFERENCE}: objects that it reuses stay with the \
                 line that made them first",
                interpreter.name()
            )
        });
        Prepared {
            interpreter: Some(interpreter),
            gap,
            without_lines: None,
        }
    }
}

/// The defined function with this name, by the name section or by the exports.
fn function(module: &CoreModule<'_>, name: &str) -> Option<u32> {
    let exported = module.export_indices.get(name).copied();
    let named = || {
        let mut names = module.names.iter();
        Some(names.find(|(known, _)| *known == name)?.1)
    };
    let found = exported.filter(|it| module.is_defined(*it)).or_else(named);
    found.filter(|function| module.is_defined(*function))
}

/// CPython's own allocators for objects, which most builds for WebAssembly do not use. Their first
/// parameter is a context that they ignore. They take large blocks from the C library: then each
/// block counts once, at the outer entry point.
fn object_allocators(module: &CoreModule<'_>) -> Vec<(EntryPoint, u32)> {
    let shapes: HashMap<&str, (&'static str, Role)> = ALLOCATORS
        .iter()
        .flat_map(|(names, role)| names.iter().map(|name| (*name, (*name, *role))))
        .collect();
    let mut entries = Vec::new();
    for (name, function) in &module.names {
        let Some((label, role)) = shapes.get(*name).copied() else {
            continue;
        };
        let entry = EntryPoint::Shaped(Shape {
            family: Family::Python,
            role,
            bias: 0,
            label,
        });
        let ty = module.signature(*function);
        if module.is_defined(*function) && ty.is_some_and(|ty| entry.fits(ty)) {
            entries.push((entry, *function));
        }
    }
    entries.sort_unstable();
    entries
}

const ALLOCATORS: [([&str; 3], Role); 4] = [
    (
        ["_PyObject_Malloc", "_PyObject_MiMalloc", "_PyMem_MiMalloc"],
        Role::Allocates { size: Size::At(1) },
    ),
    (
        ["_PyObject_Calloc", "_PyObject_MiCalloc", "_PyMem_MiCalloc"],
        Role::Allocates {
            size: Size::Product(1, 2),
        },
    ),
    (
        [
            "_PyObject_Realloc",
            "_PyObject_MiRealloc",
            "_PyMem_MiRealloc",
        ],
        Role::Reallocates {
            pointer: Pointer::At(1),
            size: 2,
        },
    ),
    (
        ["_PyObject_Free", "_PyObject_MiFree", "_PyMem_MiFree"],
        Role::Frees {
            pointer: Pointer::At(1),
        },
    ),
];
