//! How far a job has come, for whoever watches it. Nothing rests on it.
//!
//! The watcher wraps the work; whoever does a part of it says so, without being handed anything. What runs in another
//! task, as a commit that must not be cut off, says nothing.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

tokio::task_local! {
    static WATCHED: Progress;
}

/// What a job is at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// It looks at the table.
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
    /// Of so many; 0 when that cannot be told.
    pub all: usize,
}

/// A job that is watched.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Mutex<Step>>);

impl Progress {
    /// Does the work, which is watched meanwhile.
    pub async fn watch<F: Future>(&self, work: F) -> F::Output {
        WATCHED.scope(self.clone(), work).await
    }

    /// How far it has come.
    pub fn step(&self) -> Step {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn change(change: impl FnOnce(&mut Step)) {
    // Most work is watched by nobody.
    let _ = WATCHED.try_with(|Progress(step)| {
        change(&mut step.lock().unwrap_or_else(PoisonError::into_inner));
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

/// So much more is done.
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
        assert_eq!(watched.step(), end, "work that nobody watches");
    }
}
