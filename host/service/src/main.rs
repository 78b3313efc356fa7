//! The leak lab.
fn main() {}
