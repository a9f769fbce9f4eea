//! The interval at which a keeper shows that it makes progress.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

/// How often a keeper checks whether anything in flight is stuck.
const BEAT: Duration = Duration::from_secs(1);

/// Ticks at which a keeper checks whether anything in flight is stuck.
pub(super) fn beats() -> Interval {
    let mut beats = interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beats
}
