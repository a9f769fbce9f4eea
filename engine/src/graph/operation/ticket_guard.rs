//! A waiting ticket that a call of this process holds: until it is decided, a failure or a cancellation takes it back.

use std::{sync::Arc, time::Duration};

use super::effects;
use crate::{
    error::{Error, Result},
    graph::{
        context::Core,
        liveness::Alive,
        manifest::{Call, Ending, transition},
    },
    ids::OperationId,
};

/// So often a ticket is taken back before that is left to healers.
const MAX_WITHDRAWALS: usize = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// A waiting ticket in this process's care: taken back when it is dropped, unless it was handed over to its effects.
pub(super) struct Held {
    core: Arc<Core>,
    operation: OperationId,
    alive: Option<Alive>,
}

impl Held {
    pub(super) fn new(core: &Arc<Core>, operation: OperationId) -> Self {
        core.attend(operation, true);
        Self {
            core: core.clone(),
            operation,
            alive: Some(core.liveness.hold()),
        }
    }

    pub(super) fn hand_over(&mut self) -> Alive {
        self.core.attend(self.operation, false);
        self.alive
            .take()
            .unwrap_or_else(|| self.core.liveness.hold())
    }

    pub(super) async fn fail<T>(&mut self, e: Error) -> Result<T> {
        self.abort().await;
        Err(e)
    }

    /// Takes the ticket back; says whether nothing has happened for certain.
    pub(super) async fn abort(&mut self) -> bool {
        let withdrawn = withdraw(&self.core, self.operation).await;
        self.alive = None;
        if withdrawn.is_none() {
            settle_later(self.core.clone(), self.operation);
        }
        withdrawn.unwrap_or(false)
    }
}

impl Drop for Held {
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

/// Goes on taking a ticket back until the store answers: as long as this process lives, for other tickets' sake, nobody
/// else may do it.
fn settle_later(core: Arc<Core>, operation: OperationId) {
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(core.liveness.lease()).await;
            if withdraw(&core, operation).await.is_some() {
                return;
            }
        }
    });
}

/// Takes a ticket back, wherever it stands: one that is on its way yet is barred, one that turns out to be decided is
/// carried out. Gives it out of this process's care in the end, so that a healer of this process may go on if the
/// store fails for long. Says whether the operation did not and will not happen; `None` when the store did not answer.
async fn withdraw(core: &Core, operation: OperationId) -> Option<bool> {
    let mut pause = FIRST_PAUSE;
    let mut withdrawn = None;
    for _ in 0..MAX_WITHDRAWALS {
        let by = core.by("");
        let taken = core
            .register
            .change(operation, move |m| match m.ticket(operation) {
                Some(_) => transition::abort(m, operation, &by),
                None => transition::bar(m, operation, &by),
            })
            .await;
        match taken {
            Ok(Call::Holds(newest)) => {
                let ending = newest.outcomes.get(&operation).map(|o| o.ending);
                withdrawn = Some(ending == Some(Ending::Aborted));
                break;
            }
            Ok(Call::Refused(_)) => {
                let carried = match core.recovery.read(operation).await {
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
