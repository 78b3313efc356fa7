//! `leak-host fleet rollout`: another version of a plugin for a time, and then the old one again.

use std::fs;
use std::io::{Write as _, stderr};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use fleet::calls::{Call, Fleet, HostAnswer};
use fleet::{AskError, HostAddress};
use tokio::signal::unix::{SignalKind, signal};

use super::encoded;
use super::report::Report;

/// Rolls out, waits, and brings the old version back on the same hosts. The report is that of the
/// way back, with the hosts that refused the new version.
pub(super) async fn run(
    fleet: &Fleet,
    plugin: &str,
    new: &Path,
    old: &Path,
    duration: Duration,
) -> anyhow::Result<Report> {
    let path = format!("/admin/plugins/{}", encoded(plugin));
    let put = |file: &Path| {
        let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        anyhow::Ok(Call::Put(path.clone(), bytes.into()))
    };
    // Both are read first: a way back that is missing changes nothing.
    let (there, back) = (put(new)?, put(old)?);
    // Before the first change: from here on, a signal must not end the command without a way back.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;

    let answers = fleet.call(&there).await?;
    let changed: Vec<HostAddress> = answers
        .iter()
        .filter(|host| may_have_changed(host))
        .map(|host| host.address.clone())
        .collect();
    let failed: Vec<HostAnswer> = answers.into_iter().filter(|h| h.answer.is_err()).collect();
    say(&format!(
        "{plugin}: {} on {} hosts",
        new.display(),
        changed.len()
    ));
    if changed.is_empty() {
        return Ok(Report::done(failed, "rolled out"));
    }
    if failed.is_empty() {
        tokio::select! {
            () = tokio::time::sleep(duration) => {}
            _ = interrupt.recv() => say("interrupted: bringing the old version back"),
            _ = terminate.recv() => say("terminated: bringing the old version back"),
            _ = hangup.recv() => say("the terminal is gone: bringing the old version back"),
        }
    } else {
        say(&format!(
            "{} hosts failed: bringing the old version back",
            failed.len()
        ));
    }
    let restored = fleet.only(changed).call(&back).await?;
    // A host that has failed on the way there stays a failure, also if it has the old version now.
    let is_failed = |host: &HostAnswer| failed.iter().any(|f| f.address == host.address);
    let (lost, mut answers): (Vec<_>, Vec<_>) = restored.into_iter().partition(is_failed);
    let is_lost = |host: &HostAnswer| {
        let mut lost = lost.iter().filter(|lost| lost.answer.is_err());
        lost.any(|lost| lost.address == host.address)
    };
    for host in failed.iter().filter(|host| is_lost(host)) {
        say(&format!(
            "{}: it may still have the new version",
            host.address
        ));
    }
    answers.extend(failed);
    answers.sort_by(|a, b| a.address.cmp(&b.address));
    Ok(Report::done(answers, "the old version is back"))
}

/// Whether a host has the new version, or may have it because its answer was lost.
fn may_have_changed(host: &HostAnswer) -> bool {
    match &host.answer {
        Ok(_) => true,
        Err(AskError::Unreachable { .. }) => host.summary.is_some(),
        Err(_) => false,
    }
}

/// Writes a line for the user. A terminal that is gone must not keep the old version from coming
/// back.
fn say(line: &str) {
    let _ = writeln!(stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use fleet::summary::HostSummary;
    use reqwest::Url;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_host_whose_answer_was_lost_gets_the_old_version_again() {
        let lost = || AskError::Unreachable {
            url: Url::parse("http://10.0.0.1:8080").unwrap(),
            reason: "operation timed out".to_owned(),
        };
        let refused = || AskError::Refused {
            code: "invalid_component".to_owned(),
            message: String::new(),
            hint: String::new(),
        };
        let host = |is_known: bool, answer| HostAnswer {
            address: "10.0.0.1".parse().unwrap(),
            summary: is_known.then(HostSummary::default),
            answer,
        };
        assert!(may_have_changed(&host(true, Ok(json!({})))));
        assert!(may_have_changed(&host(true, Err(lost()))));
        // Nothing was sent to it.
        assert!(!may_have_changed(&host(false, Err(lost()))));
        assert!(!may_have_changed(&host(true, Err(refused()))));
    }
}
