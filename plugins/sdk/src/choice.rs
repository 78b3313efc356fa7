//! Settings that take one of a few words.

/// An enum whose values are words in the admin API. Made by [`choice!`](crate::choice).
pub trait Choice: Copy + 'static {
    /// Every value with its word, in the order in which they are shown.
    const WORDS: &'static [(Self, &'static str)];

    /// The word for this value.
    fn word(self) -> &'static str;

    /// The value for a word.
    fn from_word(word: &str) -> Option<Self> {
        Self::WORDS
            .iter()
            .find(|(_, known)| *known == word)
            .map(|(value, _)| *value)
    }
}

/// Makes an enum that can be the type of a setting.
///
/// ```
/// leak_plugin_sdk::choice! {
///     /// Where lines go.
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
