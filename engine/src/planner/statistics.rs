//! The statistics that the planner decides by: plain data. How they are read from a table is in `table/stats.rs`.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::clients::{CREATES_ON_S3, LanceVersion, UNKNOWN_CLIENT};

/// One fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FragmentStats {
    /// Lance's id of it.
    pub id: u64,
    /// Rows in its files, deleted ones included.
    pub rows: u64,
    /// Deleted rows.
    pub deleted: u64,
    /// Bytes of its data files, and of large values beside them, as far as they are known.
    pub bytes: u64,
    /// Those of them that the store was asked for, as the manifest does not tell them.
    #[serde(default)]
    pub measured: u64,
    /// Its writer left no record of its rows, or the size of a file of it is not known yet: `rows` and `bytes` are too few.
    #[serde(default)]
    pub unmeasured: bool,
    /// Which indexes cover it, as a number that fragments covered alike share. Only those may become one: Lance
    /// follows an index to a rewritten fragment as a whole or not at all. What it means for a rewrite is in
    /// [`TableStats::coverages`].
    #[serde(default)]
    pub coverage: u32,
    /// Why it is left out of compactions, as far as this process has tried; nothing when it is not.
    #[serde(default)]
    pub refused: Option<RewriteRefusal>,
}

/// Why fragments are left out of compactions. The worse comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RewriteRefusal {
    /// Files of them lie outside of the target, in a place that it does not allow.
    Outside,
    /// What was made of them could not be read back.
    Unreadable,
    /// Lance or the store would not have what was made of them.
    Refused,
    /// They could not be rewritten.
    Failed,
    /// They have a row that is too large to be rewritten within the memory that there is.
    RowTooLarge,
}

/// Why no rewrite may move the rows of fragments under a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unmovable {
    /// Files that have to be read for it lie outside of the target, in a place that it does not allow.
    Outside,
    /// This build does not know its kind, or its version.
    Unreadable,
    /// Lance cannot write it for the rows' new places.
    Unsupported,
    /// That was tried, and failed because of this.
    Failed(String),
}

/// A segment of an index that holds addresses of rows: a rewrite of a fragment under it rewrites it as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentStats {
    /// The name of its index.
    pub index: String,
    /// Bytes of its files.
    pub bytes: u64,
    /// Why it would lose the rows; nothing when it is written anew with their new addresses.
    pub unmovable: Option<Unmovable>,
    /// The oldest Lance that reads it once it is written anew, where older ones read it as it is.
    pub needs: Option<LanceVersion>,
}

impl FragmentStats {
    /// Bytes that a rewrite would leave, by the share of live rows.
    pub fn live_bytes(&self) -> u64 {
        if self.rows == 0 {
            return 0;
        }
        let live = u128::from(self.bytes) * u128::from(self.rows - self.deleted.min(self.rows));
        u64::try_from(live / u128::from(self.rows)).unwrap_or(u64::MAX)
    }

    /// The share of deleted rows, 0 to 1.
    #[allow(clippy::cast_precision_loss)]
    pub fn deleted_fraction(&self) -> f64 {
        if self.rows == 0 {
            0.0
        } else {
            self.deleted as f64 / self.rows as f64
        }
    }
}

/// One index: all segments (deltas) under one name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexStats {
    /// Its name.
    pub name: String,
    /// What it indexes, as paths of columns.
    pub columns: Vec<String>,
    /// How many segments it has: each optimisation that appends adds one, and searches ask all of them.
    pub segments: usize,
    /// Live rows in fragments that no segment covers.
    pub unindexed_rows: u64,
    /// Fragments that no segment covers.
    pub unindexed_fragments: usize,
    /// Bytes of a value of its column, when all values have the same size.
    #[serde(default)]
    pub value_bytes: Option<u64>,
    /// Whether it finds nearest neighbours. Such an index may have several segments for every client.
    #[serde(default)]
    pub vector: bool,
    /// Whether it holds ids of rows, which stay when the rows move, and no addresses.
    #[serde(default)]
    pub row_ids: bool,
    /// Why it cannot be extended at all.
    #[serde(default)]
    pub unmovable: Option<Unmovable>,
    /// The oldest Lance that reads it once it is extended, where older ones read it as it is.
    #[serde(default)]
    pub needs: Option<LanceVersion>,
    /// Why it could not be extended when that was tried last; nothing when it could, or may be tried again.
    #[serde(default)]
    pub refused: Option<IndexRefusal>,
    /// The same of merging its segments into one. It may be extended all the same.
    #[serde(default)]
    pub merge_refused: Option<IndexRefusal>,
}

/// A declared index that the table does not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingIndex {
    /// What it is declared on.
    pub column: String,
    /// Its declared kind, in the schema's word.
    pub kind: String,
    /// Bytes of a value of the column, when all values have the same size.
    #[serde(default)]
    pub value_bytes: Option<u64>,
    /// Why it cannot be built yet; nothing when it can.
    pub blocked: Option<String>,
    /// Why it could not be built when that was tried last; nothing when it was not tried, or may be tried again.
    #[serde(default)]
    pub refused: Option<IndexRefusal>,
}

/// Why an index could not be built or extended, as far as this process has tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexRefusal {
    /// What was in the way.
    pub reason: String,
    /// When it may be tried again; nothing, when not before the table changes.
    pub until: Option<DateTime<Utc>>,
}

impl IndexRefusal {
    /// Whether it is not to be tried now.
    pub fn holds(&self, now: DateTime<Utc>) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// A table at one version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableStats {
    /// The version that this describes.
    pub version: u64,
    /// Its fragments, in the table's order.
    pub fragments: Vec<FragmentStats>,
    /// Its indexes, by name.
    #[serde(default)]
    pub indexes: Vec<IndexStats>,
    /// Segments of indexes that a rewrite of fragments under them has to do with.
    #[serde(default)]
    pub segments: Vec<SegmentStats>,
    /// For each number in [`FragmentStats::coverage`], the places in `segments` of those that cover the fragment.
    #[serde(default)]
    pub coverages: Vec<Vec<u32>>,
    /// Whether its rows keep their ids when they move.
    #[serde(default)]
    pub stable_row_ids: bool,
    /// The oldest Lance by which others wrote the versions that are there, as far as it is known.
    #[serde(default)]
    pub oldest_writer: Option<LanceVersion>,
    /// Declared indexes that are not there; for a table of a directory, none.
    #[serde(default)]
    pub missing: Vec<MissingIndex>,
    /// What was in the way of rewriting the fragments that are left out of compactions, once for each group of them.
    #[serde(default)]
    pub refusals: Vec<String>,
    /// Why this build commits nothing to it.
    #[serde(default)]
    pub unwritable: Option<Unwritable>,
}

/// A version of a table that is on the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionInfo {
    /// Its number.
    pub version: u64,
    /// When its object was written, by the store's clock.
    pub written: DateTime<Utc>,
}

impl TableStats {
    /// Whether it matters which clients read and write it.
    pub(crate) fn asks_for_clients(&self) -> bool {
        !self.indexes.is_empty() || !self.segments.is_empty() || self.stable_row_ids
    }

    /// The oldest client that reads the table: the configured one, else the oldest that was seen to write it, else
    /// [`UNKNOWN_CLIENT`].
    pub(super) fn oldest_reader(&self, configured: Option<LanceVersion>) -> LanceVersion {
        configured.or(self.oldest_writer).unwrap_or(UNKNOWN_CLIENT)
    }

    /// The oldest client beside Squire that changes rows of the table: the configured one, else the oldest that was seen
    /// to. `None` where none was seen, as in a graph, whose rows only Squire changes.
    pub(super) fn oldest_row_writer(
        &self,
        configured: Option<LanceVersion>,
    ) -> Option<LanceVersion> {
        self.oldest_writer.map(|seen| configured.unwrap_or(seen))
    }

    /// Live rows.
    pub fn rows(&self) -> u64 {
        self.fragments
            .iter()
            .map(|f| f.rows - f.deleted.min(f.rows))
            .sum()
    }

    /// Rows that are deleted but still in files.
    pub fn deleted_rows(&self) -> u64 {
        self.fragments.iter().map(|f| f.deleted).sum()
    }

    /// The segments that a rewrite of fragments with this coverage has to do with.
    pub fn segments_over(&self, coverage: u32) -> impl Iterator<Item = &SegmentStats> {
        let places = usize::try_from(coverage)
            .ok()
            .and_then(|class| self.coverages.get(class));
        let places = places.into_iter().flatten();
        places.filter_map(|place| self.segments.get(usize::try_from(*place).ok()?))
    }

    /// Bytes of data files, and of large values beside them.
    pub fn bytes(&self) -> u64 {
        self.fragments.iter().map(|f| f.bytes).sum()
    }
}

/// Why a build commits nothing to a table. Whatever it would write for it, Lance or the store would refuse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unwritable {
    /// A writer has to know features that this build does not know: Lance says which.
    Features(String),
    /// Two fragments have this id.
    FragmentTwice(u64),
    /// Its last writer commits without a condition: on this store it would write over a version that Squire commits.
    BlindWriter(LanceVersion),
    /// That was tried, and was refused because of this.
    Refused(String),
}

impl Unwritable {
    /// Decides by its last writer, on a store where only conditional puts keep two commits apart.
    pub(crate) fn by_writer(last: Option<LanceVersion>) -> Option<Self> {
        last.filter(|last| *last < CREATES_ON_S3)
            .map(Self::BlindWriter)
    }

    /// Whether not even old versions can be removed.
    pub(crate) fn keeps_versions(&self) -> bool {
        matches!(self, Self::Features(_))
    }
}

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Features(text) => {
                write!(f, "it was written by a newer Lance, upgrade Squire: {text}")
            }
            Self::FragmentTwice(id) => write!(
                f,
                "two of its fragments have the id {id}, so Lance refuses every commit: write the table anew, or restore a version without that"
            ),
            Self::BlindWriter(lance) => write!(
                f,
                "it was written last by Lance {lance}, which puts a version over whatever is there: it would take what Squire commits; upgrade its writers to lancedb 0.21 or newer"
            ),
            Self::Refused(reason) => f.write_str(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_that_puts_over_what_is_there_is_no_company_and_an_unknown_one_is() {
        let by = |major, minor| Unwritable::by_writer(Some(LanceVersion::new(major, minor)));
        assert!(by(0, 23).unwrap().to_string().contains("Lance 0.23"));
        assert_eq!(by(0, 24), None);
        assert_eq!(by(4, 0), None);
        assert_eq!(Unwritable::by_writer(None), None);
    }
}
