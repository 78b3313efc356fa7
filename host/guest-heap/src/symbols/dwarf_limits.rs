//! How much DWARF may ask of whoever reads it.
//!
//! It comes with a component that anybody may have written. Readers follow its trees by recursion, and keep for each unit
//! what the unit refers to: a small file can be very deep, or refer to the same megabyte a thousand times.

use std::collections::BTreeSet;

use gimli::{Abbreviations, Dwarf, Reader, Section as _, UnitHeader, UnitType};

/// Inlined functions within inlined functions, at most: what readers follow by recursion. Compilers write some dozens.
const DEPTH_MAX: usize = 500;

/// Units may refer to so many times as much as there is. Compilers write for each unit what it needs, once.
const SHARED_MAX: u64 = 4;

/// The longest text that is taken from it.
pub(super) const TEXT_MAX: usize = 16 << 10;

/// Reading it would take an effort that has nothing to do with its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Excessive;

/// Bytes that units refer to, of those that there are.
struct Budget(u64);

impl Budget {
    fn of(bytes: u64) -> Self {
        Self(bytes.saturating_mul(SHARED_MAX).saturating_add(1 << 16))
    }

    fn spend(&mut self, bytes: u64) -> Result<(), Excessive> {
        self.0 = self.0.checked_sub(bytes).ok_or(Excessive)?;
        Ok(())
    }
}

/// Whether the tables of abbreviations overlap only so far. To be asked before any unit is read.
pub(super) fn check_tables<R: Reader<Offset = usize>>(dwarf: &Dwarf<R>) -> Result<(), Excessive> {
    let section = dwarf.debug_abbrev.reader();
    let mut budget = Budget::of(section.len() as u64);
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
            // Where it is damaged, its readers stop as well.
            let goes_on = abbreviation(&mut rest).unwrap_or(false);
            budget.spend((before - rest.len()) as u64)?;
            if !goes_on {
                break;
            }
        }
    }
    Ok(())
}

/// Passes one abbreviation; false if it was the end of its table.
fn abbreviation<R: Reader>(table: &mut R) -> gimli::Result<bool> {
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

/// Whether the units refer to what they have in common only so often, and none is too deep.
pub(super) fn check_units<R: Reader<Offset = usize>>(dwarf: &Dwarf<R>) -> Result<(), Excessive> {
    let mut programs = Budget::of(dwarf.debug_line.reader().len() as u64);
    let lists = [
        dwarf.ranges.debug_ranges().reader().len(),
        dwarf.ranges.debug_rnglists().reader().len(),
    ];
    // An entry of a list takes two bytes at least.
    let mut ranges = Budget::of(lists.iter().sum::<usize>() as u64 / 2);
    let mut units = dwarf.units();
    while let Ok(Some(header)) = units.next() {
        if is_of_types(&header) {
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
        let deepest = depth(&unit.header, &unit.abbreviations);
        if deepest > DEPTH_MAX {
            return Err(Excessive);
        }
    }
    Ok(())
}

/// Whether a unit has types and no code. Such a one refers to the line program of another, and nobody reads it for lines.
pub(super) fn is_of_types<R: Reader>(unit: &UnitHeader<R>) -> bool {
    matches!(
        unit.type_(),
        UnitType::Type { .. } | UnitType::SplitType { .. }
    )
}

/// How deep inlined functions are within each other in a unit, as far as it can be read, or until that is too much.
fn depth<R: Reader>(unit: &UnitHeader<R>, abbreviations: &Abbreviations) -> usize {
    let mut deepest = 0;
    let Ok(mut entries) = unit.entries_raw(abbreviations, None) else {
        return 0;
    };
    // How deep those are that the next entry is in.
    let mut inlined: Vec<isize> = Vec::new();
    while !entries.is_empty() && deepest <= DEPTH_MAX {
        let at = entries.next_depth();
        let passed = match entries.read_abbreviation() {
            Ok(Some(entry)) => {
                while inlined.last().is_some_and(|outer| *outer >= at) {
                    inlined.pop();
                }
                if entry.tag() == gimli::DW_TAG_inlined_subroutine {
                    inlined.push(at);
                    deepest = deepest.max(inlined.len());
                }
                entries.skip_attributes(entry.attributes())
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if passed.is_err() {
            break;
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use gimli::{EndianSlice, LittleEndian, SectionId};

    use super::*;

    /// A unit of version 4 with these entries, whose abbreviations begin there.
    fn unit(abbreviations: u32, entries: &[u8]) -> Vec<u8> {
        let mut unit = Vec::new();
        unit.extend((7 + entries.len() as u32).to_le_bytes());
        unit.extend(4_u16.to_le_bytes());
        unit.extend(abbreviations.to_le_bytes());
        unit.push(4);
        unit.extend(entries);
        unit
    }

    fn check(sections: &[(SectionId, &[u8])]) -> Result<(), Excessive> {
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
    fn inlined_functions_may_be_only_so_deep() {
        // 1: a unit, 2: an inlined subroutine; both have children and no attributes.
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
        assert_eq!(nested(600), Err(Excessive));
        assert_eq!(nested(1_000_000), Err(Excessive));
        // 3: a block, of which compilers write one for each variable.
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
        // Beside each other, not within.
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
    fn tables_may_overlap_only_so_far() {
        // Wherever it is begun to read, one abbreviation with a great many attributes.
        let abbreviations = [&vec![1; 1 << 20][..], &[0; 8]].concat();
        let units = |count: u32, step: u32| {
            let info: Vec<u8> = (0..count).flat_map(|n| unit(n * step, &[0])).collect();
            check(&[
                (SectionId::DebugAbbrev, &abbreviations),
                (SectionId::DebugInfo, &info),
            ])
        };
        assert_eq!(units(1000, 0), Ok(()), "the same one is read once");
        assert_eq!(units(3, 2), Ok(()));
        assert_eq!(units(1000, 2), Err(Excessive));
    }

    #[test]
    fn a_program_may_be_of_only_so_many_units() {
        // A unit with the offset of its line program.
        let abbreviations = [1, 0x11, 0, 0x10, 0x17, 0, 0, 0];
        // Of no more than a header: one byte per instruction and operation, no file, and opcodes that advance.
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
        assert_eq!(units(1000), Err(Excessive));
    }
}
