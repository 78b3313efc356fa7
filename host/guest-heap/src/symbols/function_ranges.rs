//! Checks that line tables belong to the code next to them.
//!
//! Optimisers that run after the linker move functions, and some of them leave the line tables as
//! they were or update only a part. Such tables name wrong functions and lines. In tables that fit,
//! the code of each function is exactly the body of a function of the module.

use std::ops::Range;

use gimli::{AttributeValue, Dwarf, EndianArcSlice, LittleEndian, Unit, constants};

use super::dwarf_limits::is_type_unit;

type Reader = EndianArcSlice<LittleEndian>;

/// Functions that are compared.
const MAX_FUNCTIONS: u32 = 4096;
/// Entries of the debug information that are read at most.
const MAX_ENTRIES: u32 = 1 << 18;
/// One of this many functions may be different: compilers and linkers merge some. After an
/// optimiser, nearly all are different.
const TOLERATED: u32 = 4;

/// Whether the functions of the debug information are those of the module. `bodies` has the offsets
/// of their bodies, in ascending order, counted from the start of the code. True if there is
/// nothing to compare.
pub(super) fn fit(dwarf: &Dwarf<Reader>, bodies: &[Range<u32>]) -> bool {
    let (mut equal, mut different) = (0_u32, 0_u32);
    let mut entries = 0;
    let mut units = dwarf.units();
    while let Ok(Some(header)) = units.next() {
        if is_type_unit(&header) {
            continue;
        }
        let Ok(unit) = dwarf.unit(header) else {
            continue;
        };
        let Ok(mut raw) = unit.entries_raw(None) else {
            continue;
        };
        while !raw.is_empty() {
            entries += 1;
            if entries > MAX_ENTRIES || equal + different > MAX_FUNCTIONS {
                return different * TOLERATED <= equal + different;
            }
            let Ok(abbreviation) = raw.read_abbreviation() else {
                break;
            };
            let Some(abbreviation) = abbreviation else {
                continue;
            };
            let is_function = abbreviation.tag() == constants::DW_TAG_subprogram;
            let mut code = (None, None);
            let mut is_read = true;
            for specification in abbreviation.attributes() {
                let Ok(attribute) = raw.read_attribute(*specification) else {
                    is_read = false;
                    break;
                };
                match attribute.name() {
                    constants::DW_AT_low_pc => code.0 = address(dwarf, &unit, attribute.value()),
                    constants::DW_AT_high_pc => code.1 = Some(attribute.value()),
                    _ => {}
                }
            }
            if !is_read {
                break;
            }
            let (true, Some(start), Some(end)) = (is_function, code.0, code.1) else {
                continue;
            };
            let end = match end {
                AttributeValue::Addr(end) => Some(end),
                offset => offset
                    .udata_value()
                    .and_then(|size| start.checked_add(size)),
            };
            let Some(end) = end else {
                continue;
            };
            // Functions that the linker removed are at 0 or behind the end.
            let is_removed = start == 0 || start >= bodies.last().map_or(0, |last| last.end.into());
            if is_removed || start >= end {
                continue;
            }
            if is_body(bodies, start, end) {
                equal += 1;
            } else {
                different += 1;
            }
        }
    }
    different * TOLERATED <= equal + different
}

fn address(
    dwarf: &Dwarf<Reader>,
    unit: &Unit<Reader>,
    value: AttributeValue<Reader>,
) -> Option<u64> {
    dwarf.attr_address(unit, value).ok().flatten()
}

/// Whether a range is that of a body. It can include the body's size in front of it.
fn is_body(bodies: &[Range<u32>], start: u64, end: u64) -> bool {
    let after = bodies.partition_point(|body| u64::from(body.end) < end);
    bodies.get(after).is_some_and(|body| {
        u64::from(body.end) == end
            && (u64::from(body.start).saturating_sub(5)..=u64::from(body.start)).contains(&start)
    })
}
