//! Files as stores describe objects, and threads that may wait for them.

use std::path::{Path as FsPath, PathBuf};

use chrono::{DateTime, Utc};
use object_store::{ObjectMeta, path::Path};
use rustix::fs::Stat;

use super::{
    access_denied::generic,
    beneath::Boundary,
    passed_over::{Passed, pass_over},
};

/// The last second of the year 9999. Later times, and those of before our era, are no times.
pub(super) const LAST: i64 = 253_402_300_799;
const FIRST: i64 = -62_135_596_800;

/// The path on the disk of a path on the store.
pub(super) fn on_disk(location: &Path) -> PathBuf {
    FsPath::new("/").join(location.as_ref())
}

/// A file, as stores describe objects.
pub(super) fn meta(boundary: &Boundary, stat: &Stat, location: Path) -> ObjectMeta {
    let last_modified = time(stat).unwrap_or_else(|| {
        pass_over(boundary, &on_disk(&location), Passed::Time);
        DateTime::from_timestamp(LAST, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
    });
    ObjectMeta {
        location,
        last_modified,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        e_tag: Some(e_tag(stat)),
        version: None,
    }
}

#[allow(clippy::unnecessary_cast)]
fn time(stat: &Stat) -> Option<DateTime<Utc>> {
    let seconds = stat.st_mtime as i64;
    let nanos = u32::try_from(stat.st_mtime_nsec).ok()?;
    let known = (FIRST..=LAST).contains(&seconds);
    DateTime::from_timestamp(seconds, nanos).filter(|_| known)
}

/// What tells one state of a file from another: its number, its time in microseconds, its size.
#[allow(clippy::unnecessary_cast)]
pub(super) fn e_tag(stat: &Stat) -> String {
    let (seconds, nanos) = (stat.st_mtime as i128, stat.st_mtime_nsec as i128);
    let micros = (seconds * 1_000_000 + nanos / 1_000).max(0);
    let (number, size) = (stat.st_ino, stat.st_size);
    format!("\"{number:x}-{micros:x}-{size:x}\"")
}

/// Waits for the disk on a thread that may.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> object_store::Result<T> + Send + 'static,
) -> object_store::Result<T> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => runtime.spawn_blocking(work).await.map_err(generic)?,
        Err(_) => work(),
    }
}
