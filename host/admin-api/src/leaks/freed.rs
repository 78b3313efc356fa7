//! Memory before and after a call that frees some: the fields that clear, reset and gc share.

use serde::Serialize;
use utoipa::ToSchema;

use crate::error::ApiError;
use crate::state::ApiState;
use crate::units::{difference, mib, signed_mib};

/// The memory that a call freed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Freed {
    /// MiB freed; negative if memory grew meanwhile.
    freed_mb: f64,
    /// The same in bytes.
    freed_bytes: i64,
}

impl Freed {
    pub(super) fn bytes(bytes: i64) -> Self {
        Freed {
            freed_mb: signed_mib(bytes),
            freed_bytes: bytes,
        }
    }
}

/// The resident memory of the process before and after a call.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProcessMemory {
    /// Resident MiB of the process before the call.
    memory_before_mb: f64,
    /// The same in bytes.
    memory_before_bytes: u64,
    /// Resident MiB of the process after the call.
    memory_after_mb: f64,
    /// The same in bytes.
    memory_after_bytes: u64,
    #[serde(flatten)]
    freed: Freed,
}

impl ProcessMemory {
    /// Compares `before`, which [`resident_bytes`] returned before the call, with the present.
    pub(super) fn since(before: u64, state: &ApiState) -> Result<Self, ApiError> {
        let after = resident_bytes(state)?;
        Ok(ProcessMemory {
            memory_before_mb: mib(before),
            memory_before_bytes: before,
            memory_after_mb: mib(after),
            memory_after_bytes: after,
            freed: Freed::bytes(difference(before, after)),
        })
    }
}

/// The linear memory of one plugin before and after a call.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LinearMemory {
    /// MiB of linear memory before the call.
    linear_memory_before_mb: f64,
    /// The same in bytes.
    linear_memory_before_bytes: u64,
    /// MiB of linear memory after the call.
    linear_memory_after_mb: f64,
    /// The same in bytes.
    linear_memory_after_bytes: u64,
}

impl LinearMemory {
    pub(super) fn new(before: u64, after: u64) -> Self {
        LinearMemory {
            linear_memory_before_mb: mib(before),
            linear_memory_before_bytes: before,
            linear_memory_after_mb: mib(after),
            linear_memory_after_bytes: after,
        }
    }
}

/// The resident memory of the process now, in bytes.
pub(super) fn resident_bytes(state: &ApiState) -> Result<u64, ApiError> {
    state
        .monitor
        .resident_bytes()
        .map_err(|e| ApiError::internal(&e))
}
