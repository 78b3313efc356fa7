//! What a caller knows about a component's sources that the component does not say.

/// How paths are shown and which code is not the user's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SymbolOptions {
    infrastructure_paths: Vec<String>,
    infrastructure_crates: Vec<String>,
    pub(super) kept_folders: Vec<String>,
}

impl SymbolOptions {
    /// Files below this folder, as paths are shown (`plugins/sdk`), never name an allocation that a user's frame can name.
    #[must_use]
    pub fn infrastructure_path(mut self, folder: impl Into<String>) -> Self {
        self.infrastructure_paths.push(folder.into());
        self
    }

    /// The same for a crate (`leak_sdk`, or the name of its package), wherever its files lie.
    #[must_use]
    pub fn infrastructure_crate(mut self, name: impl Into<String>) -> Self {
        self.infrastructure_crates
            .push(name.into().replace('-', "_"));
        self
    }

    /// A workspace in a folder of this name is shown with it: `plugins/cache/src/lib.rs` instead of `cache/src/lib.rs`.
    /// Other workspaces are shown relative to themselves.
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
