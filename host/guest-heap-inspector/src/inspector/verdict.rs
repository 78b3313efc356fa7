//! What holds the memory of a guest, by its history.

use guest_heap::verdict::{Verdict, Windows, rounded};

use super::{Inspector, lock};

/// Lines that a verdict names.
const MAX_LINES: usize = 3;

/// What holds the memory of a guest.
#[derive(Debug, Clone, PartialEq)]
pub struct GuestVerdict {
    /// The verdict.
    pub verdict: Verdict,
    /// The lines that grow, with their bytes per call, largest growth first.
    pub lines: Vec<(String, f64)>,
    /// Calls that were observed.
    pub calls: u64,
}

impl GuestVerdict {
    /// One sentence with the evidence: the verdict and the lines that grow.
    pub fn sentence(&self) -> String {
        let sentence = self.verdict.sentence(self.calls, "call");
        if self.lines.is_empty() {
            return sentence;
        }
        let lines = self.lines.iter();
        let lines = lines.map(|(location, bytes)| format!("{location} (+{})", rounded(*bytes)));
        let lines: Vec<String> = lines.collect();
        format!("{sentence}: {}", lines.join(", "))
    }
}

impl Inspector {
    /// The verdict on a guest, by the readings since its instance was started. `None` while there
    /// is too little evidence: the host must count calls, and have counted ten of them over four
    /// readings. It is also `None` if the host keeps the history itself, or if nothing says how
    /// much memory the guest takes.
    pub fn verdict(&self, guest: &str) -> Option<GuestVerdict> {
        if self.source.history(guest).is_some() {
            return None;
        }
        let tracked = self.tracked(guest);
        let (windows, handles) = {
            let samples = lock(&tracked.samples);
            if !samples.are_measured() {
                return None;
            }
            let windows = Windows::of(samples.of_instance())?;
            let handles = samples.handle_growth(&windows.starts);
            (windows, handles)
        };
        let lines = lock(&tracked.history).floors(&windows.starts);
        let verdict = Verdict::of_guest(&windows.evidence(&lines, handles));
        let between = windows.calls_between() as f64;
        let is_leak = matches!(verdict, Verdict::Leak { .. });
        let growing = lines
            .iter()
            .filter(|line| is_leak && line.bytes.rises() && !line.bytes.slows(&windows.calls));
        Some(GuestVerdict {
            lines: growing
                .take(MAX_LINES)
                .map(|line| {
                    let bytes = line.bytes.growth() as f64 / between;
                    (line.site.location.to_string(), bytes)
                })
                .collect(),
            calls: windows.observed_calls(),
            verdict,
        })
    }
}
