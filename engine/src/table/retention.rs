//! What keeps versions of a table, as a preview shows it.

use std::{fmt, path::PathBuf};

use chrono::{DateTime, Utc};

use super::{stats::VersionInfo, versions::delta};
use crate::{
    ids::{OperationId, OperationKind, TableKey},
    planner::cleanup::CleanupPolicy,
};

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
    /// A table is a shallow clone of this one and reads its files.
    Clone {
        /// The clone.
        table: TableKey,
        /// The versions that have these files; nothing when no version has them all any more, and nothing goes.
        versions: Option<Vec<u64>>,
    },
    /// A branch reads files of a version that is gone already.
    Orphan {
        /// The branch's folder.
        branch: String,
        /// As of a clone.
        versions: Option<Vec<u64>>,
    },
    /// A table cannot be read, and may be a shallow clone of this one: nothing goes.
    Unreadable {
        /// The table that cannot be read.
        table: TableKey,
        /// Why.
        reason: String,
    },
    /// A folder of the table is one of another table as well, by a link or a mount: nothing goes, as neither knows what the
    /// other needs.
    Shared {
        /// The other table.
        table: TableKey,
        /// The folder.
        folder: PathBuf,
    },
    /// A computed column was filled at a version, and is brought up to date from there.
    Computed {
        /// The column.
        column: String,
        /// Every version from there on stays.
        from: u64,
    },
    /// A materialized view was refreshed from a version.
    View {
        /// The view.
        view: TableKey,
        /// The version.
        version: u64,
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
            Self::Clone { table, versions } => {
                read_by(f, versions.as_deref())?;
                write!(f, ": {table} is a shallow clone and reads their files")
            }
            Self::Orphan { branch, versions } => {
                read_by(f, versions.as_deref())?;
                write!(
                    f,
                    ": branch {branch} reads their files, and the version that it began at is gone"
                )
            }
            Self::Unreadable { table, reason } => write!(
                f,
                "all versions: {table} cannot be read and may be a shallow clone ({reason}); repair or drop it"
            ),
            Self::Shared { table, folder } => write!(
                f,
                "all versions: {} is also a folder of {table}, by a link or a mount, and neither table knows what the other needs; give each its own files",
                folder.display()
            ),
            Self::Computed { column, from } => write!(
                f,
                "versions from {from} on: computed column {column} was filled at that version; refresh it"
            ),
            Self::View { view, version } => {
                write!(
                    f,
                    "version {version}: materialized view {view} was refreshed from it"
                )
            }
            Self::Age { from } => {
                write!(f, "versions from {from} on: not superseded for long enough")
            }
            Self::Count { from } => write!(f, "versions from {from} on: the newest ones"),
        }
    }
}

fn read_by(f: &mut fmt::Formatter<'_>, versions: Option<&[u64]>) -> fmt::Result {
    match versions {
        None => f.write_str("all versions"),
        Some([version]) => write!(f, "version {version}"),
        Some(versions) => {
            let versions: Vec<_> = versions.iter().map(u64::to_string).collect();
            write!(f, "versions {}", versions.join(", "))
        }
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
