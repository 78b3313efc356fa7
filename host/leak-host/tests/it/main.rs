//! Integration tests of the whole lab. Each test starts the real host on a free port, with plugins
//! built from source, and sends the requests of a learner, an operator or an attacker.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first unexpected result"
)]

mod access;
mod burst;
mod clients;
// The preloaded library contains system call numbers for these targets only.
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod clock;
mod components;
mod conformance;
mod console;
mod contract;
mod errors;
mod exercises;
mod faults;
mod growth;
mod heap;
mod lab;
mod loading;
mod memory_limit;
mod metrics;
mod options;
mod patterns;
mod post_mortem;
mod readme;
mod shutdown;
mod traces;
