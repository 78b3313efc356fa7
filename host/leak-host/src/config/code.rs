//! The options that say whose code the frames of plugins are.

use clap::Args;
use guest_heap::symbols::{PatternError, SymbolOptions};
use plugin_host::load::symbol_options::symbol_options;

use super::values;

/// Whose code the frames of plugins are.
#[derive(Debug, Args)]
pub(crate) struct CodeOptions {
    /// Code that counts as the plugins' own: a path as reports show it, or a crate; can be repeated
    ///
    /// `path:`, `crate:` or `function:` in front says which it is, and `*` stands for any
    /// characters.
    #[arg(
        long,
        env = "LEAK_OWN_CODE",
        value_name = "PATTERN",
        value_delimiter = ',',
        value_parser = values::own_code
    )]
    own_code: Vec<String>,

    /// Function whose caller is shown instead, such as a wrapper of malloc; can be repeated
    ///
    /// The name of a function or the end of its path; a path or a crate as in --own-code.
    #[arg(
        long,
        env = "LEAK_SKIP_FUNCTION",
        value_name = "PATTERN",
        value_delimiter = ',',
        value_parser = values::skip_function
    )]
    skip_function: Vec<String>,
}

impl CodeOptions {
    /// The lab's options for symbols with these patterns.
    ///
    /// # Errors
    ///
    /// A pattern is wrong. The command line has refused it already.
    pub(crate) fn symbol_options(&self) -> Result<SymbolOptions, PatternError> {
        let mut own = self.own_code.iter();
        let options = own.try_fold(symbol_options(), |options, pattern| {
            options.own_code(pattern)
        })?;
        let mut skipped = self.skip_function.iter();
        skipped.try_fold(options, |options, pattern| options.skip_function(pattern))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        code: CodeOptions,
    }

    #[test]
    fn patterns_can_be_repeated_and_a_wrong_one_is_refused_with_the_reason() {
        let line = [
            "host",
            "--own-code",
            "my-pool,vendor/arena",
            "--own-code=path:third/*.c",
            "--skip-function=xmalloc",
        ];
        let code = Line::try_parse_from(line).unwrap().code;
        assert_eq!(code.own_code, ["my-pool", "vendor/arena", "path:third/*.c"]);
        assert_eq!(code.skip_function, ["xmalloc"]);
        assert!(code.symbol_options().is_ok());
        for (option, pattern, reason) in [
            ("--own-code", "*", "needs more than stars"),
            ("--own-code", "/home/ann/app", "a path is relative"),
            ("--own-code", "crate:a b", "no name of a crate"),
            (
                "--skip-function",
                "fn:xmalloc",
                "`path:`, `crate:` or `function:`",
            ),
        ] {
            let error = Line::try_parse_from(["host", option, pattern]).unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}
