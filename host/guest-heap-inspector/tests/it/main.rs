//! The router in the test's own process, over guests that are made up and over a real one.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests and their helpers may panic"
)]

mod bounds;
mod component;
mod page;
mod profile;
mod queries;
mod reports;
mod test_guests;
