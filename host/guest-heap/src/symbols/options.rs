//! Facts about a component's sources that the component itself does not contain.

/// Selects the code that is not the user's own, and how paths are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SymbolOptions {
    infrastructure_paths: Vec<String>,
    infrastructure_crates: Vec<String>,
    pub(super) kept_folders: Vec<String>,
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

    /// Shows the paths of a workspace in a folder with this name including the folder:
    /// `plugins/cache/src/lib.rs` instead of `cache/src/lib.rs`. Paths of other workspaces are
    /// relative to their workspace.
    #[must_use]
    pub fn keep_folder(mut self, name: impl Into<String>) -> Self {
        self.kept_folders.push(name.into());
        self
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
