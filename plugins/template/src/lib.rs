//! A minimal plugin: it keeps one buffer for every request.
//!
//! **Symptom.** Describe what an operator sees in a service that has this leak.
//!
//! **Cause.** Describe what the code does wrong.
//!
//! **Fix.** Describe what `variant: fixed` does instead.

use std::collections::VecDeque;

use leak_plugin_sdk::{
    Call, Container, Effect, Failure, HeapSize, LeakPlugin, Payload, Retention, SHRINK_STEP,
    Variant,
};

leak_plugin_sdk::settings! {
    /// The plugin's own settings.
    pub struct TemplateSettings {
        /// Number of newest buffers that the fixed variant keeps.
        pub keep: usize = 10, in 0..=1_000_000;
    }
}

/// Buffers that nothing reads any more, oldest first.
#[derive(Debug, Default)]
pub struct Template {
    buffers: VecDeque<Payload>,
    /// Heap bytes that the buffers own. With this sum, `retained` takes constant time.
    owned_bytes: usize,
}

impl LeakPlugin for Template {
    const TITLE: &'static str = "Template";
    const UNIT: &'static str = "buffers";
    const PAYLOAD_BYTES: usize = 4096;
    type Settings = TemplateSettings;

    fn on_request(&mut self, call: Call<'_, TemplateSettings>) -> Result<Effect, Failure> {
        let buffer = call.payload(call.payload_bytes.saturating_sub(size_of::<Payload>()));
        // In total, the buffer and its slot in the list take `payload_bytes`.
        self.owned_bytes += buffer.heap_bytes();
        // The bug: nothing ever removes a buffer.
        self.buffers.push_back(buffer);
        // The fix: every push also drops the oldest buffers beyond the bound.
        if call.variant == Variant::Fixed {
            self.drop_oldest(call.settings.keep);
        }
        Ok(Effect::Triggered)
    }

    fn retained(&self) -> Retention {
        Retention::of(
            self.buffers.len(),
            self.owned_bytes + self.buffers.block_bytes(),
        )
    }
}

impl Template {
    /// Drops the oldest buffers until `keep` are left, at most `SHRINK_STEP + 1` per call.
    fn drop_oldest(&mut self, keep: usize) {
        for _ in 0..=SHRINK_STEP {
            if self.buffers.len() <= keep {
                break;
            }
            let Some(buffer) = self.buffers.pop_front() else {
                break;
            };
            self.owned_bytes -= buffer.heap_bytes();
        }
        self.buffers.shrink_sparse();
    }
}

leak_plugin_sdk::export!(Template);

#[cfg(test)]
mod tests {
    use leak_plugin_sdk::testing::{Driver, check, request};

    use super::*;

    #[test]
    fn each_request_retains_payload_bytes() {
        check::retains_payload_bytes(Driver::<Template>::default, &[4096], &[1000], 0.1);
    }

    #[test]
    fn reports_the_bytes_that_the_allocator_handed_out() {
        let mut plugin = Driver::<Template>::default();
        check::reports_what_is_allocated(
            &mut plugin,
            |plugin| plugin.requests(777),
            |traffic| allocation_counter::measure(traffic).bytes_current,
        );
    }

    #[test]
    fn fixed_returns_to_its_bound_after_a_leak() {
        let mut plugin = Driver::<Template>::default();
        plugin.requests(1000).unwrap();
        check::sheds_in_steps(&mut plugin);
        assert_eq!(plugin.requests(10).unwrap().objects, 10);
        assert_eq!(plugin.requests(1000).unwrap().objects, 10);
    }

    #[test]
    fn fixed_keeps_the_newest_buffers() {
        let mut plugin = Template::default();
        for sequence in 1..=10 {
            let call = Call {
                request: &request(sequence),
                variant: Variant::Fixed,
                payload_bytes: 100,
                settings: &TemplateSettings { keep: 3 },
                sequence,
            };
            plugin.on_request(call).unwrap();
        }
        let len = 100 - size_of::<Payload>();
        assert_eq!(plugin.buffers, [8, 9, 10].map(|n| Payload::new(len, n)));
    }

    #[test]
    fn clear_leaves_nothing() {
        let mut plugin = Driver::<Template>::default();
        plugin.requests(100).unwrap();
        check::clear_leaves_nothing(&mut plugin);
    }
}
