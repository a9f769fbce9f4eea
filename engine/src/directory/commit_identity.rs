//! The files that an operation wrote for its table: they show what became of a commit.

use std::collections::BTreeSet;

use futures::future::join_all;
use lance::{Dataset, index::DatasetIndexExt};
use lance_table::format::Fragment;
use object_store::{ObjectStoreExt, path::Path};

use crate::table::{
    Table,
    commit::{AtHead, Passed},
    indexing::Segments,
};

/// Files that a transaction adds to a table, and that its operation alone has written: never one that a clone reads
/// from another table.
pub(super) struct AddedFiles(BTreeSet<String>);

impl AddedFiles {
    /// The data of new fragments.
    pub(super) fn data(fragments: &[Fragment]) -> Self {
        let files = fragments.iter().flat_map(|f| &f.files);
        Self(files.map(|file| format!("data/{}", file.path)).collect())
    }

    /// One file of each new segment of an index.
    pub(super) fn segments(segments: &Segments) -> Self {
        Self(segments.samples().collect())
    }

    /// Opens the newest version, to commit after it; nothing, when what was written is not there any more: the table was
    /// dropped, or another program took the files for left over. `passed` is the head of the last attempt.
    pub(super) async fn newest_of(
        &self,
        table: &Table,
        passed: Option<&Passed>,
    ) -> lance::Result<Option<AtHead>> {
        let at = async {
            match passed {
                Some(passed) => AtHead::newest_since(table, passed).await,
                None => AtHead::newest(table).await,
            }
        };
        let (at, whole) = tokio::join!(at, self.is_whole(table));
        let at = at?;
        Ok(whole.then_some(at))
    }

    /// Whether all of it is there. Where the store does not answer, it is.
    pub(super) async fn is_whole(&self, table: &Table) -> bool {
        let heads = self.0.iter().map(|file| async move {
            let found = table.storage.store.head(&below(table, file)).await;
            !matches!(found, Err(object_store::Error::NotFound { .. }))
        });
        join_all(heads).await.into_iter().all(|there| there)
    }

    /// Whether a version of the table has any of it.
    ///
    /// # Errors
    /// Lance's, when the list of indexes cannot be read.
    pub(super) async fn is_in(&self, dataset: &Dataset) -> lance::Result<bool> {
        let fragments = dataset.manifest().fragments.iter();
        let mut files = fragments.flat_map(|f| &f.files);
        if files.any(|file| self.0.contains(&format!("data/{}", file.path))) {
            return Ok(true);
        }
        let indexes = dataset.load_indices().await?;
        Ok(indexes.iter().any(|index| {
            let folder = format!("_indices/{}/", index.uuid);
            self.0.iter().any(|file| file.starts_with(&folder))
        }))
    }
}

fn below(table: &Table, file: &str) -> Path {
    let base = table.storage.table_base(&table.path);
    file.split('/').fold(base, |path, part| path.join(part))
}
