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
    /// The longest that the request waits for a plugin whose calls are quick.
    queue_timeout: Duration,
    /// Whether the request was answered without the missing answers.
    answered: AtomicBool,
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
    pub(crate) fn new(
        request: GuestRequest,
        trace: TraceContext,
        plugins: usize,
        queue_timeout: Duration,
    ) -> Self {
        FanOut {
            request,
            trace,
            since: Instant::now(),
            missing: AtomicUsize::new(plugins),
            answers: (0..plugins).map(|_| OnceLock::new()).collect(),
            handed_off: AtomicBool::new(false),
            waiter: AtomicWaker::new(),
            queue_timeout,
            answered: AtomicBool::new(false),
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
            self.answered.store(true, Ordering::SeqCst);
        }
        let answers = plugins.iter().zip(&self.answers);
        answers
            .map(|(plugin, answer)| PluginAnswer::new(plugin, answer, self.since))
            .collect()
    }

    /// Waits until all answers are there, or the missing ones have timed out. Separate from the
    /// wait without a timer, because a timer has a cost and most answers come before it is needed.
    async fn wait_with_timeout(&self, plugins: &[Arc<Plugin>]) {
        loop {
            let missing = self.missing();
            let Some(look) = self.next_look(plugins, Instant::now()) else {
                return;
            };
            let answered = self.until(|| self.missing() < missing);
            // After an answer and after the look, the missing answers decide how to go on.
            let _ = tokio::time::timeout_at(look.into(), answered).await;
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

    /// When the request looks again whether it still waits; `None` when all answers are there or
    /// have timed out. The request needs all of them, so the last look of any plugin counts.
    fn next_look(&self, plugins: &[Arc<Plugin>], now: Instant) -> Option<Instant> {
        let missing = plugins.iter().zip(&self.answers);
        let missing = missing.filter(|(_, answer)| answer.get().is_none());
        let looks = missing.filter_map(|(plugin, _)| {
            let wait = Wait {
                answer_timeout: answer_timeout(plugin),
                queue_timeout: self.queue_timeout,
                is_slow: plugin.is_slow(),
            };
            wait.next_look(now.saturating_duration_since(self.since))
        });
        looks.max().map(|after| self.since + after)
    }
}

fn answer_timeout(plugin: &Plugin) -> Duration {
    plugin.details().settings.policy().answer_timeout()
}

/// The least time between two looks at a plugin.
const MIN_LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// How long a request waits for one plugin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wait {
    pub(crate) answer_timeout: Duration,
    pub(crate) queue_timeout: Duration,
    /// Whether the plugin itself makes the request wait.
    pub(crate) is_slow: bool,
}

impl Wait {
    /// The end of the wait, as time since its start.
    pub(crate) fn end(self) -> Duration {
        if self.is_slow {
            self.answer_timeout
        } else {
            self.queue_timeout.max(self.answer_timeout)
        }
    }

    /// When to look again, as time since the start of the wait; `None` if it is over. A plugin may
    /// become slow at any time. The looks become less frequent, so that many requests that wait on
    /// a busy machine do not keep it busy.
    fn next_look(self, waited: Duration) -> Option<Duration> {
        if waited >= self.end() {
            None
        } else if waited < self.answer_timeout {
            Some(self.answer_timeout)
        } else {
            let interval = (waited / 8).max(MIN_LOOK_INTERVAL);
            Some((waited + interval).min(self.end()))
        }
    }
}

impl PluginAnswer {
    fn new(
        plugin: &Arc<Plugin>,
        answer: &OnceLock<Option<InvocationResult>>,
        since: Instant,
    ) -> Self {
        let result = match answer.get() {
            Some(Some(result)) => result.clone(),
            Some(None) => {
                InvocationResult::Failed(PluginError::Gone(plugin.id().to_owned()).to_string())
            }
            None if plugin.is_slow() => InvocationResult::Failed(format!(
                "slow: no answer within {} ms; a call that has begun runs to its end",
                answer_timeout(plugin).as_millis()
            )),
            None => InvocationResult::Failed(format!(
                "the machine is busy: no answer within {} ms",
                since.elapsed().as_millis()
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

    /// Whether the request waits no longer for a plugin like this one.
    pub(crate) fn has_timed_out(
        &self,
        answer_timeout: Duration,
        is_slow: impl FnOnce() -> bool,
        now: Instant,
    ) -> bool {
        let waited = now.saturating_duration_since(self.fan_out.since);
        // The first comparison decides for almost every call.
        waited > answer_timeout
            && (self.fan_out.answered.load(Ordering::SeqCst)
                || waited
                    > Wait {
                        answer_timeout,
                        queue_timeout: self.fan_out.queue_timeout,
                        is_slow: is_slow(),
                    }
                    .end())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(is_slow: bool) -> Wait {
        Wait {
            answer_timeout: Duration::from_millis(300),
            queue_timeout: Duration::from_secs(5),
            is_slow,
        }
    }

    #[test]
    fn a_request_waits_for_a_slow_plugin_until_its_answer_timeout() {
        let look = |ms| wait(true).next_look(Duration::from_millis(ms));
        assert_eq!(look(0), Some(Duration::from_millis(300)));
        assert_eq!(look(299), Some(Duration::from_millis(300)));
        assert_eq!(look(300), None);
    }

    #[test]
    fn a_request_waits_for_a_quick_plugin_until_the_queue_timeout_and_looks_at_it() {
        let (mut waited, mut looks) = (Duration::ZERO, 0);
        while let Some(look) = wait(false).next_look(waited) {
            assert!(look > waited && look <= Duration::from_secs(5));
            (waited, looks) = (look, looks + 1);
        }
        assert_eq!(waited, Duration::from_secs(5));
        assert!((10..40).contains(&looks), "{looks}");
    }

    #[test]
    fn a_queue_timeout_shorter_than_the_answer_timeout_does_not_count() {
        let wait = Wait {
            queue_timeout: Duration::ZERO,
            ..wait(false)
        };
        assert_eq!(wait.end(), Duration::from_millis(300));
    }
}
