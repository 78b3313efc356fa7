//! Clients that send slowly, read slowly, or take more than their share.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use super::{connect, open_files, read_until_closed};
use crate::components::{LAB, component};
use crate::lab::{Answer, Lab, WAIT_TIMEOUT, wait_until};

const MIB: usize = 1 << 20;

/// The window over which the host measures the rate of a body or a reader.
const RATE_WINDOW: Duration = Duration::from_secs(10);

/// The head of an upload of this size.
fn upload_head(bytes: usize) -> String {
    format!("PUT /admin/plugins/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {bytes}\r\n\r\n")
}

fn start_upload(lab: &Lab, announced: usize, sent: usize) -> TcpStream {
    let mut stream = connect(lab);
    stream.write_all(upload_head(announced).as_bytes()).unwrap();
    stream.write_all(&vec![0; sent]).unwrap();
    stream
}

#[tokio::test]
async fn a_body_below_the_minimum_rate_is_refused() {
    let lab = Lab::with(&LAB).start().await;
    let mut stream = start_upload(&lab, 10 * MIB, 0);
    let started = Instant::now();
    let mut reader = stream.try_clone().unwrap();
    let answer = std::thread::spawn(move || {
        let mut answer = [0; 12];
        reader.read_exact(&mut answer).map(|()| answer.to_vec())
    });
    // One byte now and then: no pause is long.
    while !answer.is_finished() && started.elapsed() < 3 * RATE_WINDOW {
        let _closed = stream.write_all(b"x");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let took = started.elapsed();
    let answer = answer.join().unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 408");
    assert!(took >= RATE_WINDOW && took < 2 * RATE_WINDOW, "{took:?}");
}

#[tokio::test]
async fn uploads_share_a_budget_and_other_calls_need_none_of_it() {
    let builder = Lab::with(&LAB).args(["--upload-budget", "1MiB"]);
    let lab = builder.args(["--max-plugin-size", "1MiB"]).start().await;
    let put = || {
        let request = lab.request(Method::PUT, "/admin/plugins/x");
        Answer::of(request.body(vec![0; 900 << 10]))
    };
    let mut held = start_upload(&lab, MIB, 700 << 10);
    wait_until("an upload finds no room", WAIT_TIMEOUT, async || {
        // The host may receive the second upload first, and then refuses the one to hold.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let refused = put().await.status == 503;
        if !refused {
            held = start_upload(&lab, MIB, 700 << 10);
        }
        refused
    })
    .await;
    let refused = put().await;
    assert_eq!(refused.error_code("PUT"), "uploads_full");
    let retry: u32 = refused.headers["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(retry > 0);
    // Without Content-Length too.
    let mut chunked = connect(&lab);
    let head =
        "PUT /admin/plugins/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    chunked.write_all(head.as_bytes()).unwrap();
    let chunk = [b"80000\r\n", &vec![0; 0x80000][..], b"\r\n0\r\n\r\n"].concat();
    chunked.write_all(&chunk).unwrap();
    let mut start = [0; 12];
    chunked.read_exact(&mut start).unwrap();
    assert_eq!(String::from_utf8_lossy(&start), "HTTP/1.1 503");
    lab.enable("cache").await;
    lab.data().await;
    drop(held);
    wait_until("an upload finds room again", WAIT_TIMEOUT, async || {
        put().await.status == 422
    })
    .await;
}

#[tokio::test]
async fn a_budget_smaller_than_a_component_does_not_refuse_it() {
    let lab = Lab::with(&[])
        .args(["--upload-budget", "1MiB"])
        .start()
        .await;
    let request = lab.request(Method::PUT, "/admin/plugins/x");
    let answer = Answer::of(request.body(vec![0; 2 * MIB])).await;
    assert_eq!(answer.status, 422, "{}", answer.text);
}

/// Waits until the host resets the connection, and returns the time that it took. Reads nothing.
async fn wait_until_reset(stream: &TcpStream) -> Duration {
    let started = Instant::now();
    wait_until("the connection is reset", 6 * RATE_WINDOW, async || {
        stream.take_error().unwrap().is_some()
    })
    .await;
    started.elapsed()
}

#[tokio::test]
async fn a_client_that_does_not_read_is_disconnected() {
    let lab = Lab::with(&LAB).start().await;
    let mut stream = connect(&lab);
    // Many times what the buffers of both sides hold.
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let requests = request.repeat(1_000);
    stream
        .set_write_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let _full = stream.write_all(requests.as_bytes());
    let took = wait_until_reset(&stream).await;
    assert!(took < RATE_WINDOW + Duration::from_secs(5), "{took:?}");
    lab.data().await;
}

/// An event stream that nobody reads ends too, although it sends little.
#[tokio::test]
async fn a_stream_that_is_not_read_is_reset() {
    let lab = Lab::with(&LAB).start().await;
    lab.data().await;
    let mut stream = connect(&lab);
    // The least that the kernel allows: most of an update stays with the host.
    rustix::net::sockopt::set_socket_recv_buffer_size(&stream, 4096).unwrap();
    let request = "GET /console/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let took = wait_until_reset(&stream).await;
    assert!(took >= RATE_WINDOW, "{took:?}");
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_everything() {
    let lab = Lab::with(&LAB).start().await;
    let mut stream = connect(&lab);
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let last = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let requests = request.repeat(60) + last;
    stream.write_all(requests.as_bytes()).unwrap();
    let (mut answers, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    let started = Instant::now();
    loop {
        // 640 KiB per second at most.
        tokio::time::sleep(Duration::from_millis(100)).await;
        match stream.read(&mut buffer).unwrap() {
            0 => break,
            read => answers.extend_from_slice(&buffer[..read]),
        }
        assert!(started.elapsed() < WAIT_TIMEOUT);
    }
    let answers = String::from_utf8_lossy(&answers);
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 61);
}

#[tokio::test]
async fn idle_connections_make_room_for_new_ones() {
    let lab = Lab::with(&LAB)
        .args(["--max-connections", "32"])
        .start()
        .await;
    let idle: Vec<TcpStream> = (0..100).map(|_| connect(&lab)).collect();
    for _ in 0..3 {
        let mut stream = connect(&lab);
        let request = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let answer = read_until_closed(&mut stream);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let mut oldest = &idle[0];
    assert_eq!(oldest.read(&mut [0]).ok(), Some(0), "the oldest is closed");
    assert!(open_files(&lab) < 100);
}

#[tokio::test]
async fn a_client_that_closes_its_sending_side_gets_all_answers() {
    let lab = Lab::with(&LAB).start().await;
    lab.enable("cache").await;
    let data = "GET /api/data HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let body = json!({"enabled": true}).to_string();
    let switch = format!(
        "POST /admin/leaks/history HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    for count in [1, 2, 50] {
        let mut stream = connect(&lab);
        let requests = data.repeat(count) + &switch + data;
        stream.write_all(requests.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let started = Instant::now();
        let answers = read_until_closed(&mut stream);
        assert_eq!(
            answers.matches("HTTP/1.1 200").count(),
            count + 2,
            "{answers}"
        );
        // The host closes its side too, and does not wait for the timeout of idle connections.
        assert!(started.elapsed() < Duration::from_secs(20));
    }
    assert_eq!(
        lab.leak("cache").await["count"],
        3 + 53,
        "each request was served once"
    );
}

#[tokio::test]
async fn an_upload_from_a_half_closed_connection_is_answered() {
    let lab = Lab::with(&[]).start().await;
    let bytes = fs::read(component("cache")).unwrap();
    let mut stream = connect(&lab);
    let head = upload_head(bytes.len()).replace("/x ", "/cache ");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&bytes).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let answer = read_until_closed(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}
