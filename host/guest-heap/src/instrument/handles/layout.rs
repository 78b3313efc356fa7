//! The canonical form of types of the component model: size, alignment and number of flat values.

use std::collections::HashMap;

use wasmparser::PrimitiveValType as Primitive;
use wasmparser::component_types::{
    ComponentDefinedType as Defined, ComponentDefinedTypeId, ComponentValType as ValType,
};
use wasmparser::types::TypesRef;

/// Types inside each other. A deeper type is not examined.
const MAX_DEPTH: u32 = 48;

/// Parts of types that are looked at in one component definition, so that a hostile one costs
/// little time.
const MAX_WORK: u32 = 1 << 20;

/// A type is too large or too deep to find the handles in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct TooComplex;

/// The canonical form of a type.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) size: u32,
    pub(super) align: u32,
    /// Number of flat values.
    pub(super) flat: u32,
    pub(super) has_handles: bool,
    /// Whether a part of the value is in a block of its own.
    pub(super) has_blocks: bool,
}

impl Layout {
    const fn number(size: u32) -> Self {
        Self {
            size,
            align: size,
            flat: 1,
            has_handles: false,
            has_blocks: false,
        }
    }

    const POINTER_AND_LENGTH: Self = Self {
        size: 8,
        align: 4,
        flat: 2,
        has_handles: false,
        has_blocks: true,
    };
    const HANDLE: Self = Self {
        has_handles: true,
        ..Self::number(4)
    };
}

/// The layouts of the types of a component definition.
pub(super) struct Layouts<'t> {
    pub(super) types: TypesRef<'t>,
    known: HashMap<ComponentDefinedTypeId, Layout>,
    /// Parts of types that have been looked at.
    work: u32,
}

impl<'t> Layouts<'t> {
    pub(super) fn new(types: TypesRef<'t>) -> Self {
        Self {
            types,
            known: HashMap::new(),
            work: 0,
        }
    }

    pub(super) fn of(&mut self, ty: ValType) -> Result<Layout, TooComplex> {
        self.layout(ty, 0)
    }

    fn layout(&mut self, ty: ValType, depth: u32) -> Result<Layout, TooComplex> {
        self.work += 1;
        if self.work > MAX_WORK {
            return Err(TooComplex);
        }
        let id = match ty {
            ValType::Primitive(primitive) => return Ok(of_primitive(primitive)),
            ValType::Type(id) => id,
        };
        if let Some(known) = self.known.get(&id) {
            return Ok(*known);
        }
        if depth > MAX_DEPTH {
            return Err(TooComplex);
        }
        let defined = self.types.get(id).ok_or(TooComplex)?;
        let layout = match defined {
            Defined::Primitive(primitive) => of_primitive(*primitive),
            Defined::Own(_) | Defined::Stream { .. } | Defined::Future { .. } => Layout::HANDLE,
            Defined::Borrow(_) => Layout::number(4),
            Defined::List { element, .. } => Layout {
                has_handles: self.layout(*element, depth + 1)?.has_handles,
                ..Layout::POINTER_AND_LENGTH
            },
            // A map has no handles.
            Defined::Map { .. } => Layout::POINTER_AND_LENGTH,
            Defined::Flags(names) => Layout::number(match names.len() {
                0..=8 => 1,
                9..=16 => 2,
                _ => 4,
            }),
            Defined::FixedLengthList {
                element, length, ..
            } => {
                let element = self.layout(*element, depth + 1)?;
                Layout {
                    size: element.size.saturating_mul(*length),
                    flat: element.flat.saturating_mul(*length),
                    ..element
                }
            }
            Defined::Record(_) | Defined::Tuple(_) => {
                let mut sum = Layout {
                    size: 0,
                    align: 1,
                    flat: 0,
                    has_handles: false,
                    has_blocks: false,
                };
                for part in parts(defined) {
                    let part = self.layout(part, depth + 1)?;
                    sum.size = aligned(sum.size, part.align).saturating_add(part.size);
                    sum.align = sum.align.max(part.align);
                    sum.flat = sum.flat.saturating_add(part.flat);
                    sum.has_handles |= part.has_handles;
                    sum.has_blocks |= part.has_blocks;
                }
                sum.size = aligned(sum.size, sum.align);
                sum
            }
            Defined::Enum(names) => Layout::number(tag_bytes(names.len())),
            Defined::Variant(_) | Defined::Option { .. } | Defined::Result { .. } => {
                let cases = cases(defined);
                let mut largest = Layout {
                    size: 0,
                    align: 1,
                    flat: 0,
                    has_handles: false,
                    has_blocks: false,
                };
                for case in cases.iter().flatten() {
                    let case = self.layout(*case, depth + 1)?;
                    largest.size = largest.size.max(case.size);
                    largest.align = largest.align.max(case.align);
                    largest.flat = largest.flat.max(case.flat);
                    largest.has_handles |= case.has_handles;
                    largest.has_blocks |= case.has_blocks;
                }
                let tag = tag_bytes(cases.len());
                let align = largest.align.max(tag);
                let payload = aligned(tag, largest.align);
                Layout {
                    size: aligned(payload.saturating_add(largest.size), align),
                    align,
                    flat: largest.flat.saturating_add(1),
                    has_handles: largest.has_handles,
                    has_blocks: largest.has_blocks,
                }
            }
        };
        self.known.insert(id, layout);
        Ok(layout)
    }
}

fn of_primitive(primitive: Primitive) -> Layout {
    match primitive {
        Primitive::Bool | Primitive::S8 | Primitive::U8 => Layout::number(1),
        Primitive::S16 | Primitive::U16 => Layout::number(2),
        Primitive::S32 | Primitive::U32 | Primitive::F32 | Primitive::Char => Layout::number(4),
        Primitive::S64 | Primitive::U64 | Primitive::F64 => Layout::number(8),
        Primitive::String => Layout::POINTER_AND_LENGTH,
        Primitive::ErrorContext => Layout::HANDLE,
    }
}

/// The types of the parts of a record or tuple.
pub(super) fn parts(defined: &Defined) -> Vec<ValType> {
    match defined {
        Defined::Record(record) => record.fields.values().copied().collect(),
        Defined::Tuple(tuple) => tuple.types.to_vec(),
        _ => Vec::new(),
    }
}

/// The types of the cases of a variant, option or result.
pub(super) fn cases(defined: &Defined) -> Vec<Option<ValType>> {
    match defined {
        Defined::Variant(variant) => variant.cases.values().map(|case| case.ty).collect(),
        Defined::Option { ty, .. } => vec![None, Some(*ty)],
        Defined::Result { ok, err, .. } => vec![*ok, *err],
        _ => Vec::new(),
    }
}

/// Bytes of the discriminant of a variant with this many cases.
pub(super) fn tag_bytes(cases: usize) -> u32 {
    match cases {
        0..=0x100 => 1,
        0x101..=0x1_0000 => 2,
        _ => 4,
    }
}

/// The next multiple of `align`, which is a power of two.
pub(super) fn aligned(offset: u32, align: u32) -> u32 {
    offset.saturating_add(align - 1) & !(align - 1)
}
