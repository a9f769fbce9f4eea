//! Healing: what crashed, stalled or paused writers left behind is carried to its end, in any process.
//!
//! It is steps 8 to 10 for a decided ticket, `abort` for a waiting one, and the removal of sidecars that no
//! manifest names. Any number of healers may work at once and beside a live owner; they take no lock. Healing
//! only rolls forward.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    core::Core,
    error::{Error, Result},
    manifest::{Call, Ending, Refusal, Ticket, TicketState, transition},
    names::TableKey,
    operation::effects::{self, Carried},
    table::staged::{Search, search},
};

/// A sidecar that no manifest names is an orphan after this long, by the store's clock.
const ORPHAN_AGE: Duration = Duration::from_secs(600);

/// Who heals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heal {
    /// An operation that the ticket stands in the way of.
    WaitingFor,
    /// The daemon, on its interval.
    Passing,
    /// An operator, who says that nobody is at work.
    ByHand,
}

/// What a round of healing did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Healed {
    /// Decided operations that were carried out.
    pub rolled_forward: usize,
    /// Tickets of dead holders that were taken back.
    pub aborted: usize,
    /// Physical operations that came too late.
    pub discarded: usize,
    /// Operations that cannot be applied: an operator has to resolve them.
    pub quarantined: usize,
    /// Sidecars that no manifest named.
    pub orphans: usize,
}

impl Healed {
    /// Whether there was nothing to do.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// One round over the whole queue and the sidecars.
///
/// # Errors
/// The first failure of the store; what was healed before stays healed.
pub(crate) async fn round(core: &Core, who: Heal) -> Result<Healed> {
    let mut healed = Healed::default();
    let manifest = core.register.newest().await?;
    let operations: Vec<_> = manifest.queue.iter().map(|t| t.operation).collect();
    core.liveness.forget_except(&operations);
    // One ticket that cannot be healed now must not keep the others from being healed.
    let mut failed = None;
    for ticket in &manifest.queue {
        match heal_ticket(core, ticket, who).await {
            Ok(None) => {}
            Ok(Some(Ending::Published)) => healed.rolled_forward += 1,
            Ok(Some(Ending::Aborted)) => healed.aborted += 1,
            Ok(Some(Ending::Discarded)) => healed.discarded += 1,
            Err(e) => {
                failed.get_or_insert(e);
            }
        }
    }
    let newest = core.register.newest().await?;
    let quarantined = |t: &&Ticket| matches!(t.state, TicketState::Quarantined { .. });
    healed.quarantined = newest.queue.iter().filter(quarantined).count();
    healed.orphans = remove_orphans(core).await?;
    failed.map_or(Ok(healed), Err)
}

/// Heals one ticket if it is due; says how it ended.
pub(crate) async fn heal_ticket(core: &Core, ticket: &Ticket, who: Heal) -> Result<Option<Ending>> {
    let operation = ticket.operation;
    let own = ticket.holder == core.holder;
    let due = match (&ticket.state, who) {
        (TicketState::Quarantined { .. }, _) => false,
        // A ticket of this process that nobody in it attends to was left by a call that failed.
        (TicketState::Waiting, _) if own => !core.attends(operation),
        (_, Heal::ByHand) => !own,
        (TicketState::Decided { .. }, Heal::WaitingFor) if ticket.kind.is_physical() => true,
        (TicketState::Decided { .. }, _) => core.liveness.is_overdue(ticket).await?,
        (TicketState::Waiting, _) => core.liveness.is_dead(ticket).await?,
    };
    if !due {
        return Ok(None);
    }
    let ended = match &ticket.state {
        TicketState::Waiting => abort(core, ticket).await?,
        TicketState::Decided { bases } => {
            let sidecar = match core.recovery.read(operation).await {
                // One that nobody can read is as good as none; a newer Squire may read one that is too new.
                Err(Error::Damaged { .. }) => None,
                Err(Error::NewerFormat { .. }) if ticket.kind.is_physical() => None,
                read => read?,
            };
            match sidecar {
                Some(mut sidecar) => {
                    sidecar.take_bases(bases);
                    match effects::carry_out(core, &sidecar, None).await? {
                        Carried::Published { .. } => Some(Ending::Published),
                        Carried::TooLate => Some(Ending::Discarded),
                        Carried::Ended(ending) => Some(ending),
                        Carried::Forgotten | Carried::Quarantined { .. } => None,
                    }
                }
                None => without_sidecar(core, ticket, bases).await?,
            }
        }
        TicketState::Quarantined { .. } => None,
    };
    if let Some(ending) = ended {
        tracing::info!(%operation, kind = %ticket.kind, ?ending, actor = %ticket.actor, holder = %ticket.holder, uri = %core.storage.uri, "healed");
    }
    Ok(ended)
}

async fn abort(core: &Core, ticket: &Ticket) -> Result<Option<Ending>> {
    let operation = ticket.operation;
    let by = core.by("its holder is dead");
    let call = core
        .register
        .change(operation, move |m| transition::abort(m, operation, &by))
        .await?;
    match call {
        Call::Holds(_) => {
            core.recovery.delete(operation).await;
            Ok(Some(Ending::Aborted))
        }
        // It was decided meanwhile: its holder is not dead, or the next round rolls it forward.
        Call::Refused(..) => Ok(None),
    }
}

/// A decided ticket whose sidecar is gone: it ended meanwhile, or it is physical and fenced off, or it is logical
/// and nobody can tell what it meant.
async fn without_sidecar(
    core: &Core,
    ticket: &Ticket,
    bases: &BTreeMap<TableKey, u64>,
) -> Result<Option<Ending>> {
    let operation = ticket.operation;
    let manifest = core.register.newest().await?;
    if manifest.ticket(operation).is_none() {
        return Ok(manifest.outcomes.get(&operation).map(|o| o.ending));
    }
    if !ticket.kind.is_physical() {
        let reason = "its sidecar is gone or damaged, so nobody can tell what it meant";
        let by = core.by(reason);
        core.register
            .change(operation, move |m| {
                transition::quarantine(m, operation, reason, &by)
            })
            .await?;
        tracing::error!(%operation, kind = %ticket.kind, uri = %core.storage.uri, reason, "operation quarantined: see Quarantine in docs/operations.md");
        return Ok(None);
    }
    let mut pins = BTreeMap::new();
    for (key, &base) in bases {
        let table = core.table_in(&manifest, key)?;
        core.fence(&table, base).await?;
        let head = table.head().await?;
        if let Search::Found(version) = search(&table, operation, base, head).await? {
            pins.insert(key.clone(), version);
        }
    }
    let all_stand = pins.len() == bases.len();
    let by = core.by("its sidecar is gone");
    let call = core
        .register
        .change(operation, move |m| {
            if all_stand {
                transition::publish(m, operation, &pins, None, &by)
            } else {
                transition::discard(m, operation, &by)
            }
        })
        .await?;
    Ok(match call {
        Call::Holds(newest) => newest.outcomes.get(&operation).map(|o| o.ending),
        Call::Refused(Refusal::Ended(ending)) => Some(ending),
        Call::Refused(_) => None,
    })
}

/// Deletes sidecars of operations that have ended, and those that no manifest names and that are older than the
/// grace period. The latter are barred first: their author may be asleep between writing one and deciding.
async fn remove_orphans(core: &Core) -> Result<usize> {
    let listed = core.recovery.list().await?;
    if listed.is_empty() {
        return Ok(0);
    }
    let manifest = core.register.newest().await?;
    let (ended, unnamed): (Vec<_>, Vec<_>) = listed
        .into_iter()
        .filter(|sidecar| manifest.ticket(sidecar.operation).is_none())
        .partition(|sidecar| manifest.outcomes.contains_key(&sidecar.operation));
    let mut removed = ended.len();
    for sidecar in ended {
        core.recovery.delete(sidecar.operation).await;
    }
    if unnamed.is_empty() {
        return Ok(removed);
    }
    let now = core.liveness.store_clock().await?;
    for sidecar in unnamed {
        let operation = sidecar.operation;
        let age = (now - sidecar.written).to_std().unwrap_or_default();
        if age < ORPHAN_AGE {
            continue;
        }
        let by = core.by("its sidecar was left behind");
        let call = core
            .register
            .change(operation, move |m| transition::bar(m, operation, &by))
            .await?;
        if let Call::Holds(_) = call {
            core.recovery.delete(operation).await;
            removed += 1;
        }
    }
    Ok(removed)
}
