//! A waiting ticket of a call of this process: until it is decided, a failure or a cancellation takes it back.

use std::{sync::Arc, time::Duration};

use super::effects;
use crate::{
    error::{Error, Result},
    graph::{
        context::Core,
        liveness::Alive,
        manifest::{ChangeResult, Ending, transition},
    },
    ids::OperationId,
};

/// Maximum number of attempts to take a ticket back before that is left to a task in the background.
const MAX_WITHDRAWALS: usize = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Guards a waiting ticket: takes it back when it is dropped, unless the operation was decided.
pub(super) struct TicketGuard {
    core: Arc<Core>,
    operation: OperationId,
    alive: Option<Alive>,
}

impl TicketGuard {
    /// Guards the ticket of an operation, and keeps this process's heartbeat going.
    pub(super) fn new(core: &Arc<Core>, operation: OperationId) -> Self {
        core.attend(operation, true);
        Self {
            core: core.clone(),
            operation,
            alive: Some(core.heartbeat.hold()),
        }
    }

    /// Gives the guard up: the operation is decided, or has no ticket.
    pub(super) fn disarm(&mut self) -> Alive {
        self.core.attend(self.operation, false);
        self.alive
            .take()
            .unwrap_or_else(|| self.core.heartbeat.hold())
    }

    /// Takes the ticket back after a failure.
    pub(super) async fn fail<T>(&mut self, e: Error) -> Result<T> {
        self.abort().await;
        Err(e)
    }

    /// Takes the ticket back; says whether it is certain that the operation did not happen.
    pub(super) async fn abort(&mut self) -> bool {
        let withdrawn = withdraw(&self.core, self.operation).await;
        self.alive = None;
        if withdrawn.is_none() {
            settle_later(self.core.clone(), self.operation);
        }
        withdrawn.unwrap_or(false)
    }
}

impl Drop for TicketGuard {
    fn drop(&mut self) {
        let Some(alive) = self.alive.take() else {
            return;
        };
        // Cancelled in the middle, or in doubt: settle it all the same.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (core, operation) = (self.core.clone(), self.operation);
            runtime.spawn(async move {
                let withdrawn = withdraw(&core, operation).await;
                drop(alive);
                if withdrawn.is_none() {
                    settle_later(core, operation);
                }
            });
        }
    }
}

/// Goes on taking a ticket back until the store answers: as long as this process lives, no other process may do it.
fn settle_later(core: Arc<Core>, operation: OperationId) {
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(core.heartbeat.lease()).await;
            if withdraw(&core, operation).await.is_some() {
                return;
            }
        }
    });
}

/// Takes a ticket back, whatever its state: one whose create is still under way is barred, one that turns out to be decided
/// is carried out. From then on a healer of this process may go on, if the store fails for long. Says whether the
/// operation did not and will not happen; `None` when the store did not answer.
async fn withdraw(core: &Core, operation: OperationId) -> Option<bool> {
    let mut pause = FIRST_PAUSE;
    let mut withdrawn = None;
    for _ in 0..MAX_WITHDRAWALS {
        let by = core.by("");
        let taken = core
            .manifests
            .change(operation, move |m| match m.ticket(operation) {
                Some(_) => transition::abort(m, operation, &by),
                None => transition::bar(m, operation, &by),
            })
            .await;
        match taken {
            Ok(ChangeResult::Holds(newest)) => {
                let ending = newest.outcomes.get(&operation).map(|o| o.ending);
                withdrawn = Some(ending == Some(Ending::Aborted));
                break;
            }
            Ok(ChangeResult::Refused(_)) => {
                let carried = match core.sidecars.read(operation).await {
                    Ok(Some(sidecar)) => effects::carry_out(core, &sidecar, None).await.map(|_| ()),
                    Ok(None) => Ok(()),
                    Err(e) => Err(e),
                };
                withdrawn = Some(false);
                if let Err(e) = carried {
                    tracing::warn!(%operation, uri = %core.storage.uri, error = %e, "a decided operation could not be finished; a healer will");
                }
                break;
            }
            Err(e) => {
                tracing::warn!(%operation, uri = %core.storage.uri, error = %e, "a ticket could not be taken back; trying again");
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
        }
    }
    core.attend(operation, false);
    withdrawn
}
