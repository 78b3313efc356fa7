//! Colours that stand for a meaning; the style sheet says how each looks in light and in dark.

use plotters::style::RGBColor;

/// What a stroke or an area means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    /// Words.
    Text,
    /// Axes and the lines behind the data.
    Grid,
    /// Something that happened.
    Mark,
    /// What a pattern retains.
    Retained,
    /// What a guest's allocator has handed out.
    Live,
    /// Linear memory.
    Linear,
    /// Resident bytes of the process.
    Rss,
    /// The limit of the process.
    Limit,
    /// A part of the ledger, by its place in it.
    Part(u8),
}

/// The parts of the ledger, in its order.
pub(crate) const PARTS: [Ink; 8] = [
    Ink::Part(0),
    Ink::Part(1),
    Ink::Part(2),
    Ink::Part(3),
    Ink::Part(4),
    Ink::Part(5),
    Ink::Part(6),
    Ink::Part(7),
];

impl Ink {
    /// The colour that stands for it in a picture.
    pub(crate) fn color(self) -> RGBColor {
        let number = match self {
            Ink::Text => 0,
            Ink::Grid => 1,
            Ink::Mark => 2,
            Ink::Retained => 3,
            Ink::Live => 4,
            Ink::Linear => 5,
            Ink::Rss => 6,
            Ink::Limit => 7,
            Ink::Part(part) => 16 + part,
        };
        RGBColor(0xC0, 0x01, number)
    }

    /// As it stands in a picture.
    #[cfg(test)]
    pub(crate) fn hex(self) -> String {
        let RGBColor(red, green, blue) = self.color();
        format!("#{red:02X}{green:02X}{blue:02X}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::ledger::LedgerPart;

    #[test]
    fn the_style_sheet_knows_every_ink() {
        let sheet = include_str!("../assets/charts.css");
        let lines = [
            Ink::Grid,
            Ink::Mark,
            Ink::Retained,
            Ink::Live,
            Ink::Linear,
            Ink::Rss,
            Ink::Limit,
        ];
        for ink in lines {
            assert!(
                sheet.contains(&format!("[stroke=\"{}\"]", ink.hex())),
                "{ink:?}"
            );
        }
        for ink in PARTS.into_iter().chain([Ink::Text, Ink::Mark]) {
            assert!(
                sheet.contains(&format!("[fill=\"{}\"]", ink.hex())),
                "{ink:?}"
            );
        }
        assert_eq!(PARTS.len(), LedgerPart::ALL.len());
    }
}
