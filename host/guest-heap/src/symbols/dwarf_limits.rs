//! Limits of the work that DWARF may cause.
//!
//! The component, and thus its DWARF, may be hostile. Readers follow its trees by recursion, and
//! keep a copy of everything that a unit refers to. So a small file can be very deep, or refer to
//! the same megabyte a thousand times.

use std::collections::BTreeSet;

use gimli::{Abbreviations, Dwarf, Reader, Section as _, UnitHeader, UnitType};

/// Depth of inlined functions in inlined functions, which readers follow by recursion. Compilers
/// write some dozens.
const MAX_INLINE_DEPTH: usize = 500;

/// How many times all units together may refer to the bytes of a section. Compilers write
/// separate data for each unit, which needs a factor of one.
const MAX_SECTION_REREADS: u64 = 4;

/// Bytes of a text. Longer texts are ignored.
pub(super) const MAX_DWARF_TEXT_BYTES: usize = 16 << 10;

/// Reading the DWARF would take much more work than its size suggests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DwarfTooComplex;

/// The bytes that units may still refer to.
struct Budget(u64);

impl Budget {
    /// The budget for a section of this many bytes.
    fn for_section(bytes: u64) -> Self {
        Self(
            bytes
                .saturating_mul(MAX_SECTION_REREADS)
                .saturating_add(1 << 16),
        )
    }

    fn spend(&mut self, bytes: u64) -> Result<(), DwarfTooComplex> {
        self.0 = self.0.checked_sub(bytes).ok_or(DwarfTooComplex)?;
        Ok(())
    }
}

/// Checks that abbreviation tables do not overlap too much. Call it before any unit is read.
pub(super) fn check_tables<R: Reader<Offset = usize>>(
    dwarf: &Dwarf<R>,
) -> Result<(), DwarfTooComplex> {
    let section = dwarf.debug_abbrev.reader();
    let mut budget = Budget::for_section(section.len() as u64);
    let mut tables = BTreeSet::new();
    let mut units = dwarf.units();
    while let Ok(Some(header)) = units.next() {
        tables.insert(header.debug_abbrev_offset().0);
    }
    for table in tables {
        let mut rest = section.clone();
        if rest.skip(table).is_err() {
            continue;
        }
        loop {
            let before = rest.len();
            // Readers also stop at a damaged abbreviation.
            let continues = skip_abbreviation(&mut rest).unwrap_or(false);
            budget.spend((before - rest.len()) as u64)?;
            if !continues {
                break;
            }
        }
    }
    Ok(())
}

/// Skips one abbreviation. Returns false at the end of the table.
fn skip_abbreviation<R: Reader>(table: &mut R) -> gimli::Result<bool> {
    if table.read_uleb128()? == 0 {
        return Ok(false);
    }
    let _tag = table.read_uleb128()?;
    let _children = table.read_u8()?;
    loop {
        let (name, form) = (table.read_uleb128()?, table.read_uleb128()?);
        if form == u64::from(gimli::DW_FORM_implicit_const.0) {
            let _value = table.read_sleb128()?;
        }
        if (name, form) == (0, 0) {
            return Ok(true);
        }
    }
}

/// Checks that units do not refer to the same line programs and ranges too many times, and that no
/// unit is too deep.
pub(super) fn check_units<R: Reader<Offset = usize>>(
    dwarf: &Dwarf<R>,
) -> Result<(), DwarfTooComplex> {
    let mut programs = Budget::for_section(dwarf.debug_line.reader().len() as u64);
    let lists = [
        dwarf.ranges.debug_ranges().reader().len(),
        dwarf.ranges.debug_rnglists().reader().len(),
    ];
    // An entry of a range list takes at least two bytes.
    let mut ranges = Budget::for_section(lists.iter().sum::<usize>() as u64 / 2);
    let mut units = dwarf.units();
    while let Ok(Some(header)) = units.next() {
        if is_type_unit(&header) {
            continue;
        }
        let Ok(unit) = dwarf.unit(header) else {
            continue;
        };
        if let Some(program) = &unit.line_program {
            let header = program.header();
            let bytes = header.header_length() + header.raw_program_buf().len();
            programs.spend(bytes as u64)?;
        }
        if let Ok(mut of_unit) = dwarf.unit_ranges(&unit) {
            while let Ok(Some(_)) = of_unit.next() {
                ranges.spend(1)?;
            }
        }
        let deepest = inline_depth(&unit.header, &unit.abbreviations);
        if deepest > MAX_INLINE_DEPTH {
            return Err(DwarfTooComplex);
        }
    }
    Ok(())
}

/// Whether a unit has types and no code. A type unit refers to the line program of another unit,
/// and line lookups do not read it.
pub(super) fn is_type_unit<R: Reader>(unit: &UnitHeader<R>) -> bool {
    matches!(
        unit.type_(),
        UnitType::Type { .. } | UnitType::SplitType { .. }
    )
}

/// The depth of nested inlined functions in a unit. It stops at a damaged entry, and above the
/// limit.
fn inline_depth<R: Reader>(unit: &UnitHeader<R>, abbreviations: &Abbreviations) -> usize {
    let mut deepest = 0;
    let Ok(mut entries) = unit.entries_raw(abbreviations, None) else {
        return 0;
    };
    // The depths of the inlined functions that contain the next entry.
    let mut inlined: Vec<isize> = Vec::new();
    while !entries.is_empty() && deepest <= MAX_INLINE_DEPTH {
        let depth = entries.next_depth();
        let skipped = match entries.read_abbreviation() {
            Ok(Some(entry)) => {
                while inlined.last().is_some_and(|outer| *outer >= depth) {
                    inlined.pop();
                }
                if entry.tag() == gimli::DW_TAG_inlined_subroutine {
                    inlined.push(depth);
                    deepest = deepest.max(inlined.len());
                }
                entries.skip_attributes(entry.attributes())
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if skipped.is_err() {
            break;
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use gimli::{EndianSlice, LittleEndian, SectionId};

    use super::*;

    /// A unit of DWARF version 4 with these entries. `abbreviations` is the offset of its table.
    fn unit(abbreviations: u32, entries: &[u8]) -> Vec<u8> {
        let mut unit = Vec::new();
        unit.extend((7 + entries.len() as u32).to_le_bytes());
        unit.extend(4_u16.to_le_bytes());
        unit.extend(abbreviations.to_le_bytes());
        unit.push(4);
        unit.extend(entries);
        unit
    }

    fn check(sections: &[(SectionId, &[u8])]) -> Result<(), DwarfTooComplex> {
        let dwarf = Dwarf::load(|id| {
            let section = sections.iter().find(|(known, _)| *known == id);
            let bytes = section.map_or(&[][..], |(_, bytes)| bytes);
            Ok::<_, gimli::Error>(EndianSlice::new(bytes, LittleEndian))
        });
        let mut dwarf = dwarf.unwrap();
        check_tables(&dwarf)?;
        dwarf.populate_abbreviations_cache(gimli::AbbreviationsCacheStrategy::Duplicates);
        check_units(&dwarf)
    }

    #[test]
    fn deeply_nested_inlined_functions_are_rejected() {
        // Code 1 is a unit, code 2 an inlined subroutine. Both have children and no attributes.
        let abbreviations = [1, 0x11, 1, 0, 0, 2, 0x1d, 1, 0, 0, 0];
        let nested = |depth: usize| {
            let entries = [&[1][..], &vec![2; depth], &vec![0; depth + 1]].concat();
            let info = unit(0, &entries);
            check(&[
                (SectionId::DebugAbbrev, &abbreviations),
                (SectionId::DebugInfo, &info),
            ])
        };
        assert_eq!(nested(400), Ok(()));
        assert_eq!(nested(600), Err(DwarfTooComplex));
        assert_eq!(nested(1_000_000), Err(DwarfTooComplex));
        // Code 3 is a lexical block. Compilers nest one for each variable.
        let abbreviations = [&abbreviations[..10], &[3, 0x0b, 1, 0, 0, 0]].concat();
        let entries = [&[1][..], &[3; 100_000], &[0; 100_001]].concat();
        let blocks = unit(0, &entries);
        assert_eq!(
            check(&[
                (SectionId::DebugAbbrev, &abbreviations),
                (SectionId::DebugInfo, &blocks)
            ]),
            Ok(())
        );
        // Inlined functions next to each other are not nested.
        let entries = [&[1][..], &[2, 0].repeat(10_000), &[0]].concat();
        let flat = unit(0, &entries);
        assert_eq!(
            check(&[
                (SectionId::DebugAbbrev, &abbreviations),
                (SectionId::DebugInfo, &flat)
            ]),
            Ok(())
        );
    }

    #[test]
    fn overlapping_abbreviation_tables_are_rejected() {
        // From any offset, a reader sees one abbreviation with very many attributes.
        let abbreviations = [&vec![1; 1 << 20][..], &[0; 8]].concat();
        let units = |count: u32, step: u32| {
            let info: Vec<u8> = (0..count).flat_map(|n| unit(n * step, &[0])).collect();
            check(&[
                (SectionId::DebugAbbrev, &abbreviations),
                (SectionId::DebugInfo, &info),
            ])
        };
        assert_eq!(
            units(1000, 0),
            Ok(()),
            "units with the same table read it once"
        );
        assert_eq!(units(3, 2), Ok(()));
        assert_eq!(units(1000, 2), Err(DwarfTooComplex));
    }

    #[test]
    fn a_line_program_that_many_units_share_is_rejected() {
        // A unit whose only attribute is the offset of its line program.
        let abbreviations = [1, 0x11, 0, 0x10, 0x17, 0, 0, 0];
        // The header of a line program without files (one byte per instruction and one operation),
        // then opcodes that advance.
        let rest = [&[1, 1, 1, 0, 14, 1, 0, 0][..], &vec![0xff; 1 << 20]].concat();
        let mut line = Vec::new();
        line.extend((6 + rest.len() as u32).to_le_bytes());
        line.extend(4_u16.to_le_bytes());
        line.extend(8_u32.to_le_bytes());
        line.extend(rest);
        let units = |count: usize| {
            let info = unit(0, &[1, 0, 0, 0, 0]).repeat(count);
            check(&[
                (SectionId::DebugAbbrev, &abbreviations),
                (SectionId::DebugInfo, &info),
                (SectionId::DebugLine, &line),
            ])
        };
        assert_eq!(units(2), Ok(()));
        assert_eq!(units(1000), Err(DwarfTooComplex));
    }
}
