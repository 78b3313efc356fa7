//! Parsers for the values of options. An error says which values are valid.

use std::ops::RangeInclusive;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use guest_heap::symbols::{PatternError, SymbolOptions};
use plugin_host::conformance;
use plugin_host::settings::HeapProfile;
use process_memory::byte_size::ByteSize;

const DEADLINE_RANGE: RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(60);
const QUEUE_TIMEOUT_RANGE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(60);
const CLIENT_TIMEOUT_RANGE: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(3600);
const PLUGIN_MEMORY_BYTES: RangeInclusive<u64> = 1 << 20..=1 << 32;
const COMPILE_TIMEOUT_RANGE: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(600);
const COMPILE_MEMORY_BYTES: RangeInclusive<u64> = 32 << 20..=16 << 30;
const UPLOAD_BUDGET_BYTES: RangeInclusive<u64> = 1 << 20..=64 << 30;
const CONNECTIONS_RANGE: RangeInclusive<usize> = 16..=1_000_000;
const COMPONENT_BYTES: RangeInclusive<u64> = 1 << 10..=1 << 30;
const ROLLOUT_SECONDS: RangeInclusive<u64> = 1..=24 * 3600;
const CACHE_BYTES: RangeInclusive<u64> = 1 << 20..=1 << 40;

/// One of the heap profiles, by name.
pub(super) fn heap_profile() -> impl TypedValueParser<Value = HeapProfile> {
    let value = |profile: HeapProfile| {
        PossibleValue::new(profile.name()).help(match profile {
            HeapProfile::Exact => "Track every allocation",
            HeapProfile::Off => "Run plugins without instrumentation",
        })
    };
    PossibleValuesParser::new(HeapProfile::ALL.map(value))
        .try_map(|name| HeapProfile::from_name(&name).ok_or("not a heap profile"))
}

/// A pattern for own code.
pub(super) fn own_code(text: &str) -> Result<String, PatternError> {
    SymbolOptions::default().own_code(text)?;
    Ok(text.to_owned())
}

/// A pattern for functions that are skipped.
pub(super) fn skip_function(text: &str) -> Result<String, PatternError> {
    SymbolOptions::default().skip_function(text)?;
    Ok(text.to_owned())
}

/// A number with the unit `us`, `ms` or `s`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let invalid = || "must be a number with a unit: 500us, 5ms, 1.5s".to_owned();
    let unit_start = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_start);
    let scale = match unit.trim() {
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        _ => return Err(invalid()),
    };
    let number: f64 = number.parse().map_err(|_| invalid())?;
    Duration::try_from_secs_f64(number * scale).map_err(|e| e.to_string())
}

pub(super) fn deadline(text: &str) -> Result<Duration, String> {
    let deadline = duration(text)?;
    in_range(deadline, &deadline, &DEADLINE_RANGE, "10ms to 60s")
}

pub(super) fn queue_timeout(text: &str) -> Result<Duration, String> {
    let timeout = duration(text)?;
    in_range(timeout, &timeout, &QUEUE_TIMEOUT_RANGE, "0ms to 60s")
}

pub(super) fn client_timeout(text: &str) -> Result<Duration, String> {
    let timeout = duration(text)?;
    in_range(timeout, &timeout, &CLIENT_TIMEOUT_RANGE, "100ms to 3600s")
}

/// A number with the unit `s`, `m` or `h`.
pub(super) fn rollout_time(text: &str) -> Result<Duration, String> {
    let valid = "must be a whole number with a unit, 1s to 24h: 90s, 10m, 2h";
    let seconds = [("s", 1), ("m", 60), ("h", 3600)]
        .iter()
        .find_map(|(unit, seconds)| {
            let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
            number.checked_mul(*seconds)
        })
        .ok_or(valid)?;
    in_range(
        Duration::from_secs(seconds),
        &seconds,
        &ROLLOUT_SECONDS,
        "1s to 24h",
    )
}

pub(super) fn compile_timeout(text: &str) -> Result<Duration, String> {
    let timeout = duration(text)?;
    in_range(timeout, &timeout, &COMPILE_TIMEOUT_RANGE, "100ms to 600s")
}

pub(super) fn compile_memory(text: &str) -> Result<ByteSize, String> {
    let size = byte_size(text)?;
    in_range(size, &size.bytes(), &COMPILE_MEMORY_BYTES, "32MiB to 16GiB")
}

pub(super) fn plugin_memory(text: &str) -> Result<ByteSize, String> {
    let size = byte_size(text)?;
    in_range(size, &size.bytes(), &PLUGIN_MEMORY_BYTES, "1MiB to 4GiB")
}

pub(super) fn component_size(text: &str) -> Result<ByteSize, String> {
    let size = byte_size(text)?;
    in_range(size, &size.bytes(), &COMPONENT_BYTES, "1KiB to 1GiB")
}

pub(super) fn upload_budget(text: &str) -> Result<ByteSize, String> {
    let size = byte_size(text)?;
    in_range(size, &size.bytes(), &UPLOAD_BUDGET_BYTES, "1MiB to 64GiB")
}

pub(super) fn connections(text: &str) -> Result<usize, String> {
    let valid = "16 to 1000000";
    let connections = text.parse().map_err(|_| format!("must be {valid}"))?;
    in_range(connections, &connections, &CONNECTIONS_RANGE, valid)
}

pub(super) fn cache_size(text: &str) -> Result<ByteSize, String> {
    let size = byte_size(text)?;
    in_range(size, &size.bytes(), &CACHE_BYTES, "1MiB to 1TiB")
}

pub(super) fn requests(text: &str) -> Result<u32, String> {
    let range = conformance::REQUESTS_RANGE;
    let valid = format!("{} to {}", range.start(), range.end());
    let requests = text.parse().map_err(|_| format!("must be {valid}"))?;
    in_range(requests, &requests, &range, &valid)
}

fn byte_size(text: &str) -> Result<ByteSize, String> {
    text.parse()
        .map_err(|e: process_memory::byte_size::ByteSizeError| e.to_string())
}

fn in_range<V, T: PartialOrd>(
    value: V,
    measure: &T,
    range: &RangeInclusive<T>,
    valid: &str,
) -> Result<V, String> {
    if range.contains(measure) {
        Ok(value)
    } else {
        Err(format!("must be {valid}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("5ms"), Ok(Duration::from_millis(5)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("20us"), Ok(Duration::from_micros(20)));
        for bad in ["5", "ms", "-1s", "5 hours", ""] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn values_out_of_range_are_refused_with_the_range() {
        let outside = |valid: &str| Err(format!("must be {valid}"));
        assert_eq!(deadline("9ms"), outside("10ms to 60s"));
        assert_eq!(deadline("61s"), outside("10ms to 60s"));
        assert_eq!(client_timeout("0s"), outside("100ms to 3600s"));
        assert_eq!(client_timeout("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(queue_timeout("61s"), outside("0ms to 60s"));
        assert!(plugin_memory("1023KiB").is_err() && plugin_memory("4GiB").is_ok());
        assert!(component_size("1023B").is_err() && component_size("1KiB").is_ok());
        assert!(cache_size("1023KiB").is_err() && cache_size("1TiB").is_ok());
        assert_eq!(compile_timeout("99ms"), outside("100ms to 600s"));
        assert!(compile_memory("31MiB").is_err() && compile_memory("32MiB").is_ok());
        assert_eq!(requests("49"), Err("must be 50 to 5000".to_owned()));
        assert!(upload_budget("1023KiB").is_err() && upload_budget("64GiB").is_ok());
        assert!(connections("15").is_err() && connections("16") == Ok(16));
        assert_eq!(requests("many"), Err("must be 50 to 5000".to_owned()));
        assert_eq!(requests("50"), Ok(50));
        assert_eq!(rollout_time("0s"), outside("1s to 24h"));
        assert_eq!(rollout_time("24h"), Ok(Duration::from_secs(86_400)));
        assert_eq!(rollout_time("10m"), Ok(Duration::from_secs(600)));
        for bad in ["10", "m", "25h", "-1s", "1.5m", "99999999999999999h"] {
            assert!(rollout_time(bad).is_err(), "{bad}");
        }
    }
}
