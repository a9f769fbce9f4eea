//! What a graph looks like on its store, for before and after.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use squire_engine::{Error, Graph, TableKey};

use crate::fingerprint::Fingerprint;

/// One table's layout at its pin.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// Live rows.
    pub rows: u64,
    /// Fragments.
    pub fragments: usize,
    /// Files that a reader of this version opens: data and deletions.
    pub files: usize,
    /// Bytes of the data files.
    pub bytes: u64,
    /// Deleted rows that are still in files.
    pub deleted: u64,
    /// Lance versions that are kept.
    pub versions: usize,
    /// How long a scan of every column took.
    pub scan: Duration,
    /// What the rows are.
    pub fingerprint: Fingerprint,
}

/// Measures every table of a graph in one snapshot.
///
/// # Errors
/// The engine's or Lance's, when a table cannot be read.
pub async fn measure(graph: &Graph) -> Result<BTreeMap<TableKey, Layout>, Error> {
    let snapshot = graph.snapshot().await?;
    let mut layouts = BTreeMap::new();
    for key in snapshot.manifest().tables.keys() {
        let dataset = snapshot.open(key).await?;
        let failed = |e: lance::Error| Error::Lance {
            action: "measuring",
            table: key.clone(),
            uri: graph.uri().to_owned(),
            source: Box::new(e),
        };
        let stats = snapshot.stats(key).await?;
        let fragments = &dataset.manifest().fragments;
        let files = |f: &lance_table::format::Fragment| {
            f.files.len() + usize::from(f.deletion_file.is_some())
        };
        let started = Instant::now();
        let fingerprint = Fingerprint::of(&dataset).await.map_err(failed)?;
        let layout = Layout {
            rows: stats.rows(),
            fragments: fragments.len(),
            files: fragments.iter().map(files).sum(),
            bytes: stats.bytes(),
            deleted: stats.deleted_rows(),
            versions: dataset.versions().await.map_err(failed)?.len(),
            scan: started.elapsed(),
            fingerprint,
        };
        layouts.insert(key.clone(), layout);
    }
    Ok(layouts)
}
