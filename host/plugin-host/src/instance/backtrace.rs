//! Source lines for the call stack of a fault.
//!
//! A fault carries offsets; names and lines are looked up afterwards on a blocking thread. The
//! request that met the fault does not wait until line tables are read.

use guest_heap::symbols::{FrameKind, Symbols};

use crate::error::Frame;
use crate::guest_text;

/// Frames kept of a symbolized call stack, inlined functions included.
const MAX_FRAMES: usize = 48;

/// The same call stack with inlined functions, and with source lines where there are line tables.
pub(crate) fn symbolize(symbols: &Symbols, frames: &[Frame]) -> Vec<Frame> {
    let mut symbolized = Vec::new();
    for frame in frames {
        match frame.offset {
            None => symbolized.push(frame.clone()),
            Some(offset) => {
                symbolized.extend(symbols.resolve(offset).iter().map(|found| Frame {
                    function: guest_text::keep_name(&found.function),
                    offset: Some(offset),
                    location: found.file.as_ref().map(|file| {
                        let file = guest_text::keep_name(file);
                        match found.line {
                            Some(line) => format!("{file}:{line}"),
                            None => file,
                        }
                    }),
                    own: found.kind == FrameKind::User && found.file.is_some(),
                }));
            }
        }
    }
    symbolized.truncate(MAX_FRAMES);
    symbolized
}

/// The frame to blame: the innermost one in the plugin's own source, else the innermost one.
pub(crate) fn blamed(frames: &[Frame]) -> Option<&Frame> {
    frames.iter().find(|f| f.own).or_else(|| frames.first())
}
