//! Who plays a mystery, with which hints, and what they have answered.

use std::collections::BTreeMap;
use std::time::Duration;

use mystery::{Answer, Grade, LeaderBoard, NameError, Standing};
use uuid::Uuid;

/// The most participants of one game.
const MAX_PARTICIPANTS: usize = 200;

/// The name of the participant who has not joined by name.
const ANONYMOUS: &str = "anonymous";

/// A graded answer.
#[derive(Debug, Clone)]
pub(crate) struct Answered {
    pub(crate) answer: Answer,
    pub(crate) grade: Grade,
    /// The time of the game.
    pub(crate) at: Duration,
}

/// Somebody who plays.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seat {
    pub(crate) name: String,
    /// Hints that they got.
    pub(crate) hints: usize,
    pub(crate) answered: Option<Answered>,
}

/// Why somebody cannot join.
#[derive(Debug)]
pub(crate) enum NotJoined {
    Name(NameError),
    /// Somebody has this name.
    Taken,
    TooMany,
}

/// Everybody who plays, by game id.
#[derive(Debug, Default)]
pub(crate) struct Participants(BTreeMap<String, Seat>);

impl Participants {
    /// Adds somebody under a name, and returns their game id.
    pub(crate) fn join(&mut self, name: &str) -> Result<(String, String), NotJoined> {
        let name = Standing::check_name(name)
            .map_err(NotJoined::Name)?
            .to_owned();
        if self.0.values().any(|seat| seat.name == name) {
            return Err(NotJoined::Taken);
        }
        if self.0.len() >= MAX_PARTICIPANTS {
            return Err(NotJoined::TooMany);
        }
        let id = Uuid::new_v4().to_string();
        let seat = Seat {
            name: name.clone(),
            ..Seat::default()
        };
        self.0.insert(id.clone(), seat);
        Ok((id, name))
    }

    /// The seat of a game id. Without an id it is that of the one participant who needs no name.
    pub(crate) fn seat(&mut self, game_id: Option<&str>) -> Option<&mut Seat> {
        let Some(id) = game_id else {
            let seat = self.0.entry(String::new()).or_insert_with(|| Seat {
                name: ANONYMOUS.to_owned(),
                ..Seat::default()
            });
            return Some(seat);
        };
        self.0.get_mut(id).filter(|_| !id.is_empty())
    }

    /// Everybody, in no particular order.
    pub(crate) fn seats(&self) -> impl Iterator<Item = &Seat> {
        self.0.values()
    }

    /// Whether anybody has answered.
    pub(crate) fn has_answer(&self) -> bool {
        self.seats().any(|seat| seat.answered.is_some())
    }

    /// Those who have answered, best first.
    pub(crate) fn leader_board(&self, order: &mystery::Order) -> LeaderBoard {
        let mut board = LeaderBoard::new();
        for seat in self.seats() {
            let Some(answered) = &seat.answered else {
                continue;
            };
            // The names were checked when their owners joined.
            let _ = board.add(Standing {
                name: seat.name.clone(),
                score: answered.grade.score,
                seconds: answered.at.as_secs_f64(),
                hints: u8::try_from(seat.hints).unwrap_or(u8::MAX),
                seed: order.seed,
                difficulty: order.difficulty,
            });
        }
        board
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_ids_cannot_be_guessed() {
        let mut all = Participants::default();
        let (ann, _) = all.join(" Ann ").unwrap();
        assert!(matches!(all.join("Ann"), Err(NotJoined::Taken)));
        assert!(matches!(all.join(""), Err(NotJoined::Name(_))));
        let (bob, _) = all.join("Bob").unwrap();
        assert_ne!(ann, bob);
        assert_eq!(all.seat(Some(&ann)).unwrap().name, "Ann");
        for wrong in ["", "Ann", "x"] {
            assert!(all.seat(Some(wrong)).is_none(), "{wrong:?}");
        }
        assert_eq!(all.seat(None).unwrap().name, ANONYMOUS);
        assert!(all.seat(Some("")).is_none(), "the empty id is nobody's");
    }

    #[test]
    fn a_game_has_a_limit_of_participants() {
        let mut all = Participants::default();
        for number in 0..MAX_PARTICIPANTS {
            all.join(&number.to_string()).unwrap();
        }
        assert!(matches!(all.join("late"), Err(NotJoined::TooMany)));
    }
}
