//! Empty: this crate consists of its manifest.
