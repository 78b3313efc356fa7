//! One request on its way through the plugins that are on, and what becomes of it in each.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;

use crate::dispatch::request::Request;
use crate::driver::InvocationResult;
use crate::driver::handle::Plugin;
use crate::error::PluginError;
use telemetry::context::TraceContext;

/// A request, and the answers to it. It does not hold the plugins: one that is slow would keep the others loaded.
#[derive(Debug)]
pub(crate) struct Round {
    request: Request,
    trace: TraceContext,
    since: Instant,
    /// One for each plugin; none from one that is gone.
    answers: Box<[OnceLock<Option<InvocationResult>>]>,
    missing: AtomicUsize,
    /// Whoever makes the calls has gone on: an answer that is missing now may take its time.
    left: AtomicBool,
    waiting: AtomicWaker,
}

/// What one plugin did with a request.
#[derive(Debug)]
pub struct Handled {
    /// The plugin.
    pub plugin: Arc<Plugin>,
    /// How it went.
    pub result: InvocationResult,
}

/// One plugin's part of a round. Dropped without an answer, it is answered: the plugin is gone.
#[derive(Debug)]
pub struct Call {
    round: Arc<Round>,
    place: usize,
}

impl Round {
    /// A request that begins to wait now, for so many plugins.
    pub(crate) fn new(request: Request, trace: TraceContext, plugins: usize) -> Self {
        Round {
            request,
            trace,
            since: Instant::now(),
            missing: AtomicUsize::new(plugins),
            answers: (0..plugins).map(|_| OnceLock::new()).collect(),
            left: AtomicBool::new(false),
            waiting: AtomicWaker::new(),
        }
    }

    /// The calls that it asks for, one for each plugin.
    pub(crate) fn calls(self: &Arc<Self>) -> impl Iterator<Item = Call> {
        let call = |place| Call {
            round: self.clone(),
            place,
        };
        (0..self.answers.len()).map(call)
    }

    /// Tells it that the calls which are not over yet will take their time.
    pub(crate) fn leave(&self) {
        if self.missing() > 0 {
            self.left.store(true, Ordering::SeqCst);
            self.waiting.wake();
        }
    }

    /// Waits until every plugin has answered, or has had the time that it may take. The result is in the order of the
    /// plugins, which are those that it was made for.
    pub(crate) async fn handled(&self, plugins: &[Arc<Plugin>]) -> Vec<Handled> {
        self.until(|| self.left.load(Ordering::SeqCst) || self.missing() == 0)
            .await;
        if self.missing() > 0 {
            // Of its own memory: what is seldom waited for is not to make every request larger.
            Box::pin(self.be_patient(plugins)).await;
        }
        let handled = plugins.iter().zip(&self.answers);
        handled.map(|(p, answer)| Handled::new(p, answer)).collect()
    }

    /// Waits for answers until there are all, or those that are missing have had their time. A timer costs something, and
    /// most answers come before one would be needed.
    async fn be_patient(&self, plugins: &[Arc<Plugin>]) {
        loop {
            let missing = self.missing();
            let Some(until) = self
                .patience(plugins)
                .filter(|until| *until > Instant::now())
            else {
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
        self.missing.load(Ordering::SeqCst)
    }

    /// When the last of the answers that are missing is too late; none when all are there.
    fn patience(&self, plugins: &[Arc<Plugin>]) -> Option<Instant> {
        let missing = plugins.iter().zip(&self.answers);
        let missing = missing.filter(|(_, answer)| answer.get().is_none());
        missing.map(|(p, _)| self.since + patience(p)).max()
    }
}

/// How long a plugin's answer may take.
fn patience(plugin: &Plugin) -> Duration {
    plugin.details().settings.policy().patience()
}

impl Handled {
    fn new(plugin: &Arc<Plugin>, answer: &OnceLock<Option<InvocationResult>>) -> Self {
        let result = match answer.get() {
            Some(Some(result)) => result.clone(),
            Some(None) => {
                InvocationResult::Failed(PluginError::Gone(plugin.id().to_owned()).to_string())
            }
            None => InvocationResult::Failed(format!(
                "slow: no answer within {} ms; a call that had begun goes on",
                patience(plugin).as_millis()
            )),
        };
        Handled {
            plugin: plugin.clone(),
            result,
        }
    }
}

impl Call {
    /// The request.
    pub fn request(&self) -> &Request {
        &self.round.request
    }

    /// Its place in its trace.
    pub fn trace(&self) -> &TraceContext {
        &self.round.trace
    }

    /// When the request began to wait.
    pub fn since(&self) -> Instant {
        self.round.since
    }

    /// The call is over, or was not made.
    pub fn answer(self, result: InvocationResult) {
        self.settle(Some(result));
    }

    fn settle(&self, result: Option<InvocationResult>) {
        let round = &self.round;
        let answer = round.answers.get(self.place);
        if answer.is_none_or(|answer| answer.set(result).is_err()) {
            return;
        }
        let last = round.missing.fetch_sub(1, Ordering::SeqCst) == 1;
        if last || round.left.load(Ordering::SeqCst) {
            round.waiting.wake();
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // Nothing, if it has been answered.
        self.settle(None);
    }
}
