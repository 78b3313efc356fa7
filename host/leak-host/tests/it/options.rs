//! The host's command line, as far as it shows from outside.

use serde_json::json;

use crate::components::LAB;
use crate::lab::{Lab, number};

#[tokio::test]
async fn leaks_can_be_enabled_from_the_start() {
    let lab = Lab::with(&LAB)
        .arg("--enable")
        .arg("cache,history")
        .start()
        .await;
    assert_eq!(
        lab.data().await["leaks_triggered"],
        json!(["cache", "history"])
    );
    assert_eq!(lab.leak("listeners").await["enabled"], json!(false));
}

#[tokio::test]
async fn the_service_name_is_an_option_and_an_environment_variable() {
    let lab = Lab::with(&LAB)
        .arg("--service-name")
        .arg("shop")
        .start()
        .await;
    assert_eq!(lab.data().await["service"], json!("shop"));
    assert_eq!(lab.get("/health").await["service"], json!("shop"));
    let lab = Lab::with(&LAB)
        .env("OTEL_SERVICE_NAME", "leaky-service")
        .start()
        .await;
    assert_eq!(lab.data().await["service"], json!("leaky-service"));
}

#[tokio::test]
async fn the_base_latency_is_what_a_request_takes_at_least() {
    let lab = Lab::with(&LAB)
        .arg("--base-latency")
        .arg("60ms")
        .start()
        .await;
    assert!(number(&lab.data().await, "/duration_ms") >= 60.0);
    let lab = Lab::with(&LAB).start().await;
    lab.data().await;
    assert!(number(&lab.data().await, "/duration_ms") < 60.0);
}

#[test]
fn options_that_make_no_sense_are_refused_with_their_name() {
    for (option, value, says) in [
        ("--memory-limit", "plenty", "--memory-limit"),
        ("--memory-limit", "0", "--memory-limit"),
        ("--base-latency", "soon", "--base-latency"),
        ("--enable", "nope", "nope"),
        ("--colour", "red", "--colour"),
    ] {
        let (status, output) = Lab::with(&LAB).arg(option).arg(value).run_to_the_end();
        assert!(
            !status.success() && status.code().is_some(),
            "{option} {value}: {status}"
        );
        assert!(
            output.contains(says),
            "{option} {value} is not explained: {output}"
        );
        assert!(!output.contains("panicked"), "{option} {value}: {output}");
    }
}

#[test]
fn a_port_that_is_taken_is_an_error_and_no_panic() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (status, output) = Lab::with(&LAB).listen(&address).run_to_the_end();
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(output.contains(&address), "the address is named: {output}");
    assert!(!output.contains("panicked"), "{output}");
}
