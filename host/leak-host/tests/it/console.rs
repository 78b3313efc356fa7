//! The console of a running host: its event streams, and the port it is on.
//!
//! Routes and answers of the console are tested in its own crate, the page in a browser by `cargo
//! xtask test-console`.

mod stream;

use reqwest::Method;

use crate::components::LAB;
use crate::lab::{Answer, Lab, free_address};

#[tokio::test]
async fn with_admin_listen_the_console_is_on_the_port_of_the_admin_api() {
    let admin = free_address();
    let lab = Lab::with(&LAB)
        .arg("--admin-listen")
        .arg(&admin)
        .start()
        .await;
    for path in ["/", "/console/main.js", "/console/events"] {
        let answer = Answer::of(lab.request(Method::GET, path)).await;
        assert_eq!(answer.error_code(path), "not_found");
    }
    for path in ["/", "/console/main.js", "/api/data"] {
        let answer = Answer::of(lab.http().get(format!("http://{admin}{path}"))).await;
        assert_eq!(answer.status, 200, "{path}");
    }
}
