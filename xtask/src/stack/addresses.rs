//! Where each program listens: the lab's well-known ports, or free ones, so that a test disturbs
//! nothing that runs already.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, Result};

/// All on the loopback interface.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    pub(crate) service: SocketAddr,
    pub(crate) prometheus: SocketAddr,
    pub(crate) collector_grpc: SocketAddr,
    pub(crate) collector_http: SocketAddr,
    pub(crate) collector_metrics: SocketAddr,
    pub(crate) collector_health: SocketAddr,
    pub(crate) jaeger_query: SocketAddr,
    pub(crate) jaeger_health: SocketAddr,
    /// In containers both Jaeger and the collector take OTLP on 4317; on one machine only one can.
    pub(crate) jaeger_otlp: SocketAddr,
}

impl Addresses {
    /// The ports of the lab's text.
    ///
    /// # Errors
    /// When no port is free for what the text does not name.
    pub(crate) fn of_the_lab() -> Result<Self> {
        let [jaeger_health, jaeger_otlp] = free()?;
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Ok(Self {
            service: at(8080),
            prometheus: at(9090),
            collector_grpc: at(4317),
            collector_http: at(4318),
            collector_metrics: at(8889),
            collector_health: at(13133),
            jaeger_query: at(16686),
            jaeger_health,
            jaeger_otlp,
        })
    }

    /// Ports that are free now.
    ///
    /// # Errors
    /// When the machine has none left.
    pub(crate) fn free() -> Result<Self> {
        let [
            service,
            prometheus,
            collector_grpc,
            collector_http,
            collector_metrics,
            collector_health,
            jaeger_query,
            jaeger_health,
            jaeger_otlp,
        ] = free()?;
        Ok(Self {
            service,
            prometheus,
            collector_grpc,
            collector_http,
            collector_metrics,
            collector_health,
            jaeger_query,
            jaeger_health,
            jaeger_otlp,
        })
    }

    /// Base URL of the service.
    pub(crate) fn service_url(&self) -> String {
        format!("http://{}", self.service)
    }

    /// Base URL of Prometheus.
    pub(crate) fn prometheus_url(&self) -> String {
        format!("http://{}", self.prometheus)
    }

    /// Base URL of Jaeger's query API.
    pub(crate) fn jaeger_url(&self) -> String {
        format!("http://{}", self.jaeger_query)
    }
}

/// N different free addresses. They are held until all are found, so that none comes twice.
pub(crate) fn free<const N: usize>() -> Result<[SocketAddr; N]> {
    let mut held = Vec::with_capacity(N);
    let mut found = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    for address in &mut found {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("there is no free port")?;
        *address = listener.local_addr()?;
        held.push(listener);
    }
    debug_assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), N);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_differ_and_can_be_bound() {
        let found: [SocketAddr; 8] = free().unwrap();
        assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), 8);
        for address in found {
            TcpListener::bind(address).unwrap();
        }
    }
}
