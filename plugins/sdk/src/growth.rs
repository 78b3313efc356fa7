//! How what is retained grows from one request to the next: the settings `curve` and `curve_every`.
//!
//! A leak in the field is seldom a straight line. The curve decides for each request how much of it the
//! pattern is to retain, if anything; the pattern itself knows nothing of it and runs the same code.

use std::hash::{DefaultHasher, Hasher};
use std::ops::RangeInclusive;

use crate::Request;
use crate::settings::MAX_PAYLOAD_BYTES;

crate::choice! {
    /// The shape of the growth.
    pub enum Curve {
        /// Each request retains `payload_bytes`.
        Linear = "linear",
        /// One request in `curve_every` retains what all of them would have.
        Step = "step",
        /// What a request retains doubles with every `curve_every` requests.
        Exponential = "exponential",
        /// Of the last `curve_every` requests three quarters are let go at once, a quarter stays.
        Sawtooth = "sawtooth",
        /// Only a request that is answered with an error, 500 or above, retains anything.
        OnError = "on-error",
        /// Only the requests of one tenant in `curve_every` retain anything.
        OneTenant = "one-tenant",
    }
}

/// The values that `curve_every` takes.
pub(crate) const EVERY: RangeInclusive<u64> = 1..=100_000;

/// In a sawtooth, one request in so many stays.
const FLOOR_SHARE: u64 = 4;

/// How a pattern is to grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Growth {
    pub(crate) curve: Curve,
    /// A number of requests, or of tenants.
    pub(crate) every: u64,
}

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// The pattern lets it pass.
    Nothing,
    /// The pattern retains so many bytes of it.
    Kept(usize),
    /// The pattern retains so many bytes of it until the tooth ends.
    UntilTheToothEnds(usize),
}

impl Default for Growth {
    fn default() -> Self {
        Self {
            curve: Curve::Linear,
            every: 100,
        }
    }
}

impl Growth {
    /// What becomes of request number `n` since the curve began, from 1.
    pub(crate) fn share(self, n: u64, payload_bytes: usize, request: &Request) -> Share {
        let kept_if = |kept: bool| {
            if kept {
                Share::Kept(payload_bytes)
            } else {
                Share::Nothing
            }
        };
        match self.curve {
            Curve::Linear => Share::Kept(payload_bytes),
            Curve::Step if n.is_multiple_of(self.every) => {
                Share::Kept(scaled(payload_bytes, self.every as f64))
            }
            Curve::Step => Share::Nothing,
            Curve::Exponential => {
                let doublings = n.saturating_sub(1) as f64 / self.every as f64;
                Share::Kept(scaled(payload_bytes, doublings.exp2()))
            }
            Curve::Sawtooth if n.is_multiple_of(FLOOR_SHARE) => Share::Kept(payload_bytes),
            Curve::Sawtooth => Share::UntilTheToothEnds(payload_bytes),
            Curve::OnError => kept_if(request.status >= 500),
            Curve::OneTenant => kept_if(tenant(request, n).is_multiple_of(self.every)),
        }
    }

    /// Whether a tooth ends with request number `n`.
    pub(crate) fn ends_tooth(self, n: u64) -> bool {
        self.curve == Curve::Sawtooth && n.is_multiple_of(self.every)
    }
}

/// `payload_bytes` so many times, but not more than a request may retain at all.
fn scaled(payload_bytes: usize, factor: f64) -> usize {
    // A float that is too large, or infinite, becomes the largest integer.
    ((payload_bytes as f64 * factor) as usize).min(MAX_PAYLOAD_BYTES)
}

/// The number of the tenant that a request belongs to: `?tenant=7` or the header `x-tenant: 7`. A name
/// that is no number stands for its hash. Requests that name none are dealt out in turn.
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
            // Without a random seed: a tenant is the same one in each run.
            let mut hasher = DefaultHasher::new();
            hasher.write(name.as_bytes());
            hasher.finish()
        })
    })
}

#[cfg(test)]
mod tests;
