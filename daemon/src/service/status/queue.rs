//! The queue of a graph as a person reads it: who waits for whom.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use squire_engine::manifest::{Manifest, Ticket, TicketState};
use utoipa::ToSchema;

/// An operation's place in the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct TicketNotes {
    /// The operation's id.
    pub(crate) operation: String,
    /// What it does: `Load`, `Delete`, `SchemaApply`, `Compact`, `Index`, `Cleanup` or `Repair`.
    pub(crate) kind: String,
    /// On whose behalf.
    pub(crate) actor: String,
    /// The process that entered it.
    pub(crate) holder: String,
    /// The tables that it writes.
    pub(crate) writes: Vec<String>,
    /// The tables that must stand still meanwhile.
    pub(crate) reads: Vec<String>,
    /// How far it has come: `waiting`, `decided` or `quarantined`.
    pub(crate) state: String,
    /// Why it is quarantined; `squire repair` shows what can be done.
    pub(crate) reason: Option<String>,
    /// Since when it is in the queue, by its holder's clock.
    pub(crate) since: DateTime<Utc>,
    /// The operations ahead that it waits for, the first first.
    pub(crate) waits_for: Vec<String>,
}

/// All tickets of a graph, the first first.
pub(super) fn tickets(manifest: &Manifest) -> Vec<TicketNotes> {
    let notes = manifest.queue.iter().map(|ticket| of(manifest, ticket));
    notes.collect()
}

fn of(manifest: &Manifest, ticket: &Ticket) -> TicketNotes {
    let reason = match &ticket.state {
        TicketState::Quarantined { reason, .. } => Some(reason.clone()),
        TicketState::Waiting | TicketState::Decided { .. } => None,
    };
    let waits = ticket.state == TicketState::Waiting;
    let ahead = manifest.ahead(ticket).filter(|_| waits);
    TicketNotes {
        operation: ticket.operation.to_string(),
        kind: ticket.kind.to_string(),
        actor: ticket.actor.clone(),
        holder: ticket.holder.to_string(),
        writes: ticket
            .touched
            .writes
            .iter()
            .map(ToString::to_string)
            .collect(),
        reads: ticket
            .touched
            .reads
            .iter()
            .map(ToString::to_string)
            .collect(),
        state: ticket.state.as_str().to_owned(),
        reason,
        since: ticket.at,
        waits_for: ahead.map(|t| t.operation.to_string()).collect(),
    }
}
