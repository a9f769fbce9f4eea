//! Discovery: what kind of target a URI is, and which tables a directory has.
//!
//! A table is a folder `NAME.lance` under the root. A LanceDB catalog (a folder `__manifest` under the root, itself a Lance
//! table) puts the tables of its child namespaces, and renamed ones, there as well, as `HASH_ID`: eight hexadecimal
//! digits, and the path of the table with `$` between its parts. The catalog is LanceDB's own, and left alone.

use std::sync::Arc;

use futures::StreamExt;
use lance_io::object_store::WrappingObjectStore;

use super::omnigraph;
use crate::{
    error::{Error, Result},
    ids::TableKey,
    storage::{Beyond, Storage},
};

/// How the folder of a table ends, unless a catalog named it.
const EXTENSION: &str = ".lance";
/// The folder of a LanceDB catalog.
const CATALOG: &str = "__manifest";
/// Digits of the hash in front of a folder that a catalog named.
const HASH_DIGITS: usize = 8;

/// What Squire maintains at a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Tables under one manifest of Squire's: see [`crate::Graph`].
    Graph,
    /// Plain Lance tables: see [`crate::Directory`].
    Directory,
}

impl Kind {
    /// The kind as config, logs and the status spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Graph => "graph",
            Self::Directory => "directory",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Tells a graph from a directory: a graph has manifests. An empty root is a directory that has no tables yet. One
/// list for a graph, two for a directory.
///
/// # Errors
/// [`Error::BadUri`], [`Error::OmniGraph`], [`Error::Store`].
pub async fn detect(
    uri: &str,
    wrapper: Option<Arc<dyn WrappingObjectStore>>,
    beyond: &Beyond,
) -> Result<Kind> {
    let storage = Storage::connect(uri, wrapper, beyond).await?;
    let manifests = storage.squire_dir("manifest");
    match storage.store.list(Some(&manifests)).next().await {
        Some(Ok(_)) => Ok(Kind::Graph),
        None => {
            omnigraph::refuse(&storage).await?;
            Ok(Kind::Directory)
        }
        Some(Err(e)) => Err(Error::store("listing", &storage.uri, e)),
    }
}

/// The tables under a root, in the order of their names.
pub(super) async fn tables(storage: &Storage) -> Result<Vec<TableKey>> {
    let listed = storage.store.list_with_delimiter(Some(&storage.base)).await;
    let listed = listed.map_err(|e| Error::store("listing the tables of", &storage.uri, e))?;
    omnigraph::refuse_by_names(storage, &listed)?;
    let folders = listed.common_prefixes.iter().filter_map(|p| p.filename());
    let folders: Vec<_> = folders.collect();
    let mut tables: Vec<_> = tables_among(&folders).collect();
    tables.sort();
    Ok(tables)
}

fn tables_among<'a>(folders: &'a [&'a str]) -> impl Iterator<Item = TableKey> + 'a {
    let has_catalog = folders.contains(&CATALOG);
    let names = folders.iter().filter_map(move |folder| {
        let name = folder.strip_suffix(EXTENSION).filter(|n| !n.is_empty());
        match name {
            Some(name) if !is_catalogued(name) => Some(name),
            Some(_) => Some(*folder),
            None => (has_catalog && is_catalogued(folder)).then_some(*folder),
        }
    });
    names.map(TableKey::of_directory)
}

/// The folder of a table, under the root. Where a name looks like a folder that a catalog named, it is the folder.
pub(super) fn folder_of(table: &TableKey) -> String {
    let name = table.name();
    if is_catalogued(name) {
        name.to_owned()
    } else {
        format!("{name}{EXTENSION}")
    }
}

/// Whether a folder's name has the form that a catalog gives.
fn is_catalogued(folder: &str) -> bool {
    let parts = folder.split_once('_');
    parts.is_some_and(|(hash, id)| {
        hash.len() == HASH_DIGITS
            && hash.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
            && !id.is_empty()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folders: &[&str]) -> Vec<String> {
        let tables = tables_among(folders);
        tables.map(|key| key.name().to_owned()).collect()
    }

    #[test]
    fn what_is_no_table_is_none() {
        let folders = ["a.lance", "_squire", "b", ".lance", "bdd4eb91_ns1$t1"];
        assert_eq!(names(&folders), ["a"]);
    }

    #[test]
    fn the_tables_of_a_catalog_are_found_and_the_catalog_is_none() {
        let folders = ["__manifest", "a.lance", "bdd4eb91_ns1$t1", "bdd4eb9_x"];
        assert_eq!(names(&folders), ["a", "bdd4eb91_ns1$t1"]);
    }

    #[test]
    fn every_name_leads_back_to_its_folder() {
        let folders = [
            "__manifest",
            "a.b.lance",
            "a b.lance",
            "größe.lance",
            "x.lance.lance",
            "bdd4eb91_t.lance",
            "bdd4eb91_t",
            "bdd4eb91_ns1$ns2$t",
        ];
        let tables: Vec<_> = tables_among(&folders).collect();
        let back: Vec<_> = tables.iter().map(folder_of).collect();
        assert_eq!(back, folders[1..]);
    }
}
