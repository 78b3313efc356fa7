//! The admin API, called in this process without a socket.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

mod alerts;
mod attribution;
mod auth;
mod baselines;
mod check;
mod contract;
mod errors;
mod exercises;
mod heap;
mod inspector;
mod mystery;
mod openapi;
mod profiles;
mod queries;
mod scenario;
mod schedule;
mod scorer;
mod settings;
mod source;
mod verdict;
