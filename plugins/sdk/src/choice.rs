//! Settings whose value is one of a few words.

/// An enum whose variants are words in the admin API. [`choice!`](crate::choice) implements it.
pub trait Choice: Copy + 'static {
    /// Every variant with its word, in the order of the manifest. The contract allows 1 to 32
    /// words, each of 1 to 40 characters.
    const WORDS: &'static [(Self, &'static str)];

    /// The word for this variant.
    fn word(self) -> &'static str;

    /// The variant for a word; `None` if no variant has it. The comparison is case-sensitive.
    fn from_word(word: &str) -> Option<Self> {
        Self::WORDS
            .iter()
            .find(|(_, known)| *known == word)
            .map(|(value, _)| *value)
    }
}

/// Declares an enum that can be the type of a setting, and implements [`Choice`](crate::Choice).
///
/// ```
/// leak_plugin_sdk::choice! {
///     /// Where log lines go.
///     pub enum Sink {
///         /// To standard output.
///         Stdout = "stdout",
///         /// To the log.
///         Log = "log",
///     }
/// }
/// # fn main() {
/// use leak_plugin_sdk::Choice;
/// assert_eq!(Sink::from_word("log"), Some(Sink::Log));
/// # }
/// ```
#[macro_export]
macro_rules! choice {
    (
        $(#[$attribute:meta])*
        $visibility:vis enum $name:ident {
            $($(#[$value_attribute:meta])* $value:ident = $word:literal),+ $(,)?
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $visibility enum $name {
            $($(#[$value_attribute])* $value,)+
        }

        impl $crate::Choice for $name {
            const WORDS: &'static [(Self, &'static str)] = &[$((Self::$value, $word)),+];

            fn word(self) -> &'static str {
                match self {
                    $(Self::$value => $word,)+
                }
            }
        }
    };
}
