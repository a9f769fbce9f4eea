//! Whether the wall clock can be trusted with removals, and what time it is.
//!
//! What is removed is removed by its age, and nothing brings it back. The wall clock's progress is compared with that of
//! a clock that nobody sets and that goes on while the machine is suspended. Where they part by more than [`JUMP`], the
//! wall clock has jumped: then nothing is removed until it has been steady for [`HOLD`]. A clock that is slewed parts by
//! two seconds an hour at most.
//!
//! There is one wall clock, so there is one judgement of it in the process. The judgement itself is pure.

mod watch;

use std::{
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

pub(super) use self::watch::Distrust;
use self::watch::{Reading, Watch};
use super::{metrics::Metrics, schedule::timetable::Timetable};
use crate::output;

/// So often the clocks are compared, and schedules are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// The judgement of this process.
static WATCH: LazyLock<Mutex<Watch>> =
    LazyLock::new(|| Mutex::new(Watch::new(read(), built_at(option_env!("SQUIRE_BUILT")))));

/// What time it is.
pub(super) fn now() -> DateTime<Utc> {
    read().wall
}

/// What ends of pauses are held against: after a jump forward, the time without it, until the clock is trusted again. So
/// a jump that is taken back has ended nothing.
pub(super) fn not_ahead() -> DateTime<Utc> {
    let (watch, reading) = looked();
    watch.not_ahead(reading)
}

/// Why nothing may be removed from a target now, if nothing may.
pub(super) fn distrust(target: &str) -> Option<Distrust> {
    let (watch, reading) = looked();
    watch.distrust(target, reading)
}

/// How often the clock has jumped.
pub(super) fn jumps() -> u64 {
    looked().0.jumps()
}

/// What is cancelled when the clock jumps next: whoever removes by its age must not go on.
pub(super) fn steady_until() -> CancellationToken {
    looked().0.steady_until()
}

/// A store with a clock of its own says what time it is. Where it agrees, things may be removed from that target.
pub(super) fn compare(target: &str, store: DateTime<Utc>) {
    let (mut watch, reading) = looked();
    if watch.compare(target, store, reading) {
        tracing::info!(target_name = %target, "the store's clock agrees with this machine's: what is old is removed from this target again");
    }
}

/// Compares the clocks and makes the calls of schedules until `stop`. When the clock has jumped, schedules are planned
/// anew.
pub(super) async fn keep(
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
        let (jumps, steady) = {
            let (watch, reading) = looked();
            (watch.jumps(), watch.is_steady(reading))
        };
        metrics.clock(jumps - known, steady);
        if jumps != known {
            timetable.plan_anew().await;
            known = jumps;
        }
    }
}

/// The judgement, with a look at the clocks taken in.
fn looked() -> (MutexGuard<'static, Watch>, Reading) {
    let mut watch = WATCH.lock().unwrap_or_else(PoisonError::into_inner);
    let reading = read();
    #[cfg(feature = "failpoints")]
    if let Some((_, hold)) = turned() {
        watch.hold_for(hold);
    }
    if let Some(by) = watch.look(reading) {
        let direction = if by.num_seconds() < 0 {
            "back"
        } else {
            "forward"
        };
        let how_far = output::duration(by.abs().to_std().unwrap_or_default());
        let until = watch.until(reading);
        tracing::warn!(direction, how_far, now = %reading.wall, %until, "the wall clock jumped: nothing is removed until it has been steady for a while; schedules are planned anew");
    }
    (watch, reading)
}

fn read() -> Reading {
    let reading = Reading {
        wall: Utc::now(),
        boot: since_boot(),
    };
    #[cfg(feature = "failpoints")]
    if let Some((ahead, _)) = turned() {
        return Reading {
            wall: reading.wall + ahead,
            ..reading
        };
    }
    reading
}

/// Time since the machine was started, with suspensions.
fn since_boot() -> Duration {
    let seconds = rustix::system::sysinfo().uptime;
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

/// When this program was built, as its build script says.
fn built_at(seconds: Option<&str>) -> DateTime<Utc> {
    let seconds = seconds.and_then(|text| text.parse().ok());
    let at = seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    at.unwrap_or(DateTime::UNIX_EPOCH)
}

/// How far a test has turned the clock, and how long it is distrusted then: both in seconds, in the file that this
/// variable names.
#[cfg(feature = "failpoints")]
fn turned() -> Option<(chrono::TimeDelta, Duration)> {
    static FILE: LazyLock<Option<std::ffi::OsString>> =
        LazyLock::new(|| std::env::var_os("SQUIRE_TURNED_CLOCK"));
    let text = std::fs::read_to_string(FILE.as_ref()?).ok()?;
    let (ahead, hold) = text.trim().split_once(' ')?;
    let ahead = chrono::TimeDelta::seconds(ahead.parse().ok()?);
    Some((ahead, Duration::from_secs(hold.parse().ok()?)))
}
