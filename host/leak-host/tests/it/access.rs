//! The options that restrict the admin API: a token, and a port of its own.

use reqwest::Method;
use serde_json::json;

use crate::components::LAB;
use crate::lab::{Answer, Lab, LabBuilder, free_address};

const TOKEN: &str = "correct-horse-battery";

/// Checks that the host requires the token and does not log it.
async fn requires_the_token(builder: LabBuilder) {
    let lab = builder.start().await;
    for (token, status) in [(None, 401), (Some("wrong"), 401), (Some(TOKEN), 200)] {
        let mut request = lab.request(Method::GET, "/admin/leaks/status");
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = Answer::of(request).await;
        assert_eq!(answer.status, status, "{token:?}: {}", answer.text);
    }
    lab.data().await;
    assert!(!lab.output().contains(TOKEN), "the log has the token");
}

#[tokio::test]
async fn the_admin_token_is_an_option() {
    requires_the_token(Lab::with(&LAB).arg("--admin-token").arg(TOKEN)).await;
}

#[tokio::test]
async fn the_admin_token_is_an_environment_variable() {
    requires_the_token(Lab::with(&LAB).env("LEAK_ADMIN_TOKEN", TOKEN)).await;
}

#[tokio::test]
async fn admin_listen_moves_the_admin_api_to_its_own_port() {
    let admin = free_address();
    let lab = Lab::with(&LAB)
        .arg("--admin-listen")
        .arg(&admin)
        .start()
        .await;
    for path in ["/admin/leaks/status", "/admin/memory", "/admin/plugins"] {
        let moved = Answer::of(lab.request(Method::GET, path)).await;
        assert_eq!(moved.status, 404, "{path} is on the service's port");
        assert_eq!(moved.error_code(path), "not_found");
        let there = Answer::of(lab.http().get(format!("http://{admin}{path}"))).await;
        assert_eq!(there.status, 200, "{path}: {}", there.text);
    }
    lab.data().await;
    let enabled = lab.http().post(format!("http://{admin}/admin/leaks/cache"));
    let enabled = Answer::of(enabled.body(r#"{"enabled":true}"#)).await;
    assert_eq!(enabled.status, 200);
    assert_eq!(lab.data().await["leaks_triggered"], json!(["cache"]));
}
