//! The host's command line options and their effects.

use serde_json::json;

use crate::components::LAB;
use crate::lab::{Lab, number};

#[tokio::test]
async fn leaks_can_be_enabled_from_the_start() {
    let lab = Lab::with(&LAB).args(["--enable", "cache,history"]);
    let lab = lab.start().await;
    assert_eq!(
        lab.data().await["leaks_triggered"],
        json!(["cache", "history"])
    );
    assert_eq!(lab.leak("listeners").await["enabled"], json!(false));
}

#[tokio::test]
async fn an_option_or_an_environment_variable_sets_the_service_name() {
    let lab = Lab::with(&LAB).args(["--service-name", "shop"]);
    let lab = lab.start().await;
    assert_eq!(lab.data().await["service"], json!("shop"));
    assert_eq!(lab.get("/health").await["service"], json!("shop"));
    let lab = Lab::with(&LAB).env("OTEL_SERVICE_NAME", "leaky-service");
    let lab = lab.start().await;
    assert_eq!(lab.data().await["service"], json!("leaky-service"));
}

#[tokio::test]
async fn a_request_takes_at_least_the_base_latency() {
    let lab = Lab::with(&LAB).args(["--base-latency", "60ms"]);
    let lab = lab.start().await;
    assert!(number(&lab.data().await, "/duration_ms") >= 60.0);
    let lab = Lab::with(&LAB).start().await;
    lab.data().await;
    assert!(number(&lab.data().await, "/duration_ms") < 60.0);
}

#[test]
fn an_invalid_option_is_refused_by_its_name() {
    for (option, value, says) in [
        ("--memory-limit", "plenty", "--memory-limit"),
        ("--memory-limit", "0", "--memory-limit"),
        ("--base-latency", "soon", "--base-latency"),
        ("--enable", "nope", "nope"),
        ("--colour", "red", "--colour"),
    ] {
        let (status, output) = Lab::with(&LAB).args([option, value]).run_to_the_end();
        assert!(
            !status.success() && status.code().is_some(),
            "{option} {value}: {status}"
        );
        assert!(
            output.contains(says),
            "{option} {value}: the error does not name {says}: {output}"
        );
        assert!(!output.contains("panicked"), "{option} {value}: {output}");
    }
}

#[test]
fn a_port_in_use_is_an_error_not_a_panic() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (status, output) = Lab::with(&LAB).listen(&address).run_to_the_end();
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(
        output.contains(&address),
        "the error names the address: {output}"
    );
    assert!(!output.contains("panicked"), "{output}");
}
