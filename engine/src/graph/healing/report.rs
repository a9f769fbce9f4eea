//! What a round of healing did, and what it left.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::{
    error::Error,
    graph::manifest::{Ending, Ticket},
};

/// What a round of healing did, and what it left.
#[derive(Debug, Default)]
pub struct Healed {
    /// Decided operations that were carried out.
    pub rolled_forward: usize,
    /// Tickets of dead holders that were taken back.
    pub aborted: usize,
    /// Physical operations that were called off: another version took their place.
    pub discarded: usize,
    /// Operations that cannot be applied: an operator has to resolve them.
    pub quarantined: usize,
    /// Sidecars that no ticket named.
    pub orphans: usize,
    /// Hard drops whose data was made unreachable.
    pub purged: usize,
    /// Old heartbeats and half-written files.
    pub leftovers: usize,
    /// The operations that it brought to their end, one by one.
    pub operations: Vec<(Ticket, Ending)>,
    /// Tickets that stay in the queue, and why.
    pub left: Vec<(Ticket, Left)>,
    /// What failed. It kept nothing else from being healed, and is tried again by the next round.
    pub failed: Vec<Error>,
}

/// Why a round of healing left a ticket in the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// Its holder is not known to be dead, and not overdue.
    NotDue {
        /// Its last sign of life, by the store's clock; `None` when it has shown none.
        seen: Option<DateTime<Utc>>,
        /// Without one for this long, it counts as dead.
        lease: Duration,
    },
    /// A call of this process is at work on it.
    AtWork,
    /// It waits for an operator.
    Quarantined,
    /// Healing it failed, with this error.
    Failed(String),
    /// It changed while it was looked at.
    Moved,
}

impl Left {
    /// Describes the reason.
    pub fn describe(&self, now: DateTime<Utc>) -> String {
        match self {
            Self::NotDue {
                seen: Some(seen), ..
            } => format!(
                "not due yet: its holder was seen alive {} s ago",
                (now - seen).num_seconds().max(0)
            ),
            Self::NotDue { seen: None, lease } => format!(
                "not due yet: its holder has shown no sign of life, and counts as dead after {} s of watching",
                lease.as_secs_f64().ceil()
            ),
            Self::AtWork => "this process is at work on it".to_owned(),
            Self::Quarantined => "quarantined: run `squire repair`".to_owned(),
            Self::Failed(error) => format!("could not be healed: {error}"),
            Self::Moved => "it moved on by itself".to_owned(),
        }
    }
}

impl Healed {
    /// Whether there was nothing to do.
    pub fn is_nothing(&self) -> bool {
        let done = [
            self.rolled_forward,
            self.aborted,
            self.discarded,
            self.quarantined,
            self.orphans,
            self.purged,
            self.leftovers,
        ];
        done == [0; 7] && self.failed.is_empty()
    }

    /// Counts a ticket that was brought to its end.
    pub(super) fn ended(&mut self, ticket: &Ticket, ending: Ending) {
        match ending {
            Ending::Published => self.rolled_forward += 1,
            Ending::Aborted => self.aborted += 1,
            Ending::Discarded => self.discarded += 1,
        }
        self.operations.push((ticket.clone(), ending));
    }
}
