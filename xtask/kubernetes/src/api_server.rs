//! A real API server with etcd, without nodes: it takes the objects, defaults and validates them.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use xtask_support::report::Report;
use xtask_support::tools::{on_path, run_quietly};
use xtask_support::workspace::Workspace;

use crate::chart::{Chart, at};
use crate::value_sets::VALUE_SETS;
use crate::{kustomize, schemas, tools};

/// From the start of the server to its readiness.
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// The token of the administrator of this server, which listens on the loopback interface.
const TOKEN: &str = "administrator";

/// The namespace of the objects that are really created.
const NAMESPACE: &str = "leak-lab";

/// Starts the server and gives it every set of values.
pub(crate) fn check(workspace: &Workspace, chart: &Chart, report: &mut Report) {
    let name = "server-side dry run";
    let found = Programs::find().and_then(|programs| Ok((programs, schemas::definitions()?)));
    let (programs, definitions) = match found {
        Ok(found) => found,
        Err(reason) => return report.skip(name, format_args!("{reason:#}")),
    };
    let mut started = None;
    report.check("kube-apiserver", || {
        let server = ApiServer::start(&programs)?;
        server.prepare(&definitions)?;
        let version = server.kubectl(&["version", "-o", "json"], None)?;
        let version: serde_json::Value = serde_json::from_str(&version)?;
        started = Some(server);
        Ok(at(&version, "/serverVersion/gitVersion").to_string())
    });
    let Some(server) = started else {
        return;
    };
    for set in VALUE_SETS {
        report.check(&format!("{name}: {}", set.name), || {
            let rendered = chart.template(set.values, &["--namespace", NAMESPACE])?;
            server.apply(&rendered, &["--dry-run=server"])
        });
    }
    report.check(&format!("{name}: kustomize"), || {
        let rendered = kustomize::example(workspace, &programs.kubectl)?;
        server.apply(&rendered, &["--dry-run=server"])
    });
    report.check("a wrong object is refused", || {
        let rendered = chart.template(&[], &["--namespace", NAMESPACE])?;
        let wrong = rendered.replace("runAsUser: 65532", "runAsUser: -1");
        ensure!(wrong != rendered, "nothing to change");
        match server.apply(&wrong, &["--dry-run=server"]) {
            Ok(_) => bail!("the server takes it"),
            Err(error) => {
                let text = format!("{error:#}");
                ensure!(text.contains("runAsUser"), "another reason: {text}");
                Ok("runAsUser: -1".to_owned())
            }
        }
    });
    report.check("created, changed to a canary and back", || {
        server.roll_out_and_back(chart)
    });
}

/// What the tests run.
#[derive(Debug)]
struct Programs {
    etcd: PathBuf,
    server: PathBuf,
    kubectl: PathBuf,
    openssl: PathBuf,
}

impl Programs {
    fn find() -> Result<Self> {
        Ok(Self {
            etcd: tools::etcd()?,
            openssl: on_path("openssl")?,
            kubectl: tools::kubectl()?,
            server: tools::kube_apiserver()?,
        })
    }
}

/// A running server. Dropping it ends both programs and removes their data.
#[derive(Debug)]
struct ApiServer {
    children: Vec<Child>,
    folder: tempfile::TempDir,
    kubectl: PathBuf,
    address: String,
}

impl ApiServer {
    fn start(programs: &Programs) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let [clients, peers, port] = free_ports()?;
        let clients = format!("http://127.0.0.1:{clients}");
        let peers = format!("http://127.0.0.1:{peers}");
        let mut server = Self {
            children: Vec::new(),
            kubectl: programs.kubectl.clone(),
            address: format!("https://127.0.0.1:{port}"),
            folder,
        };
        let path = |name: &str| server.folder.path().join(name);
        let key = path("service-accounts.key");
        run_quietly(
            Command::new(&programs.openssl)
                .args(["genrsa", "-out"])
                .arg(&key)
                .arg("2048"),
        )?;
        let tokens = path("tokens.csv");
        fs::write(&tokens, format!("{TOKEN},admin,admin,\"system:masters\"\n"))?;
        let mut etcd = Command::new(&programs.etcd);
        etcd.arg("--data-dir").arg(path("etcd"));
        etcd.args([
            "--listen-client-urls",
            &clients,
            "--advertise-client-urls",
            &clients,
        ]);
        etcd.args([
            "--listen-peer-urls",
            &peers,
            "--initial-advertise-peer-urls",
            &peers,
        ]);
        etcd.args([
            "--initial-cluster",
            &format!("default={peers}"),
            "--log-level",
            "warn",
        ]);
        // It asks for this on other processors than x86.
        etcd.env("ETCD_UNSUPPORTED_ARCH", std::env::consts::ARCH);
        let mut api = Command::new(&programs.server);
        api.arg(format!("--etcd-servers={clients}"))
            .arg(format!("--secure-port={port}"))
            .arg(format!("--cert-dir={}", path("certificates").display()))
            .arg(format!("--service-account-key-file={}", key.display()))
            .arg(format!(
                "--service-account-signing-key-file={}",
                key.display()
            ))
            .arg(format!("--token-auth-file={}", tokens.display()))
            .args([
                "--bind-address=127.0.0.1",
                "--service-account-issuer=https://leak-lab.invalid",
                "--authorization-mode=RBAC",
                "--service-cluster-ip-range=10.0.0.0/24",
            ]);
        server.spawn("etcd", &mut etcd)?;
        server.spawn("kube-apiserver", &mut api)?;
        server.wait_until_ready()?;
        Ok(server)
    }

    fn spawn(&mut self, name: &str, command: &mut Command) -> Result<()> {
        let log = File::create(self.log(name))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        self.children.push(child);
        Ok(())
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let Err(reason) = self.kubectl(&["get", "--raw", "/readyz"], None) else {
                return Ok(());
            };
            let ended = self
                .children
                .iter_mut()
                .any(|child| !matches!(child.try_wait(), Ok(None)));
            if ended || Instant::now() >= deadline {
                let log = |name: &str| last_lines(&self.log(name));
                bail!("{reason:#}\n{}\n{}", log("etcd"), log("kube-apiserver"));
            }
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// Installs the definitions of the operators' objects, and the namespace.
    fn prepare(&self, definitions: &[String]) -> Result<()> {
        for definition in definitions {
            self.apply(definition, &[])?;
        }
        let wait = [
            "wait",
            "--for=condition=Established",
            "crd",
            "--all",
            "--timeout=60s",
        ];
        self.kubectl(&wait, None)?;
        self.kubectl(&["create", "namespace", NAMESPACE], None)?;
        // The strictest profile that a cluster can ask for.
        let restricted = "pod-security.kubernetes.io/enforce=restricted";
        self.kubectl(&["label", "namespace", NAMESPACE, restricted], None)?;
        Ok(())
    }

    /// Applies objects and returns how many the server took.
    fn apply(&self, objects: &str, arguments: &[&str]) -> Result<String> {
        let file = self.folder.path().join("objects.yaml");
        fs::write(&file, objects)?;
        let mut all = vec![
            "apply",
            "--server-side",
            "--force-conflicts",
            "--validate=strict",
        ];
        all.extend(arguments);
        let answer = self.kubectl(&all, Some(&file))?;
        Ok(format!("{} objects", answer.lines().count()))
    }

    /// Really installs the chart, and makes two upgrades: out to a canary and back.
    fn roll_out_and_back(&self, chart: &Chart) -> Result<String> {
        let config = self.folder.path().join("config.yaml");
        fs::write(&config, self.configuration().to_string())?;
        let canary = r#"canary={"enabled":true,"revision":"0.2.0","enable":["cache"]}"#;
        let (mut deployments, mut tokens) = (Vec::new(), Vec::new());
        // Without values, Helm would keep those of the release.
        for values in [&[][..], &[canary], &["canary.enabled=false"]] {
            chart.upgrade(&config, NAMESPACE, values)?;
            let columns =
                "custom-columns=N:.metadata.name,R:.spec.replicas,V:.metadata.labels.revision";
            let answer = self.get(&["deployments", "--no-headers", "--output", columns])?;
            let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
            deployments.push(answer.lines().map(words).collect::<Vec<_>>().join(", "));
            tokens.push(self.get(&["secret", "leak-lab-admin", "--output", "jsonpath={.data}"])?);
        }
        let one = "leak-lab 5 0.1.0";
        let both = "leak-lab 4 0.1.0, leak-lab-canary 1 0.2.0";
        ensure!(deployments == [one, both, one], "{deployments:?}");
        tokens.dedup();
        ensure!(tokens.len() == 1, "an upgrade changes the token");
        Ok(format!("{both}; the token stays"))
    }

    fn get(&self, arguments: &[&str]) -> Result<String> {
        let get = ["get", "--namespace", NAMESPACE];
        self.kubectl(&[&get, arguments].concat(), None)
    }

    /// The server, for clients that read a file.
    fn configuration(&self) -> serde_json::Value {
        serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {
                "server": self.address, "insecure-skip-tls-verify": true,
            }}],
            "users": [{"name": "test", "user": {"token": TOKEN}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        })
    }

    fn kubectl(&self, arguments: &[&str], file: Option<&Path>) -> Result<String> {
        let mut kubectl = Command::new(&self.kubectl);
        kubectl.args([
            "--server",
            &self.address,
            "--token",
            TOKEN,
            "--insecure-skip-tls-verify",
        ]);
        // Neither the configuration nor the cache of the user.
        kubectl.env("KUBECONFIG", "/dev/null").arg("--cache-dir");
        kubectl
            .arg(self.folder.path().join("kubectl"))
            .args(arguments);
        if let Some(file) = file {
            kubectl.arg("--filename").arg(file);
        }
        run_quietly(&mut kubectl)
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        // The API server before etcd, or it would wait for it.
        for child in self.children.iter_mut().rev() {
            let _gone = child.kill();
            let _reaped = child.wait();
        }
    }
}

fn last_lines(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let start = lines.len().saturating_sub(3);
    lines.get(start..).unwrap_or_default().join("\n")
}

/// Three ports that are free now.
fn free_ports() -> Result<[u16; 3]> {
    let listen = || TcpListener::bind("127.0.0.1:0").context("no free port");
    let listeners = [listen()?, listen()?, listen()?];
    let mut ports = [0; 3];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ports_differ() {
        let [a, b, c] = free_ports().unwrap();
        assert!(a != b && b != c && a != c);
    }
}
