//! Cron schedules: at their times, a target's compaction is forced whatever the thresholds say.

use std::sync::Arc;

use squire_config::Target;
use tokio::sync::Notify;
use tokio_cron_scheduler::{Job, JobScheduler};

use crate::exit::Failure;

fn bad(target: &str, cron: &str, e: &dyn std::fmt::Display) -> Failure {
    Failure::Usage(format!(
        "the cron schedule \"{cron}\" of target {target} cannot be used: {e}; write seconds, minutes, hours, day of month, month, day of week, such as \"0 0 3 * * *\" for three o'clock every night"
    ))
}

/// Checks a schedule.
pub(super) fn check(target: &str, cron: &str) -> Result<(), Failure> {
    Job::new(cron, |_, _| {})
        .map(|_| ())
        .map_err(|e| bad(target, cron, &e))
}

/// Starts the schedules; they run until the scheduler is dropped.
pub(super) async fn start(
    targets: Vec<(Target, Arc<Notify>)>,
) -> Result<Option<JobScheduler>, Failure> {
    if targets
        .iter()
        .all(|(target, _)| target.compaction.cron.is_none())
    {
        return Ok(None);
    }
    let failed = |e| Failure::Machine(format!("the scheduler cannot start: {e}"));
    let scheduler = JobScheduler::new().await.map_err(failed)?;
    for (target, force) in targets {
        let Some(cron) = &target.compaction.cron else {
            continue;
        };
        let job = Job::new(cron.as_str(), move |_, _| force.notify_one())
            .map_err(|e| bad(&target.name, cron, &e))?;
        scheduler.add(job).await.map_err(failed)?;
    }
    scheduler.start().await.map_err(failed)?;
    Ok(Some(scheduler))
}
