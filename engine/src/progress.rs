//! How far a job has come, for its watcher. Nothing depends on it.
//!
//! The watcher wraps the work; the code that does a part of it reports that, without a parameter for it. What runs in
//! another task, as a commit that must not be cut off, says nothing.

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

tokio::task_local! {
    static WATCHED: Progress;
}

/// What a job is at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// It reads the table.
    #[default]
    Planning,
    /// It writes new fragments.
    Rewriting,
    /// It writes segments of indexes.
    Indexing,
    /// It removes versions and files.
    Removing,
    /// It waits for its turn, or commits.
    Committing,
}

impl Phase {
    /// The phase as the status spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Planning => "planning",
            Self::Rewriting => "rewriting",
            Self::Indexing => "indexing",
            Self::Removing => "removing",
            Self::Committing => "committing",
        }
    }
}

/// One moment of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// What it is at.
    pub phase: Phase,
    /// Fragments that were read, or indexes that were worked on.
    pub done: usize,
    /// The total; 0 when it is not known.
    pub all: usize,
}

/// A job that is watched.
#[derive(Clone, Debug)]
pub struct Progress(Arc<Mutex<Watched>>);

#[derive(Debug)]
struct Watched {
    step: Step,
    last: Instant,
}

impl Default for Progress {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Watched {
            step: Step::default(),
            last: Instant::now(),
        })))
    }
}

impl Progress {
    /// Does the work, which is watched meanwhile.
    pub async fn watch<F: Future>(&self, work: F) -> F::Output {
        WATCHED.scope(self.clone(), work).await
    }

    /// How far it has come.
    pub fn step(&self) -> Step {
        self.lock().step
    }

    /// The time since its last step, or since its store last answered.
    pub fn idle(&self) -> Duration {
        self.lock().last.elapsed()
    }

    /// The work goes on, though no part of it is done.
    pub(crate) fn touch(&self) {
        self.lock().last = Instant::now();
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The watcher of this work, for its parts that run in other tasks.
pub(crate) fn watcher() -> Option<Progress> {
    WATCHED.try_with(Progress::clone).ok()
}

fn change(change: impl FnOnce(&mut Step)) {
    // Most work has no watcher.
    let _ = WATCHED.try_with(|progress| {
        let mut watched = progress.lock();
        change(&mut watched.step);
        watched.last = Instant::now();
    });
}

/// A phase begins, in which so much is to be done.
pub(crate) fn begin(phase: Phase, all: usize) {
    change(|step| {
        *step = Step {
            phase,
            done: 0,
            all,
        };
    });
}

/// The job is at this now; what is done stays done.
pub(crate) fn enter(phase: Phase) {
    change(|step| step.phase = phase);
}

/// Adds to what is done.
pub(crate) fn advance(by: usize) {
    change(|step| step.done = step.done.saturating_add(by).min(step.all));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_watches_a_job_sees_how_far_it_has_come_and_nobody_else_does() {
        let (watched, other) = (Progress::default(), Progress::default());
        let work = async {
            begin(Phase::Rewriting, 3);
            advance(2);
            tokio::task::yield_now().await;
            assert_eq!((watched.step().done, watched.step().all), (2, 3));
            advance(2);
            enter(Phase::Committing);
        };
        tokio::join!(watched.watch(work), other.watch(async { advance(1) }));
        let end = Step {
            phase: Phase::Committing,
            done: 3,
            all: 3,
        };
        assert_eq!(watched.step(), end);
        assert_eq!(other.step(), Step::default());
        begin(Phase::Indexing, 1);
        assert_eq!(watched.step(), end, "work without a watcher");
    }

    #[tokio::test]
    async fn work_that_goes_on_in_another_task_is_no_standstill() {
        let watched = Progress::default();
        let long_ago = Instant::now().checked_sub(Duration::from_secs(60));
        watched.lock().last = long_ago.unwrap_or_else(Instant::now);
        let before = watched.idle();
        let work = async {
            let watcher = watcher().expect("it has a watcher");
            tokio::spawn(async move { watcher.touch() }).await
        };
        watched.watch(work).await.unwrap();
        assert!(watched.idle() <= before);
        assert!(watcher().is_none(), "work without a watcher");
    }
}
