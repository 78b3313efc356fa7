//! `leak-host fleet`: asks or changes many hosts at once.
//!
//! `report` has the tables and the JSON, `rollout` the one command that takes time.

mod report;
mod rollout;

use std::process::ExitCode;

use fleet::calls::{Call, Fleet, HostAnswer};
use fleet::line_totals::add_up;
use serde_json::{Map, Value, json};

use self::report::Report;
use crate::config::{FleetArgs, FleetCommand, Setting};

/// The exit code if a host leaks.
const EXIT_LEAK: u8 = 1;

/// The exit code if a host did not answer or refused, or if there are no hosts.
pub(crate) const EXIT_FAILED: u8 = 2;

/// Lines that each host sends of a diff: the most that the admin API lists.
const DIFF_ROWS: u32 = 1000;

/// Runs one command and prints its answers.
pub(crate) fn run(args: &FleetArgs) -> ExitCode {
    match ask(&args.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("leak-host fleet: {error:#}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn ask(command: &FleetCommand) -> anyhow::Result<ExitCode> {
    let target = command.target();
    let fleet = Fleet::new(target.options())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(async {
        if let FleetCommand::Rollout {
            plugin,
            new,
            old,
            duration,
            ..
        } = command
        {
            return rollout::run(&fleet, plugin, new, old, *duration).await;
        }
        let answers = fleet.call(&call_of(command)).await?;
        Ok(report_of(command, answers))
    })?;
    // A resolver thread that hangs is not waited for.
    runtime.shutdown_background();
    if target.json {
        let json = serde_json::to_string_pretty(&report.json())?;
        println!("{}", report::escaped(&json));
    } else {
        print!("{}", report.text());
    }
    Ok(match (report.failed(), command) {
        (1.., _) => ExitCode::from(EXIT_FAILED),
        (0, FleetCommand::Verdict { .. }) if report.leaking() > 0 => ExitCode::from(EXIT_LEAK),
        (0, _) => ExitCode::SUCCESS,
    })
}

/// The call of the admin API that a command makes to each host.
fn call_of(command: &FleetCommand) -> Call {
    let host = || Call::Get("/admin/host".to_owned());
    match command {
        FleetCommand::Status { .. } | FleetCommand::Verdict { .. } => host(),
        FleetCommand::Enable { leak, settings, .. } => {
            let mut body = body_of(settings);
            body.insert("enabled".to_owned(), true.into());
            Call::Post(leak_path(leak), body.into())
        }
        FleetCommand::Disable { leak, .. } => {
            Call::Post(leak_path(leak), json!({"enabled": false}))
        }
        FleetCommand::Set { leak, settings, .. } => {
            Call::Post(leak_path(leak), body_of(settings).into())
        }
        FleetCommand::Clear { leak, .. } => {
            let body = leak
                .as_ref()
                .map_or_else(|| json!({}), |l| json!({"leak_type": l}));
            Call::Post("/admin/leaks/clear".to_owned(), body)
        }
        FleetCommand::Gc { .. } => Call::Post("/admin/gc".to_owned(), json!({})),
        FleetCommand::Reset { leak, .. } => {
            let one = leak
                .as_ref()
                .map(|leak| format!("{}/reset", leak_path(leak)));
            Call::Post(one.unwrap_or_else(|| "/admin/reset".to_owned()), json!({}))
        }
        FleetCommand::Diff {
            since,
            baseline,
            plugin,
            ..
        } => {
            let compared = match baseline {
                Some(name) => format!("baseline={}", encoded(name)),
                None => format!("since={}", encoded(since)),
            };
            let plugin = plugin
                .as_ref()
                .map(|name| format!("&plugin={}", encoded(name)));
            let plugin = plugin.unwrap_or_default();
            Call::GetLong(format!(
                "/admin/memory/diff?{compared}&limit={DIFF_ROWS}{plugin}"
            ))
        }
        // It makes two calls, in `rollout`.
        FleetCommand::Rollout { .. } => host(),
    }
}

fn report_of(command: &FleetCommand, answers: Vec<HostAnswer>) -> Report {
    match command {
        FleetCommand::Status { .. } => Report::status(answers),
        FleetCommand::Verdict { .. } => Report::verdicts(answers),
        FleetCommand::Diff { limit, .. } => {
            let diffs = answers.iter().filter_map(|host| {
                let diff = host.answer.as_ref().ok()?;
                Some((report::name_of(host), diff))
            });
            let diffs: Vec<_> = diffs.collect();
            let lines = add_up(diffs.iter().map(|(name, diff)| (name.as_str(), *diff)));
            Report::diff(answers, lines, usize::from(*limit))
        }
        FleetCommand::Enable { leak, .. } => Report::done(answers, &format!("{leak} is on")),
        FleetCommand::Disable { leak, .. } => Report::done(answers, &format!("{leak} is off")),
        FleetCommand::Set { leak, .. } => Report::done(answers, &format!("{leak} is set")),
        FleetCommand::Clear { .. } => Report::done(answers, "cleared"),
        FleetCommand::Gc { .. } => Report::done(answers, "given back"),
        FleetCommand::Reset { .. } => Report::done(answers, "reset"),
        FleetCommand::Rollout { .. } => Report::done(answers, "rolled out"),
    }
}

fn leak_path(leak: &str) -> String {
    format!("/admin/leaks/{}", encoded(leak))
}

/// A part of a path or query. What is not a letter, a digit or one of `-_.~` is written as bytes.
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => {
                encoded.push(byte.into());
            }
            // Two points as a part of a path would mean the folder above.
            b'.' if text != "." && text != ".." => encoded.push('.'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

fn body_of(settings: &[Setting]) -> Map<String, Value> {
    let pairs = settings.iter();
    pairs.map(|s| (s.name.clone(), s.value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_within_its_part_of_the_path() {
        assert_eq!(leak_path("one-off-spike"), "/admin/leaks/one-off-spike");
        assert_eq!(leak_path("a/../b?c"), "/admin/leaks/a%2F..%2Fb%3Fc");
        assert_eq!(leak_path("é"), "/admin/leaks/%C3%A9");
    }
}
