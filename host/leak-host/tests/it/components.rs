//! The plugins and the fixtures as components, built from source once per test run.

pub(crate) use test_support::components::{LAB, component, renamed, shipped};
