//! One round of healing: every ticket in the queue, then what is left over.

use std::collections::BTreeMap;

use futures::future::join_all;

use super::{
    orphans,
    report::{Healed, Left},
    sweep,
    ticket::{Heal, heal_ticket},
};
use crate::{
    error::Result,
    graph::{context::Core, manifest::TicketState, purge},
};

/// What becomes of what is left over and old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leftovers {
    /// It goes.
    Remove,
    /// It stays.
    Keep,
}

/// One round over the whole queue and over what no manifest names. Tickets are healed all at once: one that takes long,
/// or cannot be healed, does not keep the others.
///
/// # Errors
/// When the manifest cannot be read; every other failure is in [`Healed::failed`].
pub(crate) async fn round(core: &Core, who: Heal, old: Leftovers) -> Result<Healed> {
    let mut healed = Healed::default();
    let manifest = core.manifests.newest().await?;
    let operations: Vec<_> = manifest.queue.iter().map(|t| t.operation).collect();
    core.failure_detector.forget_except(&operations);
    let tickets = manifest.queue.iter().map(async |ticket| {
        let ended = heal_ticket(core, ticket, who).await;
        (ticket, ended)
    });
    let mut why = BTreeMap::new();
    for (ticket, ended) in join_all(tickets).await {
        match ended {
            Ok(None) => {}
            Ok(Some(ending)) => healed.ended(ticket, ending),
            Err(e) => {
                why.insert(ticket.operation, Left::Failed(e.to_string()));
                healed.failed.push(e);
            }
        }
    }
    let newest = core.manifests.newest().await?;
    for ticket in &newest.queue {
        let left = match (&ticket.state, why.remove(&ticket.operation)) {
            (TicketState::Quarantined { .. }, _) => {
                healed.quarantined += 1;
                Left::Quarantined
            }
            (_, Some(failed)) => failed,
            _ if ticket.holder == core.holder => Left::AtWork,
            _ if who == Heal::ByHand => Left::Moved,
            _ => Left::NotDue {
                seen: core.failure_detector.last_beat(ticket.operation),
                lease: core.failure_detector.lease_of(ticket),
            },
        };
        healed.left.push((ticket.clone(), left));
    }
    if old == Leftovers::Remove {
        orphans::remove_due(core, &mut healed).await;
        sweep::sweep_if_due(core, &mut healed).await;
    }
    match purge::round(core, &newest).await {
        Ok(purged) => healed.purged = purged,
        Err(e) => healed.failed.push(e),
    }
    Ok(healed)
}
