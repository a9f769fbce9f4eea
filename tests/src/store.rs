//! Stores that watch: every request is recorded, and chosen ones can be held back.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use lance_io::object_store::WrappingObjectStore;
use object_store::{Result, path::Path};
use tokio::{
    sync::{Notify, Semaphore},
    time::timeout,
};

pub use crate::wrapped::{Request, Verb};
use crate::{
    patience::PATIENCE,
    wrapped::{self, Hooks},
};

/// When a gate holds a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before it reaches the store.
    Before,
    /// When the store has carried it out, before the caller hears of it.
    After,
}

/// Whom a gate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    First,
    Every,
    /// The first that matches, and from then on every request whatsoever.
    Freeze,
}

/// A gate: requests that match wait until it is opened.
#[derive(Debug)]
pub struct Gate {
    verb: Verb,
    part: String,
    moment: Moment,
    hold: Hold,
    /// So many requests that match are let pass first.
    passing: AtomicUsize,
    shut: AtomicBool,
    reached: Notify,
    open: Semaphore,
}

impl Gate {
    /// Waits until a request stands at the gate.
    ///
    /// # Panics
    /// When none comes for as long as [`PATIENCE`]: then none will.
    pub async fn reached(&self) {
        let reached = timeout(PATIENCE, self.reached.notified()).await;
        assert!(reached.is_ok(), "no {:?} of {} came", self.verb, self.part);
    }

    /// Waits until a request stands at the gate, however long that takes.
    pub async fn stands(&self) {
        self.reached.notified().await;
    }

    /// Lets the waiting requests, and every later one, pass.
    pub fn open(&self) {
        self.open.close();
    }

    /// Whether this request has to wait here.
    fn stops(&self, verb: Verb, path: &Path, moment: Moment) -> bool {
        if self.open.is_closed() {
            return false;
        }
        let concerns =
            self.verb == verb && self.moment == moment && path.as_ref().contains(&self.part);
        let one_less = |n: usize| n.checked_sub(1);
        let count = || (self.passing).fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
        let matches = concerns && count().is_err();
        match self.hold {
            Hold::Every => matches,
            Hold::First => matches && !self.shut.swap(true, Ordering::SeqCst),
            Hold::Freeze if self.shut.load(Ordering::SeqCst) => true,
            Hold::Freeze => matches && !self.shut.swap(true, Ordering::SeqCst),
        }
    }

    async fn pass(&self) {
        self.reached.notify_one();
        // Closed means open: everybody passes.
        let _ = self.open.acquire().await;
    }
}

/// Watches all stores that it wraps.
#[derive(Clone, Debug, Default)]
pub struct Watch(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    requests: Mutex<Vec<Request>>,
    gates: Mutex<Vec<Arc<Gate>>>,
}

impl Watch {
    /// A watch that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// As the engine takes it.
    pub fn wrapper(&self) -> Option<Arc<dyn WrappingObjectStore>> {
        wrapped::wrapper(Arc::new(self.clone()))
    }

    /// What was asked since the last call.
    pub fn take(&self) -> Vec<Request> {
        std::mem::take(&mut *lock(&self.0.requests))
    }

    /// Holds back every request with this verb whose path contains `part`.
    pub fn hold(&self, verb: Verb, part: &str) -> Arc<Gate> {
        self.gate(verb, part, Moment::Before, Hold::Every, 0)
    }

    /// Holds back the first such request alone.
    pub fn hold_first(&self, verb: Verb, part: &str) -> Arc<Gate> {
        self.gate(verb, part, Moment::Before, Hold::First, 0)
    }

    /// Holds back the first such request alone, before or after the store has carried it out.
    pub fn hold_at(&self, moment: Moment, verb: Verb, part: &str) -> Arc<Gate> {
        self.gate(verb, part, moment, Hold::First, 0)
    }

    /// Stalls: from the first such request on, every request is held, as of a process that is stopped.
    pub fn stall(&self, moment: Moment, verb: Verb, part: &str) -> Arc<Gate> {
        self.stall_past(0, moment, verb, part)
    }

    /// Stalls as [`Self::stall`] does, once `passing` such requests have passed.
    pub fn stall_past(&self, passing: usize, moment: Moment, verb: Verb, part: &str) -> Arc<Gate> {
        self.gate(verb, part, moment, Hold::Freeze, passing)
    }

    fn gate(
        &self,
        verb: Verb,
        part: &str,
        moment: Moment,
        hold: Hold,
        passing: usize,
    ) -> Arc<Gate> {
        let gate = Arc::new(Gate {
            verb,
            part: part.to_owned(),
            moment,
            hold,
            passing: AtomicUsize::new(passing),
            shut: AtomicBool::new(false),
            reached: Notify::new(),
            open: Semaphore::new(0),
        });
        lock(&self.0.gates).push(gate.clone());
        gate
    }

    async fn wait(&self, verb: Verb, path: &Path, moment: Moment) {
        let stops = |gate: &&Arc<Gate>| gate.stops(verb, path, moment);
        let gate = lock(&self.0.gates).iter().find(stops).cloned();
        if let Some(gate) = gate {
            gate.pass().await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait::async_trait]
impl Hooks for Watch {
    async fn before(&self, verb: Verb, path: &Path) {
        lock(&self.0.requests).push(Request {
            verb,
            path: path.to_string(),
        });
        self.wait(verb, path, Moment::Before).await;
    }

    async fn after(&self, verb: Verb, path: &Path) -> Result<()> {
        self.wait(verb, path, Moment::After).await;
        Ok(())
    }
}
