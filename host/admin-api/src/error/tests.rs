use std::path::PathBuf;

use axum::body::to_bytes;
use plugin_host::error::{Fault, FaultKind};

use super::*;

/// The status and the JSON of one error of each kind, one line each.
const SNAPSHOT: &str = include_str!("snapshot.txt");

fn fault() -> Fault {
    Fault {
        kind: FaultKind::Trap,
        reason: "divided by zero".into(),
        backtrace: Vec::new(),
    }
}

/// One error of every kind that a `PluginError` becomes.
fn plugin_errors() -> [PluginError; 18] {
    [
        PluginError::Internal("a cause that only the log has".into()),
        PluginError::Refused("it exports no leak".into()),
        PluginError::TooLarge {
            size: Some(2048),
            limit: 1024,
        },
        PluginError::TooLarge {
            size: None,
            limit: 1024,
        },
        PluginError::TooCostly("it has 200000 functions; the limit is 100000".into()),
        PluginError::CompilerBusy,
        PluginError::IdMismatch {
            wanted: "cache".into(),
            found: "history".into(),
        },
        PluginError::FileTaken {
            file: "cache.wasm".into(),
            owner: "history".into(),
        },
        PluginError::Unknown("nope".into()),
        PluginError::Unreadable {
            path: PathBuf::from("plugins/cache.wasm"),
            source: std::io::Error::other("no such file"),
        },
        PluginError::IdTaken {
            id: "cache".into(),
            owner: "plugins/cache.wasm".into(),
        },
        PluginError::UnknownSetting {
            plugin: "cache".into(),
            name: "colour".into(),
            known: vec!["variant".into(), "payload_bytes".into()],
        },
        PluginError::InvalidValue {
            name: "payload_bytes".into(),
            message: "takes a whole number from 0 to 10".into(),
        },
        PluginError::NotRunning {
            plugin: "cache".into(),
            state: "exhausted",
            reason: "it reached its memory limit".into(),
        },
        PluginError::Overloaded("cache".into()),
        PluginError::Masked,
        PluginError::Gone("cache".into()),
        PluginError::Failed {
            plugin: "cache".into(),
            fault: fault(),
        },
    ]
}

async fn line(error: ApiError) -> String {
    let response = error.into_response();
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 16).await.unwrap();
    format!("{} {}\n", status.as_u16(), String::from_utf8_lossy(&body))
}

/// The codes that no `PluginError` and no constructor has: the call that fails adds its own texts.
fn direct(code: ErrorCode) -> ApiError {
    ApiError::new(code, "what went wrong", "what to do")
}

#[tokio::test]
async fn the_json_of_every_error_is_the_snapshot() {
    let mut errors: Vec<ApiError> = plugin_errors().into_iter().map(ApiError::from).collect();
    errors.push(ApiError::from(PluginError::NotStarted {
        plugin: "cache".into(),
        fault: fault(),
    }));
    errors.extend([
        ApiError::unknown_leak("nope", &["cache", "history"]),
        ApiError::unknown_plugin(&"x".repeat(200), &["cache"]),
        ApiError::requested_failure(StatusCode::BAD_GATEWAY),
        ApiError::uploads_full(),
        ApiError::internal(&"a cause that only the log has"),
        not_found(Uri::from_static("/nope")).await,
        method_not_allowed(Method::PUT, Uri::from_static("/health")).await,
    ]);
    let covered: Vec<ErrorCode> = errors.iter().map(|error| error.code).collect();
    let remaining = ErrorCode::ALL.iter().filter(|code| !covered.contains(code));
    errors.extend(remaining.map(|code| direct(*code)));
    let mut lines = String::new();
    for error in errors {
        lines += &line(error).await;
    }
    assert_eq!(lines, SNAPSHOT, "error/snapshot.txt should be:\n{lines}");
}

#[test]
fn every_code_has_a_name_of_its_own() {
    let mut names: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), ErrorCode::ALL.len());
}

#[tokio::test]
async fn the_message_of_a_panic_stays_in_the_log() {
    let response = panicked(Box::new("a secret".to_owned()));
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let body = to_bytes(response.into_body(), 1 << 16).await.unwrap();
    assert!(!String::from_utf8_lossy(&body).contains("secret"));
}
