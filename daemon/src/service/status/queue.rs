//! The queue of a graph: who waits for whom.

use std::collections::BTreeMap;

use squire_engine::manifest::{Manifest, Ticket, TicketState};

use crate::api::TicketInfo;

/// All tickets of a graph, the first first.
pub(super) fn tickets(manifest: &Manifest) -> Vec<TicketInfo> {
    let info = manifest.queue.iter().map(|ticket| of(manifest, ticket));
    info.collect()
}

/// The tables that quarantined operations keep writers out of, and what to do.
pub(super) fn quarantined(tickets: &[TicketInfo]) -> BTreeMap<String, String> {
    let quarantined = tickets.iter().filter(|ticket| ticket.reason.is_some());
    let tables = quarantined.flat_map(|ticket| {
        let why = format!(
            "operation {} is quarantined: `squire repair`",
            ticket.operation
        );
        ticket
            .writes
            .iter()
            .map(move |table| (table.clone(), why.clone()))
    });
    tables.collect()
}

fn of(manifest: &Manifest, ticket: &Ticket) -> TicketInfo {
    let reason = match &ticket.state {
        TicketState::Quarantined { reason, .. } => Some(reason.clone()),
        TicketState::Waiting | TicketState::Decided { .. } => None,
    };
    let waits = ticket.state == TicketState::Waiting;
    let ahead = manifest.ahead(ticket).filter(|_| waits);
    TicketInfo {
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
