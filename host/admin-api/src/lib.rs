//! The HTTP API of the leak lab.
//!
//! | path | module |
//! |---|---|
//! | `GET /health`, `GET /health/ready` | `health` |
//! | `GET /api/data` | `data` |
//! | `GET /metrics` | `metrics` |
//! | `GET /openapi.json`, `GET /docs` | `docs` |
//! | `GET /admin/leaks/status`, `GET /admin/leaks/{name}` | `leaks` |
//! | `GET /admin/catalogue` | `catalogue` |
//! | `POST /admin/leaks/{name}` | `leaks::switch` |
//! | `POST /admin/leaks/clear` | `leaks::clear` |
//! | `POST /admin/leaks/{name}/reset`, `POST /admin/reset` | `leaks::reset` |
//! | `POST /admin/gc` | `leaks::gc` |
//! | `GET`, `DELETE /admin/exercises`, `POST …/{number}/verify` | `exercises` |
//! | `GET`, `POST`, `DELETE /admin/scenario` | `scenario` |
//! | `GET`, `POST`, `DELETE /admin/mystery` | `mystery` |
//! | `GET /admin/mystery`, `POST …/join`, `…/hint`, `…/answer` | `mystery::answers` |
//! | `GET /admin/mystery`, `…/observe`, `…/traces` | `mystery::observe` |
//! | `GET /admin/mystery`, `…/report`, `…/leaderboard`, `…/truth` | `mystery::results` |
//! | `GET /admin/host` | `host` |
//! | `GET /admin/memory` | `memory` |
//! | `GET /admin/memory/snapshot` | `snapshot` |
//! | `GET /admin/memory/history` | `history` |
//! | `GET /admin/memory/diff` | `diff` |
//! | `GET /admin/memory/baselines`, `PUT`, `DELETE …/{name}` | `baselines` |
//! | `GET /admin/memory/flamegraph` | `profile` |
//! | `GET /debug/pprof/heap`, `GET /debug/pprof/allocs` | `profile` |
//! | `GET /admin/memory/source` | `source` |
//! | `GET /admin/post-mortem` | `post_mortem` |
//! | `GET /admin/plugins`, `GET /admin/plugins/{name}` | `plugins` |
//! | `PUT`, `DELETE /admin/plugins/{name}`, `POST …/reload` | `plugins::change` |
//! | `POST /admin/plugins/check` | `conformance` |
//! | `GET`, `POST /admin/alerts` | `alerts` |
//! | `GET`, `DELETE /admin/scorer`, `POST …/alertmanager` | `scorer` |
//!
//! The page and the endpoints below `/debug/heap/` are those of `guest-heap-inspector`:
//! `inspected_plugins` gives it the plugins.
//!
//! `routes` puts the routers together: [`app`] is the whole API on one listener. Handlers share an
//! [`ApiState`]. Each handler's wire types are in its module; the crates below do not serialize
//! themselves. [`error`] maps every error to a status. This crate does not use wasmtime.

mod alert_store;
mod alerts;
mod attribution;
pub mod auth;
mod baselines;
mod body;
mod body_budget;
mod catalogue;
mod client_probe;
pub mod conformance;
mod data;
mod diff;
mod docs;
pub mod error;
pub mod exercise_progress;
mod exercises;
mod health;
pub mod heap_query;
mod history;
mod host;
mod host_identity;
mod host_name;
mod inspected_plugins;
mod known_queries;
mod leak_status;
mod leaks;
mod memory;
mod metrics;
mod mystery;
mod mystery_run;
mod observe;
pub mod overview;
pub mod path_name;
mod plugins;
pub mod post_mortem;
pub mod profile;
pub mod query;
mod routes;
pub mod scenario;
pub mod scenario_file;
mod scenario_run;
mod scorer;
mod scorer_run;
mod setting_value;
mod since;
mod snapshot;
mod source;
mod state;
mod units;
mod verdict;

pub use crate::host_identity::HostIdentity;
pub use crate::host_name::{AllowedHost, AllowedHostError};
pub use client_probe::ClientProbe;
pub use routes::{admin_app, app, service_app};
pub use state::{ApiOptions, ApiState};
