//! The options that bound what clients may do.

use std::time::Duration;

use admin_api::AllowedHost;
use clap::Args;
use process_memory::byte_size::ByteSize;

use super::values;
use crate::listener::ClientLimits;

/// What clients may do.
#[derive(Debug, Args)]
pub(crate) struct ClientOptions {
    /// Time limit for a client, 100ms to 3600s
    ///
    /// It applies to the headers of a request, to each pause in its body, and to a connection
    /// without requests.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = values::client_timeout)]
    pub(crate) client_timeout: Duration,

    /// Name under which the admin API and the console answer, with or without a port; can be
    /// repeated, or separated by commas
    ///
    /// They always answer under localhost and under IP addresses. Any other name is refused, so
    /// that no page in a browser can reach them under its own name.
    #[arg(
        long,
        env = "LEAK_ALLOWED_HOST",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub(crate) allowed_host: Vec<AllowedHost>,

    /// Most open connections of each address, 16 to 1000000
    ///
    /// At the limit, the host closes the connections that were idle for longest.
    #[arg(
        long,
        env = "LEAK_MAX_CONNECTIONS",
        value_name = "COUNT",
        default_value = "16384",
        value_parser = values::connections
    )]
    pub(crate) max_connections: usize,

    /// Most memory for the components that clients are sending, 1MiB to 64GiB
    ///
    /// A client that finds no room gets 503. It is at least --max-plugin-size.
    #[arg(
        long,
        env = "LEAK_UPLOAD_BUDGET",
        value_name = "SIZE",
        default_value = "128MiB",
        value_parser = values::upload_budget
    )]
    pub(crate) upload_budget: ByteSize,

    /// Longest time that a request waits for a plugin whose calls are quick, 0ms to 60s
    ///
    /// Calls wait when the machine is busy. A request never waits longer than the deadline for a
    /// plugin that is itself slow.
    #[arg(
        long,
        env = "LEAK_QUEUE_TIMEOUT",
        value_name = "TIME",
        default_value = "5s",
        value_parser = values::queue_timeout
    )]
    pub(crate) queue_timeout: Duration,
}

impl ClientOptions {
    /// What bounds the clients of each address.
    pub(crate) fn limits(&self) -> ClientLimits {
        ClientLimits {
            timeout: self.client_timeout,
            connections: self.max_connections,
        }
    }
}
