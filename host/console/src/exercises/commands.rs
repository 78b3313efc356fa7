//! The calls that the `curl` commands of an exercise make, so that the page can make them without a
//! shell.
//!
//! The parser knows the commands of the exercises: `curl -s [-X METHOD] URL [-H …] [-d BODY]
//! [| jq FILTER]`, by itself or in a `for i in {1..N}` loop. Every other line is left for a
//! terminal.

use serde::Serialize;

/// The host in the URLs of the exercises.
const BASE: &str = "http://localhost:8080";

/// One step of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "lowercase")]
pub(crate) enum Step {
    /// A call to the host.
    Call {
        /// `GET`, `POST`, …
        method: String,
        /// The path with the query.
        path: String,
        /// The JSON body.
        #[serde(skip_serializing_if = "Option::is_none")]
        body: Option<String>,
        /// The number of times to make the call.
        times: u32,
        /// The part of the answer to show, as a `jq` path: `.leaks.cache`. The whole answer by
        /// default.
        #[serde(skip_serializing_if = "Option::is_none")]
        show: Option<String>,
    },
    /// A line that the page cannot run.
    Terminal { line: String },
}

/// The steps in the JSON of `exercises.js`.
pub(crate) fn to_json(steps: &[Step]) -> String {
    serde_json::to_string(steps).unwrap_or_else(|_| "[]".to_owned())
}

/// The steps of a block of shell commands.
pub(crate) fn steps(text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut times = 1;
    for line in text.replace("\\\n", " ").lines().map(str::trim) {
        if let Some(range) = line.strip_prefix("for i in {1..") {
            let end = range.split('}').next().unwrap_or_default();
            times = end.parse().unwrap_or(1);
        } else if line == "done" {
            times = 1;
        } else if line.starts_with("curl ") {
            steps.push(call(line, times).unwrap_or_else(|| terminal(line)));
        } else if !(line.is_empty()
            || line.starts_with('#')
            || line.starts_with("echo ")
            || line == "wait")
        {
            steps.push(terminal(line));
        }
    }
    steps
}

fn terminal(line: &str) -> Step {
    Step::Terminal {
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
            // The page always sends JSON and always shows the answer.
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

/// The words of a line, split as in a shell: quotes keep a word together.
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
    fn other_commands_are_left_for_a_terminal() {
        for line in [
            "docker compose run --rm lab16-k6 run /scripts/memory-stress.js",
            "curl -s http://example.org/",
            "curl -s http://localhost:8080/health | grep ok",
            "go tool pprof -top",
        ] {
            assert_eq!(steps(line), [terminal(line)]);
        }
    }
}
