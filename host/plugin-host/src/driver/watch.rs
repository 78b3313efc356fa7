//! Watches work on a thread of its own that calls a guest: a plugin that keeps the thread for too
//! long is given up.

use std::time::Duration;

use tokio::time::sleep;

use crate::driver::published_state::PublishedState;
use crate::engine::TICK;

/// Time for which a call may exceed all its limits, on a busy machine.
const GIVE_UP_GRACE: Duration = Duration::from_millis(100);

/// Time after which work in progress counts as the plugin's own delay, and no request waits for it
/// beyond the answer timeout.
const HELD_AFTER: Duration = Duration::from_millis(50);

/// Waits for `work`, and publishes whether it takes long. `limit` returns the deadline of the call
/// in progress and how long it may take until the plugin is given up; `None` if the guest is not
/// called.
pub(crate) async fn watch<T>(
    published: &PublishedState,
    limit: impl Fn() -> Option<(Duration, Duration)>,
    work: impl Future<Output = T>,
) -> T {
    let mut work = std::pin::pin!(work);
    let (mut calls, mut ticks, mut given_up) = (published.calls_begun(), 0, false);
    loop {
        tokio::select! {
            biased;
            done = &mut work => {
                published.set_held(false);
                return done;
            }
            () = sleep(TICK) => {}
        }
        // Ticks that really happened: after the process was stopped, only one of them comes.
        ticks += 1;
        let begun = published.calls_begun();
        if begun != calls {
            (calls, ticks) = (begun, 0);
        }
        published.set_held(TICK * ticks >= HELD_AFTER);
        if let Some((deadline, longest)) = limit()
            && !given_up
            && TICK * ticks > longest + GIVE_UP_GRACE
        {
            published.give_up(deadline);
            given_up = true;
        }
    }
}
