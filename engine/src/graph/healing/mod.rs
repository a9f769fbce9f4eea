//! Healing: what crashed, stalled or paused writers left behind is carried to its end, in any process.
//!
//! It is steps 8 to 10 for a decided ticket, `abort` for a waiting one, and the removal of what nobody names any
//! more. Any number of healers may work at once and beside a live owner; they take no lock. Healing only rolls
//! forward.

pub(crate) mod leftovers;

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures::future::join_all;

use crate::{
    error::{Error, Result},
    graph::{
        context::Core,
        manifest::{Call, Ending, Refusal, Ticket, TicketState, transition},
        operation::effects::{self, Carried},
        purge,
    },
    ids::{OperationId, TableKey},
    table::staged::{Search, search},
};

/// Who heals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heal {
    /// An operation that the ticket stands in the way of, or a program that is about to write.
    WaitingFor,
    /// The daemon, on its interval.
    Passing,
    /// An operator, who says that nobody is at work.
    ByHand,
}

/// What a round of healing did, and what it left.
#[derive(Debug, Default)]
pub struct Healed {
    /// Decided operations that were carried out.
    pub rolled_forward: usize,
    /// Tickets of dead holders that were taken back.
    pub aborted: usize,
    /// Physical operations that came too late.
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
        /// After so long without one it counts as dead.
        lease: Duration,
    },
    /// A call of this very process is at work on it.
    AtWork,
    /// It waits for an operator.
    Quarantined,
    /// Healing it failed, with this error.
    Failed(String),
    /// It changed while it was looked at.
    Moved,
}

impl Left {
    /// The reason in words.
    pub fn told(&self, now: DateTime<Utc>) -> String {
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

    fn ended(&mut self, ticket: &Ticket, ending: Ending) {
        match ending {
            Ending::Published => self.rolled_forward += 1,
            Ending::Aborted => self.aborted += 1,
            Ending::Discarded => self.discarded += 1,
        }
        self.operations.push((ticket.clone(), ending));
    }
}

/// What becomes of what is left over and old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leftovers {
    /// It goes.
    Remove,
    /// It stays.
    Keep,
}

/// One round over the whole queue and over what nobody names. Tickets are healed all at once: one that takes long, or
/// cannot be healed, keeps no other from it.
///
/// # Errors
/// When the manifest cannot be read; every other failure is in [`Healed::failed`].
pub(crate) async fn round(core: &Core, who: Heal, old: Leftovers) -> Result<Healed> {
    let mut healed = Healed::default();
    let manifest = core.register.newest().await?;
    let operations: Vec<_> = manifest.queue.iter().map(|t| t.operation).collect();
    core.liveness.forget_except(&operations);
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
    let newest = core.register.newest().await?;
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
                seen: core.liveness.last_beat(ticket.operation),
                lease: core.liveness.lease(),
            },
        };
        healed.left.push((ticket.clone(), left));
    }
    if old == Leftovers::Remove {
        leftovers::remove(core, &mut healed).await;
    }
    match purge::round(core, &newest).await {
        Ok(purged) => healed.purged = purged,
        Err(e) => healed.failed.push(e),
    }
    Ok(healed)
}

/// The operations that a process heals just now: many wait for one, and one of them is enough to heal it.
#[derive(Debug, Default)]
pub(crate) struct InHealing(Arc<Mutex<HashSet<OperationId>>>);

/// The place of the one who heals an operation, until it is dropped.
struct Place {
    operation: OperationId,
    of: Arc<Mutex<HashSet<OperationId>>>,
}

impl InHealing {
    /// `None` when somebody in this process is at it.
    fn enter(&self, operation: OperationId) -> Option<Place> {
        let mut at_work = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        at_work.insert(operation).then(|| Place {
            operation,
            of: self.0.clone(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut at_work = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        at_work.remove(&self.operation);
    }
}

/// Heals one ticket if it is due and nobody else in this process is at it; says how it ended.
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
    let Some(_place) = due.then(|| core.in_healing.enter(operation)).flatten() else {
        return Ok(None);
    };
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
                        Carried::TooLate | Carried::Refused(_) => Some(Ending::Discarded),
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
        tracing::error!(%operation, kind = %ticket.kind, uri = %core.storage.uri, reason, "operation quarantined: run `squire repair`");
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
