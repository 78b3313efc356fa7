//! Folders and files of the checkout, relative to its root. Other modules name no folder
//! themselves.

/// The workspace of the guests.
pub const PLUGINS: &str = "plugins";

/// The contract between host and plugins.
pub const WIT: &str = "wit";

/// What guest-heap links into guests: a separate workspace without dependencies, built for wasm,
/// and natively only for its tests.
pub const PROFILER_RUNTIME: &str = "host/guest-heap/runtime/native";

/// Guests that guest-heap's tests build themselves, with their own lints.
pub const PROFILER_FIXTURES: &str = "host/guest-heap/fixtures";

/// The guests for the tests of the `guest-heap` command.
pub const COMMAND_FIXTURES: &str = "host/guest-heap-cli/fixtures";

/// The hooks that teach schemathesis this API.
pub const SCHEMATHESIS_HOOKS: &str = "host/leak-host/tests/schemathesis";

/// The script that drives the console in a browser.
pub const CONSOLE_SCRIPT: &str = "xtask/console/main.mjs";

/// The pictures of the README.
pub const PICTURES: &str = "docs/images";

/// Configuration of the stack: Prometheus, the collector, images.
pub const COMPOSE: &str = "compose";

/// The load scripts.
pub const K6_SCRIPTS: &str = "k6";

/// The dashboard as Grafana exports it.
pub const DASHBOARD: &str = "grafana/dashboards/memory-leak-lab.json";

/// Grafana's dashboard of all hosts.
pub const FLEET_DASHBOARD: &str = "grafana/dashboards/fleet.json";

/// The page and the script that draw the dashboard.
pub const DASHBOARD_PICTURES: &str = "grafana/pictures";

/// The script that reads the dashboard back with Grafana's own model.
pub const DASHBOARD_READER: &str = "grafana/read_back.py";

/// What a scrape sees of each pattern, for the tests of the alert rules.
pub const RECORDED_SHAPES: &str = "compose/prometheus/tests/recorded";

/// The alert rules.
pub const ALERT_RULES: &str = "compose/prometheus/rules";

/// The folder of dashboards.
pub const DASHBOARDS: &str = "grafana/dashboards";

/// The Helm chart.
pub const CHART: &str = "deploy/helm/leak-lab";

/// What is generated from the chart for people without Helm.
pub const KUSTOMIZE: &str = "deploy/kustomize";
