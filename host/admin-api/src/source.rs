//! `GET /admin/memory/source`: a plugin's source around a line that its heap names.
//!
//! The host is not a file server. It shows only files that a call stack of the plugin's own heap
//! names, and only below the folder of `--source-root`.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::error::{ApiError, ErrorBody, ErrorCode, shorten};
use crate::query::{ApiQuery, QueryParameters};
use crate::state::ApiState;
use plugin_host::driver::handle::Plugin;
use plugin_host::regular_file;

/// The largest source file that is shown.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Lines before and after the wanted one, unless the query has a `context`.
const DEFAULT_CONTEXT_LINES: usize = 12;

/// The largest `context`.
const MAX_CONTEXT_LINES: usize = 200;

/// The most lines of a history that are searched.
const MAX_SERIES: usize = 1000;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SourceQuery {
    /// The id of the plugin whose heap names the line.
    plugin: String,
    /// `plugins/cache/src/lib.rs:42`, as in a snapshot or a diff.
    location: String,
    /// Lines before and after the wanted one, 0 to 200; 12 by default.
    #[param(value_type = Option<u32>, minimum = 0, maximum = 200)]
    context: Option<String>,
}

impl QueryParameters for SourceQuery {
    const NAMES: &str = "plugin, location=FILE:LINE and context";
}

/// A part of a source file.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SourceBody {
    plugin: String,
    /// The file's path in the plugin's symbols.
    file: String,
    /// The wanted line, from 1.
    line: u32,
    /// The number of the first line in `lines`.
    first_line: usize,
    lines: Vec<String>,
    /// Whether the file is newer than the component. Line numbers may then be wrong.
    changed_since_build: bool,
}

/// The source around a line that a plugin's heap names, if the host has the sources.
#[utoipa::path(get, path = "/admin/memory/source", tag = "memory", params(SourceQuery),
    responses((status = 200, body = SourceBody), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(crate) async fn source(
    State(state): State<Arc<ApiState>>,
    ApiQuery(query): ApiQuery<SourceQuery>,
) -> Result<Json<SourceBody>, ApiError> {
    let plugin = state.plugin(&query.plugin)?;
    let context = context(query.context.as_deref())?;
    let (file, line) = split_location(&query.location)?;
    if !heap_names(&state, &plugin, file, line).await? {
        return Err(unknown_source(
            format!(
                "no call stack in the heap of {} has the line {}",
                query.plugin,
                shorten(&query.location)
            ),
            "GET /admin/memory/snapshot?group_by=trace lists the call stacks; a reset drops the earlier ones",
        ));
    }
    let roots = state.options.source_roots.clone();
    if roots.is_empty() {
        return Err(unknown_source(
            "this host has no sources".to_owned(),
            "start it with --source-root DIR, the checkout that the plugins were built from; \
             cargo xtask run does so",
        ));
    }
    let (name, component) = (file.to_owned(), plugin.details().source.path.clone());
    let read = tokio::task::spawn_blocking(move || read_first(&roots, &name, &component));
    let (text, changed_since_build) = match read.await.map_err(|e| ApiError::internal(&e))? {
        Ok(read) => read,
        Err(error) => {
            tracing::debug!(%error, file, "cannot read a source file");
            return Err(unknown_source(
                format!("no source root has a readable file {}", shorten(file)),
                "--source-root must be the checkout that the plugins were built from; for Python, the \
                 folder that was the --python-path of componentize-py",
            ));
        }
    };
    let wanted = line as usize;
    let first = wanted.saturating_sub(context).max(1);
    Ok(Json(SourceBody {
        plugin: query.plugin,
        file: file.to_owned(),
        line,
        first_line: first,
        lines: text
            .lines()
            .skip(first - 1)
            .take(wanted + context + 1 - first)
            .map(str::to_owned)
            .collect(),
        changed_since_build,
    }))
}

fn unknown_source(message: String, hint: &str) -> ApiError {
    ApiError::new(ErrorCode::UnknownSource, message, hint)
}

fn context(text: Option<&str>) -> Result<usize, ApiError> {
    match text.map(str::parse) {
        None => Ok(DEFAULT_CONTEXT_LINES),
        Some(Ok(lines)) if lines <= MAX_CONTEXT_LINES => Ok(lines),
        Some(_) => Err(ApiError::invalid_value(
            "context",
            "takes a whole number from 0 to 200",
        )),
    }
}

fn split_location(location: &str) -> Result<(&str, u32), ApiError> {
    location
        .rsplit_once(':')
        .and_then(|(file, line)| Some((file, line.parse().ok().filter(|line| *line > 0)?)))
        .ok_or_else(|| {
            ApiError::invalid_value(
                "location",
                "takes FILE:LINE, as in plugins/cache/src/lib.rs:42",
            )
        })
}

/// Whether a call stack of this plugin's heap, now or in its history, has this line.
async fn heap_names(
    state: &ApiState,
    plugin: &Arc<Plugin>,
    file: &str,
    line: u32,
) -> Result<bool, ApiError> {
    let location = format!("{file}:{line}");
    let in_history = state.heaps.with_history(plugin, |history| {
        let series = history.series(MAX_SERIES, 2);
        series.iter().any(|s| *s.site.location == *location)
    });
    if in_history {
        return Ok(true);
    }
    let Some(snapshot) = state.heaps.snapshot(plugin).await? else {
        return Ok(false);
    };
    let file = file.to_owned();
    let found = tokio::task::spawn_blocking(move || {
        snapshot.entries().iter().any(|entry| {
            let frames = snapshot.frames(&entry.context);
            frames
                .iter()
                .any(|f| f.line == Some(line) && f.file.as_deref() == Some(file.as_str()))
        })
    });
    found.await.map_err(|e| ApiError::internal(&e))
}

/// The same as [`read`], below the first root that has the file.
fn read_first(roots: &[PathBuf], file: &str, component: &Path) -> io::Result<(String, bool)> {
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    for root in roots {
        match read(root, file, component) {
            Ok(read) => return Ok(read),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// The text of a file below the root, and whether the file is newer than the component.
fn read(root: &Path, file: &str, component: &Path) -> io::Result<(String, bool)> {
    let path = below(root, file)?;
    let bytes = regular_file::read(&path, MAX_FILE_BYTES)?;
    let modified = |path: &Path| fs::metadata(path).and_then(|m| m.modified()).ok();
    let built: Option<SystemTime> = modified(component);
    let changed = modified(&path)
        .zip(built)
        .is_some_and(|(file, built)| file > built);
    Ok((String::from_utf8_lossy(&bytes).into_owned(), changed))
}

/// The file's real path, if it is below the root and no part of it is a hidden file or folder.
fn below(root: &Path, file: &str) -> io::Result<PathBuf> {
    let visible = |component: Component<'_>| matches!(component, Component::Normal(name) if !name.as_encoded_bytes().starts_with(b"."));
    if !Path::new(file).components().all(visible) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let (root, path) = (fs::canonicalize(root)?, fs::canonicalize(root.join(file))?);
    if path.starts_with(&root) {
        Ok(path)
    } else {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_root_that_has_a_file_wins() {
        let folder = tempfile::tempdir().unwrap();
        let roots = ["a", "b"].map(|name| folder.path().join(name));
        for root in &roots {
            fs::create_dir(root).unwrap();
            fs::write(
                root.join("both.py"),
                root.file_name().unwrap().as_encoded_bytes(),
            )
            .unwrap();
        }
        fs::write(roots[1].join("app.py"), "app").unwrap();
        let text = |file| read_first(&roots, file, Path::new("none")).map(|(text, _)| text);
        assert_eq!(text("app.py").unwrap(), "app");
        assert_eq!(text("both.py").unwrap(), "a");
        assert!(text("none.py").is_err() && text("../b/app.py").is_err());
        assert!(read_first(&[], "app.py", Path::new("none")).is_err());
    }

    #[test]
    fn files_outside_the_root_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("checkout");
        fs::create_dir_all(root.join("plugins/cache")).unwrap();
        fs::create_dir_all(root.join(".git")).unwrap();
        fs::write(root.join("plugins/cache/lib.rs"), "one\ntwo\n").unwrap();
        fs::write(root.join(".git/config"), "secret").unwrap();
        fs::write(root.join("plugins/.env"), "secret").unwrap();
        fs::write(folder.path().join("outside.rs"), "secret").unwrap();
        std::os::unix::fs::symlink(
            folder.path().join("outside.rs"),
            root.join("plugins/link.rs"),
        )
        .unwrap();
        std::os::unix::fs::symlink(folder.path(), root.join("plugins/up")).unwrap();
        let read = |file: &str| read(&root, file, Path::new("/nowhere"));
        assert_eq!(read("plugins/cache/lib.rs").unwrap().0, "one\ntwo\n");
        let absolute = folder.path().join("outside.rs");
        for outside in [
            "../outside.rs",
            "plugins/../../outside.rs",
            "plugins/link.rs",
            "plugins/up/outside.rs",
            ".git/config",
            "plugins/.env",
            "./plugins/cache/lib.rs",
            "",
            "plugins",
            "/etc/hostname",
            absolute.to_str().unwrap(),
            "plugins/cache/lib.rs\0.txt",
        ] {
            assert!(read(outside).is_err(), "{outside:?}");
        }
    }

    #[test]
    fn a_file_over_the_size_limit_is_not_read() {
        let root = tempfile::tempdir().unwrap();
        fs::write(
            root.path().join("big.rs"),
            vec![b'x'; MAX_FILE_BYTES as usize + 1],
        )
        .unwrap();
        assert!(read(root.path(), "big.rs", Path::new("/nowhere")).is_err());
    }

    #[test]
    fn a_location_is_a_file_and_a_line_number() {
        assert_eq!(split_location("a/b.rs:7").unwrap(), ("a/b.rs", 7));
        for wrong in ["", "a/b.rs", "a/b.rs:", "a/b.rs:0", "a/b.rs:-1", "a/b.rs:x"] {
            assert!(split_location(wrong).is_err(), "{wrong:?}");
        }
    }
}
