//! Five replicas behind one DNS name: one leaks, is named by the alert, dies at its limit and comes
//! back, while the other four answer every request.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use xtask_support::http::{self, Client};
use xtask_support::report::Report;
use xtask_support::wait::{INTERVAL, wait_for};

use super::docker;

/// The files of the lab and of the replicas.
const FILES: [&str; 4] = [
    "compose",
    "--file=compose.yaml",
    "--file=compose/fleet.yaml",
    "--progress=quiet",
];

const REPLICAS: usize = 5;

/// The commands run in this container, because only containers know the DNS name.
const CLIENT: &str = "lab16-leaky-service";

/// The leak, and what one request leaves behind: at [`PAUSE`] between two requests the replica
/// reaches its limit a minute after the alert.
const LEAK: &str = "listeners";
const PAYLOAD: &str = "payload_bytes=65536";
const PAUSE: Duration = Duration::from_millis(45);

/// For all replicas to be healthy: each compiles its plugins.
const UP_TIMEOUT_SECONDS: &str = "300";

/// For a scrape.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(60);

/// The rules of the lab confirm a leak after two minutes.
const ALERT_TIMEOUT: Duration = Duration::from_secs(240);

const DEATH_TIMEOUT: Duration = Duration::from_secs(300);

/// A request that takes longer has failed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Alerts that say that a plugin leaks.
const ALERTS: &str = "LeakSuspectLab|LeakConfirmedLab";

/// Starts the replicas next to the running lab and checks them. They are removed with the lab.
pub(super) fn check(root: &Path, report: &mut Report) {
    let up = report.check("five replicas: up --scale lab16-fleet=5", || {
        let scale = format!("--scale=lab16-fleet={REPLICAS}");
        let timeout = format!("--wait-timeout={UP_TIMEOUT_SECONDS}");
        compose(root, &["up", "-d", "--wait", &timeout, &scale])?;
        let replicas = Replica::all(root)?;
        ensure!(replicas.len() == REPLICAS, "{} run", replicas.len());
        Ok(format!("{REPLICAS} are healthy"))
    });
    let replicas = Replica::all(root).unwrap_or_default();
    if !up || replicas.is_empty() {
        return;
    }
    report.check("Prometheus finds them by DNS", || {
        wait_for("not all are targets", SCRAPE_TIMEOUT, INTERVAL, || {
            let up = instances("up{job=\"leaky-service\"} == 1")?;
            let missing = replicas
                .iter()
                .filter(|r| !up.contains(&r.instance()))
                .count();
            ensure!(missing == 0, "{missing} are missing of {up:?}");
            Ok(format!("{REPLICAS} targets"))
        })
    });
    report.check("fleet status over the DNS name", || {
        let status = fleet(root, &["status"])?;
        let count = |name: &str| status.get(name).and_then(Value::as_u64);
        let counts = (count("asked"), count("failed"), count("leaking"));
        ensure!(
            counts == (Some(REPLICAS as u64), Some(0), Some(0)),
            "{counts:?}"
        );
        Ok("all answer".to_owned())
    });
    let load = Load::start(&replicas);
    let leaking = leak(root, &replicas, report);
    if let Some(leaking) = leaking {
        let sent = report.check("the other four answer every request", || load.end(leaking));
        if !sent {
            println!("  the leaking replica was {}", leaking.name);
        }
    }
}

/// Makes one replica leak, and waits until it has died and come back.
fn leak<'a>(root: &Path, replicas: &'a [Replica], report: &mut Report) -> Option<&'a Replica> {
    let mut leaking = None;
    report.check("fleet enable --only 1", || {
        let answer = fleet(root, &["enable", LEAK, PAYLOAD, "--only=1"])?;
        let address = answer.pointer("/hosts/0/address").and_then(Value::as_str);
        let address = address.context("no host answered")?;
        let replica = replicas
            .iter()
            .find(|replica| replica.instance() == address);
        leaking = Some(replica.with_context(|| format!("no replica has {address}"))?);
        ensure!(answer.pointer("/hosts/1").is_none(), "{answer}");
        Ok(address.to_owned())
    });
    let leaking = leaking?;
    let alerted = report.check("the alert names this replica and no other", || {
        wait_for("no alert", ALERT_TIMEOUT, INTERVAL, || {
            let firing = instances(&alerts())?;
            ensure!(firing.contains(&leaking.instance()), "firing: {firing:?}");
            Ok(())
        })?;
        only(&instances(&alerts())?, leaking)
    });
    report.check("fleet diff names the line", || {
        let diff = fleet(root, &["diff"])?;
        let text = |pointer: &str| diff.pointer(pointer).and_then(Value::as_str);
        let location = text("/lines/0/location").unwrap_or_default();
        ensure!(location.contains("listeners/src/lib.rs:"), "{location}");
        let hosts = diff.pointer("/lines/0/hosts").and_then(Value::as_u64);
        ensure!(hosts == Some(1), "it grew on {hosts:?} hosts");
        Ok(location.to_owned())
    });
    if !alerted {
        return Some(leaking);
    }
    report.check("it is killed at its limit and comes back", || {
        wait_for("it was not restarted", DEATH_TIMEOUT, INTERVAL, || {
            let restarts = leaking.inspect(root, "{{.RestartCount}}")?;
            ensure!(restarts != "0", "no restart");
            Ok(())
        })?;
        let found = wait_for("it does not come back", SCRAPE_TIMEOUT, INTERVAL, || {
            let health = leaking.inspect(root, "{{.State.Health.Status}}")?;
            ensure!(health == "healthy", "it is {health}");
            let url = format!(
                "http://{}/admin/post-mortem",
                leaking.current_instance(root)?
            );
            http::json(&url)
        })?;
        let message = found.get("message").and_then(Value::as_str);
        Ok(message
            .unwrap_or("its last readings say nothing")
            .to_owned())
    });
    report.check("no other replica had an alert", || {
        let window = format!("max_over_time(({})[10m:5s])", alerts());
        only(&instances(&window)?, leaking)
    });
    Some(leaking)
}

fn alerts() -> String {
    format!(
        "ALERTS{{alertstate=\"firing\",alertname=~\"{ALERTS}\",plugin=\"{LEAK}\",instance!~\"{CLIENT}.*\"}}"
    )
}

fn only(firing: &BTreeSet<String>, leaking: &Replica) -> Result<String> {
    let expected = BTreeSet::from([leaking.instance()]);
    ensure!(*firing == expected, "firing: {firing:?}");
    Ok(leaking.instance())
}

/// The `instance` labels of what a query finds.
fn instances(query: &str) -> Result<BTreeSet<String>> {
    let answer = http::query("http://localhost:9090/api/v1/query", &[("query", query)])?;
    let result = answer.pointer("/data/result").and_then(Value::as_array);
    let series = result
        .context("Prometheus answered without a result")?
        .iter();
    let instance = |series: &Value| {
        series
            .pointer("/metric/instance")?
            .as_str()
            .map(str::to_owned)
    };
    Ok(series.filter_map(instance).collect())
}

fn compose(root: &Path, args: &[&str]) -> Result<String> {
    docker(root, &[&FILES[..], args].concat())
}

/// The JSON of `leak-host fleet` over the DNS name.
fn fleet(root: &Path, args: &[&str]) -> Result<Value> {
    let command = ["exec", CLIENT, "/leak-host", "fleet"];
    let source = ["--service=lab16-fleet:8080", "--json"];
    let answer = docker(root, &[&command[..], args, &source].concat())?;
    serde_json::from_str(&answer).context("its answer is not JSON")
}

/// One replica. Its address may change when it is restarted.
#[derive(Debug, Clone)]
struct Replica {
    name: String,
    ip: String,
}

impl Replica {
    fn all(root: &Path) -> Result<Vec<Self>> {
        let ids = compose(root, &["ps", "--quiet", "lab16-fleet"])?;
        ids.lines()
            .map(|id| {
                let name = id.trim().to_owned();
                let mut replica = Replica {
                    name,
                    ip: String::new(),
                };
                replica.ip = replica.inspect(root, ADDRESS)?;
                Ok(replica)
            })
            .collect()
    }

    fn instance(&self) -> String {
        format!("{}:8080", self.ip)
    }

    fn current_instance(&self, root: &Path) -> Result<String> {
        Ok(format!("{}:8080", self.inspect(root, ADDRESS)?))
    }

    fn inspect(&self, root: &Path, format: &str) -> Result<String> {
        let format = format!("--format={format}");
        let text = docker(root, &["inspect", &format, &self.name])?;
        Ok(text.trim().to_owned())
    }
}

const ADDRESS: &str = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";

/// Requests to all replicas, until they are ended or dropped.
struct Load {
    stopping: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    answered: BTreeMap<String, Arc<AtomicU64>>,
    failures: Arc<Mutex<Vec<(String, String)>>>,
}

impl Load {
    fn start(replicas: &[Replica]) -> Self {
        let mut load = Load {
            stopping: Arc::default(),
            threads: Vec::new(),
            answered: BTreeMap::new(),
            failures: Arc::default(),
        };
        for replica in replicas {
            let instance = replica.instance();
            let answered = Arc::new(AtomicU64::new(0));
            load.answered.insert(instance.clone(), answered.clone());
            let (stopping, failures) = (load.stopping.clone(), load.failures.clone());
            load.threads.push(thread::spawn(move || {
                let client = Client::with_timeout(REQUEST_TIMEOUT);
                let url = format!("http://{instance}/api/data");
                while !stopping.load(Ordering::Relaxed) {
                    match client.text(&url) {
                        Ok(_) => {
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => {
                            let mut failures =
                                failures.lock().unwrap_or_else(PoisonError::into_inner);
                            failures.push((instance.clone(), format!("{error:#}")));
                        }
                    }
                    thread::sleep(PAUSE);
                }
            }));
        }
        load
    }

    /// Ends the load. An error if another replica than this one has failed a request.
    fn end(mut self, leaking: &Replica) -> Result<String> {
        self.stopping.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let of_leaking = leaking.instance();
        let others: Vec<_> = failures.iter().filter(|(i, _)| *i != of_leaking).collect();
        ensure!(
            others.is_empty(),
            "{} failed, first: {:?}",
            others.len(),
            others.first()
        );
        let mut total = 0;
        for (instance, answered) in &self.answered {
            let answered = answered.load(Ordering::Relaxed);
            ensure!(answered > 0, "{instance} answered none");
            total += if *instance == of_leaking { 0 } else { answered };
        }
        let lost = failures.len();
        Ok(format!(
            "{total} requests answered; the leaking one failed {lost}"
        ))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}
