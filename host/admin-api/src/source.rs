//! `GET /admin/memory/source`: a plugin's source around a line that its heap names.
//!
//! The host is not a file server. It shows only files that a call stack of the plugin's own heap
//! names, and only below the folder of `--source-root`. The heap can be that of the previous run,
//! if it was killed: its post-mortem names the lines.

use std::fs;
use std::io;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use guest_heap_inspector::source_file::{self, SourceRoots};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::error::{ApiError, ErrorBody, ErrorCode, shorten};
use crate::post_mortem;
use crate::query::{ApiQuery, QueryParameters};
use crate::state::ApiState;
use plugin_host::driver::handle::Plugin;
use plugin_host::regular_file;

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
    let context = source_file::context(query.context.as_deref())?;
    let (file, line) = source_file::split_location(&query.location)?;
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
    let roots = SourceRoots::with_reader(state.options.source_roots.clone(), regular_file::read);
    if roots.is_empty() {
        return Err(unknown_source(
            "this host has no sources".to_owned(),
            "start it with --source-root DIR, the checkout that the plugins were built from; \
             cargo xtask run does so",
        ));
    }
    let (name, component) = (file.to_owned(), plugin.details().source.path.clone());
    let read = tokio::task::spawn_blocking(move || {
        let source = roots.read(&name)?;
        let built = fs::metadata(component)
            .and_then(|file| file.modified())
            .ok();
        let changed = source.modified.zip(built);
        Ok::<_, io::Error>((source, changed.is_some_and(|(file, built)| file > built)))
    });
    let (source, changed_since_build) = match read.await.map_err(|e| ApiError::internal(&e))? {
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
    let excerpt = source.excerpt(line, context);
    Ok(Json(SourceBody {
        plugin: query.plugin,
        file: file.to_owned(),
        line,
        first_line: excerpt.first_line,
        lines: excerpt.lines,
        changed_since_build,
    }))
}

fn unknown_source(message: String, hint: &str) -> ApiError {
    ApiError::new(ErrorCode::UnknownSource, message, hint)
}

/// Whether a call stack of this plugin's heap has this line: now, in its history, or in the run
/// that was killed before.
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
    if let Some(snapshot) = state.heaps.snapshot(plugin).await? {
        let file = file.to_owned();
        let named = move || source_file::is_named(&snapshot, &file, line);
        let found = tokio::task::spawn_blocking(named).await;
        if found.map_err(|e| ApiError::internal(&e))? {
            return Ok(true);
        }
    }
    post_mortem::names(state, plugin.id(), &location).await
}
