//! Reports jumps of the wall clock to the metrics and the schedules.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::wall;
use crate::service::{metrics::Metrics, schedule::timetable::Timetable};

/// Interval at which the clocks are compared.
const EVERY: Duration = Duration::from_secs(1);

/// Compares the clocks until `stop`. When the wall clock has jumped, schedules are planned anew.
pub(in crate::service) async fn monitor(
    timetable: Arc<Timetable>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = 0;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let (jumps, steady) = wall::steadiness();
        metrics.clock.set(jumps - known, steady);
        if jumps != known {
            timetable.plan_anew().await;
            known = jumps;
        }
    }
}
