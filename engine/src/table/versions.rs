//! The versions of a table: what there are, what keeps them, and how the oldest go.

use std::{collections::BTreeMap, fmt, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use futures::{FutureExt, Stream, TryStreamExt};
use lance::{
    Dataset,
    dataset::cleanup::{CleanupPolicy as LancePolicy, RemovalStats},
};
use lance_table::io::commit::{ManifestNamingScheme, VERSIONS_DIR};

use super::{Table, stats::VersionInfo};
use crate::{
    error::{Error, Result},
    failpoint,
    maintenance::cleanup::{CleanupPolicy, Protected, Reason, Skip, Verdict},
    manifest::OperationKind,
    names::{OperationId, TableKey},
    progress::{self, Phase},
};

/// Deletions that are on their way at once.
const DELETIONS_AT_ONCE: usize = 16;

/// What a cleanup came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cleaned {
    /// All versions stay, because of this.
    Skipped(Skip),
    /// Some are gone.
    Done(CleanupReceipt),
}

/// What a cleanup removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CleanupReceipt {
    /// Why the table was due.
    pub reason: Reason,
    /// Versions that are gone.
    pub versions: u64,
    /// Files that are gone, besides those of the versions themselves.
    pub files: u64,
    /// Bytes of both.
    pub bytes: u64,
    /// The first version that nothing but a tag or a branch had to keep.
    pub below: u64,
}

/// What a cleanup would do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CleanupPreview {
    /// What the planner says.
    pub verdict: Verdict,
    /// Versions there are.
    pub versions: u64,
    /// What would go: nothing when the verdict is to leave the table alone.
    pub goes: Removed,
    /// What stays, and because of what.
    pub kept: Vec<Kept>,
}

/// What a removal took away, or would.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Versions.
    pub versions: u64,
    /// Files, besides those of the versions themselves.
    pub files: u64,
    /// Bytes of both.
    pub bytes: u64,
}

/// What keeps versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Manifests of the graph are kept, and readers of them open these versions.
    Pins {
        /// The oldest pin; every version from there on stays.
        from: u64,
        /// The numbers of the oldest manifest that is kept, and of the newest.
        manifests: (u64, u64),
    },
    /// An operation is decided on the table: nothing goes until it has ended.
    Ticket {
        /// The operation.
        operation: OperationId,
        /// What it does.
        kind: OperationKind,
        /// The version that its effect was staged at, if it writes the table.
        base: Option<u64>,
        /// Whether it waits for an operator.
        quarantined: bool,
    },
    /// A tag names the version.
    Tag {
        /// The tag.
        name: String,
        /// The version.
        version: u64,
    },
    /// A branch begins at the version.
    Branch {
        /// The branch.
        name: String,
        /// The version.
        version: u64,
    },
    /// A table is a shallow clone of this one and reads its files: nothing goes.
    Clone {
        /// The clone.
        table: TableKey,
    },
    /// It was the newest, less long ago than the policy says.
    Age {
        /// Every version from there on stays.
        from: u64,
    },
    /// It is among the newest, as many as the policy says.
    Count {
        /// Every version from there on stays.
        from: u64,
    },
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pins {
                from,
                manifests: (oldest, newest),
            } => write!(
                f,
                "versions from {from} on: pins of manifests {oldest} to {newest}"
            ),
            Self::Ticket {
                operation,
                kind,
                base,
                quarantined,
            } => {
                match base {
                    Some(base) => write!(f, "versions from {base} on")?,
                    None => f.write_str("all versions")?,
                }
                let state = if *quarantined {
                    "quarantined"
                } else {
                    "decided"
                };
                write!(
                    f,
                    ": {kind} {operation} is {state}, and nothing goes until it has ended"
                )
            }
            Self::Tag { name, version } => write!(f, "version {version}: tag {name}"),
            Self::Branch { name, version } => {
                write!(f, "version {version}: branch {name} begins there")
            }
            Self::Clone { table } => {
                write!(
                    f,
                    "all versions: {table} is a shallow clone and reads their files"
                )
            }
            Self::Age { from } => {
                write!(f, "versions from {from} on: not superseded for long enough")
            }
            Self::Count { from } => write!(f, "versions from {from} on: the newest ones"),
        }
    }
}

/// All versions of a table, in order: one list.
///
/// # Errors
/// [`Error::ForeignCommits`], [`Error::Store`].
pub(crate) async fn list(table: &Table) -> Result<Vec<VersionInfo>> {
    let found = found(table).map_ok(|(_, version)| version);
    let mut versions: Vec<_> = found.try_collect().await?;
    versions.sort_by_key(|v| v.version);
    Ok(versions)
}

/// So many of the newest versions, the newest first: one list, and of that one page, where the store lists by name and
/// the names are such that the newest comes first. It is so on S3 with every table that is not very old.
///
/// # Errors
/// As [`list`].
pub(crate) async fn newest(table: &Table, most: usize) -> Result<Vec<VersionInfo>> {
    let mut newest = Vec::new();
    if table.storage.lists_by_name {
        let mut found = std::pin::pin!(found(table));
        // One more is looked at: what is staged for a version comes right after it.
        while newest.len() <= most {
            match found.try_next().await? {
                Some((ManifestNamingScheme::V2, version)) => newest.push(version),
                Some((ManifestNamingScheme::V1, _)) => {
                    newest = list(table).await?;
                    newest.reverse();
                    break;
                }
                None => break,
            }
        }
    } else {
        newest = list(table).await?;
        newest.reverse();
    }
    newest.truncate(most);
    Ok(newest)
}

/// The versions of a table as the store lists them, and how each is named.
fn found(table: &Table) -> impl Stream<Item = Result<(ManifestNamingScheme, VersionInfo)>> {
    let folder = table.storage.table_base(&table.path).join(VERSIONS_DIR);
    let of = format!("{} of {}", table.key, table.storage.uri);
    let found = table.storage.store.list(Some(&folder));
    let found = found.map_err(move |e| Error::store("listing the versions of", of.clone(), e));
    let table = table.clone();
    found.try_filter_map(move |object| {
        let name = object.location.filename().unwrap_or_default();
        if is_staged(name) {
            return std::future::ready(Err(foreign(&table)));
        }
        let named = ManifestNamingScheme::detect_scheme(name).and_then(|scheme| {
            // Names of detached versions have no number.
            let version = scheme.parse_version(name)?;
            let written = object.last_modified;
            Some((scheme, VersionInfo { version, written }))
        });
        std::future::ready(Ok(named))
    })
}

/// Whether an object is a manifest that waits for an external store to decide about it: `NUMBER.manifest-UUID`.
fn is_staged(name: &str) -> bool {
    name.contains(".manifest-")
}

pub(crate) fn foreign(table: &Table) -> Error {
    Error::ForeignCommits {
        table: table.key.clone(),
        uri: table.storage.uri.clone(),
    }
}

/// What Lance's own references keep: tags and branches of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct References {
    tags: BTreeMap<String, u64>,
    branches: BTreeMap<String, u64>,
}

impl References {
    /// Reads them: a list for each kind, and a read for each of them.
    ///
    /// # Errors
    /// [`Error::Lance`].
    pub(crate) async fn of(table: &Table, dataset: &Dataset) -> Result<Self> {
        let failed = |e| table.failed("reading the tags of", e);
        let tags = dataset.tags().list().await.map_err(failed)?;
        let branches = dataset.branches().list().await.map_err(failed)?;
        // Tags and branches of a branch name versions of its own.
        let tags = tags.into_iter().filter(|(_, tag)| tag.branch.is_none());
        let of_main = branches
            .into_iter()
            .filter(|(_, b)| b.parent_branch.is_none());
        Ok(Self {
            tags: tags.map(|(name, tag)| (name, tag.version)).collect(),
            branches: of_main.map(|(name, b)| (name, b.parent_version)).collect(),
        })
    }

    /// As the planner takes them.
    pub(crate) fn protected(&self) -> Protected {
        Protected {
            from: None,
            versions: self
                .tags
                .values()
                .chain(self.branches.values())
                .copied()
                .collect(),
        }
    }

    /// As a preview shows them.
    pub(crate) fn kept(&self) -> impl Iterator<Item = Kept> {
        let tags = self.tags.iter().map(|(name, &version)| Kept::Tag {
            name: name.clone(),
            version,
        });
        let branches = self.branches.iter().map(|(name, &version)| Kept::Branch {
            name: name.clone(),
            version,
        });
        tags.chain(branches)
    }

    /// The tags of versions before this one.
    pub(crate) fn tags_below(&self, below: u64) -> impl Iterator<Item = (&str, u64)> {
        let tags = self
            .tags
            .iter()
            .map(|(name, &version)| (name.as_str(), version));
        tags.filter(move |(_, version)| *version < below)
    }
}

/// What the policy itself keeps, as a preview shows it.
pub(crate) fn kept_by_policy(
    versions: &[VersionInfo],
    policy: &CleanupPolicy,
    now: DateTime<Utc>,
) -> impl Iterator<Item = Kept> {
    let beyond = versions.len().saturating_sub(policy.keep_versions.max(1));
    let count = versions.get(beyond);
    let pairs = versions.iter().zip(versions.iter().skip(1));
    let mut young = pairs.filter(|(_, next)| now - next.written < delta(policy.keep_for));
    let age = young.next().map(|(version, _)| version);
    let age = age.map(|v| Kept::Age { from: v.version });
    age.into_iter()
        .chain(count.map(|v| Kept::Count { from: v.version }))
}

pub(crate) fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

/// Which versions go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    /// Those before this one.
    pub(crate) below: u64,
    /// As far as they were committed before this time, by their writers' clocks.
    pub(crate) before: Option<DateTime<Utc>>,
}

impl From<u64> for Limit {
    fn from(below: u64) -> Self {
        Self {
            below,
            before: None,
        }
    }
}

impl Limit {
    fn policy(self) -> LancePolicy {
        LancePolicy {
            before_version: Some(self.below),
            before_timestamp: self.before,
            // They stay, and the others go.
            error_if_tagged_old_versions: false,
            ..LancePolicy::default()
        }
    }
}

impl From<&RemovalStats> for Removed {
    fn from(stats: &RemovalStats) -> Self {
        Self {
            versions: stats.old_versions,
            files: stats.data_files_removed
                + stats.deletion_files_removed
                + stats.index_files_removed
                + stats.transaction_files_removed,
            bytes: stats.bytes_removed,
        }
    }
}

/// Opens a version of a table to remove others, see [`crate::storage::Storage::cleanup_params`].
///
/// # Errors
/// [`Error::Lance`].
pub(crate) async fn open(table: &Table, version: u64) -> Result<Dataset> {
    let opened = table.open(version, table.storage.cleanup_params(), None);
    opened.await.map_err(|e| table.failed("opening", e))
}

/// Removes the versions within a limit, with the files that no other version names. Versions with tags stay, and so do
/// files that branches share. A file that never was in a version goes after seven days, which is Lance's rule.
///
/// It can be cut off anywhere: what is left is removed by the next one.
///
/// # Errors
/// [`Error::Lance`]; a file that cannot be deleted is left to the next cleanup.
pub(crate) async fn remove(table: &Table, dataset: &Dataset, limit: Limit) -> Result<Removed> {
    let failed = |e| table.failed("removing earlier versions of", e);
    failpoint::hit!(BEFORE_CLEANUP);
    let cleanup = dataset.cleanup(limit.policy());
    let cleanup = cleanup
        .with_delete_concurrency(DELETIONS_AT_ONCE)
        .map_err(failed)?;
    let stats = cleanup.execute().boxed().await.map_err(failed)?;
    failpoint::hit!(AFTER_CLEANUP);
    if stats.failed_deletes > 0 {
        tracing::warn!(table = %table.key, below = limit.below, files = stats.failed_deletes, uri = %table.storage.uri, "some files could not be deleted; the next cleanup tries again");
    }
    Ok(Removed::from(&stats))
}

/// Removes the versions within a limit as [`remove`] does, for a cleanup that is due because of this, and tells so.
///
/// # Errors
/// As [`remove`].
pub(crate) async fn clean(
    table: &Table,
    dataset: &Dataset,
    limit: Limit,
    reason: Reason,
) -> Result<Cleaned> {
    progress::begin(Phase::Removing, 0);
    let below = limit.below;
    let Removed {
        versions,
        files,
        bytes,
    } = remove(table, dataset, limit).await?;
    tracing::info!(table = %table.key, below, reason = %reason, versions, files, bytes, uri = %table.storage.uri, "old versions removed");
    Ok(Cleaned::Done(CleanupReceipt {
        reason,
        versions,
        files,
        bytes,
        below,
    }))
}

/// What [`remove`] would remove. Deletes nothing.
///
/// # Errors
/// [`Error::Lance`].
pub(crate) async fn explain(table: &Table, dataset: &Dataset, limit: Limit) -> Result<Removed> {
    let cleanup = dataset.cleanup(limit.policy()).with_max_candidate_files(0);
    let explained = cleanup.explain().boxed().await;
    let explained = explained.map_err(|e| table.failed("looking at the versions of", e))?;
    Ok(Removed::from(&explained.stats))
}
