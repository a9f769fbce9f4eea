//! A graph: the one type through which programs use the engine.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::{FutureExt, Stream, StreamExt, TryStreamExt, stream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    error::{Error, Result},
    graph::{
        context::Core,
        healing::{
            self, Heal, Healed, Leftovers,
            sidecars::{self, SidecarLook},
        },
        manifest::{Change, Manifest},
        manifest_cleanup,
        manifest_retention::ManifestRetention,
        operation::{
            DeleteRequest, LoadRequest, Receipt, SchemaRequest, apply_schema, cleanup, compact,
            create_types, delete_rows, index, load_rows, waiting::Waiting,
        },
        options::Options,
        repair::{self, DriftLook, Drifted, Finding, Repaired, Word},
        snapshot::Snapshot,
    },
    ids::{OperationId, TableKey},
    planner::{Ask, cleanup::CleanupPolicy, compaction::CompactionPolicy, indexing::IndexPolicy},
    schema::Schema,
    storage::Storage,
    table::{
        indexing::receipt::Indexed,
        removal::{Cleaned, CleanupPreview},
        rewrite::Compacted,
        stats::VersionInfo,
        versions,
    },
};

/// An open graph. Clones share one place in every queue.
#[derive(Clone, Debug)]
pub struct Graph(Arc<Core>);

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
    /// The store is tested: a second create of one name must fail. Then the schema's types are added by a schema
    /// apply. A graph that has no tables and no schema yet, because its creation was cut short, is created to the end.
    ///
    /// # Errors
    /// [`Error::AlreadyAGraph`], [`Error::UnfitStore`], [`Error::BadUri`], [`Error::Store`].
    pub async fn create(uri: &str, schema: Schema, options: Options) -> Result<Self> {
        let core = Arc::new(connect(uri, options).await?);
        let first = Manifest::first(Uuid::new_v4(), &core.actor, Utc::now());
        if let Err(taken) = core.manifests.create(first).await {
            let unborn = |m: &Manifest| m.tables.is_empty() && m.schema == Schema::default();
            match taken {
                Error::AlreadyAGraph { .. } if unborn(&*core.manifests.newest().await?) => {
                    // What cannot be healed now is waited for.
                    let _ = healing::round(&core, Heal::Passing, Leftovers::Remove)
                        .boxed()
                        .await;
                }
                e => return Err(e),
            }
        }
        create_types(&core, schema).boxed().await?;
        Ok(Self(core))
    }

    /// Opens a graph.
    ///
    /// # Errors
    /// [`Error::NotAGraph`], [`Error::NewerFormat`], [`Error::Damaged`], [`Error::BadUri`], [`Error::Store`].
    pub async fn open(uri: &str, options: Options) -> Result<Self> {
        let core = connect(uri, options).await?;
        core.manifests.newest().await?;
        Ok(Self(Arc::new(core)))
    }

    /// Opens a graph to change it, and begins to heal what others left, as far as it is due, beside what the caller does:
    /// it waits for nobody's operation. What is in the way of an operation of its own, that one waits for and heals.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_for_writing(uri: &str, options: Options) -> Result<Self> {
        let graph = Self::open(uri, options).await?;
        let snapshot = graph.snapshot().await?;
        let manifest = snapshot.manifest();
        if !manifest.queue.is_empty() || !manifest.purges.is_empty() {
            let healing = tokio::spawn(heal_in_passing(graph.0.clone()).boxed());
            graph.0.heals_in_passing(Some(healing));
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
            manifest: self.0.manifests.newest().await?,
            core: self.0.clone(),
        })
    }

    /// Loads rows into one or several tables, atomically.
    ///
    /// # Errors
    /// [`Error::Input`] and [`Error::BadRequest`] for rows that do not fit, [`Error::UnknownTable`],
    /// [`Error::ExpectedVersionMismatch`], [`Error::Drift`], [`Error::Quarantined`]; see [`Error::advice`].
    pub async fn load(&self, request: LoadRequest) -> Result<Receipt> {
        // Boxed, here and below: programs that await it are not to carry the types of all steps.
        load_rows(&self.0, request).boxed().await
    }

    /// Deletes rows from one or several tables, atomically.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub async fn delete(&self, request: DeleteRequest) -> Result<Receipt> {
        delete_rows(&self.0, request).boxed().await
    }

    /// Brings the graph to another schema, atomically over all tables. All steps but a widening cast are metadata only:
    /// their cost does not depend on the number of rows. [`crate::schema::plan()`] gives the steps beforehand.
    ///
    /// # Errors
    /// [`Error::Plan`] for changes that are refused, [`Error::RowsForbid`] when the rows of a table do not allow one;
    /// else as [`Self::load`].
    pub async fn apply_schema(&self, request: SchemaRequest) -> Result<Receipt> {
        apply_schema(&self.0, request).boxed().await
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
        let newest = self.0.manifests.newest().await?;
        versions::list(&self.0.table_in(&newest, table)?).await
    }

    /// Heals what crashed writers left behind, as far as it is due (`docs/protocol.md`, Healing).
    ///
    /// # Errors
    /// When the manifest cannot be read. Every other failure is in [`Healed::failed`] and keeps nothing else from being
    /// healed.
    pub async fn heal(&self) -> Result<Healed> {
        healing::round(&self.0, Heal::Passing, Leftovers::Remove)
            .boxed()
            .await
    }

    /// As [`Self::heal`], but nothing is removed because of its age: for a caller whose clock cannot be trusted.
    ///
    /// # Errors
    /// As [`Self::heal`].
    pub async fn heal_tickets(&self) -> Result<Healed> {
        healing::round(&self.0, Heal::Passing, Leftovers::Keep)
            .boxed()
            .await
    }

    /// What time it is by the store's own clock; `None` where the store takes its times from this machine.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn own_clock(&self) -> Result<Option<DateTime<Utc>>> {
        if self.0.storage.failed_put_is_final {
            return Ok(None);
        }
        self.0.heartbeat.store_clock().await.map(Some)
    }

    /// Heals everything that other processes hold, without waiting for leases and graces. For an operator who
    /// knows that they are dead; a wrong word costs an aborted operation at worst.
    ///
    /// # Errors
    /// As [`Self::heal`].
    pub async fn heal_now(&self) -> Result<Healed> {
        healing::round(&self.0, Heal::ByHand, Leftovers::Remove)
            .boxed()
            .await
    }

    /// Everything that waits for an operator: quarantined operations, drift, sidecars that no manifest names. Changes
    /// nothing.
    ///
    /// # Errors
    /// When the manifest cannot be read; what cannot be looked at otherwise is a finding.
    pub async fn findings(&self) -> Result<Vec<Finding>> {
        repair::findings(&self.0).await
    }

    /// Acts on a finding, by an operator's word. A quarantined operation is looked at again, with every touched table
    /// fenced, before it is resolved.
    ///
    /// A repair that was killed anywhere can be run again.
    ///
    /// # Errors
    /// [`Error::Contended`], [`Error::Unfinished`], [`Error::Store`], [`Error::Lance`].
    pub async fn repair(&self, finding: &Finding, word: &Word) -> Result<Repaired> {
        repair::repair(&self.0, finding, word).await
    }

    /// Quarantines a decided operation by an operator's word, because nothing can apply it: what waits for it fails with
    /// its name, and [`Self::repair`] can resolve it. No other operation is touched.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::OutcomeUnknown`].
    pub async fn give_up(&self, operation: OperationId) -> Result<Repaired> {
        repair::give_up(&self.0, operation).await
    }

    /// Every sidecar that is on the store, with its age and how its operation stands: two lists. Changes nothing.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Damaged`].
    pub async fn sidecars(&self) -> Result<Vec<SidecarLook>> {
        sidecars::list(&self.0).await
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

    /// Which operations the operations of this graph handle wait for, to be followed: a program can show its user.
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
            let newest = core.manifests.newest().await?;
            let older = stream::iter((1..newest.number).rev())
                .map({
                    let core = core.clone();
                    move |number| {
                        let core = core.clone();
                        async move { core.manifests.read(number).await }
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

    /// Stops what [`Self::open_for_writing`] began to heal, and removes this process's heartbeat. Operations under way go
    /// on.
    pub async fn close(&self) {
        if let Some(healing) = self.0.heals_in_passing(None) {
            healing.abort();
            let _ = healing.await;
        }
        self.0.collection.finish().await;
        self.0.heartbeat.leave().await;
    }
}

async fn connect(uri: &str, options: Options) -> Result<Core> {
    let storage = Storage::connect(uri, options.wrapper, &options.beyond).await?;
    Ok(Core::new(
        storage,
        options.actor,
        options.lease,
        options.drift,
        options.manifests,
    ))
}

async fn heal_in_passing(core: Arc<Core>) {
    let healed = healing::round(&core, Heal::WaitingFor, Leftovers::Remove).await;
    let failed = match &healed {
        Ok(healed) => healed.failed.first(),
        Err(e) => Some(e),
    };
    if let Some(e) = failed {
        tracing::warn!(uri = core.storage.uri, error = %e, "not everything that others left could be healed");
    }
}
