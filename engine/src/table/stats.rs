//! What a planner needs to know of a table, read from its Lance manifest alone: no further request.

use lance::{Dataset, index::DatasetIndexExt};
use serde::{Deserialize, Serialize};

/// One fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FragmentStats {
    /// Lance's id of it.
    pub id: u64,
    /// Rows in its files, deleted ones included.
    pub rows: u64,
    /// Deleted rows.
    pub deleted: u64,
    /// Bytes of its data files; of unknown files, 0.
    pub bytes: u64,
    /// Which indexes cover it, as a number that fragments covered alike share. Only those may become one: Lance
    /// follows an index to a rewritten fragment as a whole or not at all.
    #[serde(default)]
    pub coverage: u32,
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

/// A table at one version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableStats {
    /// The version that this describes.
    pub version: u64,
    /// Its fragments, in the table's order.
    pub fragments: Vec<FragmentStats>,
}

impl TableStats {
    /// Describes an open table. It costs a request only when the table has indexes.
    ///
    /// # Errors
    /// Lance's, when the list of indexes cannot be read.
    pub async fn read(dataset: &Dataset) -> lance::Result<Self> {
        let indexes = dataset.load_indices().await?;
        let mut coverages: Vec<Vec<bool>> = vec![vec![false; indexes.len()]];
        let mut coverage_of = |id: u64| {
            let covers = |index: &lance_table::format::IndexMetadata| {
                let bitmap = index.fragment_bitmap.as_ref();
                u32::try_from(id).is_ok_and(|id| bitmap.is_some_and(|b| b.contains(id)))
            };
            let coverage: Vec<_> = indexes.iter().map(covers).collect();
            let known = coverages.iter().position(|c| *c == coverage);
            let at = known.unwrap_or_else(|| {
                coverages.push(coverage);
                coverages.len() - 1
            });
            u32::try_from(at).unwrap_or(u32::MAX)
        };
        let manifest = dataset.manifest();
        let fragments = manifest.fragments.iter().map(|fragment| {
            let deletions = fragment.deletion_file.as_ref();
            let size = |file: &lance_table::format::DataFile| {
                file.file_size_bytes.get().map_or(0, std::num::NonZero::get)
            };
            FragmentStats {
                id: fragment.id,
                rows: fragment.physical_rows.unwrap_or(0) as u64,
                deleted: deletions.and_then(|d| d.num_deleted_rows).unwrap_or(0) as u64,
                bytes: fragment.files.iter().map(size).sum(),
                coverage: coverage_of(fragment.id),
            }
        });
        Ok(Self {
            version: manifest.version,
            fragments: fragments.collect(),
        })
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

    /// Bytes of data files.
    pub fn bytes(&self) -> u64 {
        self.fragments.iter().map(|f| f.bytes).sum()
    }
}
