//! Collection of old manifests: the log is cut off, and its objects are deleted.
//!
//! Outcomes live as long as the manifests that recorded them, so without collection every manifest would be larger
//! than the one before; and the pins of a manifest keep versions of tables for as long as it is kept.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt;

use crate::{
    error::Result,
    graph::{
        context::Core,
        manifest::{ChangeResult, Manifest, transition},
        manifest_retention::ManifestRetention,
    },
    ids::OperationId,
    storage::presence,
    table::versions::delta,
};

/// Beyond this many times the number to keep, manifests go however young they are: each has the outcomes of all.
const MAX_TIMES_KEPT: u64 = 10;

/// A daemon that did not show itself for this long does not collect.
const ABSENT: TimeDelta = TimeDelta::days(1);

/// Between which marks a collection may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Marks {
    /// Below this one, manifests go whatever their age: everything there is collected, or beyond the most.
    certain: u64,
    /// The least that is worth a collection, so that it is rare.
    least: u64,
    /// Everything from this one on stays for the number's sake.
    most: u64,
}

impl Marks {
    /// `None` when too few manifests have gathered.
    fn of(newest: &Manifest, retention: &ManifestRetention) -> Option<Self> {
        let keep = retention.keep_manifests;
        let kept_from = newest.collected_below.max(1);
        let marks = Self {
            certain: kept_from.max(
                newest
                    .number
                    .saturating_sub(keep.saturating_mul(MAX_TIMES_KEPT)),
            ),
            least: kept_from + (keep / 4).max(1),
            most: newest.number.saturating_sub(keep),
        };
        (marks.least <= marks.most).then_some(marks)
    }
}

/// Raises `collected_below` as far as retention allows, and deletes the objects below it. It acts only when a quarter
/// more than the number to keep has gathered, so that it is rare. Returns how many objects it deleted.
///
/// # Errors
/// [`crate::Error::Store`]; after [`crate::Error::OutcomeUnknown`] nothing was deleted.
pub(crate) async fn collect(core: &Core, retention: &ManifestRetention) -> Result<usize> {
    let newest = core.manifests.newest().await?;
    let Some(marks) = Marks::of(&newest, retention) else {
        return Ok(0);
    };
    let below = mark(core, marks, retention.keep_for).await?;
    if below < marks.least {
        return Ok(0);
    }
    let by = core.by("");
    let collected = core
        .manifests
        .change(OperationId::fresh(), move |m| {
            transition::collect(m, below.max(m.collected_below), &by)
        })
        .await?;
    match collected {
        // Only now does the mark count.
        ChangeResult::Holds(manifest) => {
            let deleted = core
                .manifests
                .delete_below(manifest.collected_below)
                .await?;
            tracing::info!(below = manifest.collected_below, deleted, uri = %core.storage.uri, "old manifests collected");
            Ok(deleted)
        }
        ChangeResult::Refused(_) => Ok(0),
    }
}

/// Collects in the background, where more than twice the number to keep has gathered and no daemon was here for a day. Without
/// this, a graph that no daemon keeps would grow for ever, and each operation would make the next one slower. It looks
/// once in a while: most calls cost nothing.
pub(crate) fn collect_in_passing(core: &Arc<Core>, newest: u64) {
    let collected = core.manifests.seen().map_or(0, |m| m.collected_below);
    let gathered = newest.saturating_sub(collected);
    let is_much = gathered > core.retention.keep_manifests.saturating_mul(2);
    if !is_much || !core.collection.is_due() {
        return;
    }
    let of = core.clone();
    let collecting = async move {
        if let Err(e) = collect_unless_kept(&of).await {
            tracing::debug!(uri = %of.storage.uri, error = %e, "old manifests stay for now");
        }
    };
    core.collection.began(tokio::spawn(collecting.boxed()));
}

/// Collects, unless a daemon was here within a day.
async fn collect_unless_kept(core: &Core) -> Result<usize> {
    let kept_since = core.heartbeat.store_clock().await? - ABSENT;
    if presence::is_kept(&core.storage, kept_since).await? {
        return Ok(0);
    }
    collect(core, &core.retention).await
}

/// The highest mark below which every manifest was superseded at least `keep_for` ago. The manifest at the mark superseded the last
/// of those below it, so its own time decides.
async fn mark(core: &Core, marks: Marks, keep_for: Duration) -> Result<u64> {
    if keep_for.is_zero() {
        return Ok(marks.most);
    }
    let old = async |number: u64, now: DateTime<Utc>| {
        let written = core.manifests.written(number).await?;
        // One that is gone was collected by another process.
        Ok::<_, crate::Error>(written.is_none_or(|written| now - written >= delta(keep_for)))
    };
    // Only where there may be something to collect, the store is asked what time it is.
    if marks.certain < marks.least && !old(marks.least, Utc::now()).await? {
        return Ok(marks.certain);
    }
    let now = core.heartbeat.store_clock().await?;
    // Manifests are written one after another: their times rise with their numbers.
    let (mut below, mut above) = (marks.certain, marks.most + 1);
    while above - below > 1 {
        let middle = below + (above - below) / 2;
        if old(middle, now).await? {
            below = middle;
        } else {
            above = middle;
        }
    }
    Ok(below)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn marks(number: u64, collected_below: u64, keep: u64) -> Option<Marks> {
        let mut newest = Manifest::first(Uuid::nil(), "ada", DateTime::UNIX_EPOCH);
        (newest.number, newest.collected_below) = (number, collected_below);
        Marks::of(&newest, &ManifestRetention::newest(keep))
    }

    #[test]
    fn a_collection_waits_until_a_quarter_more_than_the_number_has_gathered() {
        assert_eq!(marks(125, 0, 100), None);
        let due = Marks {
            certain: 1,
            least: 26,
            most: 26,
        };
        assert_eq!(marks(126, 0, 100), Some(due));
        assert_eq!(marks(126, 26, 100), None);
    }

    #[test]
    fn beyond_ten_times_the_number_age_is_not_asked() {
        let found = marks(5_000, 0, 100).unwrap();
        assert_eq!((found.certain, found.most), (4_000, 4_900));
        assert_eq!(marks(5_000, 4_500, 100).unwrap().certain, 4_500);
    }

    #[test]
    fn the_newest_manifest_always_stays() {
        assert_eq!(
            marks(1, 0, 0),
            Some(Marks {
                certain: 1,
                least: 2,
                most: 1
            })
            .filter(|m| m.least <= m.most)
        );
        assert_eq!(marks(2, 0, 0).unwrap().most, 2);
    }
}
