//! The lab from outside: each test starts the real host on a free port, with plugins built from
//! source, and talks to it as a learner, an operator or an attacker would.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a failed test shows by a panic, and tests pass environment variables on"
)]

mod access;
mod burst;
mod clients;
// The library that is preloaded knows the system calls of these.
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod clock;
mod components;
mod conformance;
mod console;
mod exercises;
mod faults;
mod fleet;
mod growth;
mod heap;
mod hostile;
mod lab;
mod large_bodies;
mod loading;
mod memory_limit;
mod metrics;
mod mystery;
mod options;
mod patterns;
mod post_mortem;
mod readme;
mod resident;
mod scenario;
mod shutdown;
mod traces;
mod verify;
