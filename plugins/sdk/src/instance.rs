//! A plugin as the contract sees it: the pattern, its settings, and what becomes of a request.

use crate::growth::{EVERY, Growth, Share};
use crate::settings::{MAX_PAYLOAD_BYTES, apply, spec};
use crate::{
    Call, Effect, LeakPlugin, Manifest, Outcome, Request, Retention, Setting, SettingError,
    SettingSpec, Settings, Value, Variant,
};

/// Who a plugin is, from its `Cargo.toml`; [`export!`](crate::export!) reads it there.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// The name of the crate, which is the plugin's id.
    pub id: &'static str,
    /// The version of the crate.
    pub version: &'static str,
    /// The crate's description, one sentence.
    pub description: &'static str,
}

/// One plugin, answering the calls of the contract. Knows nothing of wasm, so that tests run it
/// natively.
#[derive(Debug)]
pub struct Instance<P: LeakPlugin> {
    plugin: P,
    /// What a sawtooth lets go at the end of each tooth: the same pattern once more, so that it can be
    /// dropped without the pattern's help.
    tooth: P,
    every: EveryPlugin,
    own: P::Settings,
    sequence: u64,
    /// The sequence number before the first request of the curve.
    curve_begin: u64,
}

/// The settings that every plugin has.
#[derive(Clone, Debug)]
struct EveryPlugin {
    variant: Variant,
    payload_bytes: usize,
    growth: Growth,
}

impl<P: LeakPlugin> Default for Instance<P> {
    fn default() -> Self {
        Self {
            plugin: P::default(),
            tooth: P::default(),
            every: EveryPlugin {
                variant: Variant::Leaky,
                payload_bytes: P::PAYLOAD_BYTES,
                growth: Growth::default(),
            },
            own: P::Settings::default(),
            sequence: 0,
            curve_begin: 0,
        }
    }
}

impl<P: LeakPlugin> Instance<P> {
    /// What the plugin is. Depends on nothing that happened before.
    pub fn manifest(identity: Identity) -> Manifest {
        let defaults = Self::default();
        let mut settings = defaults.every.specs(P::PAYLOAD_DESCRIPTION);
        settings.extend(P::Settings::specs());
        Manifest {
            id: identity.id.to_owned(),
            version: identity.version.to_owned(),
            title: P::TITLE.to_owned(),
            description: identity.description.to_owned(),
            unit: P::UNIT.to_owned(),
            settings,
        }
    }

    /// Takes new values for some of the settings.
    ///
    /// # Errors
    /// The first setting that is unknown or out of its range; all settings are then as they were.
    pub fn configure(&mut self, settings: &[Setting]) -> Result<(), SettingError> {
        let mut every = self.every.clone();
        let mut own = self.own.clone();
        for Setting { name, value } in settings {
            every
                .set(name, value)
                .or_else(|| own.set(name, value))
                .unwrap_or_else(|| {
                    Err(SettingError {
                        name: name.clone(),
                        message: "is not a setting of this plugin".to_owned(),
                    })
                })?;
        }
        if every.growth != self.every.growth {
            self.begin_curve();
        }
        (self.every, self.own) = (every, own);
        Ok(())
    }

    /// Hands one request to the pattern.
    ///
    /// # Errors
    /// The pattern's own failure, in its words.
    pub fn on_request(&mut self, request: &Request) -> Result<Outcome, String> {
        self.sequence = self.sequence.wrapping_add(1);
        let n = self.sequence.wrapping_sub(self.curve_begin);
        let EveryPlugin {
            variant,
            payload_bytes,
            growth,
        } = self.every;
        let share = growth.share(n, payload_bytes, request);
        let handled = match share {
            Share::Nothing => Ok(Effect::Skipped),
            Share::Kept(bytes) | Share::UntilTheToothEnds(bytes) => {
                let pattern = match share {
                    Share::UntilTheToothEnds(_) => &mut self.tooth,
                    _ => &mut self.plugin,
                };
                pattern.on_request(Call {
                    request,
                    variant,
                    payload_bytes: bytes,
                    settings: &self.own,
                    sequence: self.sequence,
                })
            }
        };
        if growth.ends_tooth(n) {
            self.tooth.clear();
        }
        let effect = handled.map_err(|failure| failure.to_string())?;
        Ok(Outcome {
            triggered: effect == Effect::Triggered,
            retained: self.retained(),
        })
    }

    /// What the pattern holds now.
    pub fn retained(&self) -> Retention {
        let (floor, tooth) = (self.plugin.retained(), self.tooth.retained());
        Retention {
            objects: floor.objects + tooth.objects,
            bytes: floor.bytes + tooth.bytes,
        }
    }

    /// Drops what the pattern holds and says how much that was. Settings stay; the curve begins anew.
    pub fn clear(&mut self) -> Retention {
        let held = self.retained();
        self.plugin.clear();
        self.begin_curve();
        held
    }

    fn begin_curve(&mut self) {
        self.tooth.clear();
        self.curve_begin = self.sequence;
    }
}

impl EveryPlugin {
    fn specs(&self, payload_description: &str) -> Vec<SettingSpec> {
        vec![
            spec(
                "variant",
                "Whether the pattern has its bug, or the same pattern runs mended.",
                &self.variant,
                &(),
            ),
            spec(
                "payload_bytes",
                payload_description,
                &self.payload_bytes,
                &(0..=MAX_PAYLOAD_BYTES),
            ),
            spec(
                "curve",
                "How what is retained grows with the number of requests.",
                &self.growth.curve,
                &(),
            ),
            spec(
                "curve_every",
                "The requests, or for one-tenant the tenants, that the curve counts by.",
                &self.growth.every,
                &EVERY,
            ),
        ]
    }

    fn set(&mut self, name: &str, value: &Value) -> Option<Result<(), SettingError>> {
        match name {
            "variant" => Some(apply(&mut self.variant, name, value, &())),
            "payload_bytes" => Some(apply(
                &mut self.payload_bytes,
                name,
                value,
                &(0..=MAX_PAYLOAD_BYTES),
            )),
            "curve" => Some(apply(&mut self.growth.curve, name, value, &())),
            "curve_every" => Some(apply(&mut self.growth.every, name, value, &EVERY)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Failure, Hoard, testing};

    crate::settings! {
        /// For the test's pattern.
        struct SampleSettings {
            /// Requests that are let through.
            skip: u64 = 0, in 0..=10;
            /// Requests that fail from here on.
            fail_after: u64 = 100, in 0..=100;
        }
    }

    #[derive(Debug, Default)]
    struct Sample(Hoard);

    impl LeakPlugin for Sample {
        const TITLE: &'static str = "Sample";
        const UNIT: &'static str = "samples";
        const PAYLOAD_BYTES: usize = 10;
        type Settings = SampleSettings;

        fn on_request(&mut self, call: Call<'_, SampleSettings>) -> Result<Effect, Failure> {
            if call.sequence > call.settings.fail_after {
                return Err(Failure::new("enough"));
            }
            if call.sequence <= call.settings.skip {
                return Ok(Effect::Skipped);
            }
            self.0.keep(call.payload(call.payload_bytes));
            Ok(Effect::Triggered)
        }

        fn retained(&self) -> Retention {
            self.0.retained()
        }
    }

    fn setting(name: &str, value: Value) -> Setting {
        Setting {
            name: name.to_owned(),
            value,
        }
    }

    #[test]
    fn the_manifest_has_the_settings_of_every_plugin_and_its_own() {
        let identity = Identity {
            id: "sample",
            version: "1.2.3",
            description: "Samples.",
        };
        let manifest = Instance::<Sample>::manifest(identity);
        assert_eq!(
            (manifest.id.as_str(), manifest.version.as_str()),
            ("sample", "1.2.3")
        );
        assert_eq!(
            (manifest.title.as_str(), manifest.unit.as_str()),
            ("Sample", "samples")
        );
        let names: Vec<_> = manifest
            .settings
            .iter()
            .map(|spec| spec.name.as_str())
            .collect();
        assert_eq!(
            names,
            [
                "variant",
                "payload_bytes",
                "curve",
                "curve_every",
                "skip",
                "fail_after"
            ]
        );
        assert!(matches!(
            manifest.settings.get(1).map(|spec| &spec.default),
            Some(Value::Integer(10))
        ));
    }

    #[test]
    fn configures_all_or_none() {
        let mut instance = Instance::<Sample>::default();
        for refused in [
            setting("skip", Value::Integer(11)),
            setting("unknown", Value::Integer(1)),
        ] {
            let name = refused.name.clone();
            let error = instance
                .configure(&[setting("payload_bytes", Value::Integer(999)), refused])
                .unwrap_err();
            assert_eq!(error.name, name);
            assert_eq!(instance.every.payload_bytes, 10);
        }
        instance
            .configure(&[
                setting("skip", Value::Integer(2)),
                setting("payload_bytes", Value::Integer(999)),
            ])
            .unwrap();
        assert_eq!((instance.own.skip, instance.every.payload_bytes), (2, 999));
    }

    #[test]
    fn payload_bytes_end_at_sixteen_mebibytes() {
        let mut instance = Instance::<Sample>::default();
        assert!(
            instance
                .configure(&[setting("payload_bytes", Value::Integer(16 << 20))])
                .is_ok()
        );
        assert!(
            instance
                .configure(&[setting("payload_bytes", Value::Integer((16 << 20) + 1))])
                .is_err()
        );
    }

    #[test]
    fn counts_requests_and_answers_for_each() {
        let mut instance = Instance::<Sample>::default();
        let settings = [
            setting("skip", Value::Integer(1)),
            setting("fail_after", Value::Integer(2)),
        ];
        instance.configure(&settings).unwrap();
        assert!(!instance.on_request(&testing::request(1)).unwrap().triggered);
        let outcome = instance.on_request(&testing::request(2)).unwrap();
        assert!(outcome.triggered);
        assert_eq!(outcome.retained.objects, 1);
        assert_eq!(
            instance.on_request(&testing::request(3)).unwrap_err(),
            "enough"
        );
        assert_eq!(instance.retained().objects, 1);
        assert_eq!(instance.clear().objects, 1);
        assert_eq!(
            (instance.retained().objects, instance.retained().bytes),
            (0, 0)
        );
        assert_eq!(instance.own.fail_after, 2, "settings stay");
    }
}
