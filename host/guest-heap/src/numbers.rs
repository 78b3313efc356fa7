//! Numbers as text, and structs of numbers as arrays.

/// A number with a comma between groups of three digits, as in reports: `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Converts a struct of numbers to an array and back. The order is that of the fields here.
macro_rules! convert_to_numbers {
    ($visibility:vis $type:ident: $number:ty, $($field:ident)+) => {
        impl $type {
            /// How many numbers there are.
            $visibility const NUMBERS: usize = [$(stringify!($field)),+].len();

            /// The numbers in the order of the fields, for a place that keeps numbers only.
            $visibility fn to_numbers(self) -> [$number; Self::NUMBERS] {
                [$(self.$field),+]
            }

            /// The inverse of [`to_numbers`](Self::to_numbers).
            $visibility fn from_numbers(numbers: [$number; Self::NUMBERS]) -> Self {
                let [$($field),+] = numbers;
                Self { $($field),+ }
            }
        }
    };
}
pub(crate) use convert_to_numbers;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three_digits() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn a_struct_is_the_same_after_both_conversions() {
        #[derive(Clone, Copy, Debug, PartialEq)]
        struct Pair {
            first: u32,
            second: u32,
        }
        convert_to_numbers!(pub(self) Pair: u32, first second);
        let pair = Pair {
            first: 1,
            second: 2,
        };
        assert_eq!(pair.to_numbers(), [1, 2]);
        assert_eq!(Pair::from_numbers([1, 2]), pair);
    }
}
