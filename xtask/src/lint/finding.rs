//! What a text check reports, and how the findings are printed.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// A place that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Relative to the root of the checkout.
    pub(crate) file: PathBuf,
    /// Counted from 1.
    pub(crate) line: usize,
    /// The rule, and how to keep it.
    pub(crate) message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.message)
    }
}

/// Prints every finding to stdout, then how many each folder has.
pub(crate) fn print(findings: &[Finding]) {
    let mut folders: BTreeMap<PathBuf, usize> = BTreeMap::new();
    for finding in findings {
        println!("{finding}");
        let folder = finding.file.components().take(2).collect::<PathBuf>();
        *folders.entry(folder).or_default() += 1;
    }
    if !findings.is_empty() {
        println!("\n{} findings:", findings.len());
    }
    for (folder, count) in folders {
        println!("  {count:>5}  {}", folder.display());
    }
}
