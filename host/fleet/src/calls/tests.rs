use std::time::Instant;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::selection::Amount;

/// What a host in a test does with a connection.
#[derive(Clone, Copy)]
enum Host {
    /// It is this host.
    Answers(&'static str),
    /// It sends a body without an end.
    Floods,
    /// It is something else that answers with JSON.
    Other,
    /// It says nothing.
    Silent,
}

async fn serve(host: Host, mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = [0; 4096];
    while stream.read(&mut request).await? > 0 {
        match host {
            Host::Answers(name) => {
                let label = format!("of-{name}");
                let body = json!({"name": name, "labels": {"zone": label}, "verdict": {"severity": "calm"}}).to_string();
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.write_all(format!("{head}{body}").as_bytes()).await?;
            }
            Host::Other => {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
                stream.write_all(answer).await?;
            }
            Host::Floods => {
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n\"").await?;
                loop {
                    stream.write_all(&[b'x'; 4096]).await?;
                }
            }
            Host::Silent => std::future::pending().await,
        }
    }
    Ok(())
}

/// Starts such a host. Returns its address.
async fn start(host: Host) -> HostAddress {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(host, stream));
        }
    });
    HostAddress::of(address.ip(), address.port())
}

fn fleet(hosts: Vec<HostAddress>, selection: Selection, concurrency: usize) -> Fleet {
    Fleet::new(FleetOptions {
        source: Source::Hosts(hosts),
        selection,
        token: None,
        timeouts: Timeouts {
            connect: Duration::from_millis(500),
            call: Duration::from_millis(500),
        },
        concurrency,
    })
    .unwrap()
}

fn errors(answers: &[HostAnswer]) -> Vec<String> {
    let failed = answers.iter().filter_map(|host| host.answer.as_ref().err());
    failed.map(AskError::brief).collect()
}

#[tokio::test]
async fn a_host_that_answers_without_an_end_or_never_costs_its_own_row() {
    let hosts = vec![
        start(Host::Answers("a")).await,
        start(Host::Floods).await,
        start(Host::Silent).await,
        start(Host::Other).await,
        start(Host::Answers("b")).await,
    ];
    let begun = Instant::now();
    let answers = fleet(hosts, Selection::default(), 8)
        .summaries()
        .await
        .unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(answers.len(), 5);
    let errors = errors(&answers);
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert!(
        errors.iter().any(|e| e.starts_with("has no admin API")),
        "{errors:?}"
    );
    assert!(
        errors.iter().any(|e| e.contains("more than 65536 bytes")),
        "{errors:?}"
    );
    assert!(
        errors.iter().any(|e| e.starts_with("no answer")),
        "{errors:?}"
    );
}

#[tokio::test]
async fn a_label_selects_before_the_amount_and_a_host_that_hides_its_labels_has_failed() {
    let (a, b) = (
        start(Host::Answers("a")).await,
        start(Host::Answers("b")).await,
    );
    let silent = start(Host::Silent).await;
    let selection = |label: &str, amount| Selection {
        labels: vec![label.parse().unwrap()],
        amount,
    };
    let hosts = vec![a.clone(), b.clone(), silent.clone()];
    let only_b = fleet(hosts.clone(), selection("zone=of-b", Amount::First(1)), 1);
    let answers = only_b.summaries().await.unwrap();
    let addresses: Vec<_> = answers.iter().map(|host| &host.address).collect();
    assert_eq!(addresses.len(), 2);
    assert!(addresses.contains(&&b) && addresses.contains(&&silent));
    assert_eq!(errors(&answers).len(), 1);

    // Without a label, only the amount decides, in the order of the addresses.
    let amount = Selection {
        labels: Vec::new(),
        amount: Amount::Percent(34),
    };
    let mut sorted = hosts.clone();
    sorted.sort();
    let answers = fleet(hosts, amount, 8).summaries().await.unwrap();
    let addresses: Vec<_> = answers.iter().map(|host| host.address.clone()).collect();
    assert_eq!(addresses, sorted[..2]);
}
