//! Job slots, over all targets. The memory budget was divided among them when the daemon started; there are never more.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use squire_config::Daemon;
use squire_engine::memory::Limits;
use tokio::sync::Semaphore;

/// The semaphore of the slots, and how many there are.
#[derive(Debug)]
pub(super) struct JobSlots {
    jobs: Arc<Semaphore>,
    now: Arc<AtomicUsize>,
    most: usize,
}

impl JobSlots {
    /// As many as `daemon.concurrency` wants and `daemon.memory` has room for.
    pub(super) fn new(daemon: &Daemon) -> Self {
        let wanted = daemon.concurrency;
        let most = Limits::of(daemon.memory, wanted).jobs;
        if most < wanted {
            tracing::warn!(
                concurrency = wanted,
                places = most,
                memory = daemon.memory,
                "daemon.memory is too small for so many jobs at once: there are fewer; raise it, or lower daemon.concurrency"
            );
        }
        Self {
            jobs: Arc::new(Semaphore::new(most)),
            now: Arc::new(AtomicUsize::new(most)),
            most,
        }
    }

    /// The semaphore: a job holds a permit of it while it runs.
    pub(super) fn jobs(&self) -> Arc<Semaphore> {
        self.jobs.clone()
    }

    /// How many slots there are now.
    pub(super) fn now(&self) -> usize {
        self.now.load(Ordering::Relaxed)
    }

    /// The same, shared: it changes with a reload.
    pub(super) fn count(&self) -> Arc<AtomicUsize> {
        self.now.clone()
    }

    /// The maximum for this process.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Changes their number, up to [`Self::most`]. A slot in use that is removed goes when its job has ended.
    pub(super) fn change(&mut self, wanted: usize) {
        let wanted = wanted.min(self.most);
        let now = self.now();
        if wanted > now {
            self.jobs.add_permits(wanted - now);
        } else if let Ok(fewer) = u32::try_from(now - wanted)
            && fewer > 0
        {
            let jobs = self.jobs.clone();
            tokio::spawn(async move {
                if let Ok(gone) = jobs.acquire_many_owned(fewer).await {
                    gone.forget();
                }
            });
        }
        self.now.store(wanted, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_place_that_is_taken_goes_when_its_job_has_ended_and_may_come_back() {
        let daemon = Daemon {
            concurrency: 3,
            ..Daemon::default()
        };
        let mut job_slots = JobSlots::new(&daemon);
        let jobs = job_slots.jobs();
        let take = || jobs.clone().try_acquire_owned();
        let (first, second) = (take().expect("free"), take().expect("free"));
        job_slots.change(1);
        tokio::task::yield_now().await;
        assert!(take().is_err(), "the free one is gone");
        drop(first);
        tokio::task::yield_now().await;
        assert!(take().is_err(), "and the first that was given back");
        drop(second);
        tokio::task::yield_now().await;
        let only = take().expect("one is left");
        assert!(take().is_err());
        job_slots.change(9);
        assert_eq!((job_slots.now(), job_slots.most()), (3, 3));
        let _more = (take().expect("back"), take().expect("back"));
        assert!(take().is_err(), "never more than memory was divided among");
        drop(only);
    }
}
