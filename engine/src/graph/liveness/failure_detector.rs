//! Which other holders are dead, as far as this process knows.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};

use super::{Heartbeat, heartbeat::interval_of};
use crate::{error::Result, graph::manifest::Ticket, ids::OperationId};

/// Watches the holders of tickets, and judges which are dead.
#[derive(Debug)]
pub(crate) struct FailureDetector {
    own: Arc<Heartbeat>,
    watched: Mutex<HashMap<OperationId, Watched>>,
}

/// What this process has seen of one ticket, and of its holder meanwhile.
#[derive(Debug)]
struct Watched {
    since: Instant,
    decided: Option<Instant>,
    beat: Option<DateTime<Utc>>,
    unchanged_since: Instant,
    asked: Option<Instant>,
}

impl FailureDetector {
    /// A detector that judges by these heartbeats.
    pub(crate) fn new(own: Arc<Heartbeat>) -> Self {
        Self {
            own,
            watched: Mutex::default(),
        }
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<OperationId, Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the holder of a ticket is dead. It takes repeated calls, over at least a lease in which the ticket was
    /// there, to become true.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub(crate) async fn is_dead(&self, ticket: &Ticket) -> Result<bool> {
        if ticket.holder == self.own.holder {
            return Ok(false);
        }
        let lease = self.lease_of(ticket);
        let beat = interval_of(lease);
        {
            let mut watched = self.watched();
            let seen = watched.entry(ticket.operation).or_insert_with(Watched::now);
            if seen.asked.is_some_and(|asked| asked.elapsed() < beat / 2) {
                return Ok(false);
            }
            seen.asked = Some(Instant::now());
        }
        let found = self.own.last_of(&ticket.holder).await?;
        let quiet = {
            let mut watched = self.watched();
            let seen = watched.entry(ticket.operation).or_insert_with(Watched::now);
            if seen.beat != found {
                seen.beat = found;
                seen.unchanged_since = Instant::now();
            }
            seen.since.elapsed() >= lease && seen.unchanged_since.elapsed() >= beat
        };
        match found {
            _ if !quiet => Ok(false),
            // Its first beat was due within the lease that the ticket was watched for.
            None => Ok(true),
            Some(last) => {
                let age = (self.own.store_clock().await? - last).to_std();
                Ok(age.is_ok_and(|age| age > lease))
            }
        }
    }

    /// Whether a decided ticket waits for another process to finish it: its holder is dead, or this process has seen it
    /// decided for longer than the grace that its owner is given, one lease.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub(crate) async fn is_overdue(&self, ticket: &Ticket) -> Result<bool> {
        let decided = {
            let mut watched = self.watched();
            let seen = watched.entry(ticket.operation).or_insert_with(Watched::now);
            *seen.decided.get_or_insert_with(Instant::now)
        };
        Ok(decided.elapsed() > self.lease_of(ticket) || self.is_dead(ticket).await?)
    }

    /// By which lease the holder of a ticket is judged: the longer one of its own and this process's. Settings of two
    /// programs may differ, and a holder beats by its own.
    pub(crate) fn lease_of(&self, ticket: &Ticket) -> Duration {
        self.own.lease().max(ticket.lease())
    }

    /// The last sign of life of a ticket's holder, as far as this process has asked for it.
    pub(crate) fn last_beat(&self, operation: OperationId) -> Option<DateTime<Utc>> {
        self.watched().get(&operation)?.beat
    }

    /// Forgets operations that are not in the queue any more.
    pub(crate) fn forget_except(&self, operations: &[OperationId]) {
        self.watched()
            .retain(|operation, _| operations.contains(operation));
    }
}

impl Watched {
    fn now() -> Self {
        let now = Instant::now();
        Self {
            since: now,
            decided: None,
            beat: None,
            unchanged_since: now,
            asked: None,
        }
    }
}
