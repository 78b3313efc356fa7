//! The test harness: starts the real host with a set of plugins and sends requests to it.

mod answer;
mod wait;

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) use self::answer::{Answer, assert_close, failures, number};
pub(crate) use self::wait::{WAIT_TIMEOUT, wait_for, wait_until};
use crate::components::component;

pub(crate) const MIB: f64 = 1_048_576.0;

/// Includes the compilation of the plugins if no earlier test compiled them, on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// The options of a host to start.
pub(crate) struct LabBuilder {
    plugins: TempDir,
    listen: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
    /// A command that executes the host. Empty if the host runs directly.
    wrapper: Vec<String>,
}

impl LabBuilder {
    pub(crate) fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub(crate) fn args<const N: usize>(mut self, args: [&str; N]) -> Self {
        self.args.extend(args.map(str::to_owned));
        self
    }

    /// Sets the address to listen on. The default is a free port.
    pub(crate) fn listen(mut self, address: &str) -> Self {
        address.clone_into(&mut self.listen);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the host through a command that executes the arguments after its own.
    pub(crate) fn wrapper(mut self, command: Vec<String>) -> Self {
        self.wrapper = command;
        self
    }

    pub(crate) fn plugins_folder(&self) -> &Path {
        self.plugins.path()
    }

    /// Adds a file to the plugins folder.
    pub(crate) fn file(self, name: &str, content: &[u8]) -> Self {
        fs::write(self.plugins.path().join(name), content).unwrap();
        self
    }

    fn command(&self) -> Command {
        let host = env!("CARGO_BIN_EXE_leak-host").to_owned();
        let mut words = self.wrapper.iter().chain([&host]);
        let mut command = Command::new(words.next().unwrap());
        command
            .args(words)
            .args(["--listen", &self.listen, "--plugins"])
            .arg(self.plugins.path());
        command.args(&self.args);
        // Variables that the user has set for a lab of their own must not reach the tests.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("OTEL_") || name.starts_with("LEAK_") {
                command.env_remove(name);
            }
        }
        // The tests share compiled components, but not with the user's own lab.
        command.env(
            "XDG_CACHE_HOME",
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"),
        );
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null());
        command
    }

    /// Runs a host that exits by itself. Returns its status and everything it wrote.
    pub(crate) fn run_to_the_end(self) -> (ExitStatus, String) {
        let output = self.command().output().expect("the host starts");
        let text = [output.stdout, output.stderr].concat();
        (output.status, String::from_utf8_lossy(&text).into_owned())
    }

    /// Starts the host and waits until its plugins are loaded.
    pub(crate) async fn start(self) -> Lab {
        let mut lab = self.start_loading().await;
        lab.wait_until_ready().await;
        lab
    }

    /// Starts the host and waits until it listens.
    pub(crate) async fn start_loading(self) -> Lab {
        let output = OutputFiles::new();
        let child = self
            .command()
            .stdout(output.create("stdout"))
            .stderr(output.create("stderr"))
            .spawn()
            .expect("the host starts");
        let http = Client::builder().timeout(Duration::from_secs(60));
        let mut lab = Lab {
            child,
            base: String::new(),
            http: http.build().unwrap(),
            output,
            plugins: self.plugins,
        };
        let line = lab.first_line().await;
        let base = line.strip_prefix("leak-host listening on ");
        lab.base = base
            .unwrap_or_else(|| panic!("first line on stdout is {line:?}"))
            .trim()
            .to_owned();
        lab
    }
}

/// The host's stdout and stderr. Files instead of pipes: the host has written its output before it
/// answers, so a test reads all of it after the answer, and no thread has to drain a pipe.
struct OutputFiles(TempDir);

impl OutputFiles {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn create(&self, stream: &str) -> File {
        File::create(self.0.path().join(stream)).unwrap()
    }

    fn read(&self, stream: &str) -> String {
        let bytes = fs::read(self.0.path().join(stream)).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// A running host. Dropping it kills the host, and prints the host's output if the test failed.
pub(crate) struct Lab {
    child: Child,
    base: String,
    http: Client,
    output: OutputFiles,
    plugins: TempDir,
}

impl Lab {
    /// A lab with these components, named after their crates.
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
            wrapper: Vec::new(),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> &str {
        self.base.strip_prefix("http://").unwrap()
    }

    /// The folder that the host loads its plugins from.
    pub(crate) fn plugins_folder(&self) -> &Path {
        self.plugins.path()
    }

    /// `/proc/PID` of the host.
    pub(crate) fn proc_folder(&self) -> PathBuf {
        format!("/proc/{}", self.child.id()).into()
    }

    pub(crate) fn http(&self) -> &Client {
        &self.http
    }

    /// Everything that the host has written so far, stdout first.
    pub(crate) fn output(&self) -> String {
        self.output.read("stdout") + &self.output.read("stderr")
    }

    /// Waits until the plugins are loaded.
    async fn wait_until_ready(&mut self) {
        wait_for("the host is ready", START_TIMEOUT, async || {
            let exited = self.child.try_wait().unwrap();
            if let Some(status) = exited {
                panic!("the host exited with {status}: {}", self.output());
            }
            let ready = self.request(Method::GET, "/health/ready").send().await;
            match ready {
                Ok(answer) if answer.status().is_success() => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }

    async fn first_line(&mut self) -> String {
        wait_for("a line on stdout", START_TIMEOUT, async || {
            // Checked before the read, so that the last output of an exited host is seen.
            let exited = self.child.try_wait().unwrap();
            let stdout = self.output.read("stdout");
            if let (None, Some(status)) = (stdout.find('\n'), exited) {
                panic!("the host exited with {status}");
            }
            let line = stdout.split_once('\n').map(|(line, _)| line.to_owned());
            line.ok_or(stdout)
        })
        .await
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(path))
    }

    /// The JSON of a GET, which must be answered with 200.
    pub(crate) async fn get(&self, path: &str) -> Value {
        Answer::of(self.request(Method::GET, path)).await.ok(path)
    }

    /// The JSON of a POST, which must be answered with 200.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        let answer = Answer::of(self.request(Method::POST, path).json(&body)).await;
        answer.ok(&format!("{path} {body}"))
    }

    /// The metrics page in the text format of Prometheus.
    pub(crate) async fn metrics_page(&self) -> String {
        let answer = Answer::of(self.request(Method::GET, "/metrics")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.text
    }

    /// Changes the settings of a leak, and its switch if `settings` contains `enabled`.
    pub(crate) async fn configure(&self, leak: &str, settings: Value) -> Value {
        self.post(&format!("/admin/leaks/{leak}"), settings).await
    }

    pub(crate) async fn enable(&self, leak: &str) {
        self.configure(leak, json!({"enabled": true})).await;
    }

    pub(crate) async fn disable(&self, leak: &str) {
        self.configure(leak, json!({"enabled": false})).await;
    }

    /// Replaces the instance of a plugin with a fresh one.
    pub(crate) async fn reset(&self, leak: &str) -> Value {
        self.post(&format!("/admin/leaks/{leak}/reset"), json!({}))
            .await
    }

    /// Clears what a leak retains; `all` clears every leak.
    pub(crate) async fn clear(&self, leak: &str) -> Value {
        self.post("/admin/leaks/clear", json!({"leak_type": leak}))
            .await
    }

    /// One request of the service, which must be answered with 200.
    pub(crate) async fn data(&self) -> Value {
        self.get("/api/data").await
    }

    /// Requests of the service, one after the other.
    pub(crate) async fn traffic(&self, requests: usize) {
        for _ in 0..requests {
            self.data().await;
        }
    }

    /// The status of one leak.
    pub(crate) async fn leak(&self, name: &str) -> Value {
        let status = self.get("/admin/leaks/status?all=true").await;
        let leak = status["leaks"][name].clone();
        assert!(leak.is_object(), "the status lacks {name}: {status}");
        leak
    }

    /// The resident memory that the kernel reports, independent of what the host reports itself.
    pub(crate) fn resident_bytes(&self) -> f64 {
        let status = fs::read_to_string(self.proc_folder().join("status")).unwrap();
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.expect("VmRSS").split_whitespace().next().unwrap();
        kib.parse::<f64>().unwrap() * 1024.0
    }

    /// Sends a signal, given by its name without `SIG`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status();
        assert!(sent.unwrap().success(), "kill sends the signal");
    }

    /// Waits until the host exits.
    pub(crate) async fn exits_within(&mut self, timeout: Duration) -> ExitStatus {
        wait_for("the host exits", timeout, async || {
            let status = self.child.try_wait().unwrap();
            status.ok_or("still running")
        })
        .await
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // The host may have exited already.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
        if thread::panicking() {
            eprintln!("output of the host:\n{}", self.output());
        }
    }
}

/// An address that no process listens on at this moment.
pub(crate) fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string()
}
