//! The CSS classes of a chart's lines and areas. The style sheet gives each a colour for light and
//! dark.

/// The measure that a line or an area shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SeriesStyle {
    /// Bytes that a pattern retains.
    Retained,
    /// Bytes that a guest's allocator has allocated and not freed.
    Live,
    /// Linear memory.
    Linear,
    /// Resident memory of the process.
    Resident,
    /// Resident memory if it goes on growing.
    Projected,
    /// Memory limit of the process.
    Limit,
    /// A part of the ledger, by its position.
    Part(usize),
}

impl SeriesStyle {
    /// The CSS class. The legend uses the same.
    pub(super) fn class(self) -> &'static str {
        match self {
            SeriesStyle::Retained => "retained",
            SeriesStyle::Live => "live",
            SeriesStyle::Linear => "linear",
            SeriesStyle::Resident => "rss",
            SeriesStyle::Projected => "projected",
            SeriesStyle::Limit => "limit",
            SeriesStyle::Part(part) => PART_CLASSES.get(part).copied().unwrap_or_default(),
        }
    }
}

/// The classes of the parts of the ledger, in its order.
const PART_CLASSES: [&str; 8] = [
    "part-0", "part-1", "part-2", "part-3", "part-4", "part-5", "part-6", "part-7",
];

#[cfg(test)]
mod tests {
    use super::*;
    use lab::ledger::LedgerPart;

    #[test]
    fn the_style_sheet_has_a_rule_for_every_class() {
        let sheet = include_str!("../assets/charts.css");
        let lines = [
            SeriesStyle::Retained,
            SeriesStyle::Live,
            SeriesStyle::Linear,
            SeriesStyle::Resident,
            SeriesStyle::Projected,
            SeriesStyle::Limit,
        ];
        for class in lines.map(SeriesStyle::class) {
            assert!(sheet.contains(&format!(".chart .{class} {{")), "{class}");
            assert!(sheet.contains(&format!(".key.{class} {{")), "{class}");
        }
        for class in PART_CLASSES {
            assert!(sheet.contains(&format!(".{class} {{")), "{class}");
        }
        assert_eq!(PART_CLASSES.len(), LedgerPart::ALL.len());
    }
}
