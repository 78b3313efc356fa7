//! The two time limits of a call: engine ticks while the guest runs, real time while it waits in
//! the host.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use wasmtime::UpdateDeadline;

use crate::engine::TICK;

/// Engine ticks that the call in progress may still take.
#[derive(Debug)]
pub(crate) struct TickBudget {
    left: u64,
    /// Whether no tick has come during this call yet.
    first_tick: bool,
}

impl TickBudget {
    /// The ticks of `deadline`, plus one for the tick that is in progress.
    pub(crate) fn new(deadline: Duration) -> Self {
        let ticks = deadline.as_millis() / TICK.as_millis().max(1);
        TickBudget {
            left: u64::try_from(ticks).unwrap_or(u64::MAX).saturating_add(1),
            first_tick: true,
        }
    }

    /// Decides what the guest does at a tick: it goes on, it lets other tasks run, or it is
    /// interrupted.
    ///
    /// The first tick may come right after the start. Yielding there would cost a short call a task
    /// switch while it holds the driver lock. So a call goes on at the first tick and yields at
    /// each further one.
    pub(crate) fn tick(&mut self) -> UpdateDeadline {
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            UpdateDeadline::Interrupt
        } else if std::mem::take(&mut self.first_tick) {
            UpdateDeadline::Continue(1)
        } else {
            UpdateDeadline::Yield(1)
        }
    }
}

/// A call waited in the host for longer than its limit.
pub(crate) struct TimedOut;

/// Runs a call that may wait in the host for at most `limit` of real time. Most calls never wait;
/// the timer starts only when one does.
pub(crate) async fn with_timeout<C: Future>(
    limit: Duration,
    call: C,
) -> Result<C::Output, TimedOut> {
    let (mut call, mut timer) = (pin!(call), pin!(None));
    poll_fn(|context| {
        if let Poll::Ready(answer) = call.as_mut().poll(context) {
            return Poll::Ready(Ok(answer));
        }
        if timer.is_none() {
            timer.set(Some(tokio::time::sleep(limit)));
        }
        let timer = timer.as_mut().as_pin_mut();
        timer.map_or(Poll::Pending, |timer| {
            timer.poll(context).map(|()| Err(TimedOut))
        })
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks_until_interrupt(deadline: Duration) -> u32 {
        let mut budget = TickBudget::new(deadline);
        let mut ticks = 1;
        while !matches!(budget.tick(), UpdateDeadline::Interrupt) {
            ticks += 1;
        }
        ticks
    }

    #[test]
    fn a_call_is_interrupted_after_its_deadline_and_within_one_tick_more() {
        assert_eq!(ticks_until_interrupt(Duration::from_millis(250)), 26);
        assert_eq!(ticks_until_interrupt(Duration::from_millis(10)), 2);
        assert_eq!(ticks_until_interrupt(Duration::from_millis(1)), 1);
    }

    #[test]
    fn only_a_call_of_more_than_one_tick_lets_other_tasks_run() {
        let mut budget = TickBudget::new(Duration::from_millis(40));
        assert!(matches!(budget.tick(), UpdateDeadline::Continue(1)));
        assert!(matches!(budget.tick(), UpdateDeadline::Yield(1)));
        assert!(matches!(budget.tick(), UpdateDeadline::Yield(1)));
    }

    #[tokio::test]
    async fn only_a_call_that_waits_too_long_times_out() {
        let hour = Duration::from_secs(3600);
        let waits_once = async {
            tokio::task::yield_now().await;
            3
        };
        assert!(matches!(with_timeout(hour, waits_once).await, Ok(3)));
        let waits_forever = std::future::pending::<()>();
        let limit = Duration::from_millis(5);
        assert!(with_timeout(limit, waits_forever).await.is_err());
    }
}
