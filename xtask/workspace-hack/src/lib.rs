//! Empty: what matters stands in its manifest.
