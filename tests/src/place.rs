//! Places for graphs in memory, which many handles can open as if each were a process of its own.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use futures::TryStreamExt;
use lance_io::object_store::ObjectStore;
use object_store::ObjectStoreExt;
use squire_engine::{Graph, Options, Snapshot, manifest::Manifest};
use uuid::Uuid;

use crate::{
    flights::{key, schema},
    patience::until,
    store::Watch,
};

/// A root in memory that no other test has.
#[derive(Clone, Debug)]
pub struct Place {
    uri: String,
}

impl Place {
    /// A root with nothing in it.
    pub fn empty() -> Self {
        Self {
            uri: format!("memory://{}/graph", Uuid::new_v4().simple()),
        }
    }

    /// A root with the suites' graph in it, and a handle to it.
    pub async fn with_graph() -> (Self, Graph) {
        let place = Self::empty();
        let graph = Graph::create(place.uri(), schema(), Options::default()).await;
        (place, graph.expect("an empty root takes a graph"))
    }

    /// The root.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// One more handle: another holder, with a queue of its own.
    pub async fn open(&self) -> Graph {
        self.open_with(Options::default()).await
    }

    /// One more handle with these options.
    pub async fn open_with(&self, options: Options) -> Graph {
        let graph = Graph::open(&self.uri, options).await;
        graph.expect("there is a graph")
    }

    /// One more handle, with a watch on its requests.
    pub async fn watched(&self) -> (Graph, Watch) {
        self.short_lived(Options::default().lease).await
    }

    /// The same, of a holder with this lease.
    pub async fn short_lived(&self, lease: Duration) -> (Graph, Watch) {
        let watch = Watch::new();
        let options = Options {
            lease,
            wrapper: watch.wrapper(),
            ..Options::default()
        };
        (self.open_with(options).await, watch)
    }

    /// The root as Lance is given it.
    pub fn lance_uri(&self) -> String {
        format!("shared-{}", self.uri)
    }

    /// Every object below the root whose path contains `part`.
    pub async fn objects(&self, part: &str) -> BTreeSet<String> {
        let (store, root) = self.store().await;
        let all = store
            .inner
            .list(Some(&root))
            .map_ok(|object| object.location.to_string());
        let all: BTreeSet<String> = all.try_collect().await.expect("memory can be listed");
        all.into_iter().filter(|path| path.contains(part)).collect()
    }

    /// A copy of everything below the root.
    pub async fn template(&self) -> Template {
        let (store, root) = self.store().await;
        let mut objects = Vec::new();
        for path in self.objects("").await {
            let read = store.inner.get(&path.as_str().into()).await;
            let bytes = read.expect("it was listed").bytes().await;
            let below = path
                .strip_prefix(root.as_ref())
                .expect("it was listed below");
            objects.push((below.to_owned(), bytes.expect("memory can be read")));
        }
        Template { objects }
    }

    /// Every manifest that there is, oldest first.
    pub async fn manifests(&self) -> Vec<Manifest> {
        let (store, _) = self.store().await;
        let mut manifests = Vec::new();
        for path in self.objects("_squire/manifest/").await {
            // One that is gone was collected since.
            if let Ok(found) = store.inner.get(&path.as_str().into()).await {
                let bytes = found.bytes().await.expect("memory can be read");
                let manifest = serde_json::from_slice(&bytes);
                manifests.push(manifest.expect("a small manifest is plain JSON"));
            }
        }
        manifests
    }

    /// Every sidecar.
    pub async fn sidecars(&self) -> BTreeSet<String> {
        self.objects("_squire/recovery/").await
    }

    /// The store below, and the root's path on it: for breaking things.
    pub async fn store(&self) -> (std::sync::Arc<ObjectStore>, object_store::path::Path) {
        let store = ObjectStore::from_uri(&self.lance_uri()).await;
        store.expect("memory is there")
    }
}

/// The objects of a graph, to make other graphs of.
#[derive(Clone, Debug)]
pub struct Template {
    objects: Vec<(String, Bytes)>,
}

impl Template {
    /// One more graph, the same in everything but its root.
    pub async fn place(&self) -> Place {
        let place = Place::empty();
        let (store, root) = place.store().await;
        for (below, bytes) in &self.objects {
            let path = format!("{root}{below}").into();
            let put = store.inner.put(&path, bytes.clone().into()).await;
            put.expect("memory can be written");
        }
        place
    }
}

/// Rows of a table, in a fresh snapshot.
pub async fn rows(graph: &Graph, table: &str) -> usize {
    let snapshot = graph.snapshot().await.expect("a graph can be read");
    rows_in(&snapshot, table).await
}

/// Rows of a table, in this snapshot.
pub async fn rows_in(snapshot: &Snapshot, table: &str) -> usize {
    let dataset = snapshot
        .open(&key(table))
        .await
        .expect("a pinned version can be opened");
    dataset.count_rows(None).await.expect("rows can be counted")
}

/// Rows of planes and of flights, in one snapshot.
pub async fn sums(graph: &Graph) -> (usize, usize) {
    let snapshot = graph.snapshot().await.expect("a graph can be read");
    (
        rows_in(&snapshot, "node:Plane").await,
        rows_in(&snapshot, "edge:Flight").await,
    )
}

/// Waits until nobody has a ticket.
pub async fn until_idle(graph: &Graph) {
    until("the queue is empty", async || {
        let snapshot = graph.snapshot().await.expect("a graph can be read");
        snapshot.manifest().queue.is_empty()
    })
    .await;
}
