//! Waiting in the manifest's queue, and healing the operations ahead.

use std::{sync::Arc, time::Duration};

use chrono::Utc;
use futures::future::join_all;
use tokio::time::{Instant, sleep};

use super::waiting::Waiting;
use crate::{
    error::{Error, Result},
    graph::{
        context::Core,
        healing::{self, Heal},
        manifest::{Ending, Manifest, OperationKind, Ticket, TicketState},
    },
    ids::OperationId,
};

const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause of what waits for one operation alone: until it sees that its turn has come, its tables are idle.
const LONGEST_OF_NEXT: Duration = Duration::from_millis(75);
/// Minimum length of a wait that is logged.
const LOGGED_FROM: Duration = Duration::from_secs(2);

impl Core {
    /// Waits until no conflicting ticket is ahead of `operation`, and returns the manifest that shows it (step 3).
    ///
    /// # Errors
    /// [`Error::Aborted`] when a healer took the ticket away; [`Error::Quarantined`] when an operation ahead
    /// cannot be applied.
    pub(crate) async fn wait_in_queue(&self, operation: OperationId) -> Result<Arc<Manifest>> {
        let mut wait = Wait::new(self, operation);
        // The manifest that the ticket entered with was listed just now.
        let mut manifest = match self.manifests.seen() {
            Some(seen) if seen.ticket(operation).is_some() => seen,
            _ => self.manifests.newest().await?,
        };
        loop {
            let Some(mine) = manifest.ticket(operation) else {
                return Err(match manifest.outcomes.get(&operation).map(|o| o.ending) {
                    // Without an outcome it was taken back long ago: no other process can decide it.
                    Some(Ending::Aborted) | None => Error::Aborted {
                        operation,
                        uri: self.storage.uri.clone(),
                    },
                    Some(_) => Error::OutcomeUnknown {
                        operation,
                        uri: self.storage.uri.clone(),
                        source: None,
                    },
                });
            };
            let ahead: Vec<_> = manifest.ahead(mine).cloned().collect();
            if ahead.is_empty() {
                return Ok(manifest);
            }
            wait.report(&manifest, mine);
            self.check_quarantine(&ahead, mine)?;
            manifest = wait.next_manifest(&manifest, ahead.len()).await?;
            self.heal_ahead(&manifest, ahead.iter()).await;
        }
    }

    /// Waits, without a place in the queue, until no conflicting ticket is in the manifest: so physical operations do. They
    /// heal no tickets but decided physical ones.
    ///
    /// # Errors
    /// [`Error::Quarantined`]: that can take days.
    pub(crate) async fn wait_for_no_conflict(&self, probe: &Ticket) -> Result<Arc<Manifest>> {
        let mut wait = Wait::new(self, probe.operation);
        let mut manifest = self.manifests.newest().await?;
        loop {
            let ahead: Vec<_> = manifest.ahead(probe).cloned().collect();
            if ahead.is_empty() {
                return Ok(manifest);
            }
            wait.report(&manifest, probe);
            self.check_quarantine(&ahead, probe)?;
            manifest = wait.next_manifest(&manifest, ahead.len()).await?;
            let physical = ahead.iter().filter(|t| t.kind.is_physical());
            self.heal_ahead(&manifest, physical).await;
        }
    }

    /// Refuses to wait behind an operation that waits for an operator.
    ///
    /// # Errors
    /// [`Error::Quarantined`].
    pub(crate) fn check_quarantine(&self, ahead: &[Ticket], probe: &Ticket) -> Result<()> {
        for ticket in ahead {
            if let TicketState::Quarantined { reason, .. } = &ticket.state
                && let Some(table) = ticket.conflict(probe)
            {
                return Err(Error::Quarantined {
                    table,
                    blocked_by: ticket.operation,
                    reason: reason.clone(),
                    uri: self.storage.uri.clone(),
                });
            }
        }
        Ok(())
    }

    /// Heals the operations ahead, as far as they are due, all at once: one that takes long, or cannot be healed, does not
    /// keep the others. A failure of this is not the waiter's failure.
    async fn heal_ahead(&self, manifest: &Manifest, ahead: impl Iterator<Item = &Ticket>) {
        let still = ahead.filter(|t| manifest.ticket(t.operation).is_some());
        let healed = still.map(async |ticket| {
            if let Err(e) = healing::heal_ticket(self, ticket, Heal::WaitingFor).await {
                tracing::warn!(operation = %ticket.operation, kind = %ticket.kind, uri = %self.storage.uri, error = %e, "an operation ahead could not be healed; it is tried again");
            }
        });
        join_all(healed).await;
    }
}

/// One wait of an operation.
struct Wait<'c> {
    core: &'c Core,
    operation: OperationId,
    since: Instant,
    pause: Pause,
    logged: bool,
}

/// The pause between two looks at the manifest. It grows while nothing moves, and begins anew when something does.
#[derive(Debug)]
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}

impl Pause {
    /// The next one, of an operation that waits for so many others.
    fn next(&mut self, ahead: usize) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST_PAUSE);
        if ahead > 1 {
            pause
        } else {
            pause.min(LONGEST_OF_NEXT)
        }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.core.waits.set(self.operation, None);
    }
}

impl<'c> Wait<'c> {
    fn new(core: &'c Core, operation: OperationId) -> Self {
        Self {
            core,
            operation,
            since: Instant::now(),
            pause: Pause::default(),
            logged: false,
        }
    }

    /// Reports which operation it waits for: at once to those who follow, and in the log once, when it takes long.
    fn report(&mut self, manifest: &Manifest, mine: &Ticket) {
        let waiting = Waiting::of(manifest, mine);
        if let Some(waiting) = &waiting
            && !self.logged
            && self.since.elapsed() >= LOGGED_FROM
        {
            self.logged = true;
            let (ahead, kind): (_, OperationKind) = (&waiting.ahead, mine.kind);
            tracing::info!(operation = %self.operation, %kind, waiting_for = %ahead.operation, its_kind = %ahead.kind, actor = %ahead.actor, holder = %ahead.holder, uri = %self.core.storage.uri, "{}", waiting.describe(Utc::now()));
        }
        self.core.waits.set(self.operation, waiting);
    }

    /// The newest manifest after a pause: one request for all that wait in this process.
    async fn next_manifest(&mut self, last: &Arc<Manifest>, ahead: usize) -> Result<Arc<Manifest>> {
        let manifests = &self.core.manifests;
        let mut changes = manifests.follow();
        // This process may have written a manifest itself meanwhile.
        let (pause, began) = (self.pause.next(ahead), std::time::Instant::now());
        let changed = async {
            let newer =
                |m: &Option<Arc<Manifest>>| m.as_ref().is_some_and(|m| m.number > last.number);
            let _ = changes.wait_for(newer).await;
        };
        tokio::select! {
            () = changed => {}
            () = sleep(pause) => {}
        }
        let _one_poller = self.core.poller.lock().await;
        let newest = match manifests.seen() {
            Some(seen) if seen.number > last.number => seen,
            // Another waiter has listed while this one waited.
            Some(seen) if manifests.listed_since(began + pause) => seen,
            _ => manifests.newest().await?,
        };
        if newest.number > last.number {
            self.pause = Pause::default();
        }
        let queue: Vec<_> = newest.queue.iter().map(|t| t.operation).collect();
        self.core.failure_detector.forget_except(&queue);
        Ok(newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_next_looks_often_and_who_is_far_behind_seldom_until_something_moves() {
        let mut pause = Pause::default();
        let grown: Vec<_> = (0..8).map(|_| pause.next(3)).collect();
        assert!(grown.is_sorted() && grown[0] == FIRST_PAUSE);
        assert_eq!(grown[7], LONGEST_PAUSE);
        assert_eq!(pause.next(1), LONGEST_OF_NEXT);
        assert_eq!(Pause::default().next(3), FIRST_PAUSE);
    }
}
