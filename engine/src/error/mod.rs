//! The engine's error: what went wrong, with which table, in which operation, where, and what to do.
//!
//! | file | what is in it |
//! |---|---|
//! | [`cause`] | what caused an error, and what that means for another attempt |
//! | [`obstacle`] | what rows have in the way of a schema apply |

pub(crate) mod cause;
pub(crate) mod obstacle;

use object_store::Error as StoreError;

use crate::{
    error::{cause::Cause, obstacle::Obstacle},
    graph::{
        input::InputError,
        manifest::{Contested, Refusal},
    },
    ids::{NameError, OperationId, TableKey},
    redact::without_echo,
    schema::{Misfit, PlanError, SchemaError},
    storage::AccessDenied,
};

/// The result of an engine call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller of a failed call should do. Programs branch on this, never on a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Correct the request, the schema or the data, and call again.
    FixInput,
    /// Nothing happened. Take a fresh snapshot and call again.
    Retry,
    /// The operation happened, or will. Do not call again: look it up by its id.
    DoNotRetry,
    /// An operator must check the graph: see docs/operations.md.
    Repair,
}

/// Why an engine call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The pin of a touched table is not the one that the operation expected (rule `decide`).
    #[error(
        "{table} of {uri} is at version {found}, expected {expected} (operation {operation}): nothing was changed; read the table again and repeat the operation"
    )]
    ExpectedVersionMismatch {
        /// The table that moved.
        table: TableKey,
        /// The operation that was refused.
        operation: OperationId,
        /// The pin that the operation was planned against; 0 for a table that must not exist.
        expected: u64,
        /// The pin that the manifest publishes; 0 for a table that does not exist.
        found: u64,
        /// The graph.
        uri: String,
    },
    /// Whether the operation took place is unknown: the store answered neither yes nor no.
    #[error(
        "the outcome of operation {operation} on {uri} is unknown: do not repeat it; `squire log` shows it if it took place"
    )]
    OutcomeUnknown {
        /// The operation in question.
        operation: OperationId,
        /// The graph.
        uri: String,
        /// The last error of the store, where there was one.
        #[source]
        source: Option<Box<Error>>,
    },
    /// The operation is decided but could not be finished here; the next process finishes it.
    #[error(
        "operation {operation} on {uri} is decided and will take effect, but could not be finished here: do not repeat it; a running daemon or `squire heal` finishes it"
    )]
    Unfinished {
        /// The decided operation.
        operation: OperationId,
        /// The graph.
        uri: String,
        /// Why it was not finished here.
        #[source]
        source: Box<Error>,
    },
    /// The operation is decided, but cannot be applied to one of its tables: it is quarantined.
    #[error(
        "operation {operation} on {uri} is decided, but cannot be applied to {table}: {reason}; do not repeat it, `squire repair` shows what can be done, and whether it took place"
    )]
    Unapplied {
        /// A table that cannot take its effect.
        table: TableKey,
        /// The decided operation.
        operation: OperationId,
        /// Why it cannot be applied.
        reason: String,
        /// The graph.
        uri: String,
    },
    /// A quarantined operation blocks logical operations on one of the tables.
    #[error(
        "operation {blocked_by} is quarantined and blocks {table} of {uri}: {reason}; run `squire repair` to see what can be done"
    )]
    Quarantined {
        /// What both operations want.
        table: Contested,
        /// The quarantined operation.
        blocked_by: OperationId,
        /// Why it could not be applied.
        reason: String,
        /// The graph.
        uri: String,
    },
    /// A program that knows nothing of Squire changed the meaning of a table (semantic drift).
    #[error(
        "{table} of {uri} was changed outside of Squire: version {head} ({what}) is past the pin {pin}; run `squire repair` to see and adopt it"
    )]
    Drift {
        /// The table.
        table: TableKey,
        /// The version that the manifest publishes.
        pin: u64,
        /// The newest version of the table.
        head: u64,
        /// The Lance operation of the first version that is not benign.
        what: String,
        /// The graph.
        uri: String,
    },
    /// The operation's ticket was taken away: its holder seemed dead.
    #[error(
        "operation {operation} on {uri} was aborted by a healer: nothing was changed; repeat it"
    )]
    Aborted {
        /// The operation.
        operation: OperationId,
        /// The graph.
        uri: String,
    },
    /// The graph has no such table.
    #[error("{uri} has no table {table}{}", nearest.as_ref().map(|n| format!("; did you mean {n}?")).unwrap_or_default())]
    UnknownTable {
        /// What was asked for.
        table: String,
        /// The existing key that is nearest in spelling.
        nearest: Option<TableKey>,
        /// The graph.
        uri: String,
    },
    /// A table of a directory is not there: another program dropped it, or took it off the catalog.
    #[error("{uri} has no table {table}: it was dropped, or never was; nothing was changed")]
    TableGone {
        /// The table.
        table: TableKey,
        /// The directory.
        uri: String,
    },
    /// The version of a table that a manifest of a graph publishes is gone, and none takes its place.
    #[error(
        "version {pin} of {table} of {uri} is gone: take a new snapshot; if it is gone there as well, another program pruned it, and `squire repair` shows what can be done"
    )]
    SnapshotGone {
        /// The table.
        table: TableKey,
        /// The version that the manifest publishes.
        pin: u64,
        /// The graph.
        uri: String,
    },
    /// A table's commits are made in an external store of manifests, which Squire does not know.
    #[error(
        "{table} of {uri} is left alone: manifests are staged in its folder, so its commits are made in an external store such as DynamoDB, whose newest version cannot be seen here; exclude the table"
    )]
    ForeignCommits {
        /// The table.
        table: TableKey,
        /// The directory.
        uri: String,
    },
    /// A table leads out of its target, or is not made of files.
    #[error("{table} of {uri} is left alone: {reason}")]
    AccessDenied {
        /// The table.
        table: TableKey,
        /// What is in the way, and how to clear it.
        reason: AccessDenied,
        /// The root.
        uri: String,
    },
    /// An index cannot be written anew for rows at other places.
    #[error(
        "{index} of {table} in {uri} cannot follow its rows to rewritten fragments: {reason}; nothing was changed, and the fragments that it covers are left alone: drop the index, or make it anew"
    )]
    Unmapped {
        /// The table.
        table: TableKey,
        /// The index.
        index: String,
        /// What is in the way.
        reason: String,
        /// The directory, or the graph.
        uri: String,
    },
    /// The request contradicts itself or the schema.
    #[error("{table}: {reason}")]
    BadRequest {
        /// The table.
        table: TableKey,
        /// What is wrong and how to fix it.
        reason: String,
    },
    /// The rows that a table has do not allow a step of a schema apply.
    #[error("{table} of {uri}: {obstacle}; nothing was changed")]
    RowsForbid {
        /// The table.
        table: TableKey,
        /// What is in the way, and how to clear it.
        obstacle: Obstacle,
        /// The graph.
        uri: String,
    },
    /// The schema has changed since the steps of an apply were planned.
    #[error(
        "the schema of {uri} has changed since the steps were planned: nothing was changed; plan again and repeat"
    )]
    SchemaMoved {
        /// The graph.
        uri: String,
    },
    /// There is no graph at the root.
    #[error("{uri} holds no graph: create one with `squire init`, or correct the URI")]
    NotAGraph {
        /// The root that was opened.
        uri: String,
    },
    /// There is a graph at the root already.
    #[error("{uri} holds a graph already: open it, or choose another root")]
    AlreadyAGraph {
        /// The root that was to be created.
        uri: String,
    },
    /// The URI cannot name a root.
    #[error("`{uri}` cannot be a graph's root: {reason}")]
    BadUri {
        /// The URI as given.
        uri: String,
        /// What is wrong and how to fix it.
        reason: String,
    },
    /// The root is OmniGraph's.
    #[error(
        "{uri} belongs to OmniGraph ({sign}): its tables change together under a manifest that Squire does not know, so none is maintained; use `omnigraph optimize` and `omnigraph cleanup` there, and take it off the configuration"
    )]
    OmniGraph {
        /// The root that was to be opened.
        uri: String,
        /// What shows it.
        sign: String,
    },
    /// The store cannot be written to safely.
    #[error("the store of {uri} cannot be written to safely: {reason}")]
    UnfitStore {
        /// The root.
        uri: String,
        /// Which primitive it lacks.
        reason: String,
    },
    /// An object was written by a newer Squire.
    #[error(
        "{object} of {uri} has format {found}, this Squire knows up to {known}: upgrade Squire"
    )]
    NewerFormat {
        /// The object.
        object: String,
        /// Its format.
        found: u32,
        /// The newest format that this program reads.
        known: u32,
        /// The graph.
        uri: String,
    },
    /// An object of Squire's own cannot be read back.
    #[error(
        "{object} of {uri} is damaged: {reason}; restore the object from a backup or from the store's own versions, nothing was changed"
    )]
    Damaged {
        /// The object.
        object: String,
        /// What is wrong with it.
        reason: String,
        /// The graph.
        uri: String,
    },
    /// The manifest refused a transition.
    #[error("operation {operation} on {uri} was refused: {refusal}")]
    Refused {
        /// The operation.
        operation: OperationId,
        /// Why.
        refusal: Refusal,
        /// The graph.
        uri: String,
    },
    /// The object store failed.
    #[error("{action} {uri} failed: {}", without_echo(&source.to_string()))]
    Store {
        /// What was being done: `listing the manifests of`, ...
        action: &'static str,
        /// The root or object.
        uri: String,
        /// The store's error.
        source: StoreError,
    },
    /// Lance failed.
    #[error("{action} {table} of {uri} failed: {}", plain(source))]
    Lance {
        /// What was being done: `opening`, `rewriting`, ...
        action: &'static str,
        /// The table.
        table: TableKey,
        /// The graph.
        uri: String,
        /// Lance's error.
        source: Box<lance::Error>,
    },
    /// Lance panicked: it met a file of the table that is damaged, or that it does not know.
    #[error(
        "{action} {table} of {uri} made Lance panic: {message}; a file of the table is damaged or of an unknown format: open the table with another client, restore it from a copy or drop it; other tables are kept up"
    )]
    Panicked {
        /// What was being done: `opening`, ...
        action: &'static str,
        /// The table.
        table: TableKey,
        /// What the panic said.
        message: String,
        /// The root.
        uri: String,
    },
    /// A table is not the one any more whose versions a cleanup was about to remove.
    #[error(
        "{table} of {uri} was dropped, made anew or cleaned up by another program while its old versions were removed: what was left stays, and the next cleanup judges it anew"
    )]
    TableReplaced {
        /// The table.
        table: TableKey,
        /// The root.
        uri: String,
    },
    /// What a rewrite wrote could not be read back, so it was not committed.
    #[error(
        "a rewrite of {table} of {uri} could not be read back, column {column}: {reason}; it was thrown away and the table is as it was. These fragments are left alone until they change: cast the column to a type that holds its values (a dictionary to one with wider keys), or exclude the table"
    )]
    Unreadable {
        /// The table.
        table: TableKey,
        /// The full path of the column, `*` when it is no single one.
        column: String,
        /// What was found.
        reason: String,
        /// The graph or directory.
        uri: String,
    },
    /// Lance or the store refuses a commit for good, and said so before anything was put.
    #[error(
        "{table} of {uri} does not take a commit: {reason}; nothing was changed, what was written for it is deleted, and it is not tried again until the table or its indexes change: upgrade Squire if the table was written by a newer Lance, repair what is named, or exclude the table"
    )]
    CommitRefused {
        /// The table.
        table: TableKey,
        /// What was said.
        reason: String,
        /// Whether it is said of every commit: there is no use in trying another.
        always: bool,
        /// The graph or directory.
        uri: String,
    },
    /// A row is too large to be rewritten within the memory that there is.
    #[error(
        "fragment {fragment} of {table} of {uri} has a row, or rows that Lance reads together, of {bytes} bytes in memory, and a job has room for {most}; the fragment is left alone: raise daemon.memory, or lower daemon.concurrency"
    )]
    RowTooLarge {
        /// The table.
        table: TableKey,
        /// The fragment's id.
        fragment: u64,
        /// Bytes of its largest row once it is decoded, or of rows that Lance can only read at once.
        bytes: u64,
        /// The most that a job has room for.
        most: u64,
        /// The graph or directory.
        uri: String,
    },
    /// Others commit to the table so fast that no attempt came through.
    #[error(
        "{table} of {uri} is being written so fast, outside of Squire, that no attempt came through"
    )]
    Contended {
        /// The table.
        table: TableKey,
        /// The graph.
        uri: String,
    },
    /// A call was cancelled before it had changed anything.
    #[error("cancelled: nothing was changed")]
    Cancelled,
    /// The schema file cannot be used.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The new schema cannot follow the old one.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A step does not fit the table or the schema it was planned for.
    #[error(transparent)]
    Misfit(#[from] Misfit),
    /// The input of a load cannot be used.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A name is no name.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// What kind of error one is. Two of a kind may differ in words: stores put times and request ids into theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorKind {
    variant: std::mem::Discriminant<Error>,
    cause: Option<Cause>,
}

impl Error {
    /// Its kind.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind {
            variant: std::mem::discriminant(self),
            cause: self.cause(),
        }
    }

    /// What lies behind it, where a store or Lance failed.
    fn cause(&self) -> Option<Cause> {
        match self {
            Self::Lance { source, .. } => Some(Cause::of(&**source)),
            Self::Store { source, .. } => Some(Cause::of(source)),
            _ => None,
        }
    }

    /// Whether every further attempt would end so, as long as the table stays as it is and this build works on it.
    pub(crate) fn is_lasting(&self) -> bool {
        match self {
            Self::Lance { source, .. } => cause::is_lasting(source),
            _ => false,
        }
    }

    /// What the caller should do about it.
    pub fn advice(&self) -> Advice {
        match self {
            Self::ExpectedVersionMismatch { .. }
            | Self::SchemaMoved { .. }
            | Self::SnapshotGone { .. }
            | Self::Aborted { .. }
            | Self::Cancelled => Advice::Retry,
            Self::Store { .. }
            | Self::Lance { .. }
            | Self::Unreadable { .. }
            | Self::Refused { .. }
            | Self::TableReplaced { .. }
            | Self::Contended { .. } => Advice::Retry,
            Self::Misfit(_) | Self::Panicked { .. } => Advice::Repair,
            Self::OutcomeUnknown { .. } | Self::Unfinished { .. } | Self::Unapplied { .. } => {
                Advice::DoNotRetry
            }
            Self::Quarantined { .. }
            | Self::Drift { .. }
            | Self::NewerFormat { .. }
            | Self::Damaged { .. }
            | Self::Unmapped { .. }
            | Self::CommitRefused { .. }
            | Self::RowTooLarge { .. }
            | Self::UnfitStore { .. } => Advice::Repair,
            Self::UnknownTable { .. }
            | Self::TableGone { .. }
            | Self::ForeignCommits { .. }
            | Self::AccessDenied { .. }
            | Self::BadRequest { .. }
            | Self::RowsForbid { .. }
            | Self::NotAGraph { .. }
            | Self::AlreadyAGraph { .. }
            | Self::BadUri { .. }
            | Self::OmniGraph { .. }
            | Self::Schema(_)
            | Self::Plan(_)
            | Self::Input(_)
            | Self::Name(_) => Advice::FixInput,
        }
    }

    /// Whether it is of all writes below a root, not of what was written: the disk is full, or who wrote may not.
    pub fn stops_all_writes(&self) -> bool {
        matches!(self.cause(), Some(Cause::NoSpace | Cause::NotPermitted))
    }

    /// Whether what failed will fail again as long as nothing is changed: it is not worth its work again and again.
    pub fn lasts(&self) -> bool {
        match self {
            Self::Lance { source, .. } => !Cause::of(&**source).may_pass(),
            Self::Store { source, .. } => !Cause::of(source).may_pass(),
            _ => matches!(self.advice(), Advice::Repair | Advice::FixInput),
        }
    }

    /// Whether the error leaves open what became of the operation: no file may be deleted after it.
    pub(crate) fn leaves_open(&self) -> bool {
        matches!(
            self,
            Self::OutcomeUnknown { .. } | Self::Unfinished { .. } | Self::Unapplied { .. }
        )
    }

    /// The same failure of the register, for one more of the calls that it concerns.
    pub(crate) fn retold(&self) -> Self {
        let generic = |text: String| StoreError::Generic {
            store: "register",
            source: text.into(),
        };
        match self {
            Self::Store {
                action,
                uri,
                source,
            } => Self::store(action, uri, generic(source.to_string())),
            Self::Damaged {
                object,
                reason,
                uri,
            } => Self::Damaged {
                object: object.clone(),
                reason: reason.clone(),
                uri: uri.clone(),
            },
            Self::NewerFormat {
                object,
                found,
                known,
                uri,
            } => Self::NewerFormat {
                object: object.clone(),
                found: *found,
                known: *known,
                uri: uri.clone(),
            },
            Self::NotAGraph { uri } => Self::NotAGraph { uri: uri.clone() },
            other => Self::store(
                "changing the register of",
                "the graph",
                generic(other.to_string()),
            ),
        }
    }

    pub(crate) fn store(action: &'static str, uri: impl Into<String>, source: StoreError) -> Self {
        Self::Store {
            action,
            uri: uri.into(),
            source,
        }
    }
}

/// What Lance says, without the places in its source that it adds: they tell an operator nothing.
pub(crate) fn plain(e: &dyn std::fmt::Display) -> String {
    let text = e.to_string();
    let text = without_echo(&text);
    let parts = text.split(", ").filter(|part| !part.contains(".rs:"));
    parts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_of_the_same_kind_whatever_times_and_ids_a_store_puts_into_it() {
        let refused = |text: &str| {
            let source = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, text);
            let source = StoreError::Generic {
                store: "S3",
                source: source.into(),
            };
            Error::store("listing", "s3://lake", source).kind()
        };
        assert_eq!(refused("at 08:19, id 1"), refused("at 08:20, id 2"));
        let full = std::io::Error::new(std::io::ErrorKind::StorageFull, "full");
        let full = StoreError::Generic {
            store: "disk",
            source: full.into(),
        };
        assert_ne!(refused("x"), Error::store("listing", "/lake", full).kind());
        assert_ne!(refused("x"), Error::Cancelled.kind());
    }

    #[test]
    fn the_places_in_the_source_of_lance_are_not_shown() {
        let text =
            "Invalid user input: no field x, and no y, /home/ada/lance/src/scanner.rs:839:33";
        assert_eq!(plain(&text), "Invalid user input: no field x, and no y");
    }
}
