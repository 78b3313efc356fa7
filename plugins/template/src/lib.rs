//! The least that a plugin can be: one buffer per request.
//!
//! **Symptom.** Say what somebody sees who runs a service with this leak.
//!
//! **Cause.** Say what the code does that it should not.
//!
//! **Fix.** Say what `variant: fixed` does instead.

use std::collections::VecDeque;

use leak_plugin_sdk::{
    Call, Container, Effect, Failure, HeapSize, LeakPlugin, Payload, Retention, SHRINK_STEP,
    Variant,
};

leak_plugin_sdk::settings! {
    /// What can be set beside the settings of every plugin.
    pub struct TemplateSettings {
        /// How many buffers the fixed variant keeps, the newest.
        pub keep: usize = 10, in 0..=1_000_000;
    }
}

/// Buffers that are not needed any more.
#[derive(Debug, Default)]
pub struct Template {
    buffers: VecDeque<Payload>,
    /// What the buffers own, kept up to date so that it can be read at no cost.
    owned_bytes: usize,
}

impl LeakPlugin for Template {
    const TITLE: &'static str = "Template";
    const UNIT: &'static str = "buffers";
    const PAYLOAD_BYTES: usize = 4096;
    type Settings = TemplateSettings;

    fn on_request(&mut self, call: Call<'_, TemplateSettings>) -> Result<Effect, Failure> {
        let buffer = call.payload(call.payload_bytes.saturating_sub(size_of::<Payload>()));
        self.owned_bytes += buffer.heap_bytes();
        self.buffers.push_back(buffer);
        if call.variant == Variant::Fixed {
            self.let_go(call.settings.keep);
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
    /// Drops the oldest buffers until `keep` are left, not too many at a time.
    fn let_go(&mut self, keep: usize) {
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
    fn a_request_retains_what_the_setting_says() {
        check::retains_payload_bytes(Driver::<Template>::default, &[4096], &[1000], 0.1);
    }

    #[test]
    fn reports_what_the_allocator_handed_out() {
        let mut plugin = Driver::<Template>::default();
        check::reports_what_is_allocated(
            &mut plugin,
            |plugin| plugin.requests(777),
            |traffic| allocation_counter::measure(traffic).bytes_current,
        );
    }

    #[test]
    fn fixed_is_bounded_also_after_leaking() {
        let mut plugin = Driver::<Template>::default();
        plugin.requests(1000).unwrap();
        check::sheds_in_steps(&mut plugin);
        assert_eq!(plugin.requests(10).unwrap().objects, 10);
        assert_eq!(plugin.requests(1000).unwrap().objects, 10);
    }

    #[test]
    fn fixed_keeps_the_newest() {
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
