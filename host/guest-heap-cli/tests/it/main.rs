//! Runs the `guest-heap` command on components of `fixtures/`.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests and their helpers may panic"
)]

mod advice;
#[path = "../../../guest-heap/tests/it/fixtures.rs"]
mod fixtures;
mod http_leak_test;
mod leak_test;
mod program;
mod python;
mod run;
mod serve;
mod serve_growth;
mod server;
