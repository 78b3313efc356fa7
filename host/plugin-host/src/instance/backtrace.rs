//! Where in its own source a guest failed.
//!
//! A fault carries offsets; names and lines are looked up afterwards, on a blocking thread: the request that met the fault
//! does not wait for line tables to be read. They are read for this one answer and dropped.

use guest_heap::symbols::{FrameKind, SymbolOptions, Symbols};

use crate::error::{Frame, PluginError};
use crate::load::loader::{Loader, Origin};

/// Frames that are kept, inlined functions included.
const FRAMES: usize = 48;

/// The lab's own layers are not where a leak is.
pub fn symbol_options() -> SymbolOptions {
    SymbolOptions::default()
        .keep_folder("plugins")
        .infrastructure_path("plugins/sdk")
        .infrastructure_crate("leak-plugin-sdk")
}

/// The same call stack with functions that were inlined, and with source lines where there are line tables.
///
/// # Errors
///
/// When the component or its symbols cannot be read any more.
pub fn explain(
    loader: &Loader,
    origin: &Origin,
    frames: &[Frame],
) -> Result<Vec<Frame>, PluginError> {
    let component = loader.original(origin)?;
    let symbols = Symbols::new(&component, symbol_options())
        .map_err(|e| PluginError::Refused(format!("its symbols cannot be read: {e}")))?;
    Ok(located(&symbols, frames))
}

/// The same with symbols that have been read.
pub(crate) fn located(symbols: &Symbols, frames: &[Frame]) -> Vec<Frame> {
    let mut explained = Vec::new();
    for frame in frames {
        match frame.offset {
            None => explained.push(frame.clone()),
            Some(offset) => {
                explained.extend(symbols.resolve(offset).iter().map(|found| Frame {
                    function: found.function.to_string(),
                    offset: Some(offset),
                    location: found.file.as_ref().map(|file| match found.line {
                        Some(line) => format!("{file}:{line}"),
                        None => file.to_string(),
                    }),
                    own: found.kind == FrameKind::User && found.file.is_some(),
                }));
            }
        }
    }
    explained.truncate(FRAMES);
    explained
}

/// The innermost frame of the plugin's own source, else the innermost of all.
pub(crate) fn blamed(frames: &[Frame]) -> Option<&Frame> {
    frames.iter().find(|f| f.own).or_else(|| frames.first())
}
