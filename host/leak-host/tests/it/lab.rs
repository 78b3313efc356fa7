//! A running host and what can be asked of it.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

use crate::components::component;

pub(crate) const MIB: f64 = 1_048_576.0;

/// Includes compiling the plugins, when no test before did, on a machine with other things to do.
const STARTS_WITHIN: Duration = Duration::from_secs(120);

/// How a lab is to be started.
pub(crate) struct LabBuilder {
    plugins: TempDir,
    listen: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
    /// A command that runs the host, if it is not to run as it is.
    within: Vec<String>,
}

impl LabBuilder {
    pub(crate) fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Instead of a free port.
    pub(crate) fn listen(mut self, address: &str) -> Self {
        address.clone_into(&mut self.listen);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs it by a command that ends by executing what follows it.
    pub(crate) fn within(mut self, command: Vec<String>) -> Self {
        self.within = command;
        self
    }

    /// Puts something into the plugins folder beside the components.
    pub(crate) fn file(self, name: &str, content: &[u8]) -> Self {
        fs::write(self.plugins.path().join(name), content).unwrap();
        self
    }

    fn command(&self) -> Command {
        let host = env!("CARGO_BIN_EXE_leak-host").to_owned();
        let mut words = self.within.iter().chain([&host]);
        let mut command = Command::new(words.next().unwrap());
        command
            .args(words)
            .args(["--listen", &self.listen, "--plugins"])
            .arg(self.plugins.path());
        command.args(&self.args);
        // What the person who runs the tests has set for their own lab.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("OTEL_") || name.starts_with("LEAK_") {
                command.env_remove(name);
            }
        }
        // Compiled components are shared between the tests, but not with the person's own lab.
        command.env(
            "XDG_CACHE_HOME",
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"),
        );
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null());
        command
    }

    /// Starts a host that is expected to end by itself.
    pub(crate) fn run_to_the_end(self) -> (ExitStatus, String) {
        let output = self.command().output().expect("the host starts");
        let text = [output.stdout, output.stderr].concat();
        (output.status, String::from_utf8_lossy(&text).into_owned())
    }

    /// Starts the host and waits until it is healthy.
    pub(crate) async fn start(self) -> Lab {
        let written = Written::new();
        let child = self
            .command()
            .stdout(written.file("stdout"))
            .stderr(written.file("stderr"))
            .spawn()
            .expect("the host starts");
        let mut lab = Lab {
            child,
            base: String::new(),
            http: Client::builder()
                .timeout(Duration::from_secs(60))
                .build()
                .unwrap(),
            written,
            plugins: self.plugins,
        };
        let line = lab.first_line().await;
        let base = line.strip_prefix("leak-host listening on ");
        lab.base = base
            .unwrap_or_else(|| panic!("first line on stdout is {line:?}"))
            .trim()
            .to_owned();
        let started = Instant::now();
        while !lab
            .http
            .get(lab.url("/health"))
            .send()
            .await
            .is_ok_and(|a| a.status().is_success())
        {
            assert!(
                started.elapsed() < STARTS_WITHIN,
                "not healthy: {}",
                lab.output()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        lab
    }
}

/// What a host writes. Files, not pipes: what it wrote before it answered is there with the answer,
/// and no thread has to have read it.
struct Written(TempDir);

impl Written {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// For the host to write to.
    fn file(&self, stream: &str) -> File {
        File::create(self.0.path().join(stream)).unwrap()
    }

    fn read(&self, stream: &str) -> String {
        let bytes = fs::read(self.0.path().join(stream)).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// A host that is killed when the test is over.
pub(crate) struct Lab {
    child: Child,
    base: String,
    http: Client,
    written: Written,
    plugins: TempDir,
}

impl Lab {
    /// A lab with these components, by the names of their crates.
    pub(crate) fn with(components: &[&str]) -> LabBuilder {
        let plugins = tempfile::tempdir().unwrap();
        for name in components {
            fs::copy(component(name), plugins.path().join(format!("{name}.wasm"))).unwrap();
        }
        LabBuilder {
            plugins,
            listen: "127.0.0.1:0".to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            within: Vec::new(),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> &str {
        self.base.strip_prefix("http://").unwrap()
    }

    /// The folder that its plugins are loaded from.
    pub(crate) fn plugins_folder(&self) -> &Path {
        self.plugins.path()
    }

    /// The folder of the kernel's knowledge of this process.
    pub(crate) fn proc(&self) -> std::path::PathBuf {
        format!("/proc/{}", self.child.id()).into()
    }

    pub(crate) fn http(&self) -> &Client {
        &self.http
    }

    /// Everything that the host has written so far, stdout first.
    pub(crate) fn output(&self) -> String {
        self.written.read("stdout") + &self.written.read("stderr")
    }

    /// The first line on stdout.
    async fn first_line(&mut self) -> String {
        let started = Instant::now();
        loop {
            // Asked before, so that the last words of one that ended are read.
            let ended = self.child.try_wait().unwrap();
            if let Some((line, _)) = self.written.read("stdout").split_once('\n') {
                return line.to_owned();
            }
            if let Some(status) = ended {
                panic!("the host ended with {status}: {}", self.output());
            }
            assert!(
                started.elapsed() < STARTS_WITHIN,
                "no line on stdout: {}",
                self.output()
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(path))
    }

    /// The answer to a GET, which must be 200.
    pub(crate) async fn get(&self, path: &str) -> Value {
        Answer::of(self.request(Method::GET, path)).await.ok(path)
    }

    /// The answer to a POST, which must be 200.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        let answer = Answer::of(self.request(Method::POST, path).json(&body)).await;
        answer.ok(&format!("{path} {body}"))
    }

    pub(crate) async fn enable(&self, leak: &str) {
        self.post(
            &format!("/admin/leaks/{leak}"),
            serde_json::json!({"enabled": true}),
        )
        .await;
    }

    pub(crate) async fn disable(&self, leak: &str) {
        self.post(
            &format!("/admin/leaks/{leak}"),
            serde_json::json!({"enabled": false}),
        )
        .await;
    }

    /// One request of the service, which must be answered with 200.
    pub(crate) async fn data(&self) -> Value {
        self.get("/api/data").await
    }

    pub(crate) async fn traffic(&self, requests: usize) {
        for _ in 0..requests {
            self.data().await;
        }
    }

    /// One leak's part of the status.
    pub(crate) async fn leak(&self, name: &str) -> Value {
        let status = self.get("/admin/leaks/status").await;
        let leak = status["leaks"][name].clone();
        assert!(leak.is_object(), "status knows {name}: {status}");
        leak
    }

    /// What the kernel says, not what the host says of itself.
    pub(crate) fn resident_bytes(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("VmRSS");
        line.split_whitespace()
            .next()
            .unwrap()
            .parse::<f64>()
            .unwrap()
            * 1024.0
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status();
        assert!(sent.unwrap().success(), "the signal is sent");
    }

    /// Waits for the host to end, not longer than this.
    pub(crate) async fn ends_within(&mut self, limit: Duration) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                started.elapsed() < limit,
                "still running: {}",
                self.output()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // It may have ended by itself already.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
        if thread::panicking() {
            eprintln!("the host wrote:\n{}", self.output());
        }
    }
}

/// An answer that has arrived completely.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) content_type: String,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("the host answers");
        let headers = response.headers().clone();
        let content_type = headers
            .get("content-type")
            .and_then(|value| value.to_str().ok());
        Self {
            status: response.status(),
            content_type: content_type.unwrap_or_default().to_owned(),
            headers: headers.clone(),
            text: response.text().await.expect("the answer is complete"),
        }
    }

    pub(crate) fn json(&self) -> Value {
        assert!(
            self.content_type.starts_with("application/json"),
            "{self:?}"
        );
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn ok(&self, what: &str) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{what}: {}", self.text);
        self.json()
    }

    /// The code of an error, after checking that the error has the form that all errors have.
    pub(crate) fn error_code(&self, what: &str) -> String {
        let json = self.json();
        let error = &json["error"];
        for field in ["code", "message", "hint"] {
            let text = error[field].as_str().unwrap_or_default();
            assert!(
                !text.is_empty(),
                "{what}: error.{field} is missing in {json}"
            );
        }
        for inner in ["backtrace", "wasmtime", "host/plugin-host"] {
            assert!(
                !self.text.contains(inner),
                "{what}: {inner} is for the log: {json}"
            );
        }
        error["code"].as_str().unwrap().to_owned()
    }
}

/// An address that nobody listens on at this moment.
pub(crate) fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string()
}

/// What an answer of the service says of leaks that failed.
pub(crate) fn failures(data: &Value) -> &[Value] {
    data["leaks_failed"].as_array().map_or(&[], Vec::as_slice)
}

/// A number of an answer.
pub(crate) fn number(value: &Value, pointer: &str) -> f64 {
    value
        .pointer(pointer)
        .and_then(Value::as_f64)
        .unwrap_or_else(|| panic!("{pointer} in {value}"))
}

/// Asserts that a number is as expected, give or take a share of it.
#[track_caller]
pub(crate) fn assert_close(what: &str, actual: f64, expected: f64, share: f64) {
    assert!(
        (actual - expected).abs() <= expected.abs() * share,
        "{what}: {actual} is not within {:.0} % of {expected}",
        share * 100.0
    );
}
