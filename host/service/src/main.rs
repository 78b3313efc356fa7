//! The leak lab.
#![allow(
    dead_code,
    unused_imports,
    reason = "the parts are wired by the service that embeds these modules"
)]

mod memory;

fn main() {}
