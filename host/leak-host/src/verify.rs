//! `leak-host verify`: asks a running host whether the exercises are done.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Context;
use serde::Deserialize;
use serde_json::Value;

use crate::config::{OutputFormat, VerifyArgs};
use fleet::{AdminClient, AskError};

/// The exit code if the host cannot be asked.
const EXIT_NOT_ASKED: u8 = 2;

/// The code of the error for an exercise that does not exist.
const UNKNOWN_EXERCISE: &str = "unknown_exercise";

/// An exercise, as the admin API shows it.
#[derive(Debug, Deserialize)]
struct Exercise {
    exercise: u32,
    done: bool,
    steps: Vec<Step>,
}

#[derive(Debug, Deserialize)]
struct Step {
    id: String,
    step: String,
    done: bool,
    missing: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ExerciseList {
    exercises: Vec<Exercise>,
}

/// Asks the host and prints its answer. Exits with 0 if everything that was asked for is done, else
/// with 1, and with 2 if the host cannot be asked.
pub(crate) fn run(args: &VerifyArgs) -> ExitCode {
    match verify(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("leak-host verify: {error:#}");
            ExitCode::from(EXIT_NOT_ASKED)
        }
    }
}

fn verify(args: &VerifyArgs) -> anyhow::Result<bool> {
    let client = args.remote.client()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let answer = runtime.block_on(ask(&client, args.exercise))?;
    let exercises = exercises_in(&answer, args.exercise.is_some())
        .context("the answer is not that of a leak lab of this version")?;
    match args.format {
        OutputFormat::Human => print!("{}", report(&exercises)),
        OutputFormat::Json => println!("{}", serde_json::to_string_pretty(&answer)?),
    }
    Ok(exercises.iter().all(|exercise| exercise.done))
}

async fn ask(client: &AdminClient, exercise: Option<u32>) -> anyhow::Result<Value> {
    let Some(number) = exercise else {
        return Ok(client.get("/admin/exercises").await?);
    };
    let path = format!("/admin/exercises/{number}/verify");
    client.post(&path).await.map_err(|error| match error {
        AskError::Refused { code, .. } if code == UNKNOWN_EXERCISE => anyhow::anyhow!(
            "there is no exercise {number}: `leak-host verify` without a number lists them"
        ),
        other => other.into(),
    })
}

fn exercises_in(answer: &Value, is_single: bool) -> serde_json::Result<Vec<Exercise>> {
    if is_single {
        return Ok(vec![Exercise::deserialize(answer)?]);
    }
    Ok(ExerciseList::deserialize(answer)?.exercises)
}

/// The exercises with their steps. The steps of an exercise that is done are left out if there is
/// more than one exercise.
fn report(exercises: &[Exercise]) -> String {
    let mut text = String::new();
    for exercise in exercises {
        let done = exercise.steps.iter().filter(|step| step.done).count();
        let state = if exercise.done { "done" } else { "not done" };
        let (number, all) = (exercise.exercise, exercise.steps.len());
        // Writing to a string does not fail.
        let _ = writeln!(text, "Exercise {number}: {state}, {done} of {all} steps");
        if exercise.done && exercises.len() > 1 {
            continue;
        }
        for step in &exercise.steps {
            let mark = if step.done { 'x' } else { ' ' };
            let _ = writeln!(
                text,
                "  [{mark}] {}  {}",
                plain(&step.id),
                plain(&step.step)
            );
            if let Some(missing) = &step.missing {
                let _ = writeln!(text, "           {}", plain(missing));
            }
        }
    }
    text
}

/// A text of the host without control characters, which could change the terminal.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_report_names_what_is_missing_below_each_step() {
        let exercise = |number: u32, done: bool| {
            let missing = (!done).then_some("Send 940 more requests while `cache` is on.");
            json!({"exercise": number, "done": done, "steps": [
                {"id": "2.1", "step": "Switch on `cache`\u{1b}[2J", "done": true, "missing": null},
                {"id": "2.2", "step": "Send 1,000 requests", "done": done, "missing": missing},
            ]})
        };
        let one = exercises_in(&exercise(2, false), true).unwrap();
        let expected = "\
Exercise 2: not done, 1 of 2 steps
  [x] 2.1  Switch on `cache`[2J
  [ ] 2.2  Send 1,000 requests
           Send 940 more requests while `cache` is on.
";
        assert_eq!(report(&one), expected);
        let all = json!({"exercises": [exercise(1, true), exercise(2, false)]});
        let all = exercises_in(&all, false).unwrap();
        let expected = format!("Exercise 1: done, 2 of 2 steps\n{expected}");
        assert_eq!(report(&all), expected);
        assert!(exercises_in(&json!({"exercises": 3}), false).is_err());
    }
}
