//! Where handles are in a value of a component's type: in its flat form and in memory.

use std::collections::HashMap;
use std::sync::Arc;

use wasmparser::PrimitiveValType;
use wasmparser::component_types::{
    ComponentDefinedType as Defined, ComponentValType as ValType, ResourceId,
};
use wasmparser::types::TypesRef;

use super::layout::{Layouts, TooComplex, aligned, cases, parts, tag_bytes};

/// Places with handles in one function. A function with more is not counted.
const MAX_PLACES: u32 = 256;

/// Lists inside each other: each takes two locals of a wrapper.
pub(super) const MAX_LISTS: u32 = 4;

/// Types of handles with a name, see the runtime's `handles.rs`.
const MAX_TYPES: usize = 256;

pub(super) const READABLE_STREAM: &str = "stream (readable end)";
pub(super) const READABLE_FUTURE: &str = "future (readable end)";
pub(super) const ERROR_CONTEXT: &str = "error context";

/// The names of the types of handles, by number. Number 0 stands for all types without a number.
#[derive(Clone, Debug)]
pub(in super::super) struct HandleTypes(pub(in super::super) Vec<Arc<str>>);

impl Default for HandleTypes {
    fn default() -> Self {
        Self(vec!["other".into()])
    }
}

impl HandleTypes {
    /// The number of the type with this name.
    pub(super) fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.0.iter().position(|it| &**it == name) {
            return number as u32;
        }
        if self.0.len() >= MAX_TYPES {
            return 0;
        }
        self.0.push(name.into());
        self.0.len() as u32 - 1
    }
}

/// Where the handles in a value are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A handle of the type with this number.
    Handle(u32),
    /// A pointer to a block that the host has allocated.
    Block,
    /// A list: pointer and length.
    List { element: Box<Shape>, size: u32 },
    /// The parts of a value that have handles.
    Parts(Vec<Part>),
    Variant {
        /// Bytes of the discriminant in memory.
        tag_bytes: u32,
        /// Offset of the payload in memory.
        payload: u32,
        /// The cases that have handles.
        cases: Vec<(u32, Shape)>,
    },
}

impl Shape {
    /// Whether a part of the value is in memory although the value is flat.
    pub(super) fn has_list(&self) -> bool {
        match self {
            Self::Handle(_) | Self::Block => false,
            Self::List { .. } => true,
            Self::Parts(parts) => parts.iter().any(|part| part.shape.has_list()),
            Self::Variant { cases, .. } => cases.iter().any(|(_, case)| case.has_list()),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Bytes from the start of the value in memory.
    pub(super) offset: u32,
    /// Flat values before the part.
    pub(super) flat: u32,
    pub(super) shape: Shape,
}

/// A place for values in sequence: the fields of a record, or the parameters of a function.
#[derive(Clone, Debug, Default)]
pub(super) struct Sequence {
    /// Flat values of all parts.
    pub(super) flat: u32,
    /// `None` if no part has handles.
    pub(super) shape: Option<Shape>,
}

/// Finds the handles in the types of a component definition.
pub(super) struct Shapes<'t> {
    layouts: Layouts<'t>,
    /// Names of the resource types.
    resources: HashMap<ResourceId, String>,
}

impl<'t> Shapes<'t> {
    pub(super) fn new(types: TypesRef<'t>, resources: HashMap<ResourceId, String>) -> Self {
        Self {
            layouts: Layouts::new(types),
            resources,
        }
    }

    /// Where the handles are in values that follow each other.
    pub(super) fn sequence(
        &mut self,
        types: &[ValType],
        names: &mut HandleTypes,
    ) -> Result<Sequence, TooComplex> {
        self.search(types, names, false)
    }

    /// The same, with the blocks that the values are in.
    pub(super) fn sequence_with_blocks(
        &mut self,
        types: &[ValType],
        names: &mut HandleTypes,
    ) -> Result<Sequence, TooComplex> {
        self.search(types, names, true)
    }

    fn search(
        &mut self,
        types: &[ValType],
        names: &mut HandleTypes,
        blocks: bool,
    ) -> Result<Sequence, TooComplex> {
        let mut search = Search {
            shapes: self,
            names,
            blocks,
            places: 0,
        };
        let mut flat = 0_u32;
        for ty in types {
            let layout = search.shapes.layouts.of(*ty)?;
            flat = flat.saturating_add(layout.flat);
        }
        let shape = search.parts(types, 0)?;
        Ok(Sequence { flat, shape })
    }

    pub(super) fn types(&self) -> TypesRef<'t> {
        self.layouts.types
    }

    /// Whether a value of this type may have handles.
    pub(super) fn may_have_handles(&mut self, ty: ValType) -> bool {
        self.layouts.of(ty).is_ok_and(|layout| layout.has_handles)
    }

    /// The name of a resource type.
    pub(super) fn resource(&self, id: ResourceId) -> &str {
        let name = self.resources.get(&id).map(String::as_str);
        name.unwrap_or("a resource without a name")
    }
}

/// The search for the handles of one function.
struct Search<'s, 't> {
    shapes: &'s mut Shapes<'t>,
    names: &'s mut HandleTypes,
    /// Whether blocks are places, too.
    blocks: bool,
    /// Places found so far.
    places: u32,
}

impl Search<'_, '_> {
    /// The handles of values in sequence.
    fn parts(&mut self, types: &[ValType], lists: u32) -> Result<Option<Shape>, TooComplex> {
        let (mut offset, mut flat) = (0_u32, 0_u32);
        let mut found = Vec::new();
        for ty in types {
            let layout = self.shapes.layouts.of(*ty)?;
            offset = aligned(offset, layout.align);
            if let Some(shape) = self.shape(*ty, lists)? {
                found.push(Part {
                    offset,
                    flat,
                    shape,
                });
            }
            offset = offset.saturating_add(layout.size);
            flat = flat.saturating_add(layout.flat);
        }
        Ok((!found.is_empty()).then_some(Shape::Parts(found)))
    }

    /// The handles of a list, and the block that it is in.
    fn list(&mut self, element: ValType, lists: u32) -> Result<Option<Shape>, TooComplex> {
        if lists >= MAX_LISTS {
            return Err(TooComplex);
        }
        let size = self.shapes.layouts.of(element)?.size;
        let list = self.shape(element, lists + 1)?.map(|element| Shape::List {
            element: Box::new(element),
            size,
        });
        if !self.blocks {
            return Ok(list);
        }
        let at_start = |shape| Part {
            offset: 0,
            flat: 0,
            shape,
        };
        let parts = [Some(Shape::Block), list];
        Ok(Some(Shape::Parts(
            parts.into_iter().flatten().map(at_start).collect(),
        )))
    }

    /// The handles of a value. The number of places bounds the depth.
    fn shape(&mut self, ty: ValType, lists: u32) -> Result<Option<Shape>, TooComplex> {
        let layout = self.shapes.layouts.of(ty)?;
        if !(layout.has_handles || self.blocks && layout.has_blocks) {
            return Ok(None);
        }
        self.places += 1;
        if self.places > MAX_PLACES {
            return Err(TooComplex);
        }
        let handle =
            |names: &mut HandleTypes, name: &str| Ok(Some(Shape::Handle(names.number(name))));
        let primitive = |names: &mut HandleTypes, ty| match ty {
            PrimitiveValType::ErrorContext => handle(names, ERROR_CONTEXT),
            _ => Ok(Some(Shape::Block)),
        };
        let defined = match ty {
            ValType::Primitive(ty) => return primitive(self.names, ty),
            ValType::Type(id) => self.shapes.layouts.types.get(id).ok_or(TooComplex)?,
        };
        match defined {
            Defined::Own(resource) => handle(self.names, self.shapes.resource(resource.resource())),
            Defined::Stream { .. } => handle(self.names, READABLE_STREAM),
            Defined::Future { .. } => handle(self.names, READABLE_FUTURE),
            Defined::Primitive(ty) => primitive(self.names, *ty),
            // A map has no handles. The blocks inside it are not looked for.
            Defined::Map { .. } => Ok(Some(Shape::Block)),
            Defined::List { element, .. } => self.list(*element, lists),
            Defined::Record(_) | Defined::Tuple(_) => self.parts(&parts(defined), lists),
            Defined::Variant(_) | Defined::Option { .. } | Defined::Result { .. } => {
                let cases = cases(defined);
                let tag_bytes = tag_bytes(cases.len());
                let mut payload = tag_bytes;
                let mut found = Vec::new();
                for (number, case) in (0..).zip(&cases) {
                    let Some(case) = case else { continue };
                    payload = aligned(payload, self.shapes.layouts.of(*case)?.align);
                    if let Some(shape) = self.shape(*case, lists)? {
                        found.push((number, shape));
                    }
                }
                Ok(Some(Shape::Variant {
                    tag_bytes,
                    payload,
                    cases: found,
                }))
            }
            _ => Err(TooComplex),
        }
    }
}
