//! Tests of everything that reads the counts: symbols, snapshots, diffs, histories, profiles and
//! flame graphs. Most use real call stacks of real guests.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod c_guest;
mod diff;
mod end_to_end;
mod flamegraphs;
mod folders;
mod history;
mod lines_guest;
mod profile;
mod snapshot;
mod source_lines;
mod synthetic;
