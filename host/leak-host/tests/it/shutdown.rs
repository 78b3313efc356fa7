//! SIGTERM: requests under way are answered, new ones are not accepted, and the host ends.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::components::LAB;
use crate::lab::Lab;

const DRAINS_WITHIN: Duration = Duration::from_secs(5);

async fn ends_cleanly_under_load(signal: &str) {
    // Requests take long enough that some are under way at any moment.
    let mut lab = Lab::with(&LAB)
        .arg("--base-latency")
        .arg("20ms")
        .start()
        .await;
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
                    // An answer that has begun arrives whole.
                    Ok(response) => {
                        let status = response.status();
                        response.text().await.expect("the answer is complete");
                        // 503: the host says on an old connection that it is draining.
                        assert!(status == 200 || stopping.load(Ordering::SeqCst) && status == 503);
                        answered.fetch_add(1, Ordering::SeqCst);
                    }
                    Err(error) => {
                        assert!(
                            stopping.load(Ordering::SeqCst),
                            "lost before the end: {error:?}"
                        );
                        return;
                    }
                }
            }
        });
    }
    while answered.load(Ordering::SeqCst) < 200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Neither an idle connection nor one that never finishes its request may hold up the end.
    let _idle = TcpStream::connect(lab.address()).unwrap();
    let mut slow = TcpStream::connect(lab.address()).unwrap();
    slow.write_all(
        b"POST /admin/leaks/cache HTTP/1.1\r\nhost: lab\r\ncontent-length: 100\r\n\r\n{",
    )
    .unwrap();

    stopping.store(true, Ordering::SeqCst);
    lab.signal(signal);
    let status = lab.ends_within(DRAINS_WITHIN).await;
    assert_eq!(status.code(), Some(0), "{}", lab.output());
    load.join_all().await;
}

#[tokio::test]
async fn sigterm_drains_and_ends_with_0() {
    ends_cleanly_under_load("TERM").await;
}

#[tokio::test]
async fn ctrl_c_drains_and_ends_with_0() {
    ends_cleanly_under_load("INT").await;
}

#[tokio::test]
async fn a_plugin_that_does_not_return_does_not_hold_up_the_end() {
    let mut lab = Lab::with(&["cache", "fixture-sleeps"]).start().await;
    lab.enable("fixture-sleeps").await;
    let (http, url) = (lab.http().clone(), lab.url("/api/data"));
    let request = tokio::spawn(async move { http.get(url).send().await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    lab.signal("TERM");
    assert_eq!(
        lab.ends_within(DRAINS_WITHIN).await.code(),
        Some(0),
        "{}",
        lab.output()
    );
    let answer = request
        .await
        .unwrap()
        .expect("the request under way is answered");
    assert_eq!(answer.status(), 200);
}
