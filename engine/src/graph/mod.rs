//! A graph: the one type through which programs use the engine.

pub(crate) mod context;
pub(crate) mod healing;
pub mod input;
mod liveness;
pub mod manifest;
pub(crate) mod manifest_cleanup;
pub(crate) mod operation;
mod purge;
pub(crate) mod repair;
pub(crate) mod sidecar;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use lance::Dataset;
use lance_io::object_store::WrappingObjectStore;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    error::{Error, Result},
    graph::{
        context::Core,
        healing::{
            Heal, Healed, Leftovers,
            leftovers::{self, SidecarLook},
        },
        manifest::{Change, Manifest},
        manifest_cleanup::ManifestRetention,
        operation::{
            DeleteRequest, LoadRequest, Receipt, SchemaRequest, apply_schema, cleanup, compact,
            create_types, delete_rows, index, load_rows, waiting::Waiting,
        },
        repair::{DriftLook, Drifted, Finding, Repaired},
    },
    ids::TableKey,
    planner::{Ask, cleanup::CleanupPolicy, compaction::CompactionPolicy, indexing::IndexPolicy},
    schema::Schema,
    storage::{Beyond, Storage},
    table::{
        Table, bases,
        drift::DriftPolicy,
        guard::guarded,
        indexing::receipt::Indexed,
        removal::{Cleaned, CleanupPreview},
        rewrite::Compacted,
        stats::{TableStats, VersionInfo},
        versions,
    },
};

/// How a graph is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// On whose behalf operations are done: it stands in the log. The default is `user@host`.
    pub actor: String,
    /// How long a holder may be silent before it can be taken for dead.
    pub lease: Duration,
    /// What to do about a table whose meaning another program changed.
    pub drift: DriftPolicy,
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
            beyond: Beyond::default(),
            wrapper: None,
        }
    }
}

/// An open graph. Clones share one place in every queue.
#[derive(Clone, Debug)]
pub struct Graph(Arc<Core>);

/// One state of a graph: every table at the version that one manifest pins.
#[derive(Clone, Debug)]
pub struct Snapshot {
    core: Arc<Core>,
    manifest: Arc<Manifest>,
}

/// One entry of a graph's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// The manifest's number.
    pub number: u64,
    /// What made it.
    pub change: Change,
}

impl Graph {
    /// Creates a graph at `uri`: a path, `file://`, `memory://` or `s3://` (credentials from `AWS_*` variables).
    ///
    /// The store is probed: a second create of one name must fail. Then the schema's types are added by a schema
    /// apply. A graph that has no tables and no schema yet, because its creation was cut short, is created to the end.
    ///
    /// # Errors
    /// [`Error::AlreadyAGraph`], [`Error::UnfitStore`], [`Error::BadUri`], [`Error::Store`].
    pub async fn create(uri: &str, schema: Schema, options: Options) -> Result<Self> {
        let core = Arc::new(connect(uri, options).await?);
        let first = Manifest::first(Uuid::new_v4(), &core.actor, Utc::now());
        if let Err(taken) = core.register.create(first).await {
            let unborn = |m: &Manifest| m.tables.is_empty() && m.schema == Schema::default();
            match taken {
                Error::AlreadyAGraph { .. } if unborn(&*core.register.newest().await?) => {
                    // What cannot be healed now is waited for.
                    let _ = healing::round(&core, Heal::Passing, Leftovers::Remove).await;
                }
                e => return Err(e),
            }
        }
        create_types(&core, schema).await?;
        Ok(Self(core))
    }

    /// Opens a graph.
    ///
    /// # Errors
    /// [`Error::NotAGraph`], [`Error::NewerFormat`], [`Error::Damaged`], [`Error::BadUri`], [`Error::Store`].
    pub async fn open(uri: &str, options: Options) -> Result<Self> {
        let core = connect(uri, options).await?;
        core.register.newest().await?;
        Ok(Self(Arc::new(core)))
    }

    /// Opens a graph to change it, and heals what is in the way as far as it is due. That somebody else's operation
    /// cannot be healed is no failure: whoever comes behind it waits, and goes on healing.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_for_writing(uri: &str, options: Options) -> Result<Self> {
        let graph = Self::open(uri, options).await?;
        let snapshot = graph.snapshot().await?;
        let manifest = snapshot.manifest();
        if !manifest.queue.is_empty() || !manifest.purges.is_empty() {
            let healed = healing::round(&graph.0, Heal::WaitingFor, Leftovers::Remove).await;
            let failed = match &healed {
                Ok(healed) => healed.failed.first(),
                Err(e) => Some(e),
            };
            if let Some(e) = failed {
                tracing::warn!(uri = graph.uri(), error = %e, "not everything that is in the way could be healed");
            }
        }
        Ok(graph)
    }

    /// The graph's root, without secrets.
    pub fn uri(&self) -> &str {
        &self.0.storage.uri
    }

    /// Whether it is on a local disk.
    pub fn is_on_disk(&self) -> bool {
        self.0.storage.is_on_disk()
    }

    /// The newest state: one list, and one read when it changed since this process last looked.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Damaged`].
    pub async fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot {
            manifest: self.0.register.newest().await?,
            core: self.0.clone(),
        })
    }

    /// Loads rows into one or several tables, atomically.
    ///
    /// # Errors
    /// [`Error::Input`] and [`Error::BadRequest`] for rows that do not fit, [`Error::UnknownTable`],
    /// [`Error::ExpectedVersionMismatch`], [`Error::Drift`], [`Error::Quarantined`]; see [`Error::advice`].
    pub async fn load(&self, request: LoadRequest) -> Result<Receipt> {
        load_rows(&self.0, request).await
    }

    /// Deletes rows from one or several tables, atomically.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub async fn delete(&self, request: DeleteRequest) -> Result<Receipt> {
        delete_rows(&self.0, request).await
    }

    /// Brings the graph to another schema, atomically over all tables. All steps but a widening cast are metadata only:
    /// their cost does not depend on the number of rows. [`crate::schema::plan()`] tells the steps beforehand.
    ///
    /// # Errors
    /// [`Error::Plan`] for changes that are refused, [`Error::RowsForbid`] when the rows of a table do not allow one;
    /// else as [`Self::load`].
    pub async fn apply_schema(&self, request: SchemaRequest) -> Result<Receipt> {
        apply_schema(&self.0, request).await
    }

    /// Compacts one table once, if its statistics say that it is due.
    ///
    /// The rewrite runs with nothing held. When `stop` is cancelled, a rewrite is abandoned and its files are
    /// deleted; a commit that has begun is finished.
    ///
    /// # Errors
    /// [`Error::Cancelled`]; [`Error::Lance`] and [`Error::Store`], with nothing changed.
    pub async fn compact(
        &self,
        table: &TableKey,
        policy: &CompactionPolicy,
        ask: &Ask,
        stop: &CancellationToken,
    ) -> Result<Compacted> {
        compact::compact(&self.0, table, policy, ask, stop).await
    }

    /// Brings the indexes of one table up to date once, if its statistics say that they are due: declared indexes that
    /// are not there are built, rows that are outside come under theirs.
    ///
    /// The building runs with nothing held. When `stop` is cancelled, it is abandoned and its files are deleted; a
    /// commit that has begun is finished.
    ///
    /// # Errors
    /// As [`Self::compact`].
    pub async fn index(
        &self,
        table: &TableKey,
        policy: &IndexPolicy,
        ask: &Ask,
        stop: &CancellationToken,
    ) -> Result<Indexed> {
        index::index(&self.0, table, policy, ask, stop).await
    }

    /// Removes the versions of one table that are past retention and that nothing protects, with the files that no other
    /// version names.
    ///
    /// When `stop` is cancelled it ends at once; what is left is removed by the next one.
    ///
    /// # Errors
    /// [`Error::Cancelled`]; [`Error::Lance`] and [`Error::Store`]; nothing is deleted after
    /// [`Error::OutcomeUnknown`].
    pub async fn cleanup(
        &self,
        table: &TableKey,
        policy: &CleanupPolicy,
        ask: &Ask,
        stop: &CancellationToken,
    ) -> Result<Cleaned> {
        cleanup::cleanup(&self.0, table, policy, ask, stop).await
    }

    /// What [`Self::cleanup`] would do, and what keeps the rest. Changes nothing.
    ///
    /// # Errors
    /// [`Error::Lance`], [`Error::Store`].
    pub async fn explain_cleanup(
        &self,
        table: &TableKey,
        policy: &CleanupPolicy,
        ask: &Ask,
    ) -> Result<CleanupPreview> {
        cleanup::explain(&self.0, table, policy, ask).await
    }

    /// All versions of a table, in order: one list, besides that of the manifests.
    ///
    /// # Errors
    /// [`Error::UnknownTable`], [`Error::Store`].
    pub async fn versions(&self, table: &TableKey) -> Result<Vec<VersionInfo>> {
        let newest = self.0.register.newest().await?;
        versions::list(&self.0.table_in(&newest, table)?).await
    }

    /// Heals what crashed writers left behind, as far as it is due (design §3, Healing).
    ///
    /// # Errors
    /// When the manifest cannot be read. Every other failure is in [`Healed::failed`] and keeps nothing else from being
    /// healed.
    pub async fn heal(&self) -> Result<Healed> {
        healing::round(&self.0, Heal::Passing, Leftovers::Remove).await
    }

    /// As [`Self::heal`], but nothing goes because it is old: for whoever cannot tell what time it is.
    ///
    /// # Errors
    /// As [`Self::heal`].
    pub async fn heal_tickets(&self) -> Result<Healed> {
        healing::round(&self.0, Heal::Passing, Leftovers::Keep).await
    }

    /// What time it is by the store's own clock; nothing where the store takes its times from this machine's.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn own_clock(&self) -> Result<Option<DateTime<Utc>>> {
        if self.0.storage.definite {
            return Ok(None);
        }
        self.0.liveness.store_clock().await.map(Some)
    }

    /// Heals everything that other processes hold, without waiting for leases and graces. For an operator who
    /// knows that they are dead; a wrong word costs an aborted operation at worst.
    ///
    /// # Errors
    /// As [`Self::heal`].
    pub async fn heal_now(&self) -> Result<Healed> {
        healing::round(&self.0, Heal::ByHand, Leftovers::Remove).await
    }

    /// Everything that waits for an operator: quarantined operations, drift, sidecars that nobody names. Changes
    /// nothing.
    ///
    /// # Errors
    /// When the manifest cannot be read; what cannot be looked at otherwise is a finding.
    pub async fn findings(&self) -> Result<Vec<Finding>> {
        repair::findings(&self.0).await
    }

    /// Acts on a finding, by an operator's word. A quarantined operation is looked at again, with every touched table
    /// fenced, before it is resolved; `partial` publishes one without the tables that cannot take its effect.
    ///
    /// A repair that was killed anywhere can be run again.
    ///
    /// # Errors
    /// [`Error::Contended`], [`Error::Unfinished`], [`Error::Store`], [`Error::Lance`].
    pub async fn repair(&self, finding: &Finding, partial: bool) -> Result<Repaired> {
        repair::repair(&self.0, finding, partial).await
    }

    /// Every sidecar that is on the store, with its age and how its operation stands: two lists. Changes nothing.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Damaged`].
    pub async fn sidecars(&self) -> Result<Vec<SidecarLook>> {
        leftovers::look(&self.0).await
    }

    /// Looks for tables that other programs moved past their pins: one list for each table.
    ///
    /// # Errors
    /// When the manifest cannot be read; a table that cannot be looked at is in [`DriftLook::failed`].
    pub async fn drift(&self) -> Result<DriftLook> {
        repair::look_for_drift(&self.0).await
    }

    /// Makes the head of a drifted table its pin (rule `adopt`); says whether it is so now. It is not while an operation
    /// is under way on the table, or when the table has moved on.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::OutcomeUnknown`].
    pub async fn adopt(&self, drifted: &Drifted) -> Result<bool> {
        repair::adopt(&self.0, drifted).await
    }

    /// Whom the operations of this graph handle wait for, to be followed: a program can tell its user.
    pub fn waiting(&self) -> watch::Receiver<Vec<Waiting>> {
        self.0.waits.follow()
    }

    /// Collects old manifests, and with them the log and what they pin. Returns how many were deleted.
    ///
    /// # Errors
    /// [`Error::Store`]; nothing is deleted after an unknown outcome.
    pub async fn collect(&self, retention: &ManifestRetention) -> Result<usize> {
        manifest_cleanup::collect(&self.0, retention).await
    }

    /// The log, newest first: who changed what, when. It ends where manifests are collected.
    pub fn log(&self) -> impl Stream<Item = Result<LogEntry>> + use<> {
        const AT_ONCE: usize = 16;
        let core = self.0.clone();
        stream::once(async move {
            let newest = core.register.newest().await?;
            let older = stream::iter((1..newest.number).rev())
                .map({
                    let core = core.clone();
                    move |number| {
                        let core = core.clone();
                        async move { core.register.read(number).await }
                    }
                })
                .buffered(AT_ONCE)
                .try_take_while(|found| std::future::ready(Ok(found.is_some())))
                .try_filter_map(|found| async move { Ok(found.map(Arc::new)) });
            Ok::<_, Error>(stream::once(async move { Ok(newest) }).chain(older))
        })
        .try_flatten()
        .map_ok(|manifest| {
            let newest_first = manifest.changes().rev().map(|change| LogEntry {
                number: manifest.number,
                change: change.clone(),
            });
            stream::iter(newest_first.map(Ok).collect::<Vec<_>>())
        })
        .try_flatten()
    }

    /// Takes this process's leave: removes its heartbeat. Operations under way go on.
    pub async fn close(&self) {
        self.0.liveness.leave().await;
    }
}

async fn connect(uri: &str, options: Options) -> Result<Core> {
    let storage = Storage::connect(uri, options.wrapper, &options.beyond).await?;
    Ok(Core::new(
        storage,
        options.actor,
        options.lease,
        options.drift,
    ))
}

impl Snapshot {
    /// The manifest itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The key of a table by its key or, where that is unambiguous, by its bare type name.
    ///
    /// # Errors
    /// [`Error::UnknownTable`], naming the nearest key.
    pub fn resolve(&self, name: &str) -> Result<TableKey> {
        if let Ok(key) = name.parse::<TableKey>()
            && self.manifest.tables.contains_key(&key)
        {
            return Ok(key);
        }
        let mut named = self.manifest.tables.keys().filter(|key| key.name() == name);
        match (named.next(), named.next()) {
            (Some(key), None) => Ok(key.clone()),
            _ => Err(self.core.unknown_table(&self.manifest, name)),
        }
    }

    /// Opens a table at its pin, with Lance.
    ///
    /// # Errors
    /// [`Error::UnknownTable`]; [`Error::Lance`].
    pub async fn open(&self, table: &TableKey) -> Result<Dataset> {
        let pin = self.manifest.pin(table);
        self.core.table_in(&self.manifest, table)?.at(pin).await
    }

    /// What a planner needs to know of a table, from its Lance manifest and its declared type alone.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn stats(&self, table: &TableKey) -> Result<TableStats> {
        let place = self.core.table_in(&self.manifest, table)?;
        guarded(&place, "reading", self.stats_of(&place)).await
    }

    async fn stats_of(&self, place: &Table) -> Result<TableStats> {
        let table = &place.key;
        let dataset = self.open(table).await?;
        let read = match self.manifest.schema.types.get(table) {
            Some(def) => TableStats::read_declared(&dataset, def).await,
            None => TableStats::read(&dataset).await,
        };
        let failed = |e| place.failed("reading the indexes of", e);
        let mut stats = read.map_err(failed)?;
        let marked = bases::mark(place, &dataset, &mut stats).await;
        marked.map_err(failed)?;
        let path = &place.path;
        self.core.refused.mark(path, &mut stats);
        Ok(stats)
    }
}
