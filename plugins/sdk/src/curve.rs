//! How retained memory grows from one request to the next: the settings `curve` and `curve_every`.
//!
//! Real leaks rarely grow in a straight line. For each request the curve decides how many bytes the
//! pattern retains, and for how long. The pattern runs the same code for every curve.

use std::hash::{DefaultHasher, Hasher};
use std::ops::RangeInclusive;

use crate::Request;
use crate::settings::MAX_PAYLOAD_BYTES;

crate::choice! {
    /// The shape of the growth. N is the setting `curve_every`.
    pub enum Curve {
        /// Each request retains `payload_bytes`.
        Linear = "linear",
        /// One request in N retains N times `payload_bytes`; the others retain nothing.
        Step = "step",
        /// The bytes that a request retains double with every N requests, up to
        /// [`MAX_PAYLOAD_BYTES`](crate::settings::MAX_PAYLOAD_BYTES).
        Exponential = "exponential",
        /// Each request retains `payload_bytes`. After every N requests the pattern drops three
        /// quarters of them at once; one quarter stays.
        Sawtooth = "sawtooth",
        /// Only requests that are answered with status 500 or above retain `payload_bytes`.
        OnError = "on-error",
        /// Only requests of one tenant in N retain `payload_bytes`.
        OneTenant = "one-tenant",
    }
}

/// The values that `curve_every` takes.
pub(crate) const CURVE_EVERY_RANGE: RangeInclusive<u64> = 1..=100_000;

/// With the curve `sawtooth`, one request in this many is retained permanently.
const SAWTOOTH_PERMANENT_EVERY: u64 = 4;

/// The two settings of the curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CurveSettings {
    pub(crate) curve: Curve,
    /// `curve_every`: a number of requests or, for `one-tenant`, of tenants.
    pub(crate) every: u64,
}

/// What the pattern does with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CurveAction {
    /// It skips the request.
    Skip,
    /// It retains this many bytes.
    Retain(usize),
    /// It retains this many bytes until the end of the tooth.
    RetainUntilToothEnd(usize),
}

impl Default for CurveSettings {
    fn default() -> Self {
        Self {
            curve: Curve::Linear,
            every: 100,
        }
    }
}

impl CurveSettings {
    /// The action for request number `n` of the curve, starting at 1.
    pub(crate) fn action(self, n: u64, payload_bytes: usize, request: &Request) -> CurveAction {
        let retain_if = |condition: bool| {
            if condition {
                CurveAction::Retain(payload_bytes)
            } else {
                CurveAction::Skip
            }
        };
        match self.curve {
            Curve::Linear => CurveAction::Retain(payload_bytes),
            Curve::Step if n.is_multiple_of(self.every) => {
                CurveAction::Retain(scaled(payload_bytes, self.every as f64))
            }
            Curve::Step => CurveAction::Skip,
            Curve::Exponential => {
                let doublings = n.saturating_sub(1) as f64 / self.every as f64;
                CurveAction::Retain(scaled(payload_bytes, doublings.exp2()))
            }
            Curve::Sawtooth if n.is_multiple_of(SAWTOOTH_PERMANENT_EVERY) => {
                CurveAction::Retain(payload_bytes)
            }
            Curve::Sawtooth => CurveAction::RetainUntilToothEnd(payload_bytes),
            Curve::OnError => retain_if(request.status >= 500),
            Curve::OneTenant => retain_if(tenant(request, n).is_multiple_of(self.every)),
        }
    }

    /// Whether a tooth ends with request number `n`.
    pub(crate) fn ends_tooth(self, n: u64) -> bool {
        self.curve == Curve::Sawtooth && n.is_multiple_of(self.every)
    }
}

/// `payload_bytes` times `factor`, limited to [`MAX_PAYLOAD_BYTES`].
fn scaled(payload_bytes: usize, factor: f64) -> usize {
    // The cast saturates: a float that is too large, or infinite, becomes `usize::MAX`.
    ((payload_bytes as f64 * factor) as usize).min(MAX_PAYLOAD_BYTES)
}

/// The number of the request's tenant, from `?tenant=7` or the header `x-tenant: 7`. A name that is
/// not a number is hashed. Requests without a tenant are spread evenly: their tenant is `n`.
fn tenant(request: &Request, n: u64) -> u64 {
    let in_query = request
        .query
        .split('&')
        .find_map(|pair| pair.strip_prefix("tenant="));
    let in_header = || {
        request
            .headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("x-tenant"))
            .map(|(_, value)| value.as_str())
    };
    in_query.or_else(in_header).map_or(n, |name| {
        name.parse().unwrap_or_else(|_| {
            // The hasher has no random seed: a name is the same tenant in every run.
            let mut hasher = DefaultHasher::new();
            hasher.write(name.as_bytes());
            hasher.finish()
        })
    })
}

#[cfg(test)]
mod tests;
