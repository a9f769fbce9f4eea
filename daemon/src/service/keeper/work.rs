//! The start of jobs, and the end of those that are stuck.

use squire_engine::{Error, planner::Job, progress::Progress};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::state::Keeper;
use crate::{
    service::{clock, status::Begun},
    target::Opened,
};

impl Keeper {
    /// Starts a job in a slot.
    pub(super) fn start(
        &mut self,
        opened: &Opened,
        job: Job,
        slot: OwnedSemaphorePermit,
        stop: &CancellationToken,
    ) {
        let now = self.now();
        let Some(kept) = self.tables.get_mut(&job.table) else {
            return;
        };
        let (name, table) = (&self.target.name, job.table.to_string());
        // A pause either sees the job or is seen here.
        let progress = Progress::default();
        let begun = Begun {
            duty: job.duty,
            reason: job.reason.to_string(),
            forced: job.ask.forced,
            progress: progress.clone(),
        };
        self.shared.status.began(name, &table, begun);
        let unpaused = clock::not_ahead();
        if self.shared.pauses.until(name, &table, unpaused).is_some() {
            self.shared.status.withdrawn(name, &table);
            return;
        }
        kept.history.begin(&job, now);
        self.shared.metrics.jobs.began(name, job.duty.as_str());
        kept.forced.remove(&job.duty);
        tracing::info!(target_name = %self.target.name, table = %job.table, duty = %job.duty, reason = %job.reason, fragments = kept.stats.fragments.len(), bytes = kept.stats.bytes(), deleted_rows = kept.stats.deleted_rows(), "job started");
        let (stop, steady_until) = (stop.child_token(), clock::steady_until());
        let (opened, policy, asked, work_stop) = (
            opened.clone(),
            kept.policy.clone(),
            job.clone(),
            stop.clone(),
        );
        let work = async move {
            let Job {
                table, duty, ask, ..
            } = &asked;
            tokio::select! {
                biased;
                // What is removed is judged by its age.
                () = steady_until.cancelled(), if duty.deletes_by_age() => Err(Error::Cancelled),
                ended = opened.run(table, *duty, &policy, ask, &work_stop) => ended,
            }
        };
        self.jobs.begin(job, progress, stop, slot, work);
    }

    /// Gives up jobs that make no progress.
    pub(super) fn give_up_jobs(&mut self) {
        let (now, stuck_after) = (self.now(), self.shared.daemon.stuck_after);
        let (name, shared) = (&self.target.name, &self.shared);
        for (Job { table, duty, .. }, still) in self.jobs.give_up(now, stuck_after) {
            tracing::error!(target_name = %name, %table, %duty, seconds = still.as_secs(), "the job is stuck: neither it nor its store has moved for daemon.stuck_after; it is cancelled");
            shared.status.stuck(name, &table.to_string());
            shared.metrics.jobs.stuck(name, duty.as_str());
        }
    }
}
