//! guest-heap against real components, built from source.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests stop at the first surprise, in their own functions too"
)]

mod books;
mod c;
mod contexts;
mod fixtures;
mod guest;
mod hostile;
mod lowering;
mod offsets;
mod refused;
mod same;
mod shapes;
mod stores;
mod traps;
