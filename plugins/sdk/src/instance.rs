//! Implements the contract's calls for a [`LeakPlugin`]: it owns the pattern and its settings,
//! applies the curve, and passes each request to the pattern.

use crate::curve::{CURVE_EVERY_RANGE, CurveAction, CurveSettings};
use crate::settings::{MAX_PAYLOAD_BYTES, apply, spec};
use crate::{
    Call, Effect, LeakPlugin, Manifest, Outcome, Request, Retention, Setting, SettingError,
    SettingSpec, Settings, Value, Variant,
};

/// A plugin's id, version and description. [`export!`](crate::export!) takes them from
/// `Cargo.toml`.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// The name of the crate, which becomes the plugin's id.
    pub id: &'static str,
    /// The version of the crate.
    pub version: &'static str,
    /// The description of the crate: one sentence, at most 1,000 characters.
    pub description: &'static str,
}

/// One running plugin, which answers the calls of the contract. It does not depend on wasm, so
/// tests run it natively.
#[derive(Debug)]
pub struct Instance<P: LeakPlugin> {
    plugin: P,
    /// A second copy of the pattern, for the curve `sawtooth`. The end of a tooth clears it. Every
    /// pattern can be cleared as a whole, so no pattern needs code for the curve.
    tooth: P,
    common: CommonSettings,
    own: P::Settings,
    /// The number of requests since the plugin was instantiated.
    sequence: u64,
    /// The value of `sequence` when the curve started.
    curve_start: u64,
}

/// The settings that every plugin has.
#[derive(Clone, Debug)]
struct CommonSettings {
    variant: Variant,
    payload_bytes: usize,
    curve: CurveSettings,
}

impl<P: LeakPlugin> Default for Instance<P> {
    fn default() -> Self {
        Self {
            plugin: P::default(),
            tooth: P::default(),
            common: CommonSettings {
                variant: Variant::Leaky,
                payload_bytes: P::PAYLOAD_BYTES,
                curve: CurveSettings::default(),
            },
            own: P::Settings::default(),
            sequence: 0,
            curve_start: 0,
        }
    }
}

impl<P: LeakPlugin> Instance<P> {
    /// The plugin's manifest. It is the same for every instance.
    pub fn manifest(identity: Identity) -> Manifest {
        let defaults = Self::default();
        let mut settings = defaults.common.specs(P::PAYLOAD_DESCRIPTION);
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

    /// Sets new values for some of the settings.
    ///
    /// # Errors
    /// Names the first setting that is unknown, has the wrong type or is out of range. No setting
    /// changes then.
    pub fn configure(&mut self, settings: &[Setting]) -> Result<(), SettingError> {
        let mut common = self.common.clone();
        let mut own = self.own.clone();
        for Setting { name, value } in settings {
            common
                .set(name, value)
                .or_else(|| own.set(name, value))
                .unwrap_or_else(|| {
                    Err(SettingError {
                        name: name.clone(),
                        message: "is not a setting of this plugin".to_owned(),
                    })
                })?;
        }
        if common.curve != self.common.curve {
            self.restart_curve();
        }
        (self.common, self.own) = (common, own);
        Ok(())
    }

    /// Passes one request to the pattern.
    ///
    /// # Errors
    /// The text of the pattern's [`Failure`](crate::Failure).
    pub fn on_request(&mut self, request: &Request) -> Result<Outcome, String> {
        self.sequence = self.sequence.wrapping_add(1);
        let n = self.sequence.wrapping_sub(self.curve_start);
        let CommonSettings {
            variant,
            payload_bytes,
            curve,
        } = self.common;
        let retained_by = match curve.action(n, payload_bytes, request) {
            CurveAction::Skip => None,
            CurveAction::Retain(bytes) => Some((&mut self.plugin, bytes)),
            CurveAction::RetainUntilToothEnd(bytes) => Some((&mut self.tooth, bytes)),
        };
        let result = match retained_by {
            None => Ok(Effect::Skipped),
            Some((pattern, payload_bytes)) => pattern.on_request(Call {
                request,
                variant,
                payload_bytes,
                settings: &self.own,
                sequence: self.sequence,
            }),
        };
        if curve.ends_tooth(n) {
            self.tooth.clear();
        }
        let effect = result.map_err(|failure| failure.to_string())?;
        Ok(Outcome {
            triggered: effect == Effect::Triggered,
            retained: self.retained(),
        })
    }

    /// The objects and bytes that the pattern holds now, both copies together.
    pub fn retained(&self) -> Retention {
        let (permanent, tooth) = (self.plugin.retained(), self.tooth.retained());
        Retention {
            objects: permanent.objects + tooth.objects,
            bytes: permanent.bytes + tooth.bytes,
        }
    }

    /// Drops everything that the pattern holds and returns how much that was. Settings stay; the
    /// curve restarts.
    pub fn clear(&mut self) -> Retention {
        let dropped = self.retained();
        self.plugin.clear();
        self.restart_curve();
        dropped
    }

    fn restart_curve(&mut self) {
        self.tooth.clear();
        self.curve_start = self.sequence;
    }
}

impl CommonSettings {
    fn specs(&self, payload_description: &str) -> Vec<SettingSpec> {
        vec![
            spec(
                "variant",
                "Whether the pattern runs with its bug (leaky) or with the bug fixed (fixed).",
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
                "How retained memory grows with the number of requests.",
                &self.curve.curve,
                &(),
            ),
            spec(
                "curve_every",
                "Period of the curve in requests. For one-tenant: one tenant in this many leaks.",
                &self.curve.every,
                &CURVE_EVERY_RANGE,
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
            "curve" => Some(apply(&mut self.curve.curve, name, value, &())),
            "curve_every" => Some(apply(
                &mut self.curve.every,
                name,
                value,
                &CURVE_EVERY_RANGE,
            )),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Failure, Hoard, testing};

    crate::settings! {
        /// Settings of the test pattern.
        struct SampleSettings {
            /// Number of requests to skip first.
            skip: u64 = 0, in 0..=10;
            /// Number of requests before the pattern fails.
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
                return Err(Failure::new("no more requests"));
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
    fn the_manifest_lists_the_common_settings_and_its_own() {
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
    fn configure_sets_all_settings_or_none() {
        let mut instance = Instance::<Sample>::default();
        for rejected in [
            setting("skip", Value::Integer(11)),
            setting("unknown", Value::Integer(1)),
        ] {
            let name = rejected.name.clone();
            let error = instance
                .configure(&[setting("payload_bytes", Value::Integer(999)), rejected])
                .unwrap_err();
            assert_eq!(error.name, name);
            assert_eq!(instance.common.payload_bytes, 10);
        }
        instance
            .configure(&[
                setting("skip", Value::Integer(2)),
                setting("payload_bytes", Value::Integer(999)),
            ])
            .unwrap();
        assert_eq!((instance.own.skip, instance.common.payload_bytes), (2, 999));
    }

    #[test]
    fn payload_bytes_are_limited_to_16_mib() {
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
    fn each_request_returns_its_outcome_or_failure() {
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
            "no more requests"
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
