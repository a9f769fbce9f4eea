//! The end of a job: what it means, and what is noted, counted and logged.

use std::time::Duration;

use squire_engine::{
    Cleaned, Compacted, Error, Indexed, Loss,
    planner::{Duty, Job, Skip},
};

use super::{
    jobs::{Ended, JobResult},
    state::Keeper,
    table_state::Unneeded,
};
use crate::{
    api::JobOutcome,
    service::{clock, state::JobEnd},
    target::Outcome,
};

/// A duty that found nothing to do is asked again after this, though its table has not changed: what protects versions
/// may go.
const UNNEEDED_FOR: Duration = Duration::from_secs(3600);

/// What the end of a job means for what comes next.
struct Meaning {
    outcome: JobOutcome,
    /// It is tried again, later and later.
    lost: bool,
    /// Bytes that were rewritten, as far as they are known.
    bytes: Option<u64>,
    /// Why there was nothing to do, after a closer check than the planner's.
    unneeded: Option<Skip>,
}

impl Keeper {
    /// Takes in the end of a job.
    pub(super) fn ended(&mut self, ended: Ended) {
        // Its slot is given back once the end is reported.
        let Ended { job, how, .. } = &ended;
        let meaning = self.report_end(job, how);
        self.note_write(how);
        let (now, Job { table, duty, .. }) = (self.now(), job);
        let (name, shared) = (&self.target.name, &self.shared);
        if let Some(skip) = meaning.unneeded {
            tracing::info!(target_name = %name, %table, %duty, because = %skip, "job skipped: there is nothing to do, or not yet");
        }
        let detail = match how {
            JobResult::Panicked => Some("it panicked".to_owned()),
            JobResult::Stuck(still) => Some(stood_still(*still)),
            JobResult::Ended(Err(e)) => Some(e.to_string()),
            JobResult::Ended(Ok(_)) => meaning.unneeded.map(|skip| skip.to_string()),
        };
        let outcome = meaning.outcome;
        shared
            .status
            .ended(name, &table.to_string(), outcome, detail);
        self.shared
            .metrics
            .jobs
            .ended(&self.target.name, duty.as_str(), outcome);
        let Some(kept) = self.tables.get_mut(table) else {
            return;
        };
        // What the schedule asked for is still to be done, as far as it is not.
        if job.ask.forced && (meaning.lost || leaves_more(how)) {
            kept.forced.insert(*duty);
        }
        if *duty == Duty::Cleanup {
            kept.listing = None;
            kept.cleaned = now;
            kept.left_over.found = false;
        }
        // Statistics have what could not be built, whether or not the pin moved.
        kept.pinned = None;
        kept.unneeded.remove(duty);
        // Of fragments, the next look tells as much. What passes by itself is due again as soon as it has passed.
        let closer = *duty != Duty::Compaction;
        if let Some(skip) = meaning.unneeded.filter(|skip| closer && !skip.passes()) {
            let until = now + UNNEEDED_FOR;
            kept.unneeded.insert(*duty, Unneeded { skip, until });
        }
        if let JobResult::Ended(Ok(Outcome::Compacted(Compacted::Done(receipt)))) = how {
            kept.contention
                .measured(receipt.bytes_read, receipt.rewrite);
        }
        let expected = kept.history.running.map_or(0, |running| running.bytes);
        let bytes = meaning.bytes.unwrap_or(expected);
        let pace = &kept.policy.pace;
        let charge = kept.history.end(*duty, now, meaning.lost, bytes, pace);
        let lasts = match how {
            // What hangs may hold a thread for each attempt.
            JobResult::Panicked | JobResult::Stuck(_) => true,
            JobResult::Ended(Err(e)) => meaning.lost && e.lasts(),
            JobResult::Ended(Ok(_)) => false,
        };
        if lasts {
            kept.history.lasts(*duty, kept.stats.version);
        }
        let end = JobEnd {
            duty: *duty,
            charge,
            history: kept.history.of(*duty),
        };
        let (state, clock, table) = (&shared.state, shared.clock(), table.to_string());
        state.ended(name, &table, &end, &clock);
        state.forced(name, &table, &kept.forced, &clock);
        self.spent.ledger.charge(charge, &self.spent.pace);
    }

    /// Tells how a job ended, in the log and in the metrics of its duty.
    fn report_end(&self, job: &Job, how: &JobResult) -> Meaning {
        let (name, metrics) = (&self.target.name, &self.shared.metrics.jobs);
        let Job { table, duty, .. } = job;
        let means = |outcome, lost, bytes| Meaning {
            outcome,
            lost,
            bytes,
            unneeded: None,
        };
        let skipped = |skip| Meaning {
            unneeded: Some(skip),
            ..means(JobOutcome::Skipped, false, Some(0))
        };
        match how {
            JobResult::Ended(Ok(Outcome::Compacted(Compacted::Done(receipt)))) => {
                metrics.compacted(name, duty.as_str(), receipt);
                let losses = receipt.lost.iter();
                losses.for_each(|loss| metrics.lost(name, duty.as_str(), *loss));
                let failed = receipt.failed.iter();
                metrics.unreadable(name, failed.filter(|f| f.unreadable.is_some()).count());
                for failed in &receipt.failed {
                    tracing::warn!(target_name = %name, %table, %duty, fragments = failed.fragments.len(), error = failed.reason, "a group of fragments could not be rewritten and is left alone; the others were");
                }
                tracing::info!(target_name = %name, %table, %duty, operation = %receipt.operation, manifest = receipt.manifest, fragments_before = receipt.fragments_before, fragments_after = receipt.fragments_after, groups = receipt.groups, lost_groups = receipt.lost.len(), lost_because = listed(&receipt.lost), carried = receipt.carried, bytes_read = receipt.bytes_read, bytes_written = receipt.bytes_written, index_bytes = receipt.index_bytes, rewrite_ms = millis(receipt.rewrite), hold_ms = millis(receipt.hold), "job done");
                means(
                    JobOutcome::Done,
                    false,
                    Some(receipt.bytes_read.saturating_add(receipt.index_bytes)),
                )
            }
            JobResult::Ended(Ok(Outcome::Indexed(Indexed::Done(receipt)))) => {
                metrics.indexed(name, duty.as_str(), receipt);
                tracing::info!(target_name = %name, %table, %duty, operation = %receipt.operation, reason = %receipt.reason, tasks = receipt.tasks.len(), rows = receipt.rows, work_ms = millis(receipt.work), hold_ms = millis(receipt.hold), "job done");
                means(JobOutcome::Done, false, None)
            }
            JobResult::Ended(Ok(Outcome::Cleaned(Cleaned::Done(receipt)))) => {
                metrics.cleaned(name, receipt);
                tracing::info!(target_name = %name, %table, %duty, reason = %receipt.reason, versions = receipt.versions, files = receipt.files, bytes = receipt.bytes, read = receipt.read, "job done");
                means(JobOutcome::Done, false, Some(receipt.read))
            }
            JobResult::Ended(Ok(Outcome::Compacted(Compacted::Skipped(skip)))) => {
                self.log_no_longer_due(job, skip.as_str());
                skipped(Skip::Compaction(*skip))
            }
            JobResult::Ended(Ok(Outcome::Indexed(Indexed::Skipped(skip)))) => {
                self.log_no_longer_due(job, skip.as_str());
                skipped(Skip::Index(*skip))
            }
            JobResult::Ended(Ok(Outcome::Cleaned(Cleaned::Skipped(skip)))) => {
                self.log_no_longer_due(job, skip.as_str());
                skipped(Skip::Cleanup(*skip))
            }
            JobResult::Ended(Ok(
                Outcome::Compacted(Compacted::Lost(loss)) | Outcome::Indexed(Indexed::Lost(loss)),
            )) => {
                metrics.lost(name, duty.as_str(), *loss);
                tracing::info!(target_name = %name, %table, %duty, because = %loss, "job lost: it is planned anew");
                means(JobOutcome::Lost, true, None)
            }
            JobResult::Ended(Err(Error::Cancelled)) => {
                let why = if clock::distrust(name).is_some() {
                    "the clock jumped"
                } else {
                    "the daemon stops"
                };
                tracing::info!(target_name = %name, %table, %duty, "job abandoned: {why}");
                means(JobOutcome::Cancelled, false, None)
            }
            JobResult::Ended(Err(Error::TableGone { .. } | Error::UnknownTable { .. })) => {
                tracing::debug!(target_name = %name, %table, %duty, "the table went while the job was at work");
                means(JobOutcome::Gone, false, None)
            }
            JobResult::Ended(Err(e @ Error::TableReplaced { .. })) => {
                tracing::info!(target_name = %name, %table, %duty, because = %e, "job lost: it is planned anew");
                means(JobOutcome::Lost, true, None)
            }
            JobResult::Panicked => {
                tracing::error!(target_name = %name, %table, %duty, "job panicked; please report it with the lines above");
                means(JobOutcome::Failed, true, None)
            }
            JobResult::Stuck(still) => {
                tracing::error!(target_name = %name, %table, %duty, seconds = still.as_secs(), "job cut off, as it was stuck; it is tried again after a pause");
                means(JobOutcome::Failed, true, None)
            }
            JobResult::Ended(Err(e @ Error::Unreadable { .. })) => {
                metrics.unreadable(name, 1);
                tracing::warn!(target_name = %name, %table, %duty, error = %e, "job failed; the fragments are left alone");
                means(JobOutcome::Failed, true, None)
            }
            JobResult::Ended(Err(e @ Error::CommitRefused { .. })) => {
                tracing::warn!(target_name = %name, %table, %duty, error = %e, "job failed; what it would have committed is left alone");
                means(JobOutcome::Failed, true, None)
            }
            JobResult::Ended(Err(e)) => {
                tracing::error!(target_name = %name, %table, %duty, error = %e, "job failed; it is tried again after a pause");
                means(JobOutcome::Failed, true, None)
            }
        }
    }

    /// Takes in what a job tells of the target: whether it takes writes.
    fn note_write(&mut self, how: &JobResult) {
        let now = self.now();
        match how {
            JobResult::Ended(Err(e)) if e.stops_all_writes() && self.writes.failed(now) => {
                tracing::warn!(target_name = %self.target.name, error = %e, "the target takes no writes: compaction and index work wait until it does");
            }
            JobResult::Ended(Ok(
                Outcome::Compacted(Compacted::Done(_)) | Outcome::Indexed(Indexed::Done(_)),
            )) => self.writes.done(),
            JobResult::Ended(Ok(Outcome::Cleaned(Cleaned::Done(receipt)))) if receipt.bytes > 0 => {
                self.writes.made_room();
            }
            _ => {}
        }
    }

    fn log_no_longer_due(&self, job: &Job, reason: &str) {
        tracing::debug!(target_name = %self.target.name, table = %job.table, duty = %job.duty, reason, "the job was no longer due when it began");
    }
}

/// Whether the job did a part of what it was asked for.
fn leaves_more(how: &JobResult) -> bool {
    matches!(how, JobResult::Ended(Ok(outcome)) if outcome.leaves_more())
}

/// Why a job was cut off.
fn stood_still(still: Duration) -> String {
    let still = humantime::format_duration(Duration::from_secs(still.as_secs()));
    format!(
        "neither it nor its store moved for {still}: see whether the store answers; if the job only takes its time, raise daemon.stuck_after"
    )
}

/// Why rewrites were lost, for one field of a line.
fn listed(losses: &[Loss]) -> String {
    let losses: Vec<_> = losses.iter().map(|loss| loss.as_str()).collect();
    losses.join(",")
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}
