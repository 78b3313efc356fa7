//! Facts about a component's sources that the component itself does not contain.

use super::code_pattern::{CodeNames, CodePattern, PatternError, Selects};

/// Selects the code that is not the user's own, and how paths are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SymbolOptions {
    infrastructure_paths: Vec<String>,
    infrastructure_crates: Vec<String>,
    pub(super) kept_folders: Vec<String>,
    own: Vec<CodePattern>,
    skipped: Vec<CodePattern>,
}

impl SymbolOptions {
    /// Marks the files below this folder as [`FrameKind::Infrastructure`]. The folder is a prefix
    /// of the shown path, such as `plugins/sdk`.
    ///
    /// A stack is attributed to infrastructure only if it has no frame of the user's own code.
    ///
    /// [`FrameKind::Infrastructure`]: super::FrameKind::Infrastructure
    #[must_use]
    pub fn infrastructure_path(mut self, folder: impl Into<String>) -> Self {
        self.infrastructure_paths.push(folder.into());
        self
    }

    /// Marks a crate as infrastructure, wherever its files are. The name is that of the crate or of
    /// its package, such as `leak_sdk` or `leak-sdk`.
    #[must_use]
    pub fn infrastructure_crate(mut self, name: impl Into<String>) -> Self {
        self.infrastructure_crates
            .push(name.into().replace('-', "_"));
        self
    }

    /// Marks code as the user's own, such as a library that the user maintains.
    ///
    /// The pattern is a path as reports show it (`vendor/pool`, `src/generated/*.rs`) or the name
    /// of a crate (`my-pool`). `path:`, `crate:` or `function:` in front says which it is. `*`
    /// stands for any characters; a path also selects everything below it.
    ///
    /// # Errors
    ///
    /// The pattern is longer than 512 bytes, selects everything, or is an absolute path or no name
    /// of a crate.
    pub fn own_code(mut self, pattern: &str) -> Result<Self, PatternError> {
        self.own.push(CodePattern::parse(pattern, Selects::Crate)?);
        Ok(self)
    }

    /// Marks functions as [`FrameKind::Infrastructure`], so that their callers are shown instead:
    /// wrappers such as `xmalloc`, `util::copy_of` or `Pool::*`.
    ///
    /// The pattern is the name of a function or the end of its path. As in
    /// [`SymbolOptions::own_code`], it can also be a path or a crate, and `*` stands for any
    /// characters. It has priority over own code.
    ///
    /// # Errors
    ///
    /// As for [`SymbolOptions::own_code`].
    ///
    /// [`FrameKind::Infrastructure`]: super::FrameKind::Infrastructure
    pub fn skip_function(mut self, pattern: &str) -> Result<Self, PatternError> {
        self.skipped
            .push(CodePattern::parse(pattern, Selects::Function)?);
        Ok(self)
    }

    /// Shows the paths of a workspace in a folder with this name including the folder:
    /// `plugins/cache/src/lib.rs` instead of `cache/src/lib.rs`. Paths of other workspaces are
    /// relative to their workspace.
    #[must_use]
    pub fn keep_folder(mut self, name: impl Into<String>) -> Self {
        self.kept_folders.push(name.into());
        self
    }

    pub(super) fn is_own(&self, names: CodeNames<'_>) -> bool {
        self.own.iter().any(|pattern| pattern.selects(names))
    }

    pub(super) fn is_skipped(&self, names: CodeNames<'_>) -> bool {
        self.skipped.iter().any(|pattern| pattern.selects(names))
    }

    pub(super) fn is_infrastructure_path(&self, shown: &str) -> bool {
        self.infrastructure_paths.iter().any(|folder| {
            shown
                .strip_prefix(folder.trim_end_matches('/'))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    pub(super) fn is_infrastructure_crate(&self, name: &str) -> bool {
        let name = name.replace('-', "_");
        self.infrastructure_crates.contains(&name)
    }
}
