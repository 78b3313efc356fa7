//! The mystery of a host: at most one is played, and the last one is kept for its report.

use std::sync::{Arc, PoisonError, RwLock};

use mystery::Visibility;

use super::session::Session;

/// What is played.
#[derive(Debug, Default)]
enum Played {
    #[default]
    Nothing,
    /// A game starts or ends: plugins are loaded.
    Changing,
    Game(Arc<Session>),
}

/// The mystery of a host.
#[derive(Default)]
pub(crate) struct CurrentMystery {
    played: RwLock<Played>,
    /// The game that was played last.
    last: RwLock<Option<Arc<Session>>>,
    /// Locked while a game starts or ends.
    pub(crate) changing: tokio::sync::Mutex<()>,
}

impl CurrentMystery {
    /// What players may see; `None` if no game hides anything. While a game starts or ends it is as
    /// little as in the hardest game.
    pub(crate) fn visibility(&self) -> Option<Visibility> {
        match &*self.read() {
            Played::Nothing => None,
            Played::Changing => Some(Visibility::ProcessMetrics),
            Played::Game(session) => Some(session.game.visibility()),
        }
    }

    /// The game that is played.
    pub(crate) fn session(&self) -> Option<Arc<Session>> {
        match &*self.read() {
            Played::Game(session) => Some(session.clone()),
            Played::Nothing | Played::Changing => None,
        }
    }

    /// The game that is played, or else the one that was played last.
    pub(crate) fn last_session(&self) -> Option<Arc<Session>> {
        let last = || {
            self.last
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .clone()
        };
        self.session().or_else(last)
    }

    pub(crate) fn set_changing(&self) {
        self.set(Played::Changing);
    }

    pub(crate) fn set_game(&self, session: Arc<Session>) {
        *self.last.write().unwrap_or_else(PoisonError::into_inner) = Some(session.clone());
        self.set(Played::Game(session));
    }

    pub(crate) fn set_nothing(&self) {
        self.set(Played::Nothing);
    }

    fn set(&self, played: Played) {
        *self.played.write().unwrap_or_else(PoisonError::into_inner) = played;
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Played> {
        self.played.read().unwrap_or_else(PoisonError::into_inner)
    }
}
