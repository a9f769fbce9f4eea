//! Recognises the roots of OmniGraph. Its tables change together under a manifest of its own, which pins their versions:
//! to compact or clean up one of them by itself would break the others.

use lance::dataset::builder::DatasetBuilder;
use object_store::{ListResult, ObjectStoreExt};

use crate::{
    error::{Error, Result},
    storage::Storage,
    table::guard::caught,
};

/// How the folder of a graph ends, in a cluster of OmniGraph.
const GRAPH_EXTENSION: &str = ".omni";
/// Objects that a graph has at its root.
const OF_A_GRAPH: [&str; 3] = ["_schema.pg", "_schema.ir.json", "__schema_state.json"];
/// The folder of a cluster's state at its root, and the object in it.
const CLUSTER: &str = "__cluster";
const CLUSTER_STATE: &str = "state.json";
/// The table that pins the versions of the others. A LanceDB catalog has the same name, without the stamp.
const MANIFEST: &str = "__manifest";
/// The key of the stamp in the metadata of that table's schema.
const STAMP: &str = "omnigraph:internal_schema_version";

/// Refuses a root of OmniGraph by all that shows it: one list, and a read of a cluster's state and a catalog where
/// there is one.
///
/// # Errors
/// [`Error::OmniGraph`]; [`Error::Store`].
pub(super) async fn refuse(storage: &Storage) -> Result<()> {
    let listed = storage.store.list_with_delimiter(Some(&storage.base)).await;
    let listed = listed.map_err(|e| Error::store("listing", &storage.uri, e))?;
    refuse_by_names(storage, &listed)?;
    match sign_inside(storage, &listed).await? {
        Some(sign) => Err(refused(storage, sign)),
        None => Ok(()),
    }
}

/// The same by names alone, of what was listed at the root in any case.
///
/// # Errors
/// [`Error::OmniGraph`].
pub(super) fn refuse_by_names(storage: &Storage, listed: &ListResult) -> Result<()> {
    match sign_by_name(storage, listed) {
        Some(sign) => Err(refused(storage, sign)),
        None => Ok(()),
    }
}

fn refused(storage: &Storage, sign: String) -> Error {
    Error::OmniGraph {
        uri: storage.uri.clone(),
        sign,
    }
}

fn sign_by_name(storage: &Storage, listed: &ListResult) -> Option<String> {
    let mut above = storage.base.parts();
    if let Some(graph) = above.find(|part| part.as_ref().ends_with(GRAPH_EXTENSION)) {
        return Some(format!("its path leads into {}", graph.as_ref()));
    }
    let names = listed.objects.iter().filter_map(|o| o.location.filename());
    let mut signs = names.filter(|name| OF_A_GRAPH.contains(name));
    signs.next().map(|sign| format!("it has {sign}"))
}

async fn sign_inside(storage: &Storage, listed: &ListResult) -> Result<Option<String>> {
    let has = |folder| {
        let mut folders = listed.common_prefixes.iter();
        folders.any(|prefix| prefix.filename() == Some(folder))
    };
    if has(CLUSTER) {
        let state = storage.base.clone().join(CLUSTER).join(CLUSTER_STATE);
        match storage.store.head(&state).await {
            Ok(_) => return Ok(Some(format!("it has {CLUSTER}/{CLUSTER_STATE}"))),
            Err(object_store::Error::NotFound { .. }) => {}
            Err(e) => return Err(Error::store("looking at", state.as_ref(), e)),
        }
    }
    if has(MANIFEST) && is_stamped(storage).await {
        return Ok(Some(format!("its {MANIFEST} is stamped with {STAMP}")));
    }
    Ok(None)
}

/// Whether the manifest table has OmniGraph's stamp. One that cannot be opened has none: it is a table like others.
async fn is_stamped(storage: &Storage) -> bool {
    let opening = DatasetBuilder::from_uri(storage.table_uri(MANIFEST))
        .with_session(storage.session())
        .with_store_params(storage.params())
        .load();
    let opened = caught(opening).await;
    opened.is_ok_and(|opened| opened.is_ok_and(|table| table.schema().metadata.contains_key(STAMP)))
}
