//! Colours that mean something: whose code a frame is, or which way it changed. Light enough for black text.

use inferno::flamegraph::color::Color;

use crate::symbols::{Frame, FrameKind};

/// Everything together.
pub(super) const ROOT: Color = Color {
    r: 235,
    g: 235,
    b: 235,
};
/// A guest's name.
pub(super) const GUEST: Color = Color {
    r: 222,
    g: 222,
    b: 222,
};

/// The colour of a frame by whose code it is, with a slight shade by name, so that neighbours stay apart.
pub(super) fn of_kind(frame: &Frame) -> Color {
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

/// Red for growth and blue for shrinking, deeper for what changed more.
pub(super) fn of_change(change: i64, largest: u64) -> Color {
    // The root makes small changes visible beside a large one.
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
    fn growth_is_red_shrinking_is_blue_and_more_is_deeper() {
        let (small, large) = (of_change(10, 1000), of_change(1000, 1000));
        assert!(small.r > small.b && large.r > large.b && large.g < small.g);
        let (small, large) = (of_change(-10, 1000), of_change(-1000, 1000));
        assert!(small.b > small.r && large.b > large.r && large.r < small.r);
        assert_eq!(of_change(0, 1000), ROOT);
    }
}
