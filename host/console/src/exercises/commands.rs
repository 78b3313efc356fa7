//! What a browser has to do for a command of the exercises: no shell, just the calls that its `curl`s make.
//!
//! Understood is what the exercises use: `curl -s [-X METHOD] URL [-H …] [-d BODY] [| jq FILTER]`, alone or in a
//! `for i in {1..N}` loop. Anything else is told to be for a terminal.

use serde::Serialize;

/// The prefix of every URL in the exercises.
const BASE: &str = "http://localhost:8080";

/// One step of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "lowercase")]
pub(crate) enum Step {
    /// A call, perhaps many times.
    Call {
        /// `GET`, `POST`, …
        method: String,
        /// From `/` on.
        path: String,
        /// JSON.
        #[serde(skip_serializing_if = "Option::is_none")]
        body: Option<String>,
        /// How often.
        times: u32,
        /// What of the answer to show: `.leaks.cache`; all of it by default.
        #[serde(skip_serializing_if = "Option::is_none")]
        show: Option<String>,
    },
    /// What the page cannot do.
    Elsewhere {
        /// The line as it stands.
        line: String,
    },
}

/// As the page's script reads it.
pub(super) fn to_json(steps: &[Step]) -> String {
    serde_json::to_string(steps).unwrap_or_else(|_| "[]".to_owned())
}

/// The steps of a block of shell commands.
pub(super) fn steps(text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut times = 1;
    for line in text.replace("\\\n", " ").lines().map(str::trim) {
        if let Some(range) = line.strip_prefix("for i in {1..") {
            let end = range.split('}').next().unwrap_or_default();
            times = end.parse().unwrap_or(1);
        } else if line == "done" {
            times = 1;
        } else if line.starts_with("curl ") {
            steps.push(call(line, times).unwrap_or_else(|| elsewhere(line)));
        } else if !(line.is_empty()
            || line.starts_with('#')
            || line.starts_with("echo ")
            || line == "wait")
        {
            steps.push(elsewhere(line));
        }
    }
    steps
}

fn elsewhere(line: &str) -> Step {
    Step::Elsewhere {
        line: line.to_owned(),
    }
}

fn call(line: &str, times: u32) -> Option<Step> {
    let (command, filter) = match line.split_once(" | ") {
        Some((command, filter)) => (command, Some(filter)),
        None => (line, None),
    };
    let show = match filter {
        None | Some("jq") => None,
        Some(filter) => Some(words(filter.strip_prefix("jq ")?).into_iter().next()?),
    };
    let (mut method, mut path, mut body) = (None, None, None);
    let mut words = words(command).into_iter().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "-s" | "&" => {}
            "-X" => method = words.next(),
            "-d" => body = words.next(),
            // JSON is what the page sends; where the answer would go is the page's own affair.
            "-H" | ">" => drop(words.next()),
            url => path = Some(url.strip_prefix(BASE)?.to_owned()),
        }
    }
    let default = if body.is_some() { "POST" } else { "GET" };
    Some(Step::Call {
        method: method.unwrap_or_else(|| default.to_owned()),
        path: path?,
        body,
        times,
        show,
    })
}

/// The words of a line as a shell splits it: quotes hold together.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str, times: u32, show: Option<&str>) -> Step {
        Step::Call {
            method: "GET".to_owned(),
            path: path.to_owned(),
            body: None,
            times,
            show: show.map(str::to_owned),
        }
    }

    #[test]
    fn a_command_becomes_its_calls() {
        let text = "# Enable\ncurl -s -X POST http://localhost:8080/admin/leaks/cache \\\n  \
                    -H \"Content-Type: application/json\" \\\n  -d '{\"enabled\": true}' | jq\n\n\
                    for i in {1..500}; do\n  curl -s http://localhost:8080/api/data > /dev/null &\n  echo -n \".\"\ndone\nwait\n\
                    curl -s http://localhost:8080/admin/memory | jq '.process'\n";
        let expected = [
            Step::Call {
                method: "POST".to_owned(),
                path: "/admin/leaks/cache".to_owned(),
                body: Some("{\"enabled\": true}".to_owned()),
                times: 1,
                show: None,
            },
            get("/api/data", 500, None),
            get("/admin/memory", 1, Some(".process")),
        ];
        assert_eq!(steps(text), expected);
    }

    #[test]
    fn what_is_for_a_terminal_is_told() {
        for line in [
            "docker compose run --rm lab16-k6 run /scripts/memory-stress.js",
            "curl -s http://example.org/",
            "curl -s http://localhost:8080/health | grep ok",
            "go tool pprof -top",
        ] {
            assert_eq!(steps(line), [elsewhere(line)]);
        }
    }

    #[test]
    fn every_command_of_the_exercises_but_the_load_test_runs_from_the_page() {
        let section = super::super::README;
        let section = section.split_once("\n## Exercises\n").unwrap().1;
        let section = section.split("\n## ").next().unwrap();
        let blocks = section.split("```bash\n").skip(1);
        let all: Vec<Step> = blocks
            .flat_map(|block| steps(block.split("```").next().unwrap()))
            .collect();
        let calls = all.iter().filter(|s| matches!(s, Step::Call { .. }));
        assert!(calls.count() >= 20, "{all:#?}");
        for step in &all {
            if let Step::Elsewhere { line } = step {
                assert!(line.starts_with("docker compose run"), "{line}");
            }
        }
    }
}
