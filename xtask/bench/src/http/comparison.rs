//! The table of `bench http`: ratios to plain axum, and the goals that they must meet.

use crate::measurement::median;
use crate::wrk::Turn;

/// A service under measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    PlainAxum,
    /// The host, or the one that it is compared with.
    Host {
        mode: Mode,
        other: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    LeaksOff,
    /// Three leaks, every allocation attributed to its call stack.
    Exact,
    /// Three leaks without a heap profile.
    Unprofiled,
}

impl Mode {
    const ALL: [Self; 3] = [Self::LeaksOff, Self::Exact, Self::Unprofiled];

    fn name(self) -> &'static str {
        match self {
            Self::LeaksOff => "leaks off",
            Self::Exact => "three leaks, exact attribution",
            Self::Unprofiled => "three leaks, no attribution",
        }
    }
}

impl Subject {
    pub(super) fn of_host() -> [Self; 3] {
        Mode::ALL.map(|mode| Self::Host { mode, other: false })
    }

    pub(super) fn of_other_host() -> [Self; 3] {
        Mode::ALL.map(|mode| Self::Host { mode, other: true })
    }

    pub(super) fn name(self) -> String {
        match self {
            Self::PlainAxum => "plain axum".to_owned(),
            Self::Host { mode, other: false } => mode.name().to_owned(),
            Self::Host { mode, other: true } => format!("{} (against)", mode.name()),
        }
    }

    pub(super) fn leaks(self) -> bool {
        match self {
            Self::PlainAxum => false,
            Self::Host { mode, .. } => mode != Mode::LeaksOff,
        }
    }

    /// The value of the host's option `--heap-profile`.
    pub(super) fn heap_profile(self) -> &'static str {
        match self {
            Self::Host {
                mode: Mode::Unprofiled,
                ..
            } => "off",
            _ => "exact",
        }
    }
}

/// A row of the table, with one cell for each number of connections.
#[derive(Debug)]
pub(super) struct Row {
    name: String,
    kind: RowKind,
    cells: Vec<Cell>,
}

/// The meaning of a row's numbers, which decides the goals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RowKind {
    /// Requests a second and milliseconds.
    Absolute,
    /// Ratios to plain axum.
    OfPlain(Mode),
    /// Three leaks with exact attribution, as ratios to those without.
    ExactOfUnprofiled,
    /// Ratios without a goal.
    Shown,
}

#[derive(Debug, Clone, Copy)]
struct Cell {
    throughput: f64,
    p99: f64,
}

/// A bound of a ratio, with any number of connections or with one.
struct Goal {
    kind: RowKind,
    connections: Option<u32>,
    bound: Bound,
}

enum Bound {
    MinThroughput(f64),
    MaxP99(f64),
}

const GOALS: [Goal; 5] = [
    Goal {
        kind: RowKind::OfPlain(Mode::LeaksOff),
        connections: None,
        bound: Bound::MinThroughput(0.98),
    },
    Goal {
        kind: RowKind::OfPlain(Mode::Exact),
        connections: Some(16),
        bound: Bound::MinThroughput(0.7),
    },
    Goal {
        kind: RowKind::OfPlain(Mode::Exact),
        connections: Some(128),
        bound: Bound::MinThroughput(0.8),
    },
    Goal {
        kind: RowKind::OfPlain(Mode::Exact),
        connections: None,
        bound: Bound::MaxP99(1.5),
    },
    Goal {
        kind: RowKind::ExactOfUnprofiled,
        connections: None,
        bound: Bound::MinThroughput(0.9),
    },
];

/// The turns of a subject with each number of connections.
pub(super) type Turns<'a> = (Subject, &'a [Vec<Turn>]);

impl Row {
    /// Every row that these subjects have.
    pub(super) fn all(subjects: &[Turns<'_>]) -> Vec<Self> {
        let find = |wanted: Subject| subjects.iter().find(|(subject, _)| *subject == wanted);
        let host = |mode, other| find(Subject::Host { mode, other });
        let mut rows = Vec::new();
        let Some((_, plain)) = find(Subject::PlainAxum) else {
            return rows;
        };
        rows.push(Self {
            name: "plain axum: requests/s, ms".to_owned(),
            kind: RowKind::Absolute,
            cells: plain.iter().map(|turns| medians(turns)).collect(),
        });
        for (subject, turns) in subjects {
            let kind = match subject {
                Subject::PlainAxum => continue,
                Subject::Host { mode, other: false } => RowKind::OfPlain(*mode),
                Subject::Host { other: true, .. } => RowKind::Shown,
            };
            rows.push(Self::of_ratios(subject.name(), kind, turns, plain));
        }
        if let (Some((_, exact)), Some((_, unprofiled))) =
            (host(Mode::Exact, false), host(Mode::Unprofiled, false))
        {
            let name = "exact / no attribution".to_owned();
            rows.push(Self::of_ratios(
                name,
                RowKind::ExactOfUnprofiled,
                exact,
                unprofiled,
            ));
        }
        for mode in Mode::ALL {
            if let (Some((_, ours)), Some((_, theirs))) = (host(mode, false), host(mode, true)) {
                let name = format!("{} / against", mode.name());
                rows.push(Self::of_ratios(name, RowKind::Shown, ours, theirs));
            }
        }
        rows
    }

    fn of_ratios(name: String, kind: RowKind, ours: &[Vec<Turn>], theirs: &[Vec<Turn>]) -> Self {
        let cells = ours.iter().zip(theirs).map(|(ours, theirs)| {
            let ratio = |of: fn(&Turn) -> f64| {
                let turns = ours.iter().zip(theirs);
                median(turns.map(|(ours, theirs)| of(ours) / of(theirs)))
            };
            Cell {
                throughput: ratio(|turn| turn.requests_per_second),
                p99: ratio(|turn| turn.p99_ms),
            }
        });
        Self {
            name,
            kind,
            cells: cells.collect(),
        }
    }

    fn line(&self) -> String {
        let mut line = format!("{:<42}", self.name);
        for Cell { throughput, p99 } in &self.cells {
            line += &match self.kind {
                RowKind::Absolute => format!(" {throughput:>10.0} {p99:>8.2}"),
                _ => format!(" {throughput:>10.2} {p99:>8.2}"),
            };
        }
        line
    }
}

fn medians(turns: &[Turn]) -> Cell {
    Cell {
        throughput: median(turns.iter().map(|turn| turn.requests_per_second)),
        p99: median(turns.iter().map(|turn| turn.p99_ms)),
    }
}

/// Prints the table and the goals that are missed. False when one is.
pub(super) fn print(rows: &[Row], connections: &[u32]) -> bool {
    let mut head = format!("\n{:<42}", "connections");
    let mut units = format!("{:<42}", "ratios within each turn, to plain axum");
    for number in connections {
        head += &format!(" {number:>19}");
        units += &format!(" {:>10} {:>8}", "throughput", "p99");
    }
    println!("{head}\n{units}");
    for row in rows {
        println!("{}", row.line());
    }
    let missed = missed_goals(rows, connections);
    println!();
    for line in &missed {
        println!("MISSED: {line}");
    }
    if missed.is_empty() {
        println!("every goal is met");
    }
    missed.is_empty()
}

fn missed_goals(rows: &[Row], connections: &[u32]) -> Vec<String> {
    let mut missed = Vec::new();
    for row in rows {
        for (cell, &number) in row.cells.iter().zip(connections) {
            for goal in &GOALS {
                if goal.kind != row.kind || goal.connections.is_some_and(|only| only != number) {
                    continue;
                }
                let text = match goal.bound {
                    Bound::MinThroughput(min) if cell.throughput < min => {
                        format!("throughput {:.2}, at least {min}", cell.throughput)
                    }
                    Bound::MaxP99(max) if cell.p99 > max => {
                        format!("p99 {:.2}, at most {max}", cell.p99)
                    }
                    _ => continue,
                };
                missed.push(format!("{} with {number} connections: {text}", row.name));
            }
        }
    }
    missed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(requests_per_second: f64, p99_ms: f64) -> Turn {
        Turn {
            requests: 1,
            requests_per_second,
            p99_ms,
        }
    }

    /// Two numbers of connections; in the second turn the machine is half as fast.
    fn turns(subject: Subject, requests_per_second: f64, p99_ms: f64) -> (Subject, Vec<Vec<Turn>>) {
        let slow = turn(requests_per_second / 2.0, p99_ms * 2.0);
        let fast = turn(requests_per_second, p99_ms);
        (subject, vec![vec![fast, slow, fast]; 2])
    }

    fn rows(off: (f64, f64), exact: (f64, f64), unprofiled: (f64, f64)) -> Vec<Row> {
        let mut subjects = vec![turns(Subject::PlainAxum, 1000.0, 1.0)];
        for (subject, (requests, p99)) in
            Subject::of_host().into_iter().zip([off, exact, unprofiled])
        {
            subjects.push(turns(subject, requests, p99));
        }
        let subjects: Vec<_> = subjects
            .iter()
            .map(|(subject, turns)| (*subject, turns.as_slice()))
            .collect();
        Row::all(&subjects)
    }

    #[test]
    fn ratios_are_taken_within_a_turn() {
        let rows = rows((990.0, 1.0), (800.0, 1.4), (850.0, 1.3));
        assert_eq!(rows[0].cells[0].throughput, 1000.0);
        assert!((rows[1].cells[1].throughput - 0.99).abs() < 1e-9);
        assert!((rows[2].cells[0].p99 - 1.4).abs() < 1e-9);
        assert_eq!(missed_goals(&rows, &[16, 128]), [] as [String; 0]);
    }

    #[test]
    fn each_missed_goal_is_named_with_its_number_of_connections() {
        let missed = missed_goals(&rows((970.0, 1.0), (750.0, 1.6), (760.0, 1.6)), &[2, 128]);
        assert_eq!(
            missed,
            [
                "leaks off with 2 connections: throughput 0.97, at least 0.98",
                "leaks off with 128 connections: throughput 0.97, at least 0.98",
                "three leaks, exact attribution with 2 connections: p99 1.60, at most 1.5",
                "three leaks, exact attribution with 128 connections: throughput 0.75, at least 0.8",
                "three leaks, exact attribution with 128 connections: p99 1.60, at most 1.5",
            ]
        );
        let slow_profile = missed_goals(&rows((990.0, 1.0), (800.0, 1.0), (900.0, 1.0)), &[2]);
        assert_eq!(
            slow_profile,
            ["exact / no attribution with 2 connections: throughput 0.89, at least 0.9"]
        );
    }

    #[test]
    fn another_host_is_compared_mode_by_mode() {
        let mut subjects = vec![turns(Subject::PlainAxum, 1000.0, 1.0)];
        for subject in Subject::of_host() {
            subjects.push(turns(subject, 900.0, 1.0));
        }
        for subject in Subject::of_other_host() {
            subjects.push(turns(subject, 600.0, 2.0));
        }
        let subjects: Vec<_> = subjects
            .iter()
            .map(|(subject, turns)| (*subject, turns.as_slice()))
            .collect();
        let rows = Row::all(&subjects);
        let names: Vec<_> = rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names.len(), 11, "{names:?}");
        let last = rows.last().unwrap();
        assert_eq!(last.name, "three leaks, no attribution / against");
        assert_eq!((last.cells[0].throughput, last.cells[0].p99), (1.5, 0.5));
    }
}
