//! What is recorded.

/// A plugin with settings.
#[derive(Debug)]
pub(crate) struct Pattern {
    /// The name of the recording.
    pub(crate) name: &'static str,
    /// The crate of the plugin, and its id.
    pub(crate) component: &'static str,
    /// Settings other than the defaults.
    pub(crate) settings: &'static [(&'static str, SettingValue)],
}

/// The value of a setting.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SettingValue {
    Text(&'static str),
    Integer(i64),
}

const fn shipped(name: &'static str) -> Pattern {
    Pattern {
        name,
        component: name,
        settings: &[],
    }
}

/// All patterns and decoys that the lab ships, and three more shapes of a leak.
pub(crate) const PATTERNS: &[Pattern] = &[
    shipped("cache"),
    shipped("history"),
    shipped("listeners"),
    shipped("reference-cycle"),
    shipped("unbounded-queue"),
    shipped("sessions"),
    shipped("uncancelled-timers"),
    shipped("metric-labels"),
    shipped("peak-buffers"),
    shipped("fragmentation"),
    shipped("warm-up"),
    shipped("sawtooth"),
    shipped("one-off-spike"),
    shipped("in-flight"),
    // One buffer that doubles when it is full.
    Pattern {
        name: "doubling",
        component: "fixture-doubles",
        settings: &[],
    },
    // A leak under garbage: the floor of a sawtooth rises.
    Pattern {
        name: "cache-sawtooth",
        component: "cache",
        settings: &[
            ("curve", SettingValue::Text("sawtooth")),
            ("curve_every", SettingValue::Integer(50)),
        ],
    },
    // A leak in steps of equal height.
    Pattern {
        name: "cache-step",
        component: "cache",
        settings: &[
            ("curve", SettingValue::Text("step")),
            ("curve_every", SettingValue::Integer(20)),
        ],
    },
];
