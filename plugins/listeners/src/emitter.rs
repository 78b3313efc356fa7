//! An event emitter, as every framework has one.

use std::cell::RefCell;

use leak_plugin_sdk::{Container, HeapSize, Retention};

/// Something that subscribers want to hear of: the service's configuration has changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConfigurationChanged {
    /// The number of the new configuration.
    pub(crate) version: u64,
}

/// A callback on the heap with everything it captured.
pub(crate) struct Callback {
    function: Box<dyn Fn(ConfigurationChanged) -> u64>,
    bytes: usize,
}

impl Callback {
    /// Boxes a closure. Once it is behind a pointer nobody sees any more what it captured, so that is
    /// told here: `captured_bytes` is what the captured values own on the heap.
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

/// Calls its subscribers when something happens.
#[derive(Default)]
pub(crate) struct Emitter(RefCell<Subscribers>);

#[derive(Default)]
struct Subscribers {
    /// In the order of their numbers.
    callbacks: Vec<(u64, Callback)>,
    last_number: u64,
    owned_bytes: usize,
}

impl Emitter {
    /// What the list takes up for each callback.
    pub(crate) const SLOT_BYTES: usize = size_of::<(u64, Callback)>();

    /// Adds a callback, until the subscription is dropped.
    #[must_use = "dropping the subscription ends it"]
    pub(crate) fn subscribe(&self, callback: Callback) -> Subscription<'_> {
        let mut subscribers = self.0.borrow_mut();
        subscribers.last_number += 1;
        let number = subscribers.last_number;
        subscribers.owned_bytes += callback.heap_bytes();
        subscribers.callbacks.push((number, callback));
        Subscription {
            emitter: self,
            number,
        }
    }

    /// Calls every subscriber and adds up what they answer.
    pub(crate) fn emit(&self, event: ConfigurationChanged) -> u64 {
        let subscribers = self.0.borrow();
        subscribers.callbacks.iter().fold(0, |sum, (_, callback)| {
            sum.wrapping_add((callback.function)(event))
        })
    }

    /// Removes up to `most` subscribers, the newest first: with no request under way these are the ones
    /// whose subscription was forgotten.
    pub(crate) fn remove_orphans(&self, most: usize) {
        let mut subscribers = self.0.borrow_mut();
        for _ in 0..most {
            let Some((_, callback)) = subscribers.callbacks.pop() else {
                break;
            };
            subscribers.owned_bytes -= callback.heap_bytes();
        }
        subscribers.callbacks.shrink_sparse();
    }

    /// The subscribers and what they hold.
    pub(crate) fn retained(&self) -> Retention {
        let subscribers = self.0.borrow();
        let bytes = subscribers.owned_bytes + subscribers.callbacks.block_bytes();
        Retention::of(subscribers.callbacks.len(), bytes)
    }
}

/// Keeps a callback subscribed for as long as it lives.
pub(crate) struct Subscription<'a> {
    emitter: &'a Emitter,
    number: u64,
}

impl Subscription<'_> {
    /// Leaves the callback subscribed for good. Nobody can remove it any more.
    pub(crate) fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for Subscription<'_> {
    fn drop(&mut self) {
        let mut subscribers = self.emitter.0.borrow_mut();
        if let Ok(place) = subscribers
            .callbacks
            .binary_search_by_key(&self.number, |(number, _)| *number)
        {
            let (_, callback) = subscribers.callbacks.remove(place);
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
    fn calls_those_who_are_subscribed_and_nobody_else() {
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
    fn a_dropped_subscription_leaves_no_bytes_behind_but_the_list() {
        let emitter = Emitter::default();
        drop(emitter.subscribe(callback(1)));
        let retained = emitter.retained();
        assert_eq!(retained.objects, 0);
        assert_eq!(retained.bytes, 4 * Emitter::SLOT_BYTES as u64);
    }
}
