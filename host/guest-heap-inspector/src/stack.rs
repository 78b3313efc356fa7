//! Call stacks and resized blocks, as answers in JSON have them.

use guest_heap::snapshot::ResizedGroup;
use guest_heap::symbols::Frame;
use serde::Serialize;

/// What a line, function, file or call stack has done to blocks that existed already.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResizedBlocks {
    /// Blocks that it has ever resized.
    pub count: u64,
    /// The part of its live bytes that it has added itself.
    pub own_bytes: u64,
    /// Where blocks came from that others had allocated or resized before.
    pub from: Vec<String>,
}

impl From<&ResizedGroup> for ResizedBlocks {
    fn from(group: &ResizedGroup) -> Self {
        ResizedBlocks {
            count: group.objects,
            own_bytes: group.own_bytes,
            from: group.from.iter().map(ToString::to_string).collect(),
        }
    }
}

/// One frame of a call stack.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TraceFrame {
    /// The function's name.
    pub function: String,
    /// `file:line`, if known.
    pub location: Option<String>,
    /// Whose code it is: `own`, `infrastructure`, `library`, `bindings`, `standard` or `allocator`.
    pub kind: &'static str,
}

impl TraceFrame {
    /// A call stack, in the order of its frames.
    pub fn stack(frames: &[Frame]) -> Vec<Self> {
        frames.iter().map(Self::from).collect()
    }
}

impl From<&Frame> for TraceFrame {
    fn from(frame: &Frame) -> Self {
        let file = frame.file.as_ref().zip(frame.line);
        TraceFrame {
            function: frame.function.to_string(),
            location: file.map(|(file, line)| format!("{file}:{line}")),
            kind: frame.kind.name(),
        }
    }
}
