//! Which operation waits for which: for programs to follow, and for users, in a spinner, the log and `squire status`.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use tokio::sync::watch;

use crate::{
    graph::manifest::{Manifest, Ticket, TicketState},
    ids::{OperationId, TableKey},
};

/// What an operation waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The operation that waits.
    pub operation: OperationId,
    /// The first ticket ahead that conflicts with it: operation, kind, actor, holder and state.
    pub ahead: Ticket,
    /// The tables over which they conflict.
    pub tables: BTreeSet<TableKey>,
    /// Since when it waits, by its holder's clock. For users; no rule depends on it.
    pub since: DateTime<Utc>,
}

impl Waiting {
    /// What a ticket of the manifest, or one that is to enter it, waits for; `None` when no operation is ahead.
    pub fn of(manifest: &Manifest, ticket: &Ticket) -> Option<Self> {
        if ticket.state != TicketState::Waiting {
            return None;
        }
        let ahead = manifest.ahead(ticket).next()?.clone();
        let (mine, its) = (&ticket.touched, &ahead.touched);
        let between = |t: &&TableKey| {
            its.writes.contains(*t) || mine.writes.contains(*t) && its.reads.contains(*t)
        };
        Some(Self {
            operation: ticket.operation,
            tables: mine.all().filter(between).cloned().collect(),
            ahead,
            since: ticket.at,
        })
    }

    /// Describes the wait: `waiting for SchemaApply 019aad0e-4c1b by ops@host, 3 s`.
    pub fn describe(&self, now: DateTime<Utc>) -> String {
        let Ticket {
            operation,
            kind,
            actor,
            state,
            ..
        } = &self.ahead;
        let state = match state {
            TicketState::Quarantined { .. } => " (quarantined)",
            TicketState::Waiting | TicketState::Decided { .. } => "",
        };
        let seconds = (now - self.since).num_seconds().max(0);
        let age = match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
            (0, 0, s) => format!("{s} s"),
            (0, min, s) => format!("{min} min {s} s"),
            (h, min, _) => format!("{h} h {min} min"),
        };
        format!(
            "waiting for {kind} {} by {actor}{state}, {age}",
            operation.short()
        )
    }
}

/// The waits of this process, as they stand.
#[derive(Debug)]
pub(crate) struct Waits(watch::Sender<Vec<Waiting>>);

impl Default for Waits {
    fn default() -> Self {
        Self(watch::Sender::new(Vec::new()))
    }
}

impl Waits {
    /// Follows them.
    pub(crate) fn follow(&self) -> watch::Receiver<Vec<Waiting>> {
        self.0.subscribe()
    }

    /// Sets what an operation waits for; `None` when it waits no more.
    pub(crate) fn set(&self, operation: OperationId, waiting: Option<Waiting>) {
        self.0.send_if_modified(|waits| {
            let at = waits.iter().position(|w| w.operation == operation);
            match (at, waiting) {
                (Some(at), Some(waiting)) if waits[at] == waiting => return false,
                (Some(at), Some(waiting)) => waits[at] = waiting,
                (Some(at), None) => drop(waits.remove(at)),
                (None, Some(waiting)) => waits.push(waiting),
                (None, None) => return false,
            }
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use uuid::Uuid;

    use super::*;
    use crate::{
        graph::manifest::{OperationKind, Touched},
        ids::HolderId,
    };

    fn ticket(id: &str, kind: OperationKind, writes: &[&str]) -> Ticket {
        let touched = Touched::writing(writes.iter().map(|t| t.parse().unwrap()));
        let (holder, at) = (HolderId::from("host-1-abcd"), DateTime::UNIX_EPOCH);
        Ticket::waiting(id.parse().unwrap(), holder, "ops@host", kind, touched, at)
    }

    #[test]
    fn a_wait_names_the_first_operation_ahead_and_how_long_it_has_lasted() {
        let mut m = Manifest::first(Uuid::nil(), "ops@host", DateTime::UNIX_EPOCH);
        let mine = ticket(
            "019aad0f-0000-7000-8000-000000000000",
            OperationKind::Load,
            &["node:Plane", "edge:Flight"],
        );
        m.queue = vec![
            ticket(
                "019aad0d-0000-7000-8000-000000000000",
                OperationKind::Load,
                &["node:Airport"],
            ),
            ticket(
                "019aad0e-0000-7000-8000-000000000000",
                OperationKind::SchemaApply,
                &["node:Plane"],
            ),
            mine.clone(),
        ];
        let waiting = Waiting::of(&m, &mine).unwrap();
        assert_eq!(
            waiting.tables,
            BTreeSet::from(["node:Plane".parse().unwrap()])
        );
        for (seconds, age) in [
            (-5, "0 s"),
            (3, "3 s"),
            (59, "59 s"),
            (125, "2 min 5 s"),
            (3_725, "1 h 2 min"),
        ] {
            let now = DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
            assert_eq!(
                waiting.describe(now),
                format!("waiting for SchemaApply 019aad0e-0000 by ops@host, {age}")
            );
        }
        assert_eq!(Waiting::of(&m, &m.queue[1]), None, "nobody is ahead of it");
    }
}
