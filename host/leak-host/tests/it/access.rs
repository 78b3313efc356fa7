//! Who may administer the lab, and from where.

use reqwest::Method;
use serde_json::json;

use crate::components::LAB;
use crate::lab::{Answer, Lab, free_address};

const TOKEN: &str = "correct-horse-battery";

async fn asks_for_the_token(lab: &Lab) {
    let admin = [
        (Method::GET, "/admin/leaks/status"),
        (Method::POST, "/admin/leaks/cache"),
        (Method::POST, "/admin/leaks/clear"),
        (Method::POST, "/admin/gc"),
        (Method::POST, "/admin/reset"),
        (Method::GET, "/admin/memory"),
        (Method::GET, "/admin/plugins"),
    ];
    let wrong = [
        None,
        Some("Bearer wrong".to_owned()),
        Some(format!("Bearer {TOKEN}x")),
        Some(format!("Bearer {}", &TOKEN[..TOKEN.len() - 1])),
        Some(TOKEN.to_owned()),
        Some(format!("Basic {TOKEN}")),
        Some("Bearer ".to_owned()),
    ];
    for (method, path) in admin {
        for authorization in &wrong {
            let mut request = lab
                .request(method.clone(), path)
                .body(json!({"enabled": true}).to_string());
            if let Some(authorization) = authorization {
                request = request.header("authorization", authorization);
            }
            let answer = Answer::of(request).await;
            let what = format!("{method} {path} with {authorization:?}");
            assert_eq!(answer.status, 401, "{what}: {}", answer.text);
            assert_eq!(answer.error_code(&what), "unauthorized");
            assert!(!answer.text.contains(TOKEN), "the token is not told");
            let challenge = answer.headers.get("www-authenticate").expect("a challenge");
            assert!(challenge.to_str().unwrap().starts_with("Bearer"), "{what}");
        }
    }
    let right = lab
        .request(Method::GET, "/admin/leaks/status")
        .bearer_auth(TOKEN);
    let status = Answer::of(right).await;
    assert_eq!(status.status, 200, "{}", status.text);
    assert_eq!(
        status.json()["leaks"]["cache"]["enabled"],
        json!(false),
        "nothing was changed"
    );
    // The service itself and what watches it need no token.
    for open in ["/api/data", "/health", "/metrics"] {
        assert_eq!(
            lab.request(Method::GET, open)
                .send()
                .await
                .unwrap()
                .status(),
            200,
            "{open}"
        );
    }
    assert!(!lab.output().contains(TOKEN), "the token is not logged");
}

#[tokio::test]
async fn with_a_token_the_admin_api_asks_for_it() {
    asks_for_the_token(
        &Lab::with(&LAB)
            .arg("--admin-token")
            .arg(TOKEN)
            .start()
            .await,
    )
    .await;
}

#[tokio::test]
async fn the_token_can_come_from_the_environment() {
    asks_for_the_token(&Lab::with(&LAB).env("LEAK_ADMIN_TOKEN", TOKEN).start().await).await;
}

#[tokio::test]
async fn the_admin_api_can_have_a_port_of_its_own() {
    let admin = free_address();
    let lab = Lab::with(&LAB)
        .arg("--admin-listen")
        .arg(&admin)
        .start()
        .await;
    for path in ["/admin/leaks/status", "/admin/memory", "/admin/plugins"] {
        let moved = Answer::of(lab.request(Method::GET, path)).await;
        assert_eq!(moved.status, 404, "{path} is not on the service's port");
        assert_eq!(moved.error_code(path), "not_found");
        let there = Answer::of(lab.http().get(format!("http://{admin}{path}"))).await;
        assert_eq!(there.status, 200, "{path} is on its own: {}", there.text);
    }
    lab.data().await;
    let enabled = lab.http().post(format!("http://{admin}/admin/leaks/cache"));
    let enabled = Answer::of(enabled.body(r#"{"enabled":true}"#)).await;
    assert_eq!(enabled.status, 200);
    assert_eq!(lab.data().await["leaks_triggered"], json!(["cache"]));
}
