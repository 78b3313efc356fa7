//! Work that takes milliseconds, where blocking is allowed.

use crate::error::InspectorError;

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, InspectorError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| InspectorError::internal(&error))
}
