//! Components that cost much to compile.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use reqwest::Method;
use tokio::task::JoinSet;
use xtask_hostile::{many_functions, module, slow_to_compile};

use crate::components::component as built;
use crate::hostile::children;
use crate::lab::{Answer, Lab, MIB, WAIT_TIMEOUT, wait_until};

/// What a refused upload may leave behind of the host's resident memory.
const MAX_LEFT_BEHIND: f64 = 2.0 * MIB;

async fn put(lab: &Lab, component: Vec<u8>) -> Answer {
    let request = lab.request(Method::PUT, "/admin/plugins/bomb");
    Answer::of(request.body(component)).await
}

/// Checks that an upload is refused as too costly, with these words, and leaves nothing behind.
async fn check_refused(lab: &Lab, component: Vec<u8>, says: &str) {
    let before = lab.resident_bytes();
    let answer = put(lab, component).await;
    assert_eq!(answer.status, 422, "{}", answer.text);
    assert_eq!(answer.error_code("PUT"), "plugin_too_costly");
    assert!(answer.text.contains(says), "{says}: {}", answer.text);
    assert!(children(lab).is_empty(), "no process is left");
    let left = lab.resident_bytes() - before;
    assert!(left < MAX_LEFT_BEHIND, "{says}: {left} bytes are left");
}

#[tokio::test]
async fn a_structure_that_costs_too_much_is_refused_before_it_is_compiled() {
    let lab = Lab::with(&["cache"]).start().await;
    // The first upload also creates what every later one uses.
    put(&lab, b"no component".to_vec()).await;
    let started = Instant::now();
    check_refused(&lab, many_functions(200_000), "functions").await;
    let loops = format!("(func {} {})", "loop ".repeat(500), "end ".repeat(500));
    check_refused(&lab, module(&loops), "loops nested").await;
    let long = format!("(func {})", "i32.const 1 drop ".repeat(1_000_000));
    check_refused(&lab, module(&long), "bytes in one function").await;
    assert!(started.elapsed() < WAIT_TIMEOUT, "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_compilation_ends_at_its_limits() {
    let lab = Lab::with(&["cache"]).args(["--compile-timeout", "500ms"]);
    let lab = lab.start().await;
    put(&lab, b"no component".to_vec()).await;
    check_refused(&lab, slow_to_compile(), "more than 0.5 s").await;
    let lab = Lab::with(&["cache"]).args(["--compile-memory", "64MiB"]);
    let lab = lab.start().await;
    put(&lab, b"no component".to_vec()).await;
    check_refused(&lab, many_functions(99_000), "more than 64 MiB").await;
}

#[tokio::test]
async fn a_compilation_ends_when_its_client_leaves() {
    let lab = Lab::with(&["cache"]).start().await;
    for path in ["/admin/plugins/bomb", "/admin/plugins/check"] {
        let method = if path.ends_with("check") {
            Method::POST
        } else {
            Method::PUT
        };
        let request = lab.request(method, path).body(slow_to_compile());
        let client = tokio::spawn(request.send());
        wait_until("it is compiled", WAIT_TIMEOUT, async || {
            !children(&lab).is_empty()
        })
        .await;
        client.abort();
        let left = Instant::now();
        wait_until("the compilation ends", WAIT_TIMEOUT, async || {
            children(&lab).is_empty()
        })
        .await;
        assert!(left.elapsed() < Duration::from_secs(5), "{path}");
    }
}

#[tokio::test]
async fn uploads_wait_in_a_short_queue() {
    let lab = Lab::with(&["cache"]).start().await;
    let bomb = slow_to_compile();
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        clients.spawn(
            lab.request(Method::PUT, "/admin/plugins/bomb")
                .body(bomb.clone())
                .send(),
        );
    }
    // One is compiled and four wait.
    for _ in 0..3 {
        let refused = clients.join_next().await.unwrap().unwrap().unwrap();
        assert_eq!(refused.status(), 429);
        let seconds = refused.headers()["retry-after"].to_str().unwrap();
        assert!((1..=60).contains(&seconds.parse::<u32>().unwrap()));
    }
    assert_eq!(children(&lab).len(), 1, "one at a time");
    // They leave, and the next component is compiled at once.
    clients.abort_all();
    let good = std::fs::read(built("history")).unwrap();
    let request = lab.request(Method::PUT, "/admin/plugins/history");
    wait_until("the queue is empty", WAIT_TIMEOUT, async || {
        let request = request.try_clone().unwrap().body(good.clone());
        Answer::of(request).await.status == 201
    })
    .await;
}

#[tokio::test]
async fn a_compiler_that_crashes_fails_one_upload_and_ends_with_the_host() {
    let mut lab = Lab::with(&["cache"]).start().await;
    let send = |signal: &str, id: u32| {
        let id = id.to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status();
        assert!(sent.unwrap().success());
    };
    let upload = tokio::spawn(
        lab.request(Method::PUT, "/admin/plugins/bomb")
            .body(slow_to_compile())
            .send(),
    );
    let child = async || {
        wait_until("it is compiled", WAIT_TIMEOUT, async || {
            !children(&lab).is_empty()
        })
        .await;
        children(&lab)[0]
    };
    send("ABRT", child().await);
    let answer = upload.await.unwrap().unwrap();
    assert_eq!(answer.status(), 422);
    let text = answer.text().await.unwrap();
    assert!(text.contains("signal 6"), "{text}");
    assert_eq!(lab.get("/health").await["status"], "ok");

    let upload = tokio::spawn(
        lab.request(Method::PUT, "/admin/plugins/bomb")
            .body(slow_to_compile())
            .send(),
    );
    let orphan = child().await;
    lab.signal("KILL");
    lab.exits_within(WAIT_TIMEOUT).await;
    wait_until("the child ends with the host", WAIT_TIMEOUT, async || {
        !Path::new(&format!("/proc/{orphan}/exe")).exists()
    })
    .await;
    assert!(upload.await.unwrap().is_err());
}

#[tokio::test]
async fn without_a_writable_cache_plugins_are_compiled_all_the_same() {
    let lab = Lab::with(&["cache"]).args(["--no-cache"]).start().await;
    lab.enable("cache").await;
    assert_eq!(lab.data().await["leaks_triggered"][0], "cache");
}
