//! Shallow clones: tables that have versions of their own and read the files of another table.
//!
//! Lance's cleanup of that other table knows nothing of them. It asks tags and branches alone, and would take away what
//! the clones read.

use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use lance_table::format::BasePath;
use object_store::path::Path;
use tokio::sync::Mutex;
use url::Url;

use super::discovery;
use crate::{
    error::Result,
    names::TableKey,
    table::{Table, drift::DriftPolicy},
};

/// So long at most it is believed which tables are clones of which.
const BELIEVED_FOR: Duration = Duration::from_secs(3600);
/// Tables that are read at once.
const AT_ONCE: usize = 8;

/// What is known of the clones under a root.
#[derive(Debug, Default)]
pub(super) struct Clones(Mutex<Option<(Instant, Vec<Reader>)>>);

/// A table, and a place outside of its own folder that it has files in.
#[derive(Debug)]
struct Reader {
    table: TableKey,
    reads: Path,
}

impl Clones {
    /// The tables under the root of this one that read files of it. A clone that was made since the last look reads what was
    /// the newest version then; that one has not gone as long as the look is younger than `keep_for`.
    ///
    /// # Errors
    /// [`crate::Error::Lance`], when another table cannot be opened: it may be a clone. [`crate::Error::Store`].
    pub(super) async fn of(&self, table: &Table, keep_for: Duration) -> Result<Vec<TableKey>> {
        let mut known = self.0.lock().await;
        let clones = match known.take() {
            Some((at, clones)) if at.elapsed() < BELIEVED_FOR.min(keep_for) => {
                known.insert((at, clones))
            }
            _ => known.insert((Instant::now(), all(table).await?)),
        };
        let base = table.storage.table_base(&table.path);
        let of_it = clones.1.iter().filter(|clone| {
            // A branch is a folder below, and so is the data.
            clone.table != table.key && clone.reads.prefix_matches(&base)
        });
        Ok(of_it.map(|clone| clone.table.clone()).collect())
    }
}

/// Every clone under the root: one list, and the newest version of each table.
async fn all(table: &Table) -> Result<Vec<Reader>> {
    let siblings = discovery::tables(&table.storage).await?;
    let read = siblings.into_iter().map(|key| {
        let sibling = Table {
            storage: table.storage.clone(),
            path: discovery::folder_of(&key),
            key,
            drift: DriftPolicy::Error,
        };
        async move { bases(&sibling).await }
    });
    let found: Vec<_> = stream::iter(read)
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    Ok(found.into_iter().flatten().collect())
}

async fn bases(table: &Table) -> Result<Vec<Reader>> {
    let dataset = match table.open_newest(table.storage.params()).await {
        Ok(dataset) => dataset,
        // It was dropped just now, or is only reserved.
        Err(lance::Error::DatasetNotFound { .. } | lance::Error::NotFound { .. }) => {
            return Ok(Vec::new());
        }
        Err(e) => return Err(table.failed("looking for clones at", e)),
    };
    let bases = dataset.manifest().base_paths.values();
    let reads = bases.filter_map(|base| path_of(table, base));
    let clones = reads.map(|reads| Reader {
        table: table.key.clone(),
        reads,
    });
    Ok(clones.collect())
}

/// Where it is on its store. That it may be another store makes no difference: then a table stays that could be cleaned.
fn path_of(table: &Table, base: &BasePath) -> Option<Path> {
    let path = base.extract_path(table.storage.session().store_registry());
    let by_url = || {
        let url = Url::parse(&base.path).ok()?;
        Path::from_url_path(url.path()).ok()
    };
    path.ok().or_else(by_url)
}
