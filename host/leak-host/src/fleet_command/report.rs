//! The answers of many hosts as a table or as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use fleet::calls::HostAnswer;
use fleet::line_totals::LineTotal;
use fleet::summary::HostSummary;
use serde_json::{Map, Value, json};

/// The most hosts that one line names.
const MAX_NAMED_HOSTS: usize = 5;

/// The answers to one command.
pub(crate) struct Report {
    answers: Vec<HostAnswer>,
    table: Table,
    /// Whether the verdicts are those of now, and not those before a change.
    shows_verdicts: bool,
    /// The sums of a diff, and how many of them the table shows.
    lines: Option<(Vec<LineTotal>, usize)>,
}

/// Rows of cells, the first one with the names of the columns.
#[derive(Default)]
struct Table {
    rows: Vec<Vec<String>>,
}

impl Report {
    /// One row for each host: its memory, the leaks that are on, the verdict.
    pub(crate) fn status(answers: Vec<HostAnswer>) -> Self {
        let header = [
            "HOST", "ADDRESS", "REVISION", "UP", "MEMORY", "LEAKS ON", "VERDICT",
        ];
        Report::of(answers, &header, |summary| {
            vec![
                summary.revision.clone(),
                time(summary.uptime_seconds),
                memory(summary),
                listed(&summary.leaks_enabled),
                summary.verdict.sentence.clone(),
            ]
        })
    }

    /// One row for each host: what leaks, where, and how fast.
    pub(crate) fn verdicts(answers: Vec<HostAnswer>) -> Self {
        let header = [
            "HOST",
            "ADDRESS",
            "SEVERITY",
            "PER REQUEST",
            "LIMIT IN",
            "VERDICT",
        ];
        Report::of(answers, &header, |summary| {
            let verdict = &summary.verdict;
            let per_request = match verdict.is_leak() {
                true => size(verdict.bytes_per_request),
                false => "-".to_owned(),
            };
            vec![
                verdict.severity.clone(),
                per_request,
                verdict
                    .seconds_to_limit
                    .map_or_else(|| "-".to_owned(), time),
                verdict.sentence.clone(),
            ]
        })
    }

    /// One row for each host that says that it is done.
    pub(crate) fn done(answers: Vec<HostAnswer>, what: &str) -> Self {
        let header = ["HOST", "ADDRESS", "RESULT"];
        Report {
            shows_verdicts: false,
            ..Report::of(answers, &header, |_| vec![what.to_owned()])
        }
    }

    /// The lines that changed most over all hosts. Hosts have a row only if they failed.
    pub(crate) fn diff(answers: Vec<HostAnswer>, lines: Vec<LineTotal>, shown: usize) -> Self {
        let mut table = Table::default();
        table.push([
            "GROWTH", "OBJECTS", "HOSTS", "MOST ON", "PLUGIN", "LINE", "FUNCTION",
        ]);
        for line in lines.iter().take(shown) {
            let (most, by) = &line.most;
            table.push([
                signed(line.size_diff_bytes),
                format!("{:+}", line.count_diff),
                line.hosts.to_string(),
                format!("{most} {}", signed(*by)),
                line.plugin.clone(),
                line.location.clone(),
                line.function.clone(),
            ]);
        }
        Report {
            answers,
            table,
            shows_verdicts: false,
            lines: Some((lines, shown)),
        }
    }

    fn of(
        answers: Vec<HostAnswer>,
        header: &[&str],
        cells: impl Fn(&HostSummary) -> Vec<String>,
    ) -> Self {
        let mut table = Table::default();
        table.push(header.iter().map(ToString::to_string));
        for host in &answers {
            if host.answer.is_err() {
                continue;
            }
            let unknown = HostSummary::default();
            let summary = host.summary.as_ref().unwrap_or(&unknown);
            let mut row = vec![name_of(host), host.address.to_string()];
            row.extend(cells(summary));
            table.push(row);
        }
        // A header is not worth a line if all have failed.
        if table.rows.len() == 1 {
            table.rows.clear();
        }
        Report {
            answers,
            table,
            shows_verdicts: true,
            lines: None,
        }
    }

    /// How many hosts did not answer or refused.
    pub(crate) fn failed(&self) -> usize {
        let answers = self.answers.iter();
        answers.filter(|host| host.answer.is_err()).count()
    }

    /// How many hosts leak.
    pub(crate) fn leaking(&self) -> usize {
        let summaries = self.answers.iter().filter_map(|host| host.summary.as_ref());
        summaries.filter(|host| host.verdict.is_leak()).count()
    }

    /// The table, the hosts that failed, and a sum.
    pub(crate) fn text(&self) -> String {
        let mut text = self.table.text();
        if let Some((lines, shown)) = &self.lines
            && lines.len() > *shown
        {
            let _ = writeln!(
                text,
                "{} more lines: --limit shows them",
                lines.len() - shown
            );
        }
        for (reason, hosts) in self.failures() {
            let named = hosts.iter().take(MAX_NAMED_HOSTS).cloned();
            let named = named.collect::<Vec<_>>().join(", ");
            let more = match hosts.len().saturating_sub(MAX_NAMED_HOSTS) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let _ = writeln!(text, "FAILED  {named}{more}: {reason}");
        }
        let count = self.answers.len();
        let hosts = if count == 1 { "host" } else { "hosts" };
        let failed = self.failed();
        let leaking = match self.shows_verdicts {
            true => format!(", {} with a leak", self.leaking()),
            false => String::new(),
        };
        let answered = count - failed;
        let _ = writeln!(
            text,
            "{count} {hosts}: {answered} done, {failed} failed{leaking}"
        );
        text
    }

    /// The hosts that failed, by the reason. Hosts of one kind fail for one reason.
    fn failures(&self) -> BTreeMap<String, Vec<String>> {
        let mut failures: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for host in &self.answers {
            if let Err(error) = &host.answer {
                let address = &host.address;
                let name = match &host.summary {
                    Some(summary) => format!("{} ({address})", plain(&summary.name)),
                    None => address.to_string(),
                };
                let reason = plain(&error.brief());
                failures.entry(reason).or_default().push(name);
            }
        }
        failures
    }

    /// Everything that the hosts answered.
    pub(crate) fn json(&self) -> Value {
        let mut body = Map::new();
        let hosts: Vec<Value> = self.answers.iter().map(host_json).collect();
        body.insert("hosts".to_owned(), hosts.into());
        body.insert("asked".to_owned(), self.answers.len().into());
        body.insert("failed".to_owned(), self.failed().into());
        body.insert("leaking".to_owned(), self.leaking().into());
        if let Some((lines, shown)) = &self.lines {
            let lines: Vec<Value> = lines.iter().take(*shown).map(|line| json!(line)).collect();
            body.insert("lines".to_owned(), lines.into());
        }
        body.into()
    }
}

/// The name of a host, or its address if it does not say its name.
pub(super) fn name_of(host: &HostAnswer) -> String {
    let name = host.summary.as_ref().map(|summary| summary.name.clone());
    let name = name.filter(|name| !name.is_empty());
    name.unwrap_or_else(|| host.address.to_string())
}

fn host_json(host: &HostAnswer) -> Value {
    let mut body = Map::new();
    body.insert("address".to_owned(), host.address.to_string().into());
    body.insert("name".to_owned(), name_of(host).into());
    let labels = host.summary.as_ref().map(|summary| json!(summary.labels));
    body.insert("labels".to_owned(), labels.unwrap_or_else(|| json!({})));
    match &host.answer {
        Ok(answer) => body.insert("answer".to_owned(), answer.clone()),
        Err(error) => {
            let error = json!({"code": error.code(), "message": error.brief()});
            body.insert("error".to_owned(), error)
        }
    };
    body.into()
}

impl Table {
    fn push(&mut self, cells: impl IntoIterator<Item: Into<String>>) {
        let cells = cells.into_iter().map(|cell| plain(&cell.into()));
        self.rows.push(cells.collect());
    }

    /// The rows with aligned columns. The last column is as long as it is.
    fn text(&self) -> String {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let _ = write!(line, "{cell:width$}  ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// A text of a host without characters that could change the terminal or the order of the others.
fn plain(text: &str) -> String {
    let is_plain = |c: &char| !c.is_control() && !is_direction(*c);
    text.chars().filter(is_plain).collect()
}

/// JSON in which such characters are escaped. JSON itself escapes only some of them.
pub(super) fn escaped(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && (c.is_control() || is_direction(c)) {
            // Writing to a string does not fail. All of these have four digits at most.
            let _ = write!(escaped, "\\u{:04x}", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Marks and overrides of the direction of writing.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "-".to_owned(),
        names => names.join(", "),
    }
}

fn memory(summary: &HostSummary) -> String {
    let rss = size(summary.rss_bytes as f64);
    match summary.limit_bytes {
        Some(limit) => format!("{rss} of {}", size(limit as f64)),
        None => rss,
    }
}

/// Bytes in the unit that makes the number short: `12.3 MB`, where 1 MB is 1,048,576 bytes.
fn size(bytes: f64) -> String {
    match bytes.abs() {
        ..1024.0 => format!("{bytes:.0} B"),
        ..1_048_576.0 => format!("{:.1} KB", bytes / 1024.0),
        ..1_073_741_824.0 => format!("{:.1} MB", bytes / 1_048_576.0),
        _ => format!("{:.1} GB", bytes / 1_073_741_824.0),
    }
}

fn signed(bytes: i64) -> String {
    let sign = if bytes < 0 { '-' } else { '+' };
    format!("{sign}{}", size(bytes.unsigned_abs() as f64))
}

/// A time in its two largest units: `3 d 4 h`, `5 m 12 s`, `8 s`.
fn time(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3600 => format!("{} m {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests;
