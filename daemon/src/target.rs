//! An opened target of either kind: what graphs and directories have alike.

use squire_config::Target;
use squire_engine::{
    Beyond, Cleaned, CleanupPreview, Compacted, Directory, DirectoryOptions, Error, Graph, Indexed,
    Kind, Options, TableKey, TableStats, VersionInfo, detect,
    planner::{
        Ask, Duty, Policy, cleanup::CleanupPolicy, compaction::CompactionPolicy,
        indexing::IndexPolicy,
    },
};
use tokio_util::sync::CancellationToken;

use crate::exit::Failure;

/// A graph or a directory.
#[derive(Clone, Debug)]
pub(crate) enum Opened {
    /// Many tables under one manifest.
    Graph(Graph),
    /// Plain Lance tables.
    Directory(Directory),
}

/// Where a target may lead beyond its own root.
pub(crate) fn beyond(target: &Target) -> Beyond {
    Beyond {
        follow_links: target.follow_links.clone(),
        allow_bases: target.allow_bases.clone(),
    }
}

/// What one run of a duty came to.
#[derive(Debug)]
pub(crate) enum Outcome {
    Compacted(Compacted),
    Indexed(Indexed),
    Cleaned(Cleaned),
}

impl Outcome {
    /// Whether it did a part of what it was asked for: one operation reads a number of bytes and no more.
    pub(crate) fn leaves_more(&self) -> bool {
        matches!(self, Self::Compacted(Compacted::Done(receipt)) if receipt.more)
    }
}

/// A graph, where the config says that there is a directory.
pub(crate) fn is_a_graph(uri: &str) -> Failure {
    Failure::Usage(format!(
        "{uri} is a graph: kept as a directory, the versions that its manifests pin would not be safe; write kind = \"graph\" or \"auto\""
    ))
}

impl Opened {
    /// Opens what is there. Refuses another kind than `wanted`, and an empty place when no kind is given: that is more often a
    /// typo than a directory whose tables are yet to come.
    pub(crate) async fn open(
        uri: &str,
        wanted: Option<Kind>,
        options: Options,
    ) -> Result<Self, Failure> {
        let found = detect(uri, options.wrapper.clone(), &options.beyond).await?;
        match (wanted, found) {
            // A graph that is not there is the engine's to refuse.
            (Some(Kind::Graph), _) | (None, Kind::Graph) => {
                Ok(Self::Graph(Graph::open(uri, options).await?))
            }
            (Some(Kind::Directory), Kind::Graph) => Err(is_a_graph(uri)),
            (Some(Kind::Directory) | None, Kind::Directory) => {
                let options = DirectoryOptions {
                    beyond: options.beyond,
                    wrapper: options.wrapper,
                };
                let directory = Directory::open(uri, options).await?;
                if wanted.is_none() && directory.tables().await?.is_empty() {
                    return Err(Failure::Usage(format!(
                        "{uri} holds no graph and no Lance table: correct the URI, or create a graph with `squire init`; where the tables of a directory are yet to come, write kind = \"directory\" for the daemon"
                    )));
                }
                Ok(Self::Directory(directory))
            }
        }
    }

    /// What it is.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Graph(_) => Kind::Graph,
            Self::Directory(_) => Kind::Directory,
        }
    }

    /// Whether it is on a local disk.
    pub(crate) fn is_on_disk(&self) -> bool {
        match self {
            Self::Graph(graph) => graph.is_on_disk(),
            Self::Directory(directory) => directory.is_on_disk(),
        }
    }

    /// Its root, without secrets.
    pub(crate) fn uri(&self) -> &str {
        match self {
            Self::Graph(graph) => graph.uri(),
            Self::Directory(directory) => directory.uri(),
        }
    }

    /// Its tables, in order.
    pub(crate) async fn tables(&self) -> Result<Vec<TableKey>, Error> {
        match self {
            Self::Graph(graph) => {
                let snapshot = graph.snapshot().await?;
                Ok(snapshot.manifest().tables.keys().cloned().collect())
            }
            Self::Directory(directory) => directory.tables().await,
        }
    }

    /// What a planner needs to know of a table.
    pub(crate) async fn stats(&self, table: &TableKey) -> Result<TableStats, Error> {
        match self {
            Self::Graph(graph) => graph.snapshot().await?.stats(table).await,
            Self::Directory(directory) => directory.stats(table).await,
        }
    }

    /// All versions of a table: one list.
    pub(crate) async fn versions(&self, table: &TableKey) -> Result<Vec<VersionInfo>, Error> {
        match self {
            Self::Graph(graph) => graph.versions(table).await,
            Self::Directory(directory) => directory.versions(table).await,
        }
    }

    /// Whether a table has old files that no version names. Of a graph's tables, whatever cleans them up takes them along.
    pub(crate) async fn has_left_over_files(&self, table: &TableKey) -> Result<bool, Error> {
        match self {
            Self::Graph(_) => Ok(false),
            Self::Directory(directory) => directory.has_left_over_files(table).await,
        }
    }

    /// What a cleanup would remove; it deletes nothing.
    pub(crate) async fn explain_cleanup(
        &self,
        table: &TableKey,
        policy: &CleanupPolicy,
        ask: &Ask,
    ) -> Result<CleanupPreview, Error> {
        match self {
            Self::Graph(graph) => graph.explain_cleanup(table, policy, ask).await,
            Self::Directory(directory) => directory.explain_cleanup(table, policy, ask).await,
        }
    }

    /// Runs one duty on one table.
    pub(crate) async fn run(
        &self,
        table: &TableKey,
        duty: Duty,
        policy: &Policy,
        ask: &Ask,
        stop: &CancellationToken,
    ) -> Result<Outcome, Error> {
        Ok(match duty {
            Duty::Compaction => {
                Outcome::Compacted(self.compact(table, &policy.compaction, ask, stop).await?)
            }
            Duty::Index => Outcome::Indexed(self.index(table, &policy.index, ask, stop).await?),
            Duty::Cleanup => {
                Outcome::Cleaned(self.cleanup(table, &policy.cleanup, ask, stop).await?)
            }
        })
    }

    async fn compact(
        &self,
        table: &TableKey,
        policy: &CompactionPolicy,
        ask: &Ask,
        stop: &CancellationToken,
    ) -> Result<Compacted, Error> {
        match self {
            Self::Graph(graph) => graph.compact(table, policy, ask, stop).await,
            Self::Directory(directory) => directory.compact(table, policy, ask, stop).await,
        }
    }

    async fn index(
        &self,
        table: &TableKey,
        policy: &IndexPolicy,
        ask: &Ask,
        stop: &CancellationToken,
    ) -> Result<Indexed, Error> {
        match self {
            Self::Graph(graph) => graph.index(table, policy, ask, stop).await,
            Self::Directory(directory) => directory.index(table, policy, ask, stop).await,
        }
    }

    async fn cleanup(
        &self,
        table: &TableKey,
        policy: &CleanupPolicy,
        ask: &Ask,
        stop: &CancellationToken,
    ) -> Result<Cleaned, Error> {
        match self {
            Self::Graph(graph) => graph.cleanup(table, policy, ask, stop).await,
            Self::Directory(directory) => directory.cleanup(table, policy, ask, stop).await,
        }
    }

    /// Takes leave: a graph's heartbeat goes.
    pub(crate) async fn close(&self) {
        if let Self::Graph(graph) = self {
            graph.close().await;
        }
    }
}
