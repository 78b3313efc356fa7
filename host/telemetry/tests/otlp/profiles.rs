//! The export of profiles over both protocols.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::profiles::v1development::profiles_service_server::{
    ProfilesService, ProfilesServiceServer,
};
use opentelemetry_proto::tonic::collector::profiles::v1development::{
    ExportProfilesServiceRequest, ExportProfilesServiceResponse,
};
use opentelemetry_proto::tonic::profiles::v1development::Profile;
use telemetry::profiles::{ProfileBatch, ProfileSource};
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::collector::{Collector, Protocol, settings};
use super::{Lines, start};

/// Two programs whose number is their period, and one without a profile.
struct Programs;

impl ProfileSource for Programs {
    type Program = i64;

    fn programs(&self) -> Vec<i64> {
        vec![0, 7, 8]
    }

    async fn read(&self, period: i64) -> Option<ProfileBatch> {
        let profile = Profile {
            period,
            ..Profile::default()
        };
        let batch = ProfileBatch {
            profiles: vec![profile],
            ..ProfileBatch::default()
        };
        (period > 0).then_some(batch)
    }
}

#[derive(Clone, Default)]
struct Inbox(Arc<Mutex<Vec<ExportProfilesServiceRequest>>>);

#[tonic::async_trait]
impl ProfilesService for Inbox {
    async fn export(
        &self,
        request: Request<ExportProfilesServiceRequest>,
    ) -> Result<Response<ExportProfilesServiceResponse>, Status> {
        assert_eq!(request.metadata().get("x-lab").unwrap(), "leak lab");
        self.0.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportProfilesServiceResponse::default()))
    }
}

/// Exports the profiles of the programs once.
async fn export_once(address: SocketAddr, protocol: Protocol) {
    let flags = ["--metrics-exporter=none", "--otlp-profiles=10s"];
    let mut telemetry = start(settings(protocol, address, &flags));
    telemetry.export_profiles(Programs).unwrap();
    tokio::time::sleep(Duration::from_millis(11_500)).await;
    assert!(telemetry.flush().await);
}

#[tokio::test]
async fn each_program_is_one_request_over_grpc() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let inbox = Inbox::default();
    let server = Server::builder()
        .add_service(ProfilesServiceServer::new(inbox.clone()))
        .serve_with_incoming(TcpIncoming::from(listener));
    tokio::spawn(async move { server.await.unwrap() });
    export_once(address, Protocol::Grpc).await;
    let received = inbox.0.lock().unwrap();
    let periods: Vec<_> = received
        .iter()
        .flat_map(|request| &request.resource_profiles)
        .inspect(|resource| assert!(resource.resource.is_some()))
        .flat_map(|resource| &resource.scope_profiles)
        .flat_map(|scope| &scope.profiles)
        .map(|profile| profile.period)
        .collect();
    assert_eq!((received.len(), periods), (2, vec![7, 8]));
}

#[tokio::test]
async fn a_collector_without_the_service_is_reported_once() {
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        let lines = Lines::default();
        let _log = lines.capture();
        let collector = Collector::start(protocol).await;
        export_once(collector.address, protocol).await;
        let text = lines.text();
        assert_eq!(text.lines().count(), 1, "{protocol:?}: {text}");
        assert!(text.contains("LEAK_OTLP_PROFILES=off"), "{text}");
    }
}

#[tokio::test]
async fn a_silent_collector_does_not_delay_the_end() {
    // The kernel accepts connections, and no code reads from them.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let flags = [
        "--metrics-exporter=none",
        "--otlp-timeout=60000",
        "--otlp-profiles=10s",
    ];
    let mut telemetry = start(settings(Protocol::Grpc, address, &flags));
    telemetry.export_profiles(Programs).unwrap();
    tokio::time::sleep(Duration::from_millis(10_500)).await;
    assert!(telemetry.flush().await);
}
