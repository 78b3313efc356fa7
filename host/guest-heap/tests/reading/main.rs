//! From real stacks of real guests to lines, snapshots, profiles and pictures.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

mod c_guest;
mod diff;
mod fixture;
mod history;
mod instrumented;
mod lines;
mod picture;
mod profile;
mod snapshot;
mod synthetic;
