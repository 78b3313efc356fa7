//! Many leak hosts as one: the command `leak-host fleet` and the fleet view of the console use it.
//!
//! | module | what it is for |
//! |---|---|
//! | [`client`] | calls of the admin API of one host, and why they fail |
//! | [`address`] | what a person writes for a host, and the address that it means |
//! | [`source`] | where the addresses come from: a DNS name, a list, a file |
//! | [`selection`] | which of the hosts are meant: all, some, those with a label |
//! | [`summary`] | what `GET /admin/host` answers |
//! | [`calls`] | one call to each host: at most so many at once, each with its own time limit |
//! | [`odd_one_out`] | which hosts to look at first |
//! | [`line_totals`] | the diffs of many hosts, added up by source line |
//!
//! There is no state between two commands, no agent and no scheduler. A host that does not answer
//! costs its own row and delays no other one. This crate knows the admin API only as JSON, and
//! uses no other crate of the host.

pub mod address;
pub mod calls;
pub mod client;
pub mod line_totals;
pub mod odd_one_out;
pub mod selection;
pub mod source;
pub mod summary;

pub use address::HostAddress;
pub use client::{AdminClient, AskError};
