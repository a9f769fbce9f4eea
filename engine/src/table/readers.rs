//! Readers: tables under the root that read files of another table, or name its versions.
//!
//! A shallow clone has versions of its own and reads the files of the table that it was made of; a materialized view names
//! the version of its source that it was refreshed from. Lance's cleanup of that other table knows nothing of them.
//!
//! All tables are looked at right before versions are removed: one list for each table, and the newest manifest of those that
//! have changed since. What a table says is looked at by itself: one that cannot be read is asked by its earlier versions,
//! and else by whether its bytes name the table's folder.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use lance::Dataset;
use lance_table::io::commit::ManifestNamingScheme;
use object_store::ObjectStoreExt;
use tokio::sync::Mutex;

use super::{
    Table,
    handle::{guarded, whole},
    protection::Protection,
    references::{self, Folder},
    retention::Kept,
    stats::VersionInfo,
    versions,
};
use crate::{
    error::{Error, Result},
    ids::TableKey,
};

/// Maximum number of tables that are read at once.
const AT_ONCE: usize = 8;
/// Maximum number of versions that are tried, from the newest on, where the newest cannot be read.
const MAX_VERSIONS_TRIED: usize = 4;
/// Maximum size of an unreadable manifest that is searched, in bytes.
const MAX_SEARCHED_BYTES: u64 = 16 << 20;
/// What LanceDB calls the query of a materialized view, and the version of its source that it was refreshed from.
const VIEW: &str = "mv.definition";
const VIEW_OF: &str = "mv.source_version";
/// The version that a view is always of, in its definition.
const SNAPSHOT: &str = "\"dataset_version\":";

/// What is known of the tables under a root.
#[derive(Debug, Default)]
pub(crate) struct Readers(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    looked: Option<Instant>,
    tables: Siblings,
    /// Tables that cannot be read, and are in the log.
    reported: BTreeSet<(TableKey, u64)>,
}

type Siblings = BTreeMap<TableKey, Sibling>;

/// Another table under the root, at its newest version.
#[derive(Clone, Debug)]
struct Sibling {
    table: Table,
    newest: Option<VersionInfo>,
    says: Arc<Says>,
}

/// What a table says of others.
#[derive(Debug)]
enum Says {
    /// The URIs that it has files in, besides its own; and the view that it is.
    Readable {
        bases: Vec<String>,
        view: Option<View>,
    },
    /// None of its newest versions can be opened. These are their bytes.
    Torn { reason: String, bytes: Vec<Bytes> },
    /// It cannot be looked at.
    Silent { reason: String },
}

#[derive(Debug)]
struct View {
    definition: String,
    versions: BTreeSet<u64>,
}

impl Readers {
    /// Adds to what must stay of a table what other tables under its root read of it. Of versions, these are about to go;
    /// `list` gives the tables under the root that may read others.
    ///
    /// # Errors
    /// What `list` fails with; [`Error::Store`], [`Error::Lance`] and [`Error::Panicked`], when the table's own manifests
    /// cannot be read.
    pub(crate) async fn protect(
        &self,
        table: &Table,
        dataset: &Dataset,
        going: &BTreeSet<u64>,
        protection: &mut Protection,
        list: impl Future<Output = Result<Vec<Table>>>,
    ) -> Result<()> {
        let mut siblings = self.siblings(table, list).await?;
        siblings.retain(|_, sibling| sibling.table.path != table.path);
        let others = siblings.iter();
        let others = others.map(|(key, sibling)| (key.clone(), sibling.table.path.clone()));
        protection.keep_if_shared(table, others).await?;
        let folder = Folder::of(table).await;
        for (key, sibling) in &siblings {
            let unreadable = |reason: &str| Kept::Unreadable {
                table: key.clone(),
                reason: reason.to_owned(),
            };
            match &*sibling.says {
                Says::Readable { bases, view } => {
                    if folder.is_any_of(bases).await {
                        match references::by_clone(&sibling.table, &folder).await {
                            Ok(files) => {
                                let versions = protection.keep(table, dataset, files, going);
                                let versions = versions.await?;
                                if versions.as_ref().is_none_or(|some| !some.is_empty()) {
                                    let table = key.clone();
                                    protection.kept.push(Kept::Clone { table, versions });
                                }
                            }
                            Err(e) => {
                                protection.keep_all();
                                protection.kept.push(unreadable(&e.to_string()));
                            }
                        }
                    }
                    let view = view.as_ref().filter(|view| view.is_of(&table.key));
                    for &version in view.iter().flat_map(|view| &view.versions) {
                        protection.protected.versions.insert(version);
                        let view = key.clone();
                        protection.kept.push(Kept::View { view, version });
                    }
                }
                Says::Torn { reason, bytes } => {
                    if folder.is_in_any_of(bytes).await {
                        protection.keep_all();
                        protection.kept.push(unreadable(reason));
                    }
                }
                Says::Silent { reason } => {
                    protection.keep_all();
                    protection.kept.push(unreadable(reason));
                }
            }
        }
        Ok(())
    }

    /// Every table that `list` gives, by a read that began after this call did. Those that ask at once share one.
    async fn siblings(
        &self,
        table: &Table,
        list: impl Future<Output = Result<Vec<Table>>>,
    ) -> Result<Siblings> {
        let asked = Instant::now();
        let mut known = self.0.lock().await;
        if known.looked.is_none_or(|at| at < asked) {
            let began = Instant::now();
            let looks = list.await?.into_iter().map(|sibling| {
                let before = known.tables.get(&sibling.key).cloned();
                look(sibling, before)
            });
            let looks: Vec<_> = looks.collect();
            let looked = stream::iter(looks).buffer_unordered(AT_ONCE);
            let tables = looked.filter_map(std::future::ready);
            let tables = tables.map(|sibling| (sibling.table.key.clone(), sibling));
            known.tables = tables.collect().await;
            known.looked = Some(began);
            known.report(&table.storage.uri);
        }
        Ok(known.tables.clone())
    }
}

impl Known {
    /// Says in the log which tables cannot be read, once for each of their versions.
    fn report(&mut self, uri: &str) {
        let mut now = BTreeSet::new();
        for (table, sibling) in &self.tables {
            let (Says::Torn { reason, .. } | Says::Silent { reason }) = &*sibling.says else {
                continue;
            };
            let noted = (table.clone(), sibling.newest.map_or(0, |v| v.version));
            if !self.reported.contains(&noted) {
                tracing::warn!(%table, %uri, error = %reason, "a table cannot be read; what it may be a shallow clone of is not cleaned up until it is repaired or dropped");
            }
            now.insert(noted);
        }
        self.reported = now;
    }
}

impl View {
    /// Whether it may be a view of a table: its definition has the name.
    fn is_of(&self, table: &TableKey) -> bool {
        let name = table.name().rsplit('$').next().unwrap_or_default();
        self.definition.contains(name)
    }
}

/// Reads one table; what was known of it holds while its newest version is the same. Nothing of what is no table.
async fn look(table: Table, before: Option<Sibling>) -> Option<Sibling> {
    let of = |newest: Option<VersionInfo>, says: Says| {
        Some(Sibling {
            table: table.clone(),
            newest,
            says: Arc::new(says),
        })
    };
    let silent = |e: &Error| {
        let reason = e.to_string();
        of(None, Says::Silent { reason })
    };
    let newest = match versions::newest(&table, MAX_VERSIONS_TRIED).await {
        Ok(newest) => newest,
        // What is here may be behind what is newest; the places that a table reads from stay the same.
        Err(Error::ForeignCommits { .. }) => return of(None, foreign(&table).await),
        Err(e) => return silent(&e),
    };
    // It is only reserved, or was dropped just now.
    let first = *newest.first()?;
    let holds = |before: &Sibling| {
        before.newest == Some(first) && matches!(&*before.says, Says::Readable { .. })
    };
    if let Some(before) = before.filter(holds) {
        return Some(before);
    }
    let mut reason = None;
    for version in &newest {
        match open(&table, Some(version.version)).await {
            Ok(dataset) => return of(Some(first), said_by(&dataset)),
            Err(e) => _ = reason.get_or_insert(e),
        }
    }
    let reason = reason.map(|e| e.to_string()).unwrap_or_default();
    let mut bytes = Vec::new();
    for version in &newest {
        match raw(&table, version.version).await {
            Ok(some) => bytes.extend(some),
            Err(e) => return silent(&e),
        }
    }
    of(Some(first), Says::Torn { reason, bytes })
}

async fn foreign(table: &Table) -> Says {
    match open(table, None).await {
        Ok(dataset) => said_by(&dataset),
        Err(e) => Says::Silent {
            reason: e.to_string(),
        },
    }
}

async fn open(table: &Table, version: Option<u64>) -> Result<Dataset> {
    const ACTION: &str = "looking for clones at";
    let opening = async {
        let params = table.storage.params();
        let opened = match version {
            Some(version) => table.open(version, params, None).await,
            None => table.open_newest(params).await,
        };
        whole(table, opened.map_err(|e| table.failed(ACTION, e))?)
    };
    guarded(table, ACTION, opening).await
}

/// The bytes of a version's manifest; none when it is gone.
///
/// # Errors
/// [`Error::Store`], also when there are too many.
async fn raw(table: &Table, version: u64) -> Result<Option<Bytes>> {
    let folder = table.storage.table_base(&table.path);
    for scheme in [ManifestNamingScheme::V2, ManifestNamingScheme::V1] {
        let path = scheme.manifest_path(&folder, version);
        let failed = |e| Error::store("reading", path.as_ref(), e);
        match table.storage.store.get(&path).await {
            Ok(found) if found.meta.size > MAX_SEARCHED_BYTES => {
                return Err(failed(object_store::Error::Generic {
                    store: "squire",
                    source: "it is too large to be searched".into(),
                }));
            }
            Ok(found) => return Ok(Some(found.bytes().await.map_err(failed)?)),
            Err(object_store::Error::NotFound { .. }) => {}
            Err(e) => return Err(failed(e)),
        }
    }
    Ok(None)
}

fn said_by(dataset: &Dataset) -> Says {
    let bases = dataset.manifest().base_paths.values();
    Says::Readable {
        bases: bases.map(|base| base.path.clone()).collect(),
        view: view(&dataset.schema().metadata),
    }
}

/// The view that a table is by the metadata of its schema.
fn view(metadata: &std::collections::HashMap<String, String>) -> Option<View> {
    let definition = metadata.get(VIEW)?.clone();
    let refreshed = metadata.get(VIEW_OF).and_then(|text| text.parse().ok());
    let snapshot = definition.split_once(SNAPSHOT).and_then(|(_, rest)| {
        let rest = rest.trim_start();
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        rest.get(..end)?.parse().ok()
    });
    Some(View {
        versions: refreshed.into_iter().chain(snapshot).collect(),
        definition,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Option<View> {
        let pairs = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        view(&pairs.collect())
    }

    #[test]
    fn a_view_names_the_versions_that_it_was_refreshed_from_and_is_of_for_ever() {
        let query = r#"{"format":1,"kind":"query","query":"SELECT x FROM orders WHERE x > 10"}"#;
        let of_query = of(&[("mv.definition", query), ("mv.source_version", "21")]).unwrap();
        assert_eq!(of_query.versions, BTreeSet::from([21]));
        assert!(of_query.is_of(&TableKey::of_directory("orders")));
        assert!(of_query.is_of(&TableKey::of_directory("bdd4eb91_ns1$orders")));
        assert!(!of_query.is_of(&TableKey::of_directory("people")));
        let dedup = r#"{"kind":"Dedup","dataset_version": 7,"column":"phash"}"#;
        let of_dedup = of(&[("mv.definition", dedup), ("mv.source_version", "9")]);
        assert_eq!(of_dedup.unwrap().versions, BTreeSet::from([7, 9]));
        assert!(of(&[("mv.source_version", "21")]).is_none());
    }
}
