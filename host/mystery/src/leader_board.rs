//! The results of a class, best first.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use crate::order::Difficulty;

/// The number of results that a board keeps. Beyond it, the worst one goes.
const MAX_STANDINGS: usize = 1000;

/// Characters of a player's name, at most.
const MAX_NAME_CHARS: usize = 40;

/// The result of one player in one game.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// The name that the player gave.
    pub name: String,
    /// 0 to 100.
    pub score: u8,
    /// The time of the answer, in seconds from the start of the game.
    pub seconds: f64,
    /// The number of hints that the player got, 0 to 3.
    pub hints: u8,
    /// The seed of the game.
    pub seed: u64,
    /// The level of the game.
    pub difficulty: Difficulty,
}

/// A name that a board does not take. The text says what to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name is empty or too long.
    #[error("a name has 1 to 40 characters")]
    Length,
    /// The name has a control character.
    #[error("a name has no control characters: leave out tabs and line breaks")]
    ControlCharacter,
}

/// The results, ranked: a higher score first, then the shorter time, then the name.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LeaderBoard {
    standings: Vec<Standing>,
}

impl Standing {
    /// The name without outer spaces, if a board takes it.
    ///
    /// # Errors
    ///
    /// A [`NameError`].
    pub fn check_name(name: &str) -> Result<&str, NameError> {
        let name = name.trim();
        if name.chars().any(char::is_control) {
            return Err(NameError::ControlCharacter);
        }
        if !(1..=MAX_NAME_CHARS).contains(&name.chars().count()) {
            return Err(NameError::Length);
        }
        Ok(name)
    }
}

impl LeaderBoard {
    /// An empty board.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a result.
    ///
    /// # Errors
    ///
    /// A [`NameError`]. The board does not change then.
    pub fn add(&mut self, standing: Standing) -> Result<(), NameError> {
        let name = Standing::check_name(&standing.name)?.to_owned();
        self.standings.push(Standing { name, ..standing });
        self.standings.sort_by(|left, right| {
            let by_score = Reverse(left.score).cmp(&Reverse(right.score));
            let by_time = left.seconds.total_cmp(&right.seconds);
            by_score
                .then(by_time)
                .then_with(|| left.name.cmp(&right.name))
        });
        self.standings.truncate(MAX_STANDINGS);
        Ok(())
    }

    /// The results, best first.
    #[must_use]
    pub fn standings(&self) -> &[Standing] {
        &self.standings
    }

    /// A CSV file as RFC 4180 describes it, with a header. A name that a spreadsheet would take for
    /// a formula starts with an apostrophe.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let mut csv = "rank,name,score,seconds,hints,seed,difficulty\r\n".to_owned();
        for (rank, standing) in (1..).zip(&self.standings) {
            let Standing {
                score,
                seconds,
                hints,
                seed,
                difficulty,
                ..
            } = standing;
            let (name, level) = (csv_name(&standing.name), difficulty.level());
            csv.push_str(&format!(
                "{rank},{name},{score},{seconds:.1},{hints},{seed},{level}\r\n"
            ));
        }
        csv
    }
}

/// A field of a CSV file, in quotes.
fn csv_name(name: &str) -> String {
    let quoted = name.replace('"', "\"\"");
    let is_formula = name.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']);
    let apostrophe = if is_formula { "'" } else { "" };
    format!("\"{apostrophe}{quoted}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(name: &str, score: u8, seconds: f64) -> Standing {
        Standing {
            name: name.to_owned(),
            score,
            seconds,
            hints: 1,
            seed: 7,
            difficulty: Difficulty::new(2).unwrap(),
        }
    }

    #[test]
    fn the_best_score_is_first_and_then_the_shortest_time() {
        let mut board = LeaderBoard::new();
        for (name, score, seconds) in [("c", 50, 9.0), ("b", 90, 80.0), ("a", 90, 20.0)] {
            board.add(standing(name, score, seconds)).unwrap();
        }
        let names: Vec<&str> = board
            .standings()
            .iter()
            .map(|found| found.name.as_str())
            .collect();
        assert_eq!(names, ["a", "b", "c"]);
        let json = serde_json::to_value(&board).unwrap();
        assert_eq!(json["standings"][0]["difficulty"], 2);
    }

    #[test]
    fn a_csv_file_quotes_names_and_has_no_formulas() {
        let mut board = LeaderBoard::new();
        board
            .add(standing("=HYPERLINK(\"http://x\")", 9, 1.0))
            .unwrap();
        board.add(standing(" Ann, \"the 1st\" ", 8, 62.25)).unwrap();
        board.add(standing("@sum", 7, 3.0)).unwrap();
        let expected = "rank,name,score,seconds,hints,seed,difficulty\r\n\
                        1,\"'=HYPERLINK(\"\"http://x\"\")\",9,1.0,1,7,2\r\n\
                        2,\"Ann, \"\"the 1st\"\"\",8,62.2,1,7,2\r\n\
                        3,\"'@sum\",7,3.0,1,7,2\r\n";
        assert_eq!(board.to_csv(), expected);
    }

    #[test]
    fn names_that_would_break_a_table_are_refused() {
        let mut board = LeaderBoard::new();
        let long = "x".repeat(41);
        for wrong in ["", "   ", &long, "a\tb", "a\r\nb", "\u{1b}[2J"] {
            assert!(board.add(standing(wrong, 1, 1.0)).is_err(), "{wrong:?}");
        }
        assert_eq!(board, LeaderBoard::new());
        board.add(standing(&"ü".repeat(40), 1, 1.0)).unwrap();
    }

    #[test]
    fn a_board_that_is_full_drops_the_worst() {
        let mut board = LeaderBoard::new();
        for index in 0..1010_u32 {
            board
                .add(standing("x", (index % 101) as u8, f64::from(index)))
                .unwrap();
        }
        assert_eq!(board.standings().len(), 1000);
        assert!(board.standings().last().is_some_and(|last| last.score >= 1));
    }
}
