//! The watch of this process, and what time it is. There is one wall clock, so there is one watch of it.

use std::{
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::watch::{Distrust, Reading, Watch};
use crate::output;

/// The watch of this process.
static WATCH: LazyLock<Mutex<Watch>> =
    LazyLock::new(|| Mutex::new(Watch::new(read(), built_at(option_env!("SQUIRE_BUILT")))));

/// What time it is.
pub(in crate::service) fn now() -> DateTime<Utc> {
    read().wall
}

/// What ends of pauses are held against: after a jump forward, the time without it, until the clock is trusted again. So
/// a jump that is taken back has ended nothing.
pub(in crate::service) fn not_ahead() -> DateTime<Utc> {
    let (watch, reading) = looked();
    watch.not_ahead(reading)
}

/// Why nothing may be removed from a target now, if nothing may.
pub(in crate::service) fn distrust(target: &str) -> Option<Distrust> {
    let (watch, reading) = looked();
    watch.distrust(target, reading)
}

/// How often the clock has jumped, and whether it is trusted.
pub(super) fn steadiness() -> (u64, bool) {
    let (watch, reading) = looked();
    (watch.jumps(), watch.is_steady(reading))
}

/// How often the clock has jumped.
pub(in crate::service) fn jumps() -> u64 {
    looked().0.jumps()
}

/// What is cancelled when the clock jumps next: a removal by age must not go on.
pub(in crate::service) fn steady_until() -> CancellationToken {
    looked().0.steady_until()
}

/// A store with a clock of its own says what time it is. Where it agrees, things may be removed from that target.
pub(in crate::service) fn compare(target: &str, store: DateTime<Utc>) {
    let (mut watch, reading) = looked();
    if watch.compare(target, store, reading) {
        tracing::info!(target_name = %target, "the store's clock agrees with this machine's: what is old is removed from this target again");
    }
}

/// The watch, after a reading of the clocks.
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
