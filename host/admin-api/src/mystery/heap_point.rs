//! Reads the heap of a plugin for the ledger of its leak.

use std::sync::Arc;

use guest_heap::snapshot::GroupBy;

use crate::mystery_run::{HeapPoint, Line};
use crate::state::ApiState;
use plugin_host::driver::handle::Plugin;

/// Lines of one reading, at most.
const MAX_LINES: usize = 1000;

/// The heap of a plugin now, by source line.
pub(super) async fn read(state: &ApiState, plugin: &Arc<Plugin>) -> HeapPoint {
    let requests = state.requests();
    let Ok(Some(snapshot)) = state.heaps.snapshot(plugin).await else {
        // Without attribution there is what the pattern says of itself.
        return HeapPoint::new(requests, plugin.reading().retained.bytes, []);
    };
    let groups = snapshot.top(GroupBy::Line, MAX_LINES);
    let lines = groups.into_iter().map(|group| {
        let line = Line {
            location: group.location.to_string(),
            function: group.site.function.to_string(),
        };
        (line, group.usage.live_bytes)
    });
    HeapPoint::new(requests, snapshot.totals().live_bytes, lines)
}
