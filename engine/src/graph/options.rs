//! How a graph is opened.

use std::{sync::Arc, time::Duration};

use lance_io::object_store::WrappingObjectStore;

use crate::{
    graph::manifest_retention::ManifestRetention, storage::Beyond, table::drift::DriftPolicy,
};

/// How a graph is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// On whose behalf operations are done: it stands in the log. The default is `user@host`.
    pub actor: String,
    /// How long a holder may be silent before it counts as dead.
    pub lease: Duration,
    /// What to do about a table whose meaning another program changed.
    pub drift: DriftPolicy,
    /// What stays when this process collects old manifests because no daemon does.
    pub manifests: ManifestRetention,
    /// Where it may lead beyond its root.
    pub beyond: Beyond,
    /// Sees every request to the store, for tests and for counting.
    pub wrapper: Option<Arc<dyn WrappingObjectStore>>,
}

impl Default for Options {
    fn default() -> Self {
        let named = ["USER", "LOGNAME"]
            .iter()
            .find_map(|name| std::env::var(name).ok());
        let user = named.unwrap_or_else(|| {
            use std::os::unix::fs::MetadataExt;
            let owner = std::fs::metadata("/proc/self").map(|me| me.uid());
            owner.map_or_else(|_| "somebody".to_owned(), |uid| format!("uid{uid}"))
        });
        let host = gethostname::gethostname();
        Self {
            actor: format!("{user}@{}", host.to_string_lossy()),
            lease: Duration::from_secs(15),
            drift: DriftPolicy::default(),
            manifests: ManifestRetention::default(),
            beyond: Beyond::default(),
            wrapper: None,
        }
    }
}
