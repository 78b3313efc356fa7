//! SIGTERM and SIGINT: the host answers running requests, accepts no new ones, and exits.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::components::LAB;
use crate::lab::{Lab, WAIT_TIMEOUT, wait_until};

const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

async fn check_shutdown_under_load(signal: &str) {
    // With this latency some requests are running at any moment.
    let lab = Lab::with(&LAB).args(["--base-latency", "20ms"]);
    let mut lab = lab.start().await;
    for leak in LAB {
        lab.enable(leak).await;
    }
    let stopping = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let mut load = JoinSet::new();
    for _ in 0..16 {
        let (http, url) = (lab.http().clone(), lab.url("/api/data"));
        let (stopping, answered) = (Arc::clone(&stopping), Arc::clone(&answered));
        load.spawn(async move {
            loop {
                match http.get(&url).send().await {
                    // An answer that has started arrives completely.
                    Ok(response) => {
                        let status = response.status();
                        response.text().await.expect("the answer is complete");
                        // The host answers 503 on an old connection while it drains.
                        assert!(status == 200 || stopping.load(Ordering::SeqCst) && status == 503);
                        answered.fetch_add(1, Ordering::SeqCst);
                    }
                    Err(error) => {
                        assert!(
                            stopping.load(Ordering::SeqCst),
                            "a request is lost before the signal: {error:?}"
                        );
                        return;
                    }
                }
            }
        });
    }
    wait_until("200 answers", WAIT_TIMEOUT, async || {
        answered.load(Ordering::SeqCst) >= 200
    })
    .await;
    // Neither an idle connection nor an unfinished request may delay the exit.
    let _idle = TcpStream::connect(lab.address()).unwrap();
    let mut slow = TcpStream::connect(lab.address()).unwrap();
    slow.write_all(
        b"POST /admin/leaks/cache HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{",
    )
    .unwrap();

    stopping.store(true, Ordering::SeqCst);
    lab.signal(signal);
    let status = lab.exits_within(DRAIN_TIMEOUT).await;
    assert_eq!(status.code(), Some(0), "{}", lab.output());
    load.join_all().await;
}

#[tokio::test]
async fn after_sigterm_the_host_drains_and_exits_with_0() {
    check_shutdown_under_load("TERM").await;
}

#[tokio::test]
async fn after_ctrl_c_the_host_drains_and_exits_with_0() {
    check_shutdown_under_load("INT").await;
}

#[tokio::test]
async fn a_call_that_does_not_return_does_not_delay_the_exit() {
    let mut lab = Lab::with(&["cache", "fixture-sleeps"]).start().await;
    lab.enable("fixture-sleeps").await;
    let (http, url) = (lab.http().clone(), lab.url("/api/data"));
    let request = tokio::spawn(async move { http.get(url).send().await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    lab.signal("TERM");
    assert_eq!(
        lab.exits_within(DRAIN_TIMEOUT).await.code(),
        Some(0),
        "{}",
        lab.output()
    );
    let answer = request
        .await
        .unwrap()
        .expect("the running request is answered");
    assert_eq!(answer.status(), 200);
}
