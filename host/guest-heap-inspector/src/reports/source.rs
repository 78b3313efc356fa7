//! A part of a source file.

use std::sync::Arc;

use axum::http::StatusCode;
use serde::Serialize;

use crate::error::{InspectorError, shorten};
use crate::inspector::{GuestHeap, Inspector};
use crate::source_file::{is_named, split_location};

/// The answer of `source`.
#[derive(Debug, Serialize)]
pub(crate) struct SourceReport {
    pub(crate) guest: String,
    pub(crate) file: String,
    /// The wanted line, from 1.
    pub(crate) line: u32,
    /// The number of the first line in `lines`.
    pub(crate) first_line: usize,
    pub(crate) lines: Vec<String>,
}

impl SourceReport {
    /// # Errors
    ///
    /// When no call stack of the heap has the line, or no source root has the file.
    pub(crate) async fn of(
        inspector: &Inspector,
        heap: Arc<GuestHeap>,
        location: &str,
        context: usize,
    ) -> Result<Self, InspectorError> {
        let (file, line) = split_location(location)?;
        let unknown = |message: String, hint: &str| {
            InspectorError::new(StatusCode::NOT_FOUND, "unknown_source", message, hint)
        };
        if inspector.source_roots.is_empty() {
            return Err(unknown(
                "this host shows no sources".to_owned(),
                "it can: name the folders of the sources in Options::source_roots",
            ));
        }
        let (file, roots) = (file.to_owned(), inspector.source_roots.clone());
        let guest = heap.guest.clone();
        let read = tokio::task::spawn_blocking(move || {
            if !is_named(&heap.snapshot, &file, line) {
                return (file, None);
            }
            let source = roots.read(&file);
            (file, Some(source))
        });
        let (file, read) = read.await.map_err(|e| InspectorError::internal(&e))?;
        let Some(read) = read else {
            let message = format!(
                "no call stack in the heap of {guest:?} has the line {}",
                shorten(location)
            );
            let hint = "snapshot?group_by=trace lists the call stacks";
            return Err(unknown(message, hint));
        };
        let source = read.map_err(|error| {
            tracing::debug!(%error, file, "cannot read a source file");
            let message = format!("no source root has a readable file {}", shorten(&file));
            unknown(
                message,
                "a source root is the folder that the guest was built in",
            )
        })?;
        let excerpt = source.excerpt(line, context);
        Ok(SourceReport {
            guest,
            file,
            line,
            first_line: excerpt.first_line,
            lines: excerpt.lines,
        })
    }
}
