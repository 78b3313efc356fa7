//! `GET /admin/memory/source`: the lines of a plugin's source around one that its heap names.
//!
//! Only files that the call stacks of a plugin's own heap name, and only below the folder that `--source-root` gives:
//! the host is no file server.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::{FromRequestParts, Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Lab;
use super::error::{ApiError, ErrorBody, shorten};
use plugin_host::driver::handle::Plugin;

/// Bytes of a source file that is shown.
const FILE_MAX: u64 = 1 << 20;

/// Lines before and after, unless said.
const CONTEXT: usize = 12;

/// The most of them.
const CONTEXT_MAX: usize = 200;

/// Lines of a history that are looked through.
const SERIES: usize = 1000;

/// Which line to show.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SourceQuery {
    /// Whose heap names the line.
    plugin: String,
    /// `plugins/cache/src/lib.rs:42`, as in a snapshot or a diff.
    location: String,
    /// Lines before and after, 0 to 200; 12 by default.
    #[param(value_type = Option<u32>, minimum = 0, maximum = 200)]
    context: Option<String>,
}

/// A query, or the error that says what it takes.
pub(super) struct CheckedSource(SourceQuery);

impl<S: Send + Sync> FromRequestParts<S> for CheckedSource {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Query::from_request_parts(parts, state)
            .await
            .map(|Query(query)| CheckedSource(query))
            .map_err(|rejection| {
                ApiError::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "invalid_query",
                    shorten(&rejection.body_text()),
                    "the query takes plugin, location=FILE:LINE and context",
                )
            })
    }
}

/// A part of a source file.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SourceBody {
    plugin: String,
    /// As the plugin's symbols name it.
    file: String,
    /// The line that was asked for, from 1.
    line: u32,
    /// The number of the first line shown.
    first_line: usize,
    lines: Vec<String>,
    /// Whether the file is younger than the component: then line numbers may be off.
    changed_since_build: bool,
}

/// The source around a line that a plugin's heap names, if the host can see it.
#[utoipa::path(get, path = "/admin/memory/source", tag = "memory", params(SourceQuery),
    responses((status = 200, body = SourceBody), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(super) async fn source(
    State(lab): State<Arc<Lab>>,
    CheckedSource(query): CheckedSource,
) -> Result<Json<SourceBody>, ApiError> {
    let Some(plugin) = lab.registry.get(&query.plugin) else {
        let plugins = lab.registry.plugins();
        let known: Vec<&str> = plugins.iter().map(|p| p.id()).collect();
        return Err(ApiError::unknown_plugin(&query.plugin, &known));
    };
    let context = context(query.context.as_deref())?;
    let (file, line) = split(&query.location)?;
    if !names(&lab, &plugin, file, line).await? {
        return Err(unknown_source(
            format!(
                "no call stack of {} has {}",
                query.plugin,
                shorten(&query.location)
            ),
            "GET /admin/memory/snapshot?group_by=trace lists them; a reset forgets those of before",
        ));
    }
    let Some(root) = lab.source_root.clone() else {
        return Err(unknown_source(
            "this host sees no sources".to_owned(),
            "start it with --source-root DIR, the checkout that the plugins were built from; cargo xtask run does",
        ));
    };
    let (name, built) = (file.to_owned(), plugin.details().origin.path.clone());
    let read = tokio::task::spawn_blocking(move || read(&root, &name, &built));
    let (text, changed_since_build) = match read.await.map_err(|e| ApiError::internal(&e))? {
        Ok(read) => read,
        Err(error) => {
            tracing::debug!(%error, file, "source not shown");
            return Err(unknown_source(
                format!("{} is not below the source root", shorten(file)),
                "--source-root DIR names the checkout that the plugins were built from",
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
    ApiError::new(StatusCode::NOT_FOUND, "unknown_source", message, hint)
}

fn context(text: Option<&str>) -> Result<usize, ApiError> {
    match text.map(str::parse) {
        None => Ok(CONTEXT),
        Some(Ok(lines)) if lines <= CONTEXT_MAX => Ok(lines),
        Some(_) => Err(ApiError::invalid_value(
            "context",
            "takes a whole number from 0 to 200",
        )),
    }
}

fn split(location: &str) -> Result<(&str, u32), ApiError> {
    location
        .rsplit_once(':')
        .and_then(|(file, line)| Some((file, line.parse().ok().filter(|line| *line > 0)?)))
        .ok_or_else(|| {
            ApiError::invalid_value(
                "location",
                "takes FILE:LINE, like plugins/cache/src/lib.rs:42",
            )
        })
}

/// Whether a call stack of this plugin's heap, now or in its history, goes through this line.
async fn names(lab: &Lab, plugin: &Arc<Plugin>, file: &str, line: u32) -> Result<bool, ApiError> {
    let location = format!("{file}:{line}");
    let in_history = lab.heaps.with_history(plugin, |history| {
        let series = history.series(SERIES, 2);
        series.iter().any(|s| *s.site.location == *location)
    });
    if in_history {
        return Ok(true);
    }
    let Some(snapshot) = lab.heaps.snapshot(plugin).await? else {
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

/// The text of a file below the root, and whether it is younger than the component.
fn read(root: &Path, file: &str, component: &Path) -> io::Result<(String, bool)> {
    let path = below(root, file)?;
    let about = fs::metadata(&path)?;
    if !about.is_file() || about.len() > FILE_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let age = |path: &Path| fs::metadata(path).and_then(|m| m.modified()).ok();
    let built: Option<SystemTime> = age(component);
    let changed = age(&path)
        .zip(built)
        .is_some_and(|(file, built)| file > built);
    Ok((
        String::from_utf8_lossy(&fs::read(&path)?).into_owned(),
        changed,
    ))
}

/// The file's real path, if that is below the root's and nothing on the way is hidden.
fn below(root: &Path, file: &str) -> io::Result<PathBuf> {
    let plain = |component: Component<'_>| matches!(component, Component::Normal(name) if !name.as_encoded_bytes().starts_with(b"."));
    if !Path::new(file).components().all(plain) {
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
    fn nothing_outside_the_root_is_read() {
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
    fn a_file_that_is_too_large_is_not_shown() {
        let root = tempfile::tempdir().unwrap();
        fs::write(
            root.path().join("big.rs"),
            vec![b'x'; FILE_MAX as usize + 1],
        )
        .unwrap();
        assert!(read(root.path(), "big.rs", Path::new("/nowhere")).is_err());
    }

    #[test]
    fn a_location_is_a_file_and_a_line() {
        assert_eq!(split("a/b.rs:7").unwrap(), ("a/b.rs", 7));
        for wrong in ["", "a/b.rs", "a/b.rs:", "a/b.rs:0", "a/b.rs:-1", "a/b.rs:x"] {
            assert!(split(wrong).is_err(), "{wrong:?}");
        }
    }
}
