//! What a graph promises its readers: every manifest that is kept can be read in full, whatever is cleaned up.

use std::collections::{BTreeMap, btree_map::Entry};

use lance::dataset::builder::DatasetBuilder;

use crate::{fingerprint::Fingerprint, place::Place};

/// The rows of every table at every pin, as they were read once.
#[derive(Clone, Debug)]
pub struct Promise {
    seen: BTreeMap<(String, u64), Fingerprint>,
}

impl Promise {
    /// Reads whatever a manifest that is kept pins.
    pub async fn of(place: &Place) -> Self {
        let mut seen = BTreeMap::new();
        let manifests = place.manifests().await;
        let collected_below = manifests.last().map_or(0, |newest| newest.collected_below);
        let kept = manifests.iter().filter(|m| m.number >= collected_below);
        for entry in kept.flat_map(|m| m.tables.values()) {
            let version = (entry.path.clone(), entry.pin);
            if let Entry::Vacant(unread) = seen.entry(version) {
                unread.insert(read(place, &entry.path, entry.pin).await);
            }
        }
        Self { seen }
    }

    /// Reads it all again: what is still kept holds the rows that it held.
    ///
    /// # Panics
    /// When it does not.
    pub async fn holds(&self, place: &Place) {
        for (version, rows) in Self::of(place).await.seen {
            let before = self.seen.get(&version);
            assert!(
                before.is_none_or(|before| *before == rows),
                "{version:?} has other rows"
            );
        }
    }

    /// How many versions of tables it is about.
    pub fn versions(&self) -> usize {
        self.seen.len()
    }
}

/// Every row of a version, as a program reads it that has nothing of it in memory.
async fn read(place: &Place, path: &str, version: u64) -> Fingerprint {
    let dataset = DatasetBuilder::from_uri(format!("{}/{path}", place.lance_uri()))
        .with_version(version)
        .load()
        .await
        .unwrap_or_else(|e| panic!("version {version} of {path} is promised: {e}"));
    let rows = Fingerprint::of(&dataset).await;
    rows.unwrap_or_else(|e| panic!("version {version} of {path} is promised in full: {e}"))
}
