//! The fleet view of the console.

use reqwest::Method;
use serde_json::{Value, json};

use crate::lab::{Lab, free_address};

#[tokio::test]
async fn the_fleet_view_shows_the_hosts_and_switches_them() {
    let address = free_address();
    let port = address.rsplit(':').next().unwrap().to_owned();
    let lab = Lab::with(&["cache"])
        .listen(&address)
        .args(["--name", "only"]);
    let lab = lab
        .args(["--fleet", &format!("localhost:{port}")])
        .start()
        .await;
    let page = lab.request(Method::GET, "/fleet").send().await.unwrap();
    assert_eq!(page.status(), 200);
    assert!(page.text().await.unwrap().contains("id=\"fleet-hosts\""));
    let front = lab
        .request(Method::GET, "/")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(front.contains("href=\"/fleet\""));

    let read = lab.get("/console/fleet").await;
    assert_eq!(read["hosts"][0]["name"], "only");
    assert_eq!(read["hosts"][0]["oddness"], "none");
    assert_eq!(read["leaks"], json!(["cache"]));

    let switch = async |body: Value| {
        let request = lab.request(Method::POST, "/console/fleet/leaks/cache");
        let answer = request.json(&body).send().await.unwrap();
        (
            answer.status().as_u16(),
            answer.json::<Value>().await.unwrap(),
        )
    };
    let (status, answer) = switch(json!({"enabled": true})).await;
    assert_eq!((status, &answer), (200, &json!({"done": 1, "failed": []})));
    // The reading that all pages share is not older than the switch.
    assert_eq!(
        lab.get("/console/fleet").await["hosts"][0]["leaks_enabled"],
        json!(["cache"])
    );
    let member = read["hosts"][0]["address"].as_str().unwrap();
    let (status, _) = switch(json!({"enabled": false, "hosts": [member]})).await;
    assert_eq!(status, 200);
    assert_eq!(lab.get("/admin/leaks/cache").await["enabled"], false);

    // Only members of the fleet are called.
    for wrong in ["127.0.0.1:1", "10.0.0.1", "nonsense//"] {
        let (status, answer) = switch(json!({"enabled": true, "hosts": [wrong]})).await;
        assert_eq!(
            (status, &answer["error"]["code"]),
            (404, &json!("not_found")),
            "{wrong}"
        );
    }
    for wrong in [
        json!({}),
        json!({"enabled": 1}),
        json!({"enabled": true, "x": 1}),
    ] {
        assert_eq!(switch(wrong.clone()).await.0, 400, "{wrong}");
    }
    let request = lab.request(Method::POST, "/console/fleet/leaks/nosuch");
    let answer = request
        .json(&json!({"enabled": true}))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 404);
    let foreign = lab.request(Method::POST, "/console/fleet/leaks/cache");
    let foreign = foreign.header("origin", "http://elsewhere.example");
    let answer = foreign
        .json(&json!({"enabled": true}))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 403);
    assert_eq!(lab.get("/admin/leaks/cache").await["enabled"], false);
}
