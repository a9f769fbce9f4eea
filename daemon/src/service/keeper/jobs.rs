//! Jobs that are running, and those that make no progress.
//!
//! A job whose store has not answered and that has done no part of its work for `stuck_after` is stuck: it is asked to
//! stop, as at the end of the process, and cut off when it does not. Then its files are deleted like those of any job
//! that is cut off, and its slot is free. A commit that has begun goes on by itself.

use std::{collections::HashMap, panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt;
use squire_engine::{Error, planner::Job, progress::Progress};
use tokio::{
    sync::OwnedSemaphorePermit,
    task::{AbortHandle, Id, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::target::Outcome;

/// How long a stuck job may take to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// How a job ended.
#[derive(Debug)]
pub(super) enum JobResult {
    /// By itself.
    Ended(Result<Outcome, Error>),
    Panicked,
    /// It made no progress for this long.
    Stuck(Duration),
}

/// A job that has ended.
pub(super) struct Ended {
    pub(super) job: Job,
    pub(super) how: JobResult,
    /// Given back once the end is logged, so that the log shows no two jobs in one slot.
    _slot: Option<OwnedSemaphorePermit>,
}

/// One that is running.
struct AtWork {
    job: Job,
    progress: Progress,
    stop: CancellationToken,
    task: AbortHandle,
    /// Since when it is known to be stuck, and how long it had stood still then.
    stuck: Option<(Duration, Duration)>,
}

/// Those that are running.
#[derive(Default)]
pub(super) struct Jobs {
    tasks: JoinSet<(JobResult, OwnedSemaphorePermit)>,
    at_work: HashMap<Id, AtWork>,
}

impl Jobs {
    pub(super) fn is_empty(&self) -> bool {
        self.at_work.is_empty()
    }

    /// Those that will not be awaited any more.
    pub(super) fn abandon(&mut self) -> Vec<Job> {
        self.tasks.abort_all();
        self.at_work
            .drain()
            .map(|(_, at_work)| at_work.job)
            .collect()
    }

    /// Begins one. `stop` is its own.
    pub(super) fn begin(
        &mut self,
        job: Job,
        progress: Progress,
        stop: CancellationToken,
        slot: OwnedSemaphorePermit,
        work: impl Future<Output = Result<Outcome, Error>> + Send + 'static,
    ) {
        let watched = progress.clone();
        let task = self.tasks.spawn(async move {
            // A table whose job panicked must not count as running for ever.
            let work = AssertUnwindSafe(watched.watch(work)).catch_unwind();
            let how = work.await.map_or(JobResult::Panicked, JobResult::Ended);
            (how, slot)
        });
        let at_work = AtWork {
            job,
            progress,
            stop,
            task: task.clone(),
            stuck: None,
        };
        self.at_work.insert(task.id(), at_work);
    }

    /// The next that ends; it waits for ever where none is running. Nothing is lost when it is dropped.
    pub(super) async fn next(&mut self) -> Ended {
        loop {
            let Some(ended) = self.tasks.join_next_with_id().await else {
                return std::future::pending().await;
            };
            let (id, how, slot) = match ended {
                Ok((id, (how, slot))) => (id, how, Some(slot)),
                Err(e) => (e.id(), JobResult::Panicked, None),
            };
            let Some(AtWork { job, stuck, .. }) = self.at_work.remove(&id) else {
                continue;
            };
            // What it came to counts, if it came to something after all.
            let how = match (how, stuck) {
                (JobResult::Ended(Ok(outcome)), _) => JobResult::Ended(Ok(outcome)),
                (_, Some((_, still))) => JobResult::Stuck(still),
                (how, None) => how,
            };
            return Ended {
                job,
                how,
                _slot: slot,
            };
        }
    }

    /// Tells those to stop that make no progress, and cuts off those that do not; says which were found to be stuck.
    pub(super) fn give_up(&mut self, now: Duration, stuck_after: Duration) -> Vec<(Job, Duration)> {
        let mut found = Vec::new();
        for at_work in self.at_work.values_mut() {
            match at_work.stuck {
                None => {
                    let still = at_work.progress.idle();
                    if still >= stuck_after {
                        at_work.stuck = Some((now, still));
                        at_work.stop.cancel();
                        found.push((at_work.job.clone(), still));
                    }
                }
                Some((since, _)) if now.saturating_sub(since) >= STOP_PATIENCE => {
                    at_work.task.abort();
                }
                Some(_) => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, sync::Arc};

    use squire_engine::{
        TableKey,
        planner::{Ask, Duty, Reason, compaction},
    };
    use tokio::sync::Semaphore;

    use super::*;

    fn job() -> Job {
        Job {
            table: TableKey::of_directory("t"),
            duty: Duty::Compaction,
            reason: Reason::Compaction(compaction::Reason::SmallFragments),
            bytes: 1,
            ask: Ask::default(),
            ahead_of: Vec::new(),
        }
    }

    #[tokio::test]
    async fn a_job_that_stands_still_is_told_to_stop_then_cut_off_and_gives_its_place_back() {
        let slots = Arc::new(Semaphore::new(1));
        let mut jobs = Jobs::default();
        let stop = CancellationToken::new();
        let slot = slots.clone().try_acquire_owned().unwrap();
        let progress = Progress::default();
        jobs.begin(job(), progress, stop.clone(), slot, pending());
        let at = Duration::from_secs;
        assert!(jobs.give_up(at(0), at(60)).is_empty(), "it has just begun");
        let found = jobs.give_up(at(1), Duration::ZERO);
        assert_eq!(found.len(), 1);
        assert!(stop.is_cancelled());
        assert!(
            jobs.give_up(at(2), Duration::ZERO).is_empty(),
            "reported once"
        );
        assert_eq!(slots.available_permits(), 0, "it may stop by itself");
        jobs.give_up(at(1) + STOP_PATIENCE, Duration::ZERO);
        let ended = jobs.next().await;
        assert!(matches!(ended.how, JobResult::Stuck(_)), "{:?}", ended.how);
        drop(ended);
        assert_eq!(slots.available_permits(), 1);
        assert!(jobs.is_empty());
    }

    #[tokio::test]
    async fn a_job_that_was_taken_for_stuck_and_stops_says_so_and_one_that_panics_says_that() {
        let slots = Arc::new(Semaphore::new(2));
        let mut jobs = Jobs::default();
        let stop = CancellationToken::new();
        let slot = || slots.clone().try_acquire_owned().unwrap();
        let token = stop.clone();
        jobs.begin(job(), Progress::default(), stop, slot(), async move {
            token.cancelled().await;
            Err(Error::Cancelled)
        });
        jobs.give_up(Duration::ZERO, Duration::ZERO);
        assert!(matches!(jobs.next().await.how, JobResult::Stuck(_)));
        let stop = CancellationToken::new();
        jobs.begin(job(), Progress::default(), stop, slot(), async {
            panic!("a wrong length")
        });
        assert!(matches!(jobs.next().await.how, JobResult::Panicked));
    }
}
