//! Which indexes of a table to bring up to date, and how: by appending a delta, or by merging all segments.
//!
//! A search reads rows that are outside an index one by one, and asks every segment of it. So rows are taken in often,
//! as one more segment, at a cost that goes with their number; and segments are merged rarely, because a merge costs as
//! much as the whole index. A merge is due when there are too many segments and they hold enough rows to pay for it.
//!
//! Clients before [`READS_SEGMENTS`] know several segments of vector indexes alone. As long as there may be such a client,
//! every other index has one segment: what is outside is merged, when it is a share of the table that is worth it. Where a client
//! before [`MERGES_VECTOR_SEGMENTS`] is known, vector indexes have one, too.

use std::{collections::BTreeSet, fmt, time::Duration};

use chrono::{DateTime, Utc};

use super::statistics::{
    FragmentStats, IndexRefusal, IndexStats, MissingIndex, TableStats, Unmovable,
};
use super::{
    clients::{FOLLOWS_ROW_IDS, LanceVersion, MERGES_VECTOR_SEGMENTS, READS_SEGMENTS},
    compaction::FILE_BYTES,
    skip_class::SkipClass,
};

/// A merge pays when the segments after the first hold this share of the table's rows, at least.
const MERGE_PAYS: f64 = 0.1;
/// What an index notes of a row beside its value.
const ROW_ID_BYTES: u64 = 8;
/// With this many times the segments of the policy, an index is merged, whether it pays or not.
const TOO_MANY: usize = 4;
/// An index that has to have one segment is merged for no smaller share of the table's rows than this.
const LEAST_SHARE: f64 = 0.02;

/// When the indexes of a table are kept up.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexPolicy {
    /// Whether indexes are kept up at all.
    pub enabled: bool,
    /// Never again on one table before this has passed, forced or not.
    pub interval_floor: Duration,
    /// The number of rows outside an index that makes it due.
    pub max_unindexed_rows: u64,
    /// The bytes of rows outside an index that make it due, when the rows are at least `min_unindexed_rows`.
    pub max_unindexed_bytes: u64,
    /// A larger share of rows outside an index, 0 to 1, makes it due, when they are `min_unindexed_rows` at least.
    pub max_unindexed_fraction: f64,
    /// Fewer rows outside an index than this are never a reason: a search reads them in no time.
    pub min_unindexed_rows: u64,
    /// With more segments than this, an index is merged into one. An index of a large table that takes few rows in at a
    /// time may have up to four times as many, until a merge pays.
    pub max_segments: usize,
    /// The oldest client of the table; nothing when it is to be found from who writes it.
    pub oldest_client: Option<LanceVersion>,
}

impl Default for IndexPolicy {
    fn default() -> Self {
        Self {
            enabled: true,
            interval_floor: Duration::from_secs(30),
            max_unindexed_rows: 100_000,
            max_unindexed_bytes: 256 << 20,
            max_unindexed_fraction: 0.1,
            min_unindexed_rows: 1_000,
            max_segments: 8,
            oldest_client: None,
        }
    }
}

/// What to do about one index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Index what is outside as one more segment.
    Append(String),
    /// Index what is outside, and merge all segments into one.
    Merge(String),
    /// Build a declared index on this column.
    Create(String),
}

impl Task {
    /// The index, or the column that is to have one.
    pub fn subject(&self) -> &str {
        match self {
            Self::Append(name) | Self::Merge(name) | Self::Create(name) => name,
        }
    }
}

/// What the planner says of a table's indexes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Do this, because of the most pressing reason.
    Index(Vec<Task>, Reason),
    /// Leave them alone, because of this.
    Skip(Skip),
}

/// Why a table's indexes are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A declared index is not there.
    Missing,
    /// More rows than allowed are outside an index, by number.
    UnindexedRows,
    /// More rows than allowed are outside an index, by bytes.
    UnindexedBytes,
    /// More rows than allowed are outside an index, by share.
    UnindexedFraction,
    /// An index has too many segments.
    Segments,
    /// A user or the cron asked for it: thresholds do not count.
    Forced,
}

impl Reason {
    /// The reason as logs, metrics and the status spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing_index",
            Self::UnindexedRows => "unindexed_rows",
            Self::UnindexedBytes => "unindexed_bytes",
            Self::UnindexedFraction => "unindexed_fraction",
            Self::Segments => "segments",
            Self::Forced => "forced",
        }
    }
}

/// Why a table's indexes are left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Skip {
    /// It has none, and none is declared.
    NoIndex,
    /// Every row is in every index.
    Covered,
    /// Few rows are outside, and the segments are few.
    BelowThreshold,
    /// The declared indexes that are not there cannot be built yet.
    Blocked,
    /// What is due could not be done when it was tried last, and is not tried again yet: the statistics tell why.
    Refused,
    /// What is due would be written in a format that the table's oldest client does not read.
    ClientTooOld,
    /// What is due is of a format that this build cannot extend: made by a very old Lance, or by a newer one.
    IndexUnreadable,
    /// Lance or the store would refuse every commit of this build: the statistics tell why.
    Unwritable,
    /// What is due would read files outside of the target, where it allows nothing.
    BaseOutside,
}

impl Skip {
    /// The reason as logs, metrics and the status spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoIndex => "no_index",
            Self::Covered => "covered",
            Self::BelowThreshold => "below_threshold",
            Self::Blocked => "blocked",
            Self::Refused => "refused",
            Self::ClientTooOld => "client_too_old",
            Self::IndexUnreadable => "index_unreadable",
            Self::Unwritable => "unwritable",
            Self::BaseOutside => "base_outside",
        }
    }

    /// What it means for health, alerts and schedules.
    pub(super) const fn class(self) -> SkipClass {
        match self {
            Self::NoIndex | Self::Covered | Self::BelowThreshold => SkipClass::Idle,
            Self::BaseOutside => SkipClass::Excluded,
            Self::Blocked
            | Self::Refused
            | Self::ClientTooOld
            | Self::IndexUnreadable
            | Self::Unwritable => SkipClass::Blocked,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Plans the upkeep of one table's indexes. `forced` leaves the thresholds aside: every row is taken in, every index
/// becomes one segment, and what was refused is tried again.
///
/// Once one index is due, rows outside the others are taken in as well: fragments that all indexes cover alike can be
/// merged later. One that is refused makes nothing due. One that could not be merged is extended all the same, unless it has
/// to have one segment.
pub fn plan(
    stats: &TableStats,
    policy: &IndexPolicy,
    now: DateTime<Utc>,
    forced: bool,
) -> Decision {
    if stats.unwritable.is_some() {
        return Decision::Skip(Skip::Unwritable);
    }
    let table = Size::of(stats);
    let clients = Clients::of(stats, policy);
    let one = clients.one();
    let rests = |refusal: &Option<IndexRefusal>| {
        !forced && refusal.as_ref().is_some_and(|refusal| refusal.holds(now))
    };
    let may_merge = |index: &IndexStats| !rests(&index.merge_refused);
    let is_due = |index: &IndexStats, merges: bool| {
        if forced {
            let due = index.unindexed_rows > 0 || index.segments > 1;
            due.then_some(Reason::Forced)
        } else {
            due(index, table, policy, one, merges)
        }
    };
    let to_build = stats.missing.iter().filter(|m| m.blocked.is_none());
    let (unbuildable, missing): (Vec<&MissingIndex>, Vec<_>) =
        to_build.partition(|m| rests(&m.refused));
    let (left, extendable): (Vec<&IndexStats>, Vec<_>) = stats
        .indexes
        .iter()
        .partition(|i| clients.hindrance(i).is_some());
    let (unextendable, indexes): (Vec<&IndexStats>, Vec<_>) = extendable
        .into_iter()
        .partition(|i| rests(&i.refused) || (one.is(i) && !may_merge(i)));
    let mut reasons: Vec<_> = missing.iter().map(|_| Reason::Missing).collect();
    let due_now = |index: &&IndexStats| is_due(index, may_merge(index));
    reasons.extend(indexes.iter().filter_map(due_now));
    let Some(reason) = reasons.into_iter().min_by_key(pressing) else {
        let any_due = |indexes: &[&IndexStats]| indexes.iter().any(|i| is_due(i, true).is_some());
        // Of those that may be extended, what is due is a merge that is refused.
        let refused = !unbuildable.is_empty() || any_due(&unextendable) || any_due(&indexes);
        return Decision::Skip(if refused {
            Skip::Refused
        } else {
            let left = left.iter().filter(|i| is_due(i, true).is_some());
            let mut hindered = left.filter_map(|i| clients.hindrance(i));
            hindered.next().unwrap_or_else(|| skip(stats))
        });
    };
    let created = missing.iter().map(|m| Task::Create(m.column.clone()));
    let mut tasks: Vec<_> = created.collect();
    for index in indexes {
        let outside = index.unindexed_rows > 0;
        let merges = if one.is(index) {
            index.segments > 1 || (outside && (forced || due_now(&index).is_some()))
        } else if forced {
            index.segments > 1
        } else {
            may_merge(index) && merge_is_due(index, table, policy)
        };
        if merges {
            tasks.push(Task::Merge(index.name.clone()));
        } else if outside && !one.is(index) {
            tasks.push(Task::Append(index.name.clone()));
        }
    }
    Decision::Index(tasks, reason)
}

/// The indexes that have to have one segment, for the table's oldest client. Where no merge is possible, they stay as they
/// are: nothing may be put beside them.
pub fn in_one_segment(stats: &TableStats, policy: &IndexPolicy) -> BTreeSet<String> {
    let one = Clients::of(stats, policy).one();
    let indexes = stats.indexes.iter().filter(|index| one.is(index));
    indexes.map(|index| index.name.clone()).collect()
}

/// The indexes that have rows outside and are left alone for their format, with the reason.
pub fn left_behind<'s>(
    stats: &'s TableStats,
    policy: &IndexPolicy,
) -> impl Iterator<Item = (&'s IndexStats, Skip)> {
    let clients = Clients::of(stats, policy);
    let outside = stats.indexes.iter().filter(|i| i.unindexed_rows > 0);
    outside.filter_map(move |index| Some((index, clients.hindrance(index)?)))
}

/// What is known of a table's clients.
#[derive(Clone, Copy)]
struct Clients {
    /// The oldest; one that is assumed when none is known.
    oldest: LanceVersion,
    /// The oldest that is configured, or that was seen to write.
    known: Option<LanceVersion>,
    /// The oldest of those that change rows; `None` where only Squire was seen to.
    writes: Option<LanceVersion>,
}

impl Clients {
    fn of(stats: &TableStats, policy: &IndexPolicy) -> Self {
        Self {
            oldest: stats.oldest_reader(policy.oldest_client),
            known: policy.oldest_client.or(stats.oldest_writer),
            writes: stats.oldest_row_writer(policy.oldest_client),
        }
    }

    /// Why an index may not be extended at all, because of its format and the oldest client; nothing when it may.
    fn hindrance(self, index: &IndexStats) -> Option<Skip> {
        let loses_rows =
            index.row_ids && self.writes.is_some_and(|oldest| oldest < FOLLOWS_ROW_IDS);
        let is_newer = index.needs.is_some_and(|needs| needs > self.oldest);
        if index.unmovable == Some(Unmovable::Outside) {
            Some(Skip::BaseOutside)
        } else if index.unmovable.is_some() {
            Some(Skip::IndexUnreadable)
        } else if is_newer || loses_rows {
            Some(Skip::ClientTooOld)
        } else {
            None
        }
    }

    /// Which indexes have to have one segment.
    fn one(self) -> One {
        One {
            scalar: self.oldest < READS_SEGMENTS,
            // One that is assumed is no reason to merge vectors: that is the most expensive, and it is few clients that need it.
            vector: self
                .known
                .is_some_and(|oldest| oldest < MERGES_VECTOR_SEGMENTS),
        }
    }
}

/// Which indexes have to have one segment, as the oldest client knows no more.
#[derive(Clone, Copy)]
struct One {
    scalar: bool,
    vector: bool,
}

impl One {
    fn is(self, index: &IndexStats) -> bool {
        if index.vector {
            self.vector
        } else {
            self.scalar
        }
    }
}

/// Why an index is due; nothing when it is not.
fn due(
    index: &IndexStats,
    table: Size,
    policy: &IndexPolicy,
    one: One,
    may_merge: bool,
) -> Option<Reason> {
    let outside = index.unindexed_rows;
    let one = one.is(index);
    if one && index.segments > 1 {
        return Some(Reason::Segments);
    }
    let pays = !one || share(outside, table.rows) >= LEAST_SHARE;
    let many = pays && outside >= policy.min_unindexed_rows.max(1);
    if pays && outside >= policy.max_unindexed_rows.max(1) {
        Some(Reason::UnindexedRows)
    } else if many && table.outside(index) >= policy.max_unindexed_bytes {
        Some(Reason::UnindexedBytes)
    } else if many && share(outside, table.rows) > policy.max_unindexed_fraction {
        Some(Reason::UnindexedFraction)
    } else if !one && may_merge && merge_is_due(index, table, policy) {
        Some(Reason::Segments)
    } else {
        None
    }
}

/// Whether an index has too many segments, and a merge pays: what was taken in since the last one is a part of the
/// table that is worth it, by what makes rows due at the table's size.
fn merge_is_due(index: &IndexStats, table: Size, policy: &IndexPolicy) -> bool {
    if index.segments <= policy.max_segments.max(1) {
        return false;
    }
    let whole = table.under_an_index(table.rows, index.value_bytes);
    let by_bytes = scaled(table.rows, share(policy.max_unindexed_bytes, whole));
    let by_share = scaled(table.rows, policy.max_unindexed_fraction);
    let in_each = by_share.min(by_bytes).max(policy.min_unindexed_rows);
    let taken_in = policy
        .max_unindexed_rows
        .min(in_each)
        .saturating_mul(index.segments as u64 - 1);
    share(taken_in, table.rows) >= MERGE_PAYS
        || index.segments > policy.max_segments.saturating_mul(TOO_MANY)
}

/// What a task is expected to cost, and to spare every later search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Work {
    pub(super) bytes: u64,
    pub(super) saved: u64,
}

/// Estimates a task.
pub(super) fn work(task: &Task, stats: &TableStats) -> Work {
    let table = Size::of(stats);
    let index_of = |name: &String| stats.indexes.iter().find(|index| index.name == *name);
    let outside = |name| index_of(name).map_or(0, |index| table.outside(index));
    match task {
        Task::Create(column) => {
            let missing = stats.missing.iter().find(|m| m.column == *column);
            let bytes = table.under_an_index(table.rows, missing.and_then(|m| m.value_bytes));
            Work {
                bytes,
                saved: bytes,
            }
        }
        Task::Append(name) => Work {
            bytes: outside(name),
            saved: outside(name),
        },
        Task::Merge(name) => {
            let index = index_of(name);
            let fewer = index.map_or(0, |index| index.segments.saturating_sub(1));
            Work {
                bytes: table.under_an_index(table.rows, index.and_then(|index| index.value_bytes)),
                saved: FILE_BYTES
                    .saturating_mul(fewer as u64)
                    .saturating_add(outside(name)),
            }
        }
    }
}

/// How large a table is, in what is not deleted.
#[derive(Clone, Copy)]
struct Size {
    rows: u64,
    bytes: u64,
}

impl Size {
    fn of(stats: &TableStats) -> Self {
        Self {
            rows: stats.rows(),
            bytes: stats.fragments.iter().map(FragmentStats::live_bytes).sum(),
        }
    }

    /// Bytes of a number of rows as an index holds them: values and row ids, where the values are of one size. Of others, as
    /// texts, the manifest does not tell how large they are: they are taken for the whole rows.
    fn under_an_index(self, rows: u64, value_bytes: Option<u64>) -> u64 {
        let whole = scaled(self.bytes, share(rows, self.rows).min(1.0));
        let known =
            value_bytes.map(|value| rows.saturating_mul(value.saturating_add(ROW_ID_BYTES)));
        known.map_or(whole, |known| known.min(whole))
    }

    /// Bytes of the rows outside an index.
    fn outside(self, index: &IndexStats) -> u64 {
        self.under_an_index(index.unindexed_rows, index.value_bytes)
    }
}

fn skip(stats: &TableStats) -> Skip {
    if stats.missing.iter().any(|m| m.blocked.is_some()) {
        Skip::Blocked
    } else if stats.indexes.is_empty() {
        Skip::NoIndex
    } else if stats.indexes.iter().all(|index| index.unindexed_rows == 0) {
        Skip::Covered
    } else {
        Skip::BelowThreshold
    }
}

/// The most pressing first.
fn pressing(reason: &Reason) -> u8 {
    match reason {
        Reason::Missing => 0,
        Reason::Forced => 1,
        Reason::UnindexedRows => 2,
        Reason::UnindexedBytes => 3,
        Reason::UnindexedFraction => 4,
        Reason::Segments => 5,
    }
}

#[allow(clippy::cast_precision_loss)]
fn share(part: u64, of: u64) -> f64 {
    part as f64 / of.max(1) as f64
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]
fn scaled(rows: u64, by: f64) -> u64 {
    (rows as f64 * by) as u64
}

#[cfg(test)]
#[path = "indexing_tests.rs"]
mod tests;
