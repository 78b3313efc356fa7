//! Where each program listens: on the lab's documented ports, or on free ones, so that a test
//! disturbs no other program.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, Result};

/// All on the loopback interface.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    pub(crate) service: SocketAddr,
    pub(crate) prometheus: SocketAddr,
    pub(crate) alertmanager: SocketAddr,
    pub(crate) collector_grpc: SocketAddr,
    pub(crate) collector_http: SocketAddr,
    pub(crate) collector_metrics: SocketAddr,
    pub(crate) collector_health: SocketAddr,
    pub(crate) jaeger_query: SocketAddr,
    pub(crate) jaeger_health: SocketAddr,
    /// In containers both Jaeger and the collector take OTLP on 4317. On one machine only one can.
    pub(crate) jaeger_otlp: SocketAddr,
}

impl Addresses {
    /// The ports that the README names, and free ones for what it does not name.
    ///
    /// # Errors
    /// When no port is free.
    pub(crate) fn documented() -> Result<Self> {
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Ok(Self {
            service: at(8080),
            prometheus: at(9090),
            alertmanager: at(9093),
            collector_grpc: at(4317),
            collector_http: at(4318),
            collector_metrics: at(8889),
            collector_health: at(13133),
            jaeger_query: at(16686),
            ..Self::free()?
        })
    }

    /// Ports that are free now.
    ///
    /// # Errors
    /// When no port is free.
    pub(crate) fn free() -> Result<Self> {
        let [a, b, c, d, e, f, g, h, i, j] = free_ports()?;
        Ok(Self {
            service: a,
            prometheus: b,
            collector_grpc: c,
            collector_http: d,
            collector_metrics: e,
            collector_health: f,
            jaeger_query: g,
            jaeger_health: h,
            jaeger_otlp: i,
            alertmanager: j,
        })
    }

    pub(crate) fn service_url(&self) -> String {
        format!("http://{}", self.service)
    }

    pub(crate) fn prometheus_url(&self) -> String {
        format!("http://{}", self.prometheus)
    }

    pub(crate) fn alertmanager_url(&self) -> String {
        format!("http://{}", self.alertmanager)
    }

    /// Base URL of Jaeger's query API.
    pub(crate) fn jaeger_url(&self) -> String {
        format!("http://{}", self.jaeger_query)
    }
}

/// N different free addresses. Each stays bound until all are found, so that none is found twice.
pub(crate) fn free_ports<const N: usize>() -> Result<[SocketAddr; N]> {
    let mut held = Vec::with_capacity(N);
    let mut found = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    for address in &mut found {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
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
        let found: [SocketAddr; 8] = free_ports().unwrap();
        assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), 8);
        for address in found {
            TcpListener::bind(address).unwrap();
        }
    }
}
