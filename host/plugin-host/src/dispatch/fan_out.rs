//! One request to many plugins: its calls, and the wait for their answers.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use telemetry::context::TraceContext;

use crate::driver::InvocationResult;
use crate::driver::handle::Plugin;
use crate::error::PluginError;
use crate::instance::request::GuestRequest;

/// A request and the answers to it. It does not hold the plugins: a slow plugin would keep the
/// others loaded.
#[derive(Debug)]
pub(crate) struct FanOut {
    request: GuestRequest,
    trace: TraceContext,
    since: Instant,
    /// One slot for each plugin; `None` in a slot means that the plugin is gone.
    answers: Box<[OnceLock<Option<InvocationResult>>]>,
    missing: AtomicUsize,
    /// Whether the batcher has polled all calls. A missing answer comes from another task then, and
    /// may take long.
    handed_off: AtomicBool,
    waiter: AtomicWaker,
}

/// One plugin's result for a request.
#[derive(Debug)]
pub struct PluginAnswer {
    /// The plugin.
    pub plugin: Arc<Plugin>,
    /// The result of its call.
    pub result: InvocationResult,
}

/// The call of one plugin for one request. Dropped without an answer, it answers that the plugin is
/// gone.
#[derive(Debug)]
pub(crate) struct Call {
    fan_out: Arc<FanOut>,
    index: usize,
}

impl FanOut {
    /// A request for `plugins` plugins. Its time limit starts now.
    pub(crate) fn new(request: GuestRequest, trace: TraceContext, plugins: usize) -> Self {
        FanOut {
            request,
            trace,
            since: Instant::now(),
            missing: AtomicUsize::new(plugins),
            answers: (0..plugins).map(|_| OnceLock::new()).collect(),
            handed_off: AtomicBool::new(false),
            waiter: AtomicWaker::new(),
        }
    }

    /// One call for each plugin, in their order.
    pub(crate) fn calls(self: &Arc<Self>) -> impl Iterator<Item = Call> {
        let call = |index| Call {
            fan_out: self.clone(),
            index,
        };
        (0..self.answers.len()).map(call)
    }

    /// Records that the batcher has polled all calls. The calls without an answer go on in other
    /// tasks.
    pub(crate) fn hand_off(&self) {
        if self.missing() > 0 {
            self.handed_off.store(true, Ordering::SeqCst);
            self.waiter.wake();
        }
    }

    /// Waits until every plugin has answered or has timed out. `plugins` are the ones that the
    /// request was made for; the answers are in their order.
    pub(crate) async fn answers(&self, plugins: &[Arc<Plugin>]) -> Vec<PluginAnswer> {
        self.until(|| self.handed_off.load(Ordering::SeqCst) || self.missing() == 0)
            .await;
        if self.missing() > 0 {
            // Boxed: this future is rarely needed, and must not make every request larger.
            Box::pin(self.wait_with_timeout(plugins)).await;
        }
        let answers = plugins.iter().zip(&self.answers);
        answers
            .map(|(plugin, answer)| PluginAnswer::new(plugin, answer))
            .collect()
    }

    /// Waits until all answers are there, or the missing ones have timed out. Separate from the
    /// wait without a timer, because a timer has a cost and most answers come before it is needed.
    async fn wait_with_timeout(&self, plugins: &[Arc<Plugin>]) {
        loop {
            let missing = self.missing();
            let Some(until) = self
                .last_timeout(plugins)
                .filter(|until| *until > Instant::now())
            else {
                return;
            };
            let answered = self.until(|| self.missing() < missing);
            // After an answer and after the timeout, the missing answers decide how to go on.
            let _ = tokio::time::timeout_at(until.into(), answered).await;
        }
    }

    /// Waits for a condition that becomes true by an answer or by the hand-off.
    async fn until(&self, reached: impl Fn() -> bool) {
        poll_fn(|context: &mut Context<'_>| {
            if reached() {
                return Poll::Ready(());
            }
            self.waiter.register(context.waker());
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

    /// When the last missing answer times out; `None` when all are there.
    fn last_timeout(&self, plugins: &[Arc<Plugin>]) -> Option<Instant> {
        let missing = plugins.iter().zip(&self.answers);
        let missing = missing.filter(|(_, answer)| answer.get().is_none());
        missing
            .map(|(plugin, _)| self.since + answer_timeout(plugin))
            .max()
    }
}

fn answer_timeout(plugin: &Plugin) -> Duration {
    plugin.details().settings.policy().answer_timeout()
}

impl PluginAnswer {
    fn new(plugin: &Arc<Plugin>, answer: &OnceLock<Option<InvocationResult>>) -> Self {
        let result = match answer.get() {
            Some(Some(result)) => result.clone(),
            Some(None) => {
                InvocationResult::Failed(PluginError::Gone(plugin.id().to_owned()).to_string())
            }
            None => InvocationResult::Failed(format!(
                "slow: no answer within {} ms; a call that has begun runs to its end",
                answer_timeout(plugin).as_millis()
            )),
        };
        PluginAnswer {
            plugin: plugin.clone(),
            result,
        }
    }
}

impl Call {
    pub(crate) fn request(&self) -> &GuestRequest {
        &self.fan_out.request
    }

    /// The span of the request.
    pub(crate) fn trace(&self) -> &TraceContext {
        &self.fan_out.trace
    }

    /// When the request began to wait.
    pub(crate) fn since(&self) -> Instant {
        self.fan_out.since
    }

    /// Ends the call, whether it was made or not.
    pub(crate) fn answer(self, result: InvocationResult) {
        self.settle(Some(result));
    }

    /// Stores an answer, unless there is one, and wakes the request after the last one. After the
    /// hand-off every answer wakes it, because each may change its timeout.
    fn settle(&self, result: Option<InvocationResult>) {
        let fan_out = &self.fan_out;
        let answer = fan_out.answers.get(self.index);
        if answer.is_none_or(|answer| answer.set(result).is_err()) {
            return;
        }
        let last = fan_out.missing.fetch_sub(1, Ordering::SeqCst) == 1;
        if last || fan_out.handed_off.load(Ordering::SeqCst) {
            fan_out.waiter.wake();
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // Does nothing if the call was answered.
        self.settle(None);
    }
}
