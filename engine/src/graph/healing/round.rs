//! One round of healing: every ticket in the queue, then what is left over.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::FutureExt;
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

/// Longer than any healing that a caller waits for to its end takes.
const NO_END: Duration = Duration::from_secs(30 * 24 * 3600);

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

/// Heals the tickets of a manifest, and says why some could not be.
async fn heal_tickets(
    core: &Arc<Core>,
    manifest: &Manifest,
    who: Heal,
    healed: &mut Healed,
) -> BTreeMap<OperationId, Left> {
    let patience = match who {
        Heal::Passing => core.heartbeat.lease(),
        Heal::WaitingFor | Heal::ByHand => NO_END,
    };
    let (mut healings, until) = (JoinSet::new(), Instant::now() + patience);
    let by_itself = Arc::new(AtomicBool::new(false));
    for ticket in &manifest.queue {
        let healing = heal(core.clone(), ticket.clone(), who, by_itself.clone());
        healings.spawn(healing.boxed());
    }
    let mut why = BTreeMap::new();
    while let Ok(Some(joined)) = timeout_at(until, healings.join_next()).await {
        match joined {
            Ok((_, Ok(None))) => {}
            Ok((ticket, Ok(Some(ending)))) => healed.ended(&ticket, ending),
            Ok((ticket, Err(e))) => {
                why.insert(ticket.operation, Left::Failed(e.to_string()));
                healed.failed.push(e);
            }
            Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
            Err(_) => {}
        }
    }
    by_itself.store(true, Ordering::SeqCst);
    healings.detach_all();
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
