//! Stores that go wrong at one durable write, as processes and networks do.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::TimeDelta;
use lance_io::object_store::WrappingObjectStore;
use object_store::{Error, ObjectMeta, Result, path::Path};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::wrapped::{self, Hooks, Request, Verb};

/// What happens at the write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its process dies before the store hears of it.
    CrashBefore,
    /// Its process dies when the store has carried it out, before it hears the answer.
    CrashAfter,
    /// The store carries it out, and the answer is an error.
    Unknown,
    /// Its process stalls before the store hears of it, until it is resumed.
    StallBefore,
    /// Its process stalls when the store has carried it out, before it hears the answer, until it is resumed.
    StallAfter,
}

impl Fault {
    fn is_before(self) -> bool {
        matches!(self, Self::CrashBefore | Self::StallBefore)
    }

    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::CrashBefore,
        Self::CrashAfter,
        Self::Unknown,
        Self::StallBefore,
        Self::StallAfter,
    ];
}

/// Which writes are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Counts {
    /// Those of operations. Heartbeats come when the clock says so.
    #[default]
    Operations,
    /// Heartbeats alone.
    Heartbeats,
}

/// The store of one process: it counts the durable writes (puts, copies, completed uploads, deletions) and goes wrong
/// at one of them. From a crash or a stall on, no request of this process gets through, which is what a dead process
/// looks like to the others. To this process every sidecar is an hour older than it is.
#[derive(Clone, Debug, Default)]
pub struct Faulty(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    counts: Counts,
    at: Option<(usize, Fault)>,
    state: Mutex<State>,
    struck: Notify,
    /// A stalled process goes on. A dead one never does.
    resumed: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    writes: Vec<Request>,
    /// The write that goes wrong after it was carried out, while it is on its way.
    aim: Option<Request>,
    down: bool,
    struck: bool,
}

impl Faulty {
    /// A store that counts and does not fail.
    pub fn never(counts: Counts) -> Self {
        Self(Arc::new(Inner {
            counts,
            ..Inner::default()
        }))
    }

    /// A store that goes wrong at the `n`th write that is counted, from 0 on.
    pub fn at(counts: Counts, n: usize, fault: Fault) -> Self {
        Self(Arc::new(Inner {
            counts,
            at: Some((n, fault)),
            ..Inner::default()
        }))
    }

    /// As the engine takes it.
    pub fn wrapper(&self) -> Option<Arc<dyn WrappingObjectStore>> {
        wrapped::wrapper(Arc::new(self.clone()))
    }

    /// The writes that were counted so far.
    pub fn writes(&self) -> Vec<Request> {
        self.state().writes.clone()
    }

    /// Waits until it has gone wrong.
    pub async fn struck(&self) {
        self.0.struck.notified().await;
    }

    /// Whether it has gone wrong.
    pub fn has_struck(&self) -> bool {
        self.state().struck
    }

    /// Lets a stalled process go on.
    pub fn resume(&self) {
        self.state().down = false;
        self.0.resumed.cancel();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self, verb: Verb, path: &Path) -> bool {
        let is_heartbeat = path.as_ref().contains("_squire/alive/");
        verb.is_write() && is_heartbeat == (self.0.counts == Counts::Heartbeats)
    }

    /// Counts a write; says whether the process is down from here on.
    fn count(&self, verb: Verb, path: &Path) -> bool {
        let mut state = self.state();
        if state.down || !self.counts(verb, path) {
            return state.down;
        }
        let request = Request {
            verb,
            path: path.to_string(),
        };
        let n = state.writes.len();
        state.writes.push(request.clone());
        if let Some((_, fault)) = self.0.at.filter(|(at, _)| *at == n) {
            if fault.is_before() {
                self.strike(&mut state, true);
            } else {
                state.aim = Some(request);
            }
        }
        state.down
    }

    fn strike(&self, state: &mut State, down: bool) {
        state.down = down;
        state.struck = true;
        self.0.struck.notify_one();
    }

    /// Whether this write is the one that goes wrong after it was carried out.
    fn aimed_at(&self, verb: Verb, path: &Path) -> Option<Fault> {
        let mut state = self.state();
        let hit = |aim: &mut Request| aim.verb == verb && aim.path == path.as_ref();
        state.aim.take_if(hit)?;
        let (_, fault) = self.0.at?;
        self.strike(&mut state, fault != Fault::Unknown);
        Some(fault)
    }

    async fn hang(&self) {
        self.0.resumed.cancelled().await;
    }
}

#[async_trait::async_trait]
impl Hooks for Faulty {
    async fn before(&self, verb: Verb, path: &Path) {
        if self.count(verb, path) {
            self.hang().await;
        }
    }

    async fn after(&self, verb: Verb, path: &Path) -> Result<()> {
        match self.aimed_at(verb, path) {
            Some(Fault::Unknown) => Err(Error::Generic {
                store: "faulty",
                source: "the answer was lost".into(),
            }),
            Some(_) => {
                self.hang().await;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Nobody waits out the grace of a sidecar that no ticket names.
    fn shown(&self, mut object: ObjectMeta) -> ObjectMeta {
        if object.location.as_ref().contains("_squire/recovery/") {
            object.last_modified -= TimeDelta::hours(1);
        }
        object
    }
}
