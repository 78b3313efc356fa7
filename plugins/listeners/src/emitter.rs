//! A minimal event emitter, like those of most frameworks.

use std::cell::RefCell;

use leak_plugin_sdk::{Container, HeapSize, Retention};

/// The event: the configuration of the service has changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConfigurationChanged {
    /// The number of the new configuration.
    pub(crate) version: u64,
}

/// A boxed callback with the values that it captured.
pub(crate) struct Callback {
    function: Box<dyn Fn(ConfigurationChanged) -> u64>,
    bytes: usize,
}

impl Callback {
    /// Boxes a closure. `captured_bytes` is the heap memory that the captured values own. The
    /// caller must measure it, because a boxed closure hides what it captured.
    pub(crate) fn new(
        function: impl Fn(ConfigurationChanged) -> u64 + 'static,
        captured_bytes: usize,
    ) -> Self {
        let function = Box::new(function);
        let bytes = size_of_val(&*function) + captured_bytes;
        Self { function, bytes }
    }
}

impl HeapSize for Callback {
    fn heap_bytes(&self) -> usize {
        self.bytes
    }
}

/// Calls all subscribed callbacks when it emits an event.
#[derive(Default)]
pub(crate) struct Emitter(RefCell<Subscribers>);

#[derive(Default)]
struct Subscribers {
    /// Callbacks by subscription id, in ascending order.
    callbacks: Vec<(u64, Callback)>,
    last_id: u64,
    /// Heap bytes that all callbacks own.
    owned_bytes: usize,
}

impl Emitter {
    /// Bytes of one callback in the list.
    pub(crate) const SLOT_BYTES: usize = size_of::<(u64, Callback)>();

    /// Adds a callback. It stays subscribed until the returned guard is dropped.
    #[must_use = "dropping the subscription removes the callback"]
    pub(crate) fn subscribe(&self, callback: Callback) -> Subscription<'_> {
        let mut subscribers = self.0.borrow_mut();
        subscribers.last_id += 1;
        let id = subscribers.last_id;
        subscribers.owned_bytes += callback.heap_bytes();
        subscribers.callbacks.push((id, callback));
        Subscription { emitter: self, id }
    }

    /// Calls every callback and returns the wrapping sum of their results.
    pub(crate) fn emit(&self, event: ConfigurationChanged) -> u64 {
        let subscribers = self.0.borrow();
        subscribers.callbacks.iter().fold(0, |sum, (_, callback)| {
            sum.wrapping_add((callback.function)(event))
        })
    }

    /// Removes up to `max` callbacks, newest first. Call it when no subscription is alive: then
    /// every callback is an orphan, because its subscription was forgotten.
    pub(crate) fn remove_orphans(&self, max: usize) {
        let mut subscribers = self.0.borrow_mut();
        for _ in 0..max {
            let Some((_, callback)) = subscribers.callbacks.pop() else {
                break;
            };
            subscribers.owned_bytes -= callback.heap_bytes();
        }
        subscribers.callbacks.shrink_sparse();
    }

    /// The number of callbacks, and the bytes that they and the list own.
    pub(crate) fn retained(&self) -> Retention {
        let subscribers = self.0.borrow();
        let bytes = subscribers.owned_bytes + subscribers.callbacks.block_bytes();
        Retention::of(subscribers.callbacks.len(), bytes)
    }
}

/// A guard. Dropping it removes the callback from the emitter.
pub(crate) struct Subscription<'a> {
    emitter: &'a Emitter,
    id: u64,
}

impl Subscription<'_> {
    /// Drops the guard without removing the callback. This is the leak: only the guard knows the
    /// id.
    pub(crate) fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for Subscription<'_> {
    fn drop(&mut self) {
        let mut subscribers = self.emitter.0.borrow_mut();
        if let Ok(index) = subscribers
            .callbacks
            .binary_search_by_key(&self.id, |(id, _)| *id)
        {
            let (_, callback) = subscribers.callbacks.remove(index);
            subscribers.owned_bytes -= callback.heap_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn callback(answer: u64) -> Callback {
        Callback::new(move |event| answer * event.version, 0)
    }

    #[test]
    fn emit_calls_only_subscribed_callbacks() {
        let emitter = Emitter::default();
        let first = emitter.subscribe(callback(1));
        let second = emitter.subscribe(callback(10));
        emitter.subscribe(callback(100)).forget();
        assert_eq!(emitter.emit(ConfigurationChanged { version: 1 }), 111);
        assert_eq!(emitter.emit(ConfigurationChanged { version: 2 }), 222);
        drop(first);
        assert_eq!(emitter.emit(ConfigurationChanged { version: 1 }), 110);
        drop(second);
        assert_eq!(emitter.emit(ConfigurationChanged { version: 1 }), 100);
        emitter.remove_orphans(5);
        assert_eq!(emitter.emit(ConfigurationChanged { version: 1 }), 0);
    }

    #[test]
    fn a_dropped_subscription_leaves_only_the_empty_list() {
        let emitter = Emitter::default();
        drop(emitter.subscribe(callback(1)));
        let retained = emitter.retained();
        assert_eq!(retained.objects, 0);
        assert_eq!(retained.bytes, 4 * Emitter::SLOT_BYTES as u64);
    }
}
