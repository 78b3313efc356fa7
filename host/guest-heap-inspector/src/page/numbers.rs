//! Numbers as the page writes them.

use guest_heap::grouped;

/// `12,345`, or `-12,345`, with a plus sign for growth.
pub(super) fn signed(value: i64) -> String {
    let sign = match value {
        0 => "",
        1.. => "+",
        _ => "-",
    };
    format!("{sign}{}", grouped(value.unsigned_abs()))
}

/// A count that may not be measured.
pub(super) fn measured<T>(value: Option<T>, text: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "not measured".to_owned(), text)
}

/// A rate with as many digits as it needs: `+1,234`, `+12.5`, `0`.
pub(super) fn rate(value: Option<f64>) -> String {
    match value {
        None => "–".to_owned(),
        Some(value) if value.abs() >= 100.0 || value == 0.0 => signed(value.round() as i64),
        Some(value) => format!("{value:+.1}"),
    }
}

/// `16.5 MiB`.
pub(super) fn size(bytes: u64) -> String {
    let unit = [("GiB", 30), ("MiB", 20), ("KiB", 10)]
        .into_iter()
        .find(|(_, shift)| bytes >> shift > 0);
    match unit {
        Some((unit, shift)) => {
            let number = bytes as f64 / f64::from(1_u32 << shift);
            format!("{number:.1} {unit}")
        }
        None => format!("{bytes} B"),
    }
}

/// `4 min`, `30 s`, `1.5 s`.
pub(super) fn time(seconds: f64) -> String {
    if seconds >= 120.0 {
        format!("{:.0} min", seconds / 60.0)
    } else if seconds >= 10.0 {
        format!("{seconds:.0} s")
    } else {
        format!("{seconds:.1} s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_as_many_digits_as_they_need() {
        let changes = [(0, "0"), (1234, "+1,234"), (-5, "-5")];
        assert_eq!(
            changes.map(|(value, _)| signed(value)),
            changes.map(|(_, text)| text)
        );
        let rates = [
            (1234.4, "+1,234"),
            (12.54, "+12.5"),
            (-0.3, "-0.3"),
            (0.0, "0"),
        ];
        assert_eq!(
            rates.map(|(value, _)| rate(Some(value))),
            rates.map(|(_, text)| text)
        );
        assert_eq!(rate(None), "–");
        let sizes = [(999, "999 B"), (1536, "1.5 KiB"), (3 << 30, "3.0 GiB")];
        assert_eq!(
            sizes.map(|(bytes, _)| size(bytes)),
            sizes.map(|(_, text)| text)
        );
        let times = [(1.5, "1.5 s"), (30.2, "30 s"), (240.0, "4 min")];
        assert_eq!(
            times.map(|(seconds, _)| time(seconds)),
            times.map(|(_, text)| text)
        );
    }
}
