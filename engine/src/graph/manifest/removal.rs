//! Transitions that let something go: old manifests, versions of tables, what a hard drop took away. Whatever is deleted
//! is deleted only once the manifest that they lead to counts.

use super::{
    Manifest, OperationKind, Purge, Refusal, TicketState,
    transition::{By, Step, next},
};
use crate::ids::TableKey;

/// `collect`: manifests below the mark may be deleted once the resulting manifest counts; outcomes older
/// than the mark are trimmed. The mark never falls and never passes the manifest that records it.
///
/// # Errors
/// [`Refusal::BadCollection`].
pub fn collect(m: &Manifest, below: u64, by: &By) -> Result<Step, Refusal> {
    let bad = |reason| Refusal::BadCollection { below, reason };
    if below == m.collected_below {
        return Ok(Step::Already);
    }
    if below < m.collected_below {
        return Err(bad("more is collected already"));
    }
    let mut next = next(m, "collect", None, by);
    if below > next.number {
        return Err(bad("the newest manifest must stay"));
    }
    next.collected_below = below;
    next.outcomes.retain(|_, outcome| outcome.number >= below);
    Ok(Step::Next(next))
}

/// `clean`: versions of the table at `path` before `below` go, once the resulting manifest counts. Allowed while the key
/// stands for that table, no operation is decided or quarantined on it, and its pin stays.
///
/// # Errors
/// [`Refusal::AnotherTable`], [`Refusal::NotInFront`], [`Refusal::Quarantined`], [`Refusal::PastPin`].
pub fn clean(
    m: &Manifest,
    table: &TableKey,
    path: &str,
    below: u64,
    by: &By,
) -> Result<Step, Refusal> {
    let entry = m.tables.get(table).filter(|entry| entry.path == path);
    let Some(pin) = entry.map(|entry| entry.pin) else {
        return Err(Refusal::AnotherTable {
            table: table.clone(),
        });
    };
    let touching = m
        .queue
        .iter()
        .filter(|t| t.touched.all().any(|k| k == table));
    for ticket in touching {
        let (table, by) = (table.clone().into(), ticket.operation);
        match &ticket.state {
            TicketState::Waiting => {}
            TicketState::Decided { .. } => return Err(Refusal::NotInFront { table, by }),
            TicketState::Quarantined { reason, .. } => {
                let reason = reason.clone();
                return Err(Refusal::Quarantined { table, by, reason });
            }
        }
    }
    if below > pin {
        return Err(Refusal::PastPin {
            table: table.clone(),
            below,
            pin,
        });
    }
    let mut next = next(m, "clean", None, by);
    next.change.kind = Some(OperationKind::Cleanup);
    Ok(Step::Next(next))
}

/// `purged`: what was noted for a path has been made unreachable. A note that asks for more by now stays.
///
/// # Errors
/// None: it is a transition like the others.
pub fn purged(m: &Manifest, path: &str, done: &Purge, by: &By) -> Result<Step, Refusal> {
    match m.purges.get(path) {
        Some(noted) if done.covers(noted) => {
            let mut next = next(m, "purged", None, by);
            next.purges.remove(path);
            Ok(Step::Next(next))
        }
        _ => Ok(Step::Already),
    }
}
