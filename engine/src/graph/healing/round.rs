//! One round of healing: every ticket in the queue, then what is left over.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::{FutureExt, future::join_all};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::{
    orphans,
    report::{Healed, Left},
    sweep,
    ticket::{Heal, heal_ticket},
};
use crate::{
    error::{Error, Result},
    graph::{
        context::Core,
        manifest::{Ending, Manifest, Ticket, TicketState},
        purge,
    },
    ids::OperationId,
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
/// or cannot be healed, does not keep the others. A round in passing waits for a lease; what takes longer goes on by
/// itself, beside the rounds that follow.
///
/// # Errors
/// When the manifest cannot be read; every other failure is in [`Healed::failed`].
pub(crate) async fn round(core: &Arc<Core>, who: Heal, old: Leftovers) -> Result<Healed> {
    let mut healed = Healed::default();
    let manifest = core.manifests.newest().await?;
    let operations: Vec<_> = manifest.queue.iter().map(|t| t.operation).collect();
    core.failure_detector.forget_except(&operations);
    let mut why = heal_tickets(core, &manifest, who, &mut healed).await;
    let newest = core.manifests.newest().await?;
    for ticket in &newest.queue {
        let left = match (&ticket.state, why.remove(&ticket.operation)) {
            (TicketState::Quarantined { .. }, _) => {
                healed.quarantined += 1;
                Left::Quarantined
            }
            (_, Some(failed)) => failed,
            _ if ticket.holder == core.holder => Left::AtWork,
            _ if core.in_healing.holds(ticket.operation) => Left::AtWork,
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

/// Heals the tickets of a manifest, and says why some could not be. A round in passing leaves those that take longer than a
/// lease to themselves; any other ends with all of them, and when it is dropped, so are they.
async fn heal_tickets(
    core: &Arc<Core>,
    manifest: &Manifest,
    who: Heal,
    healed: &mut Healed,
) -> BTreeMap<OperationId, Left> {
    let by_itself = Arc::new(AtomicBool::new(false));
    let healing = manifest
        .queue
        .iter()
        .map(|ticket| heal(core.clone(), ticket.clone(), who, by_itself.clone()).boxed());
    let mut ended = Vec::new();
    if who == Heal::Passing {
        let until = Instant::now() + core.heartbeat.lease();
        let mut healings: JoinSet<_> = healing.collect();
        while let Ok(Some(joined)) = timeout_at(until, healings.join_next()).await {
            match joined {
                Ok(one) => ended.push(one),
                Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
                Err(_) => {}
            }
        }
        by_itself.store(true, Ordering::SeqCst);
        healings.detach_all();
    } else {
        ended = join_all(healing).await;
    }
    let mut why = BTreeMap::new();
    for (ticket, ended) in ended {
        match ended {
            Ok(None) => {}
            Ok(Some(ending)) => healed.ended(&ticket, ending),
            Err(e) => {
                why.insert(ticket.operation, Left::Failed(e.to_string()));
                healed.failed.push(e);
            }
        }
    }
    why
}

/// Heals one ticket. Where nobody waits for it any more, it logs itself why it failed.
async fn heal(
    core: Arc<Core>,
    ticket: Ticket,
    who: Heal,
    by_itself: Arc<AtomicBool>,
) -> (Ticket, Result<Option<Ending>, Error>) {
    let ended = heal_ticket(&core, &ticket, who).await;
    if let Err(e) = &ended
        && by_itself.load(Ordering::SeqCst)
    {
        tracing::error!(operation = %ticket.operation, kind = %ticket.kind, uri = %core.storage.uri, error = %e, "healing failed; it is tried again");
    }
    (ticket, ended)
}
