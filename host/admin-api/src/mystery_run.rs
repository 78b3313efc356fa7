//! A mystery that is played: what is shared between its calls. The calls are in `mystery`.

mod current;
mod leak_ledger;
mod participants;
mod session;

pub(crate) use self::current::CurrentMystery;
pub(crate) use self::leak_ledger::{Gain, HeapPoint, LeakLedger, Line};
pub(crate) use self::participants::{Answered, NotJoined, Participants, Seat};
pub(crate) use self::session::{PluginSpan, Session, TraceRow};
