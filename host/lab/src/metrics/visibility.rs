//! Which metrics a scrape and an export show while the names of the plugins are hidden.

use std::sync::atomic::{AtomicU8, Ordering};

/// Families that say which leaks are on and what a pattern says of itself: the answer to the
/// question that a mystery asks.
const TRUTH: [&str; 4] = [
    "leak_active",
    "leak_enabled",
    "leak_retained_bytes",
    "leak_retained_objects",
];

/// Families whose labels name source lines.
const LINES: [&str; 1] = ["leak_site_live_bytes"];

/// The prefixes of all families that have series for plugins only.
const OF_PLUGINS: [&str; 5] = [
    "leak_plugin_",
    "leak_site_",
    "leak_retained_",
    "leak_active",
    "leak_enabled",
];

/// Which metrics are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum MetricsVisibility {
    /// All of them.
    #[default]
    All = 0,
    /// All but those that say which leaks are on.
    WithoutTruth = 1,
    /// The same, without source lines.
    WithoutLines = 2,
    /// Only metrics of the process and of its requests.
    ProcessOnly = 3,
}

impl MetricsVisibility {
    /// Whether a family is shown.
    pub(crate) fn shows(self, family: &str) -> bool {
        match self {
            Self::All => true,
            Self::WithoutTruth => !TRUTH.contains(&family),
            Self::WithoutLines => !TRUTH.contains(&family) && !LINES.contains(&family),
            Self::ProcessOnly => !OF_PLUGINS.iter().any(|prefix| family.starts_with(prefix)),
        }
    }

    /// Whether source lines are shown.
    pub(crate) fn shows_lines(self) -> bool {
        matches!(self, Self::All | Self::WithoutTruth)
    }

    /// Whether families of the process, such as `leak_memory_growth_bytes_per_second`, have series
    /// for plugins too.
    pub(crate) fn shows_plugins(self) -> bool {
        self != Self::ProcessOnly
    }
}

/// The present choice.
#[derive(Debug, Default)]
pub(crate) struct CurrentVisibility(AtomicU8);

impl CurrentVisibility {
    pub(crate) fn set(&self, visibility: MetricsVisibility) {
        self.0.store(visibility as u8, Ordering::SeqCst);
    }

    pub(crate) fn get(&self) -> MetricsVisibility {
        match self.0.load(Ordering::SeqCst) {
            0 => MetricsVisibility::All,
            1 => MetricsVisibility::WithoutTruth,
            2 => MetricsVisibility::WithoutLines,
            _ => MetricsVisibility::ProcessOnly,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The list of all metrics, which other tests compare with the metrics of a host.
    const ALL: &str = include_str!("../../metrics.txt");

    /// The start of the families of the process that can also have the label `plugin`.
    const SHARED: &str = "leak_memory_";

    /// The names of the families that have the label `plugin`, and whether they can lack it.
    fn families_of_plugins() -> impl Iterator<Item = (&'static str, bool)> {
        let lines = ALL.lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next()?;
            let label = words.find(|word| word.trim_end_matches('?') == "plugin")?;
            Some((name, label.ends_with('?')))
        })
    }

    #[test]
    fn every_family_of_plugins_is_hidden_where_only_the_process_is_shown() {
        let mut count = 0;
        for (name, is_shared) in families_of_plugins() {
            let shown = MetricsVisibility::ProcessOnly.shows(name);
            assert_eq!(shown, is_shared, "{name}");
            assert_eq!(is_shared, name.starts_with(SHARED), "{name}");
            count += 1;
        }
        assert!(count > 20, "{count}");
    }

    #[test]
    fn what_a_pattern_says_of_itself_is_hidden_at_every_level() {
        use MetricsVisibility::{ProcessOnly, WithoutLines, WithoutTruth};
        for name in TRUTH {
            for visibility in [WithoutTruth, WithoutLines, ProcessOnly] {
                assert!(!visibility.shows(name), "{name} {visibility:?}");
            }
        }
        assert!(WithoutTruth.shows("leak_site_live_bytes"));
        assert!(!WithoutLines.shows("leak_site_live_bytes"));
        assert!(WithoutLines.shows("leak_plugin_heap_live_bytes"));
        assert!(ProcessOnly.shows("process_resident_memory_bytes"));
    }

    #[test]
    fn the_choice_is_kept() {
        let current = CurrentVisibility::default();
        assert_eq!(current.get(), MetricsVisibility::All);
        for visibility in [
            MetricsVisibility::WithoutTruth,
            MetricsVisibility::WithoutLines,
            MetricsVisibility::ProcessOnly,
            MetricsVisibility::All,
        ] {
            current.set(visibility);
            assert_eq!(current.get(), visibility);
        }
    }
}
