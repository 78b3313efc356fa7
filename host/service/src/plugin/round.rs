//! One request on its way through the plugins that are on, and what becomes of it in each.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;

use super::driver::InvocationResult;
use super::error::PluginError;
use super::handle::Plugin;
use super::request::Request;
use crate::telemetry::context::TraceContext;

/// How long a request waits for a plugin beyond the deadline of one call, for what is queued before it.
const QUEUE_GRACE: Duration = Duration::from_millis(50);

/// A request and the plugins that are to handle it.
#[derive(Debug)]
pub(crate) struct Round {
    request: Request,
    trace: TraceContext,
    since: Instant,
    seats: Vec<Seat>,
    missing: AtomicUsize,
    /// Whoever makes the calls has gone on: an answer that is missing now may take its time.
    left: AtomicBool,
    waiting: AtomicWaker,
}

#[derive(Debug)]
struct Seat {
    plugin: Arc<Plugin>,
    answer: OnceLock<InvocationResult>,
}

/// What one plugin did with a request.
#[derive(Debug)]
pub(crate) struct Handled {
    /// The plugin.
    pub(crate) plugin: Arc<Plugin>,
    /// How it went.
    pub(crate) result: InvocationResult,
}

/// One plugin's part of a round. Dropped without an answer, it is answered: the plugin is gone.
#[derive(Debug)]
pub(crate) struct Call {
    round: Arc<Round>,
    place: usize,
}

impl Round {
    /// A request that begins to wait now.
    pub(crate) fn new(
        request: Request,
        trace: TraceContext,
        plugins: impl Iterator<Item = Arc<Plugin>>,
    ) -> Self {
        let seat = |plugin| Seat {
            plugin,
            answer: OnceLock::new(),
        };
        let seats: Vec<Seat> = plugins.map(seat).collect();
        Round {
            request,
            trace,
            since: Instant::now(),
            missing: AtomicUsize::new(seats.len()),
            seats,
            left: AtomicBool::new(false),
            waiting: AtomicWaker::new(),
        }
    }

    /// The calls that it asks for, with the plugins to call.
    pub(crate) fn calls(self: &Arc<Self>) -> impl Iterator<Item = (&Arc<Plugin>, Call)> {
        self.seats.iter().enumerate().map(|(place, seat)| {
            let round = self.clone();
            (&seat.plugin, Call { round, place })
        })
    }

    /// Tells it that the calls which are not over yet will take their time.
    pub(crate) fn leave(&self) {
        if self.missing.load(Ordering::Acquire) > 0 {
            self.left.store(true, Ordering::Release);
            self.waiting.wake();
        }
    }

    /// Waits until every plugin has answered, or has had the time that it may take. The result is in the order in which
    /// the plugins were given.
    pub(crate) async fn handled(&self) -> Vec<Handled> {
        self.until(|| self.left.load(Ordering::Acquire) || self.missing() == 0)
            .await;
        if self.missing() > 0 {
            // Of its own memory: what is seldom waited for is not to make every request larger.
            Box::pin(self.be_patient()).await;
        }
        self.seats.iter().map(Seat::handled).collect()
    }

    /// Waits for answers until there are all, or those that are missing have had their time. A timer costs something, and
    /// most answers come before one would be needed.
    async fn be_patient(&self) {
        loop {
            let missing = self.missing();
            let Some(until) = self.patience().filter(|until| *until > Instant::now()) else {
                return;
            };
            let answered = self.until(|| self.missing() < missing);
            // Whether it was the time or an answer, what is still missing decides.
            let _ = tokio::time::timeout_at(until.into(), answered).await;
        }
    }

    /// Waits for something that is true after an answer, or after the calls are left.
    async fn until(&self, reached: impl Fn() -> bool) {
        poll_fn(|context: &mut Context<'_>| {
            if reached() {
                return Poll::Ready(());
            }
            self.waiting.register(context.waker());
            if reached() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    fn missing(&self) -> usize {
        self.missing.load(Ordering::Acquire)
    }

    /// When the last of the answers that are missing is too late; none when all are there.
    fn patience(&self) -> Option<Instant> {
        let missing = self.seats.iter().filter(|seat| seat.answer.get().is_none());
        missing.map(|seat| self.since + seat.patience()).max()
    }
}

impl Seat {
    /// How long its answer may take.
    fn patience(&self) -> Duration {
        self.plugin.details().settings.policy().deadline + QUEUE_GRACE
    }

    fn handled(&self) -> Handled {
        let result = self.answer.get().cloned().unwrap_or_else(|| {
            InvocationResult::Failed(format!(
                "slow: no answer within {} ms; its call goes on",
                self.patience().as_millis()
            ))
        });
        Handled {
            plugin: self.plugin.clone(),
            result,
        }
    }
}

impl Call {
    /// The request.
    pub(crate) fn request(&self) -> &Request {
        &self.round.request
    }

    /// Its place in its trace.
    pub(crate) fn trace(&self) -> &TraceContext {
        &self.round.trace
    }

    /// When the request began to wait.
    pub(crate) fn since(&self) -> Instant {
        self.round.since
    }

    /// The call is over, or was not made.
    pub(crate) fn answer(self, result: InvocationResult) {
        self.settle(result);
    }

    fn settle(&self, result: InvocationResult) {
        let round = &self.round;
        let Some(seat) = round.seats.get(self.place) else {
            return;
        };
        if seat.answer.set(result).is_err() {
            return;
        }
        let last = round.missing.fetch_sub(1, Ordering::AcqRel) == 1;
        if last || round.left.load(Ordering::Acquire) {
            round.waiting.wake();
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let answer = self.round.seats.get(self.place);
        if let Some(seat) = answer.filter(|seat| seat.answer.get().is_none()) {
            let gone = PluginError::Gone(seat.plugin.id().to_owned());
            self.settle(InvocationResult::Failed(gone.to_string()));
        }
    }
}
