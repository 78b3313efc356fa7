//! The report of a game: what happened, the solution, and the graded answers.

mod html;
mod markdown;

use std::time::Duration;

use serde::Serialize;

use crate::answer::{Answer, Measured};
use crate::events::Action;
use crate::game::{Game, LeakTruth};
use crate::grade::Grade;
use crate::order::{Order, Visibility};
use crate::player::{Player, Role};
use crate::seconds::clock;

/// The style of the page of [`Report::to_html`], for a content security policy that names its hash.
pub const REPORT_STYLE: &str = include_str!("report/style.css");

/// One player's answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Participant {
    /// The name that the player gave.
    pub name: String,
    /// The time of the answer, from the start of the game.
    #[serde(
        rename = "elapsed_seconds",
        serialize_with = "crate::seconds::serialize"
    )]
    pub elapsed: Duration,
    /// The number of hints that the player got, 0 to 3.
    pub hints: u8,
    /// The answer.
    pub answer: Answer,
    /// Its grade.
    pub grade: Grade,
}

/// Something that happened in the game.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TimelineEntry {
    /// The time from the start of the game.
    #[serde(rename = "at_seconds", serialize_with = "crate::seconds::serialize")]
    pub at: Duration,
    /// What happened, as a sentence.
    pub text: String,
}

/// The report of a game. It contains the solution.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// What the game was made from.
    pub order: Order,
    /// What players saw.
    pub visibility: Visibility,
    /// All plugins of the game.
    pub players: Vec<Player>,
    /// The solution.
    pub truth: Vec<LeakTruth>,
    /// What the host measured of the leaks.
    pub measured: Vec<Measured>,
    /// What happened, by time.
    pub timeline: Vec<TimelineEntry>,
    /// The answers, the best one first.
    pub participants: Vec<Participant>,
}

impl Report {
    /// The report of a game with these answers. `played` is how long the game was played: what was
    /// planned for later did not happen.
    #[must_use]
    pub fn new(
        game: &Game,
        played: Duration,
        measured: Vec<Measured>,
        mut participants: Vec<Participant>,
    ) -> Self {
        participants.sort_by(|left, right| {
            let by_score = right.grade.score.cmp(&left.grade.score);
            let by_time = left.elapsed.cmp(&right.elapsed);
            by_score
                .then(by_time)
                .then_with(|| left.name.cmp(&right.name))
        });
        Report {
            order: *game.order(),
            visibility: game.visibility(),
            players: game.players().to_vec(),
            truth: game.truth(),
            measured,
            timeline: timeline(game, played, &participants),
            participants,
        }
    }

    /// The report as Markdown.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        markdown::render(self)
    }

    /// The report as a page to print: one file without scripts, with [`REPORT_STYLE`].
    #[must_use]
    pub fn to_html(&self) -> String {
        html::render(self)
    }

    /// One sentence about the game.
    fn summary(&self) -> String {
        let Order {
            seed,
            difficulty,
            duration,
        } = self.order;
        let (level, length) = (difficulty.level(), clock(duration.as_secs_f64()));
        format!("Seed {seed}, difficulty {level}, {length} long.")
    }

    /// What each player of the game did: alias, plugin, role, and details.
    fn solution(&self) -> Vec<[String; 4]> {
        let row = |player: &Player| {
            let role = match player.role {
                Role::Leak => "leak",
                Role::Decoy => "decoy",
                Role::Bystander => "bystander",
            };
            let truth = self.truth.iter().find(|truth| truth.alias == player.alias);
            let measured = self
                .measured
                .iter()
                .find(|found| found.alias == player.alias);
            let details = truth
                .map(|truth| details(truth, measured))
                .unwrap_or_default();
            [
                player.alias.clone(),
                player.plugin.clone(),
                role.to_owned(),
                details,
            ]
        };
        self.players.iter().map(row).collect()
    }
}

/// What is known of one leak, as sentences.
fn details(truth: &LeakTruth, measured: Option<&Measured>) -> String {
    let onset = clock(truth.onset.as_secs_f64());
    let kind = truth.kind.description();
    let mut text = format!("It leaks {kind}, from {onset} on.");
    if let Some(bytes) = measured.and_then(|found| found.bytes_per_request) {
        text.push_str(&format!(" It retained {bytes:.0} bytes per request."));
    }
    if let Some(line) = measured.and_then(|found| found.location.first()) {
        text.push_str(&format!(" The memory was allocated at {line}."));
    }
    let fixes: Vec<&str> = truth.fixes.iter().map(|fix| fix.name()).collect();
    if !fixes.is_empty() {
        text.push_str(&format!(" The fix: {}.", fixes.join(" or ")));
    }
    text
}

fn timeline(game: &Game, played: Duration, participants: &[Participant]) -> Vec<TimelineEntry> {
    let entry = |at, text: String| TimelineEntry { at, text };
    let mut entries = Vec::new();
    for phase in game.traffic() {
        let rate = phase.requests_per_second;
        let verb = if phase.at.is_zero() {
            "begins at"
        } else {
            "changes to"
        };
        entries.push(entry(
            phase.at,
            format!("The traffic {verb} {rate:.1} requests per second."),
        ));
    }
    for event in game.events() {
        let text = match &event.action {
            Action::StartLeak { alias, .. } => format!("{alias} begins to leak."),
            Action::Enable { alias } => format!("{alias} is switched on."),
            Action::Deploy => "A deploy gives all plugins fresh instances.".to_owned(),
        };
        entries.push(entry(event.at, text));
    }
    entries.retain(|entry| entry.at <= played);
    for participant in participants {
        let (name, score) = (&participant.name, participant.grade.score);
        let text = format!("{name} answers and gets {score} points.");
        entries.push(entry(participant.elapsed, text));
    }
    entries.sort_by_key(|entry| entry.at);
    entries
}

#[cfg(test)]
mod tests;
