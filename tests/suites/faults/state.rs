//! What readers of a graph see, manifest by manifest.

use std::collections::{BTreeMap, HashMap};

use arrow::datatypes::Schema as ArrowSchema;
use lance::dataset::builder::DatasetBuilder;
use squire_engine::{IndexStats, TableKey, TableStats, manifest::Manifest};
use squire_tests::{fingerprint::Fingerprint, place::Place};

/// All tables of one snapshot.
pub(crate) type State = BTreeMap<TableKey, Seen>;

/// One table, at one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    fields: ArrowSchema,
    rows: Fingerprint,
    fragments: usize,
    /// Rows outside of each index.
    indexes: BTreeMap<String, u64>,
}

/// Looks at each version of a table once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reader {
    seen: HashMap<(String, u64), Seen>,
}

impl Reader {
    /// What a reader of this manifest sees.
    pub(crate) async fn look(&mut self, place: &Place, manifest: &Manifest) -> State {
        let mut state = State::new();
        for (key, entry) in &manifest.tables {
            let version = (entry.path.clone(), entry.pin);
            let seen = match self.seen.get(&version) {
                Some(seen) => seen.clone(),
                None => look_at(place, &entry.path, entry.pin).await,
            };
            self.seen.insert(version, seen.clone());
            state.insert(key.clone(), seen);
        }
        state
    }
}

async fn look_at(place: &Place, path: &str, version: u64) -> Seen {
    let dataset = DatasetBuilder::from_uri(format!("{}/{path}", place.lance_uri()))
        .with_version(version)
        .load()
        .await
        .unwrap_or_else(|e| panic!("version {version} of {path} is published: {e}"));
    let stats = TableStats::read(&dataset).await.unwrap();
    let outside = |i: IndexStats| (i.name, i.unindexed_rows);
    Seen {
        indexes: stats.indexes.into_iter().map(outside).collect(),
        fields: ArrowSchema::from(dataset.schema()),
        rows: Fingerprint::of(&dataset).await.unwrap(),
        fragments: dataset.manifest().fragments.len(),
    }
}
