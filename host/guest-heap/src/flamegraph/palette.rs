//! The colours of flame graphs. A colour shows whose code a frame is, or how its memory has
//! changed. All colours are light enough for black text.

use inferno::flamegraph::color::Color;

use crate::symbols::{Frame, FrameKind};

/// The root frame.
pub(super) const ROOT: Color = Color {
    r: 235,
    g: 235,
    b: 235,
};
/// A frame with the name of a guest.
pub(super) const GUEST: Color = Color {
    r: 222,
    g: 222,
    b: 222,
};

/// The colour for the kind of a frame. A slight shade by name separates neighbours.
pub(super) fn frame_color(frame: &Frame) -> Color {
    let (r, g, b) = match frame.kind {
        FrameKind::User => (255, 140, 70),
        FrameKind::Infrastructure => (235, 190, 150),
        FrameKind::Registry => (240, 215, 95),
        FrameKind::Bindings => (175, 215, 150),
        FrameKind::Std => (165, 195, 225),
        FrameKind::Allocator => (205, 205, 205),
    };
    let shade = frame
        .function
        .bytes()
        .fold(0_u8, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte))
        % 20;
    Color {
        r: r - shade,
        g: g - shade,
        b: b - shade,
    }
}

/// Red for growth and blue for reduction; the deeper, the larger the change. `largest` is the
/// largest change of the graph, in bytes.
pub(super) fn change_color(change: i64, largest: u64) -> Color {
    // The square root keeps small changes visible next to a large one.
    let strength = (change.unsigned_abs() as f64 / largest.max(1) as f64).sqrt();
    let faded = |from: f64, by: f64| (from - by * strength) as u8;
    match change {
        0 => ROOT,
        1.. => Color {
            r: 255,
            g: faded(235.0, 145.0),
            b: faded(228.0, 148.0),
        },
        _ => Color {
            r: faded(232.0, 142.0),
            g: faded(238.0, 98.0),
            b: 255,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_red_reduction_is_blue_and_larger_changes_are_deeper() {
        let (small, large) = (change_color(10, 1000), change_color(1000, 1000));
        assert!(small.r > small.b && large.r > large.b && large.g < small.g);
        let (small, large) = (change_color(-10, 1000), change_color(-1000, 1000));
        assert!(small.b > small.r && large.b > large.r && large.r < small.r);
        assert_eq!(change_color(0, 1000), ROOT);
    }
}
