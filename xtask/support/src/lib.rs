//! What the repository's commands share: the workspace, builds, child processes, HTTP and reports.
//!
//! `xtask`, `xtask-bench` and `xtask-stack-tests` are separate crates, so that `cargo xtask run`
//! compiles neither benches nor stack tests. Everything that two of them need is here once.

pub mod components;
pub mod go;
pub mod host_process;
pub mod http;
pub mod layout;
pub mod report;
pub mod toolchain;
pub mod tools;
pub mod wait;
pub mod workspace;
