//! A plain Lance table as anybody sees it, without Squire's own reading of it.

use std::{io, path::Path};

use lance::{Dataset, index::DatasetIndexExt};
use lance_table::format::Fragment;

/// A table at its newest version.
#[derive(Clone, Copy, Debug, Default)]
pub struct Look {
    /// The version.
    pub version: u64,
    /// Fragments.
    pub fragments: usize,
    /// Live rows.
    pub rows: usize,
    /// Rows that are deleted but still in files.
    pub deleted: usize,
    /// Live rows in fragments that some index does not cover; the most of any index.
    pub unindexed: usize,
}

impl Look {
    /// Looks at an open table.
    ///
    /// # Errors
    /// Lance's, when the list of indexes cannot be read.
    pub async fn at(dataset: &Dataset) -> lance::Result<Self> {
        let fragments = &dataset.manifest().fragments;
        let deleted = |f: &Fragment| {
            let file = f.deletion_file.as_ref();
            file.and_then(|file| file.num_deleted_rows).unwrap_or(0)
        };
        let live = |f: &Fragment| f.physical_rows.unwrap_or(0).saturating_sub(deleted(f));
        let indexes = dataset.load_indices().await?;
        let outside = |name: &str| {
            let segments = indexes.iter().filter(|segment| segment.name == name);
            let covered = |f: &&Fragment| {
                u32::try_from(f.id).is_ok_and(|id| {
                    let mut bitmaps = segments.clone().filter_map(|s| s.fragment_bitmap.as_ref());
                    bitmaps.any(|bitmap| bitmap.contains(id))
                })
            };
            fragments.iter().filter(|f| !covered(f)).map(live).sum()
        };
        Ok(Self {
            version: dataset.manifest().version,
            fragments: fragments.len(),
            rows: fragments.iter().map(live).sum(),
            deleted: fragments.iter().map(deleted).sum(),
            unindexed: indexes
                .iter()
                .map(|index| outside(&index.name))
                .max()
                .unwrap_or(0),
        })
    }
}

/// Bytes of all files below a folder. Files that go away meanwhile do not count.
///
/// # Errors
/// When the folder cannot be read.
pub fn disk(folder: &Path) -> io::Result<u64> {
    let gone = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound => Ok(0),
        _ => Err(e),
    };
    let mut bytes = 0;
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) => return gone(e),
    };
    for entry in entries {
        let entry = entry?;
        bytes += match entry.file_type() {
            Ok(kind) if kind.is_dir() => disk(&entry.path())?,
            Ok(_) => entry.metadata().map(|m| m.len()).or_else(gone)?,
            Err(e) => gone(e)?,
        };
    }
    Ok(bytes)
}
