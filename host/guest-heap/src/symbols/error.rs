//! The error of reading a component's symbols.

/// The symbols of a component cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SymbolsError {
    /// The bytes are not a valid component or core module.
    #[error("not a readable component: {0}")]
    Malformed(#[from] wasmparser::BinaryReaderError),
    /// The bytes exceed 4 GiB. Offsets have 32 bits.
    #[error("the component is larger than 4 GiB")]
    TooLarge,
}
