//! A host in the test's own process.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use admin_api::{ApiOptions, ApiState, HostIdentity};
use axum::Router;
use axum::http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::answer::TestRequest;
use crate::components::{compiled_folder, component};
use lab::heap::Heaps;
use lab::metrics::Metrics;
use lab::monitor::Monitor;
use lab::post_mortem::PostMortem;
use lab::sampler;
use plugin_host::engine;
use plugin_host::load::cache::{Cache, CacheLimits};
use plugin_host::load::compiler::Compiler;
use plugin_host::load::loader::Loader;
use plugin_host::registry::Registry;
use plugin_host::settings::{Defaults, HeapProfile};
use process_memory::limit::MemoryBudget;
use telemetry::traces::Tracer;

/// The time limit of one call into a plugin. Longer than the host's default: a test machine is
/// busy, and the tests in this process are not about deadlines.
const PLUGIN_DEADLINE: Duration = Duration::from_secs(10);

/// The largest component, in bytes: the host's default.
const MAX_PLUGIN_BYTES: u64 = 64 << 20;

/// The options of a host that is not started yet.
pub struct TestHostBuilder {
    plugins: TempDir,
    options: ApiOptions,
}

impl TestHostBuilder {
    /// The admin API requires this token.
    pub fn admin_token(mut self, token: &str) -> Self {
        self.options.admin_token = Some(token.to_owned());
        self
    }

    /// Mysteries have an instructor with this token.
    pub fn instructor_token(mut self, token: &str) -> Self {
        self.options.instructor_token = Some(token.to_owned());
        self
    }

    /// The admin API is served under this name too.
    pub fn allowed_host(mut self, name: &str) -> Self {
        self.options.allowed_hosts.push(name.parse().unwrap());
        self
    }

    /// A folder whose sources the source view shows.
    pub fn source_root(mut self, folder: PathBuf) -> Self {
        self.options.source_roots.push(folder);
        self
    }

    /// Starts a host with the service and the admin API on one router.
    pub async fn start(self) -> TestHost {
        self.start_with_page(|_, _, _| Router::new()).await
    }

    /// Starts a host whose router also has the routes that `page` returns: the console's.
    pub async fn start_with_page(
        self,
        page: impl FnOnce(Arc<ApiState>, TaskTracker, CancellationToken) -> Router,
    ) -> TestHost {
        let engine = engine::start().unwrap();
        let cache = Cache::open(Some(compiled_folder()), CacheLimits::default(), &engine);
        let loader = Loader::new(engine, cache, Compiler::in_process(), MAX_PLUGIN_BYTES).unwrap();
        let tasks = TaskTracker::new();
        let metrics = Metrics::new(&self.options.service_name, "0.0.0", "test").unwrap();
        let metrics = Arc::new(metrics);
        let registry = Arc::new(Registry::new(
            loader,
            Some(self.plugins.path().to_owned()),
            Defaults {
                deadline: self.options.plugin_deadline,
                queue_timeout: Duration::from_secs(60),
                memory_limit: None,
                heap_profile: HeapProfile::Exact,
            },
            metrics.plugins.clone(),
            tasks.clone(),
        ));
        registry.load_folder().await.unwrap();
        let monitor = Arc::new(Monitor::new(MemoryBudget::detect(None)).unwrap());
        let heaps = Arc::new(Heaps::new(registry.loader().clone()));
        let state = Arc::new(ApiState::new(
            self.options,
            registry,
            monitor,
            heaps,
            metrics,
            PostMortem::disabled(),
            Tracer::disabled(),
        ));
        state.set_ready();
        let stopping = CancellationToken::new();
        let sampler = {
            let sampled = state.clone();
            let (registry, heaps) = (state.registry.clone(), state.heaps.clone());
            let monitor = state.monitor.clone();
            sampler::run(monitor, registry, heaps, move || sampled.requests())
        };
        let stopped = stopping.clone();
        tasks.spawn(async move {
            tokio::select! { () = sampler => {}, () = stopped.cancelled() => {} }
        });
        let page = page(state.clone(), tasks, stopping.clone());
        TestHost {
            router: admin_api::app(&state, page),
            state,
            stopping,
            plugins: self.plugins,
        }
    }
}

/// A host in the test's own process. Its tasks end with the test's runtime.
pub struct TestHost {
    router: Router,
    state: Arc<ApiState>,
    stopping: CancellationToken,
    plugins: TempDir,
}

impl TestHost {
    /// A host with these components, by the names of their crates.
    pub fn with(components: &[&str]) -> TestHostBuilder {
        let plugins = tempfile::tempdir().unwrap();
        for name in components {
            fs::copy(component(name), plugins.path().join(format!("{name}.wasm"))).unwrap();
        }
        TestHostBuilder {
            plugins,
            options: ApiOptions {
                identity: HostIdentity {
                    name: "host-1".to_owned(),
                    ..HostIdentity::default()
                },
                has_fleet_view: false,
                service_name: "leaky-service".to_owned(),
                base_latency: Duration::ZERO,
                client_timeout: Duration::from_secs(60),
                upload_budget: 2 * MAX_PLUGIN_BYTES,
                plugin_deadline: PLUGIN_DEADLINE,
                admin_token: None,
                instructor_token: None,
                allowed_hosts: Vec::new(),
                source_roots: Vec::new(),
            },
        }
    }

    /// The state that the handlers share.
    pub fn state(&self) -> &Arc<ApiState> {
        &self.state
    }

    /// The folder that the plugins are loaded from. Changes in it are not followed.
    pub fn plugins_folder(&self) -> &Path {
        self.plugins.path()
    }

    /// A request to the router.
    pub fn request(&self, method: Method, path: &str) -> TestRequest {
        TestRequest::new(self.router.clone(), method, path)
    }

    /// The JSON that a GET answers with 200.
    pub async fn get(&self, path: &str) -> Value {
        self.request(Method::GET, path).send().await.ok(path)
    }

    /// The JSON that a POST answers with 200.
    pub async fn post(&self, path: &str, body: Value) -> Value {
        let answer = self.request(Method::POST, path).json(&body).send().await;
        answer.ok(&format!("{path} {body}"))
    }

    /// Switches a leak on.
    pub async fn enable(&self, leak: &str) {
        let path = format!("/admin/leaks/{leak}");
        self.post(&path, json!({"enabled": true})).await;
    }

    /// Sends one request to the service and returns its answer.
    pub async fn data(&self) -> Value {
        self.get("/api/data").await
    }

    /// Sends requests to the service, one after the other.
    pub async fn traffic(&self, requests: usize) {
        for _ in 0..requests {
            self.data().await;
        }
    }

    /// The status of one leak.
    pub async fn leak(&self, name: &str) -> Value {
        self.get(&format!("/admin/leaks/{name}")).await
    }

    /// The part of `/admin/leaks/status` that a failed call must not change.
    pub async fn leak_states(&self) -> Value {
        leak_states(&self.get("/admin/leaks/status?all=true").await)
    }
}

impl Drop for TestHost {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

/// The part of the answer of `/admin/leaks/status` that a failed call must not change.
pub fn leak_states(status: &Value) -> Value {
    let leaks = status["leaks"].as_object().unwrap().iter();
    let fields = [
        "enabled",
        "state",
        "variant",
        "count",
        "generation",
        "settings",
        "expires_at",
    ];
    leaks
        .map(|(name, leak)| {
            let kept = fields.iter();
            let kept = kept.map(|field| ((*field).to_owned(), leak[*field].clone()));
            (name.clone(), Value::Object(kept.collect()))
        })
        .collect::<serde_json::Map<_, _>>()
        .into()
}
