//! Write contention: which fragments writers touch just now.
//!
//! In a graph, a rewrite is lost when a writer deletes rows of one of its fragments before it has committed. In a
//! directory it is not, but a large fragment that is touched all the time will have as many deleted rows again soon:
//! rewriting it costs its bytes, and each time the writers that are under way repeat what they did. There it waits until the
//! deleted rows pay for that. Small ones cost next to nothing and are merged all the same.
//!
//! How likely a writer comes in between depends on two things: how often a fragment is touched, and how long a rewrite of
//! it takes, which is a matter of its bytes. On a table whose rows are deleted at random, every fragment is touched sooner
//! or later, the large ones first: there, the small ones may well be rewritten, and the large one must not be.
//!
//! Touches are counted from the statistics of two polls of a table: each touch is a version, and deletes at least a row. So of
//! one fragment there were at most as many touches as it has further deleted rows, and as the table has further
//! versions. What was counted is forgotten by half every [`HALF_LIFE`], so a fragment cools down by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::statistics::{FragmentStats, TableStats};

/// After this, half of the touches that were counted are forgotten.
pub const HALF_LIFE: Duration = Duration::from_secs(60);
/// A fragment is contended when writers would come in between a rewrite of it with a greater chance than this.
pub const MAX_CHANCE: f64 = 0.1;
/// The usual number of fragments that are rewritten together. Where a deletion in one of them discards the rewrite, the
/// work on all is lost.
pub const FRAGMENTS_PER_REWRITE: f64 = 8.0;
/// The seconds for which a fragment counts as quiet before it was seen: one touch proves little.
const PRIOR_QUIET_SECONDS: f64 = 10.0;
/// What a rewrite takes beside the bytes, and the bytes that it reads and writes in a second, until one was measured.
const OVERHEAD: Duration = Duration::from_millis(100);
const BYTES_PER_SECOND: f64 = 32.0 * 1024.0 * 1024.0;
/// A rewrite of fewer bytes says little about the speed.
const TELLING_BYTES: u64 = 1 << 20;

/// Where late deletions are rebased, a fragment of fewer bytes is never contended: to rewrite it costs less than to commit it.
pub const CHEAP_BYTES: u64 = 1 << 20;

/// What becomes of a rewrite when rows of its fragments are deleted before it has committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LateDeletes {
    /// The rewrite is discarded, as in a graph.
    Discard,
    /// The rewrite is rebased: they are deleted in the new fragments, too, as in a directory.
    Rebase,
}

/// How often writers touch the fragments of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Contention {
    version: u64,
    polled: Option<Duration>,
    fragments: BTreeMap<u64, Touched>,
    bytes_per_second: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Touched {
    deleted: u64,
    bytes: u64,
    since: Duration,
    /// Touches that are not forgotten, as of the last poll.
    touches: f64,
}

impl Default for Contention {
    fn default() -> Self {
        Self {
            version: 0,
            polled: None,
            fragments: BTreeMap::new(),
            bytes_per_second: BYTES_PER_SECOND,
        }
    }
}

impl Contention {
    /// Takes in the statistics of a poll. The same version says nothing; an older one, that the table was dropped and
    /// made anew.
    pub fn observe(&mut self, stats: &TableStats, now: Duration) {
        if self.polled.is_some() && stats.version == self.version {
            return;
        }
        if stats.version < self.version {
            self.fragments.clear();
        }
        let versions = stats.version.saturating_sub(self.version);
        let elapsed = now.saturating_sub(self.polled.unwrap_or(now));
        let seen = |f: &FragmentStats| {
            let before = self.fragments.get(&f.id);
            let further = before.map_or(0, |b| f.deleted.saturating_sub(b.deleted));
            let touches = before.map_or(0.0, |b| b.touches) * kept(elapsed)
                + count(further.min(versions)) * spread(elapsed);
            let touched = Touched {
                deleted: f.deleted,
                bytes: f.live_bytes(),
                since: before.map_or(now, |b| b.since),
                touches,
            };
            (f.id, touched)
        };
        self.fragments = stats.fragments.iter().map(seen).collect();
        self.version = stats.version;
        self.polled = Some(now);
    }

    /// A rewrite of the table took this long: the duration of the next is estimated by it.
    pub fn measured(&mut self, bytes: u64, took: Duration) {
        let seconds = took.saturating_sub(OVERHEAD).as_secs_f64();
        if bytes >= TELLING_BYTES && seconds > 0.0 {
            self.bytes_per_second = f64::midpoint(self.bytes_per_second, count(bytes) / seconds);
        }
    }

    /// The fragments to leave alone now.
    pub fn contended(&self, late: LateDeletes, now: Duration) -> BTreeSet<u64> {
        let is_contended = |touched: &Touched| match late {
            LateDeletes::Discard => self.chance(touched, FRAGMENTS_PER_REWRITE, now) > MAX_CHANCE,
            LateDeletes::Rebase => {
                touched.bytes >= CHEAP_BYTES && self.chance(touched, 1.0, now) > MAX_CHANCE
            }
        };
        let contended = self
            .fragments
            .iter()
            .filter(|(_, touched)| is_contended(touched));
        contended.map(|(id, _)| *id).collect()
    }

    /// The chance that writers touch one of `together` fragments like this one while they are rewritten together.
    fn chance(&self, touched: &Touched, together: f64, now: Duration) -> f64 {
        let elapsed = now.saturating_sub(self.polled.unwrap_or(now));
        let touches = touched.touches * kept(elapsed);
        // Seconds in which the remembered touches came, at an even rate.
        let seen = window(now.saturating_sub(touched.since)) + PRIOR_QUIET_SECONDS;
        let rate = touches / seen;
        let takes =
            OVERHEAD.as_secs_f64() + together * count(touched.bytes) / self.bytes_per_second;
        1.0 - (-rate * together * takes).exp()
    }
}

/// The share of touches that is not forgotten after this time.
fn kept(elapsed: Duration) -> f64 {
    (-elapsed.as_secs_f64() / HALF_LIFE.as_secs_f64()).exp2()
}

/// The weighted seconds of a span of time: the latest count in full, earlier ones in part.
fn window(elapsed: Duration) -> f64 {
    HALF_LIFE.as_secs_f64() / std::f64::consts::LN_2 * (1.0 - kept(elapsed))
}

/// The share that is left of touches that came evenly during this time, at its end.
fn spread(elapsed: Duration) -> f64 {
    if elapsed.is_zero() {
        1.0
    } else {
        window(elapsed) / elapsed.as_secs_f64()
    }
}

#[allow(clippy::cast_precision_loss)]
fn count(n: u64) -> f64 {
    n as f64
}

#[cfg(test)]
#[path = "contention_tests.rs"]
mod tests;
