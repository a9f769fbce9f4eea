//! Waiting in the manifest's queue, and helping whoever is ahead.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use crate::{
    core::Core,
    error::{Error, Result},
    healing::{self, Heal},
    manifest::{Ending, Manifest, OperationKind, Ticket, TicketState},
    names::OperationId,
};

const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// After so long a wait is worth a line in the log.
const WORTH_TELLING: Duration = Duration::from_secs(2);

impl Core {
    /// Waits until no conflicting ticket is ahead of `operation`, and returns the manifest that shows it (step 3).
    ///
    /// # Errors
    /// [`Error::Aborted`] when a healer took the ticket away; [`Error::Quarantined`] when an operation ahead
    /// cannot be applied.
    pub(crate) async fn wait_in_line(&self, operation: OperationId) -> Result<Arc<Manifest>> {
        let mut patience = Patience::new();
        // The manifest that the ticket came in with was listed just now.
        let mut manifest = match self.register.seen() {
            Some(seen) if seen.ticket(operation).is_some() => seen,
            _ => self.register.newest().await?,
        };
        loop {
            let Some(mine) = manifest.ticket(operation) else {
                return Err(match manifest.outcomes.get(&operation).map(|o| o.ending) {
                    Some(Ending::Aborted) => Error::Aborted {
                        operation,
                        uri: self.storage.uri.clone(),
                    },
                    // A ticket that nobody else can decide has gone: it was taken back, long ago.
                    None => Error::Aborted {
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
            let Some(first) = ahead.first() else {
                return Ok(manifest);
            };
            self.tell(&mut patience, first, mine.kind);
            self.check_quarantine(&ahead, mine)?;
            manifest = self.look_again(&manifest, &mut patience).await?;
            self.help(&manifest, ahead.iter()).await;
        }
    }

    /// Waits, without a place in the queue, until no conflicting ticket stands in the manifest: the way of
    /// physical operations. They help nobody but decided physical tickets.
    ///
    /// # Errors
    /// [`Error::Quarantined`]: that can take days.
    pub(crate) async fn wait_for_no_conflict(&self, probe: &Ticket) -> Result<Arc<Manifest>> {
        let mut patience = Patience::new();
        let mut manifest = self.register.newest().await?;
        loop {
            let ahead: Vec<_> = manifest.ahead(probe).cloned().collect();
            let Some(first) = ahead.first() else {
                return Ok(manifest);
            };
            self.tell(&mut patience, first, probe.kind);
            self.check_quarantine(&ahead, probe)?;
            manifest = self.look_again(&manifest, &mut patience).await?;
            let physical = ahead.iter().filter(|t| t.kind.is_physical());
            self.help(&manifest, physical).await;
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
                    table: table.clone(),
                    blocked_by: ticket.operation,
                    reason: reason.clone(),
                    uri: self.storage.uri.clone(),
                });
            }
        }
        Ok(())
    }

    /// Heals whoever is ahead, as far as it is due. That it fails is not the waiter's failure.
    async fn help(&self, manifest: &Manifest, ahead: impl Iterator<Item = &Ticket>) {
        for ticket in ahead {
            if manifest.ticket(ticket.operation).is_none() {
                continue;
            }
            if let Err(e) = healing::heal_ticket(self, ticket, Heal::WaitingFor).await {
                tracing::warn!(operation = %ticket.operation, kind = %ticket.kind, uri = %self.storage.uri, error = %e, "an operation ahead could not be healed; it is tried again");
            }
        }
    }

    fn tell(&self, patience: &mut Patience, ahead: &Ticket, kind: OperationKind) {
        if !patience.told && patience.since.elapsed() >= WORTH_TELLING {
            patience.told = true;
            tracing::info!(%kind, waiting_for = %ahead.operation, its_kind = %ahead.kind, actor = %ahead.actor, holder = %ahead.holder, uri = %self.storage.uri, "waiting for an operation ahead");
        }
    }

    /// The newest manifest after a pause: one request for all that wait in this process.
    async fn look_again(
        &self,
        last: &Arc<Manifest>,
        patience: &mut Patience,
    ) -> Result<Arc<Manifest>> {
        let mut changes = self.register.follow();
        // This process may have moved the register itself meanwhile.
        let pause = patience.next();
        let changed = async {
            let newer =
                |m: &Option<Arc<Manifest>>| m.as_ref().is_some_and(|m| m.number > last.number);
            let _ = changes.wait_for(newer).await;
        };
        tokio::select! {
            () = changed => {}
            () = sleep(pause) => {}
        }
        let _one_poller = self.poller.lock().await;
        match self.register.seen() {
            Some(seen) if seen.number > last.number => Ok(seen),
            _ => self.register.newest().await,
        }
    }
}

struct Patience {
    since: Instant,
    pause: Duration,
    told: bool,
}

impl Patience {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            pause: FIRST_PAUSE,
            told: false,
        }
    }

    fn next(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        pause
    }
}
