//! Healing one ticket.

use std::collections::BTreeMap;

use crate::{
    error::{Error, Result},
    graph::{
        context::Core,
        manifest::{ChangeResult, Ending, Refusal, Ticket, TicketState, transition},
        operation::effects,
        sidecar::Sidecar,
    },
    ids::TableKey,
    table::staged::{Search, search},
};

/// Who heals, and so which tickets are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heal {
    /// An operation that waits for the ticket, or a program that is about to write.
    WaitingFor,
    /// The daemon, on its interval.
    Passing,
    /// An operator, who says that the other processes are dead.
    ByHand,
}

/// Heals one ticket, if it is due and no other call of this process heals it; says how it ended.
pub(crate) async fn heal_ticket(core: &Core, ticket: &Ticket, who: Heal) -> Result<Option<Ending>> {
    let operation = ticket.operation;
    let due = is_due(core, ticket, who).await?;
    let Some(_guard) = due.then(|| core.in_healing.enter(operation)).flatten() else {
        return Ok(None);
    };
    let ended = match &ticket.state {
        TicketState::Waiting => abort(core, ticket).await?,
        TicketState::Decided { bases } => roll_forward(core, ticket, bases).await?,
        TicketState::Quarantined { .. } => None,
    };
    if let Some(ending) = ended {
        tracing::info!(%operation, kind = %ticket.kind, ?ending, actor = %ticket.actor, holder = %ticket.holder, uri = %core.storage.uri, "healed");
    }
    Ok(ended)
}

/// Whether a ticket may be healed now.
async fn is_due(core: &Core, ticket: &Ticket, who: Heal) -> Result<bool> {
    let own = ticket.holder == core.holder;
    Ok(match (&ticket.state, who) {
        (TicketState::Quarantined { .. }, _) => false,
        // A ticket of this process that none of its calls attends to was left by a call that failed.
        (TicketState::Waiting, _) if own => !core.attends(ticket.operation),
        (_, Heal::ByHand) => !own,
        (TicketState::Decided { .. }, Heal::WaitingFor) if ticket.kind.is_physical() => true,
        (TicketState::Decided { .. }, _) => core.failure_detector.is_overdue(ticket).await?,
        (TicketState::Waiting, _) => core.failure_detector.is_dead(ticket).await?,
    })
}

/// Carries a decided operation out.
async fn roll_forward(
    core: &Core,
    ticket: &Ticket,
    bases: &BTreeMap<TableKey, u64>,
) -> Result<Option<Ending>> {
    match sidecar_of(core, ticket).await? {
        Some(mut sidecar) => {
            sidecar.take_bases(bases);
            let execution = effects::carry_out(core, &sidecar, None).await?;
            Ok(execution.ending())
        }
        None => without_sidecar(core, ticket, bases).await,
    }
}

/// The sidecar of a ticket. A damaged one counts as none; one of a newer format is for a newer Squire to read, unless the
/// operation can be called off without it.
async fn sidecar_of(core: &Core, ticket: &Ticket) -> Result<Option<Sidecar>> {
    match core.sidecars.read(ticket.operation).await {
        Err(Error::Damaged { .. }) => Ok(None),
        Err(Error::NewerFormat { .. }) if ticket.kind.is_physical() => Ok(None),
        read => read,
    }
}

/// Takes back a waiting ticket.
async fn abort(core: &Core, ticket: &Ticket) -> Result<Option<Ending>> {
    let operation = ticket.operation;
    let by = core.by("its holder is dead");
    let call = core
        .manifests
        .change(operation, move |m| transition::abort(m, operation, &by))
        .await?;
    match call {
        ChangeResult::Holds(_) => {
            core.sidecars.delete(operation).await;
            Ok(Some(Ending::Aborted))
        }
        // It was decided meanwhile: its holder is alive, or the next round rolls it forward.
        ChangeResult::Refused(..) => Ok(None),
    }
}

/// Heals a decided ticket whose sidecar is gone: it ended meanwhile, or it is physical and is fenced off, or it is logical,
/// and nothing says what it meant.
async fn without_sidecar(
    core: &Core,
    ticket: &Ticket,
    bases: &BTreeMap<TableKey, u64>,
) -> Result<Option<Ending>> {
    let operation = ticket.operation;
    let manifest = core.manifests.newest().await?;
    if manifest.ticket(operation).is_none() {
        return Ok(manifest.outcomes.get(&operation).map(|o| o.ending));
    }
    if !ticket.kind.is_physical() {
        quarantine(core, ticket).await?;
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
        .manifests
        .change(operation, move |m| {
            if all_stand {
                transition::publish(m, operation, &pins, None, &by)
            } else {
                transition::discard(m, operation, &by)
            }
        })
        .await?;
    Ok(match call {
        ChangeResult::Holds(newest) => newest.outcomes.get(&operation).map(|o| o.ending),
        ChangeResult::Refused(Refusal::Ended(ending)) => Some(ending),
        ChangeResult::Refused(_) => None,
    })
}

async fn quarantine(core: &Core, ticket: &Ticket) -> Result<()> {
    let operation = ticket.operation;
    let reason = "its sidecar is gone or damaged, so nobody can tell what it meant";
    let by = core.by(reason);
    core.manifests
        .change(operation, move |m| {
            transition::quarantine(m, operation, reason, &by)
        })
        .await?;
    tracing::error!(%operation, kind = %ticket.kind, uri = %core.storage.uri, reason, "operation quarantined: run `squire repair`");
    Ok(())
}
