//! The console without a browser: what is served, under which policy, to whom, and within which
//! bounds. What a person sees and does is tested in a browser by `cargo xtask test-console`.

mod source;
mod stream;

use reqwest::Method;
use serde_json::json;

use crate::components::LAB;
use crate::lab::{Answer, Lab, free_address};

const TOKEN: &str = "correct-horse-battery";

/// The files that a page names, with those that its scripts import.
async fn files(lab: &Lab, page: &str) -> Vec<String> {
    let quoted = |text: &str, before: &str| -> Vec<String> {
        text.split(before)
            .skip(1)
            .filter_map(|rest| rest.split('"').next().map(str::to_owned))
            .collect()
    };
    let mut files: Vec<String> = [
        quoted(page, "href=\"/console/"),
        quoted(page, "src=\"/console/"),
    ]
    .concat();
    let mut next = 0;
    while let Some(file) = files.get(next).cloned() {
        next += 1;
        let text = get(lab, &format!("/console/{file}")).await.text;
        for import in quoted(&text, "from \"./") {
            if !files.contains(&import) {
                files.push(import);
            }
        }
    }
    files
}

async fn get(lab: &Lab, path: &str) -> Answer {
    let answer = Answer::of(lab.request(Method::GET, path)).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    answer
}

fn header(answer: &Answer, name: &str) -> String {
    let value = answer
        .headers
        .get(name)
        .unwrap_or_else(|| panic!("no {name}: {answer:?}"));
    value.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_page_and_its_files_need_nothing_from_elsewhere() {
    let lab = Lab::with(&LAB).start().await;
    let page = get(&lab, "/").await;
    assert!(page.content_type.starts_with("text/html"), "{page:?}");
    let files = files(&lab, &page.text).await;
    assert!(files.len() > 10, "{files:?}");
    let paths = files.iter().map(|file| format!("/console/{file}"));
    for path in std::iter::once("/".to_owned()).chain(paths) {
        let answer = get(&lab, &path).await;
        let policy = header(&answer, "content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(header(&answer, "x-content-type-options"), "nosniff");
        assert_eq!(header(&answer, "referrer-policy"), "no-referrer");
        // The name of the SVG namespace, and the lab's own address in the text of the exercises.
        let text = answer
            .text
            .replace("http://www.w3.org/2000/svg", "")
            .replace("http://localhost:8080", "");
        for outside in ["http://", "https://", "ws://", "@import", "url("] {
            assert!(!text.contains(outside), "{path} has {outside}");
        }
    }
}

#[tokio::test]
async fn the_exercises_are_the_readmes() {
    let lab = Lab::with(&[]).start().await;
    let page = get(&lab, "/").await.text;
    for title in [
        "1. Establish baseline memory usage",
        "4. Identify the source of the leak",
        "6. Compare different leak types",
    ] {
        assert!(page.contains(title), "{title}");
    }
}

#[tokio::test]
async fn with_a_token_the_page_is_there_and_its_data_are_not() {
    let lab = Lab::with(&LAB)
        .arg("--admin-token")
        .arg(TOKEN)
        .start()
        .await;
    get(&lab, "/").await;
    get(&lab, "/console/main.js").await;
    for (method, path) in [
        (Method::GET, "/console/events"),
        (Method::POST, "/console/pictures"),
        (
            Method::GET,
            "/admin/memory/source?plugin=cache&location=a.rs:1",
        ),
    ] {
        let answer = Answer::of(lab.request(method, path)).await;
        assert_eq!(answer.status, 401, "{path}: {}", answer.text);
        assert_eq!(answer.error_code(path), "unauthorized");
    }
    let request = lab
        .request(Method::POST, "/console/pictures")
        .bearer_auth(TOKEN);
    let path = Answer::of(request).await.json()["path"]
        .as_str()
        .unwrap()
        .to_owned();
    // The ticket is what a frame brings instead of the token.
    get(&lab, &path).await;
}

#[tokio::test]
async fn with_a_port_of_its_own_the_console_is_where_the_admin_api_is() {
    let admin = free_address();
    let lab = Lab::with(&LAB)
        .arg("--admin-listen")
        .arg(&admin)
        .start()
        .await;
    for path in ["/", "/console/main.js", "/console/events"] {
        let answer = Answer::of(lab.request(Method::GET, path)).await;
        assert_eq!(answer.error_code(path), "not_found");
    }
    for path in ["/", "/console/main.js", "/api/data"] {
        let answer = Answer::of(lab.http().get(format!("http://{admin}{path}"))).await;
        assert_eq!(answer.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_flame_graph_runs_its_own_script_and_nothing_else() {
    let lab = Lab::with(&LAB).start().await;
    lab.enable("cache").await;
    lab.traffic(20).await;
    let request = lab
        .request(Method::POST, "/console/pictures?plugin=cache")
        .json(&json!({}));
    let path = Answer::of(request).await.json()["path"]
        .as_str()
        .unwrap()
        .to_owned();
    let picture = get(&lab, &path).await;
    assert!(
        picture.content_type.starts_with("image/svg+xml"),
        "{picture:?}"
    );
    assert!(
        picture.text.contains("on_request"),
        "the plugin's function is in it"
    );
    let policy = header(&picture, "content-security-policy");
    for part in ["default-src 'none'", "'sha256-", "frame-ancestors 'self'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(
        !policy.contains("unsafe-inline") && !policy.contains("connect-src"),
        "{policy}"
    );
}
