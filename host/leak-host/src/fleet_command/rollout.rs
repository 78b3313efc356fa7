//! `leak-host fleet rollout`: another version of a plugin for a time, and then the old one again.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use fleet::HostAddress;
use fleet::calls::{Call, Fleet, HostAnswer};
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
        anyhow::Ok(Call::Put(path.clone(), bytes))
    };
    // Both are read first: a way back that is missing changes nothing.
    let (there, back) = (put(new)?, put(old)?);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;

    let answers = fleet.call(&there).await?;
    let reached: Vec<HostAddress> = answers
        .iter()
        .filter(|host| host.answer.is_ok())
        .map(|host| host.address.clone())
        .collect();
    let refused: Vec<HostAnswer> = answers.into_iter().filter(|h| h.answer.is_err()).collect();
    eprintln!("{plugin}: {} on {} hosts", new.display(), reached.len());
    if reached.is_empty() {
        return Ok(Report::done(refused, "rolled out"));
    }
    if refused.is_empty() {
        tokio::select! {
            () = tokio::time::sleep(duration) => {}
            _ = interrupt.recv() => eprintln!("interrupted: bringing the old version back"),
            _ = terminate.recv() => eprintln!("terminated: bringing the old version back"),
        }
    } else {
        eprintln!(
            "{} hosts refused: bringing the old version back",
            refused.len()
        );
    }
    let mut answers = fleet.only(reached).call(&back).await?;
    answers.extend(refused);
    answers.sort_by(|a, b| a.address.cmp(&b.address));
    Ok(Report::done(answers, "the old version is back"))
}
