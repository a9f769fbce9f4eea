//! The jobs, from their start to their end.

use std::{panic::AssertUnwindSafe, time::Duration};

use chrono::Utc;
use futures::FutureExt;
use squire_engine::{
    Cleaned, Compacted, Error, Indexed, Loss,
    maintenance::{Duty, Job, Skip},
    progress::Progress,
};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::{Keeper, kept::Unneeded};
use crate::{
    opened::{Opened, Outcome},
    service::{
        board::{runs::Begun, words::Ending},
        state::JobEnd,
    },
};

/// A duty that found nothing to do is asked again after this, though its table has not changed: what protects versions
/// may go.
const UNNEEDED_FOR: Duration = Duration::from_secs(3600);

/// A job that has ended.
pub(super) struct Ended {
    pub(super) job: Job,
    /// Nothing when the job panicked.
    result: Option<Result<Outcome, Error>>,
    /// Given back once the end is told, so that the log shows no two jobs in one place.
    _place: OwnedSemaphorePermit,
}

/// What the end of a job means for what comes next.
struct Meaning {
    /// As `squire_jobs_total` spells it.
    outcome: &'static str,
    /// It is tried again, later and later.
    lost: bool,
    /// Bytes that were rewritten, as far as they are known.
    bytes: Option<u64>,
    /// Why there was nothing to do, after a closer look than the planner's.
    unneeded: Option<Skip>,
}

impl Keeper {
    /// Starts a job in a place.
    pub(super) fn start(
        &mut self,
        opened: &Opened,
        job: Job,
        place: OwnedSemaphorePermit,
        stop: &CancellationToken,
    ) {
        let now = self.now();
        let Some(kept) = self.tables.get_mut(&job.table) else {
            return;
        };
        let (name, table) = (&self.target.name, job.table.to_string());
        // Whoever pauses either sees the job or is seen here.
        let progress = Progress::default();
        let begun = Begun {
            duty: job.duty.into(),
            reason: job.reason.to_string(),
            forced: job.ask.forced,
            progress: progress.clone(),
        };
        self.shared.board.began(name, &table, begun);
        if self.shared.pauses.until(name, &table, Utc::now()).is_some() {
            self.shared.board.withdrawn(name, &table);
            return;
        }
        kept.history.begin(&job, now);
        self.shared.metrics.began(name, job.duty.as_str());
        kept.forced.remove(&job.duty);
        tracing::info!(target_name = %self.target.name, table = %job.table, duty = %job.duty, reason = %job.reason, fragments = kept.stats.fragments.len(), bytes = kept.stats.bytes(), deleted_rows = kept.stats.deleted_rows(), "job started");
        let (opened, policy, stop) = (opened.clone(), kept.policy.clone(), stop.clone());
        self.at_work.spawn(async move {
            let work = opened.run(&job.table, job.duty, &policy, &job.ask, &stop);
            // A table whose job panicked must not count as at work for ever.
            let work = AssertUnwindSafe(progress.watch(work));
            let result = work.catch_unwind().await.ok();
            Ended {
                job,
                result,
                _place: place,
            }
        });
    }

    /// Takes in the end of a job.
    pub(super) fn ended(&mut self, ended: Ended) {
        let Ended {
            job,
            result,
            _place,
        } = ended;
        let meaning = self.tell_end(&job, &result);
        self.mind_write(&result);
        let (now, Job { table, duty, .. }) = (self.now(), &job);
        let (name, shared) = (&self.target.name, &self.shared);
        let detail = match &result {
            None => Some("it panicked".to_owned()),
            Some(Err(e)) => Some(e.to_string()),
            Some(Ok(_)) => meaning.unneeded.map(|skip| skip.to_string()),
        };
        let outcome = Ending::of(meaning.outcome);
        shared
            .board
            .ended(name, &table.to_string(), outcome, detail);
        self.shared
            .metrics
            .job(&self.target.name, duty.as_str(), meaning.outcome);
        let Some(kept) = self.tables.get_mut(table) else {
            return;
        };
        // What the schedule asked for is still to be done, as far as it is not.
        if job.ask.forced && (meaning.lost || leaves_more(&result)) {
            kept.forced.insert(*duty);
        }
        if *duty == Duty::Cleanup {
            kept.listing = None;
            kept.left_over.found = false;
        }
        // Statistics have what could not be built, whether or not the pin moved.
        kept.told = None;
        kept.unneeded.remove(duty);
        // Of fragments, the next look tells as much. What passes by itself is due again as soon as it has passed.
        let closer = *duty != Duty::Compaction;
        if let Some(skip) = meaning.unneeded.filter(|skip| closer && !skip.passes()) {
            let until = now + UNNEEDED_FOR;
            kept.unneeded.insert(*duty, Unneeded { skip, until });
        }
        if let Some(Ok(Outcome::Compacted(Compacted::Done(receipt)))) = &result {
            kept.heat.measured(receipt.bytes_read, receipt.rewrite);
        }
        let expected = kept.history.running.map_or(0, |running| running.bytes);
        let bytes = meaning.bytes.unwrap_or(expected);
        let charge = kept.history.end(*duty, now, meaning.lost, bytes);
        let end = JobEnd {
            duty: *duty,
            charge,
            losses: kept.history.of(*duty).losses,
        };
        let (state, clock, table) = (&shared.state, shared.clock(), table.to_string());
        state.ended(name, &table, &end, &clock);
        state.forced(name, &table, &kept.forced, &clock);
        self.spent.ledger.charge(charge);
    }

    /// Tells how a job ended, in the log and in the metrics of its duty.
    fn tell_end(&self, job: &Job, result: &Option<Result<Outcome, Error>>) -> Meaning {
        let (name, metrics) = (&self.target.name, &self.shared.metrics);
        let Job { table, duty, .. } = job;
        let means = |outcome, lost, bytes| Meaning {
            outcome,
            lost,
            bytes,
            unneeded: None,
        };
        let skipped = |skip| Meaning {
            unneeded: Some(skip),
            ..means("skipped", false, Some(0))
        };
        match result {
            Some(Ok(Outcome::Compacted(Compacted::Done(receipt)))) => {
                metrics.compacted(name, duty.as_str(), receipt);
                let losses = receipt.lost.iter();
                losses.for_each(|loss| metrics.lost(name, duty.as_str(), *loss));
                let failed = receipt.failed.iter();
                metrics.unreadable(name, failed.filter(|f| f.unreadable.is_some()).count());
                for failed in &receipt.failed {
                    tracing::warn!(target_name = %name, %table, %duty, fragments = failed.fragments.len(), error = failed.reason, "a group of fragments could not be rewritten and is left alone; the others were");
                }
                tracing::info!(target_name = %name, %table, %duty, operation = %receipt.operation, manifest = receipt.manifest, fragments_before = receipt.fragments_before, fragments_after = receipt.fragments_after, groups = receipt.groups, lost_groups = receipt.lost.len(), lost_because = told(&receipt.lost), carried = receipt.carried, bytes_read = receipt.bytes_read, bytes_written = receipt.bytes_written, index_bytes = receipt.index_bytes, rewrite_ms = millis(receipt.rewrite), hold_ms = millis(receipt.hold), "job done");
                means(
                    "done",
                    false,
                    Some(receipt.bytes_read.saturating_add(receipt.index_bytes)),
                )
            }
            Some(Ok(Outcome::Indexed(Indexed::Done(receipt)))) => {
                metrics.indexed(name, duty.as_str(), receipt);
                tracing::info!(target_name = %name, %table, %duty, operation = %receipt.operation, reason = %receipt.reason, tasks = receipt.tasks.len(), rows = receipt.rows, work_ms = millis(receipt.work), hold_ms = millis(receipt.hold), "job done");
                means("done", false, None)
            }
            Some(Ok(Outcome::Cleaned(Cleaned::Done(receipt)))) => {
                metrics.cleaned(name, receipt);
                tracing::info!(target_name = %name, %table, %duty, reason = %receipt.reason, versions = receipt.versions, files = receipt.files, bytes = receipt.bytes, read = receipt.read, "job done");
                means("done", false, Some(receipt.read))
            }
            Some(Ok(Outcome::Compacted(Compacted::Skipped(skip)))) => {
                self.tell_no_longer_due(job, skip.as_str());
                skipped(Skip::Compaction(*skip))
            }
            Some(Ok(Outcome::Indexed(Indexed::Skipped(skip)))) => {
                self.tell_no_longer_due(job, skip.as_str());
                skipped(Skip::Index(*skip))
            }
            Some(Ok(Outcome::Cleaned(Cleaned::Skipped(skip)))) => {
                self.tell_no_longer_due(job, skip.as_str());
                skipped(Skip::Cleanup(*skip))
            }
            Some(Ok(
                Outcome::Compacted(Compacted::Lost(loss)) | Outcome::Indexed(Indexed::Lost(loss)),
            )) => {
                metrics.lost(name, duty.as_str(), *loss);
                tracing::info!(target_name = %name, %table, %duty, because = %loss, "job lost: it is planned anew");
                means("lost", true, None)
            }
            Some(Err(Error::Cancelled)) => {
                tracing::info!(target_name = %name, %table, %duty, "job abandoned: the daemon stops");
                means("cancelled", false, None)
            }
            Some(Err(Error::TableGone { .. } | Error::UnknownTable { .. })) => {
                tracing::debug!(target_name = %name, %table, %duty, "the table went while the job was at work");
                means("gone", false, None)
            }
            Some(Err(e @ Error::TableReplaced { .. })) => {
                tracing::info!(target_name = %name, %table, %duty, because = %e, "job lost: it is planned anew");
                means("lost", true, None)
            }
            None => {
                tracing::error!(target_name = %name, %table, %duty, "job panicked; please report it with the lines above");
                means("failed", true, None)
            }
            Some(Err(e @ Error::Unreadable { .. })) => {
                metrics.unreadable(name, 1);
                tracing::warn!(target_name = %name, %table, %duty, error = %e, "job failed; the fragments are left alone");
                means("failed", true, None)
            }
            Some(Err(e @ Error::CommitRefused { .. })) => {
                tracing::warn!(target_name = %name, %table, %duty, error = %e, "job failed; what it would have committed is left alone");
                means("failed", true, None)
            }
            Some(Err(e)) => {
                tracing::error!(target_name = %name, %table, %duty, error = %e, "job failed; it is tried again after a pause");
                means("failed", true, None)
            }
        }
    }

    /// Takes in what a job tells of the target: whether it takes writes.
    fn mind_write(&mut self, result: &Option<Result<Outcome, Error>>) {
        let now = self.now();
        match result {
            Some(Err(e)) if e.stops_all_writes() && self.writes.failed(now) => {
                tracing::warn!(target_name = %self.target.name, error = %e, "the target takes no writes: compaction and index work wait until it does");
            }
            Some(Ok(
                Outcome::Compacted(Compacted::Done(_)) | Outcome::Indexed(Indexed::Done(_)),
            )) => self.writes.done(),
            _ => {}
        }
    }

    fn tell_no_longer_due(&self, job: &Job, reason: &str) {
        tracing::debug!(target_name = %self.target.name, table = %job.table, duty = %job.duty, reason, "the job was no longer due when it began");
    }
}

/// Whether the job did a part of what it was asked for.
fn leaves_more(result: &Option<Result<Outcome, Error>>) -> bool {
    matches!(result, Some(Ok(outcome)) if outcome.leaves_more())
}

/// Why rewrites were lost, for one field of a line.
fn told(losses: &[Loss]) -> String {
    let losses: Vec<_> = losses.iter().map(|loss| loss.as_str()).collect();
    losses.join(",")
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}
