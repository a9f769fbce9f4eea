//! The names of the protocol: tables, operations and holders, and which tables an operation touches.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Whether a type describes nodes or edges. It is the first half of a [`TableKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TypeKind {
    /// A node type, written `node`.
    Node,
    /// An edge type, written `edge`.
    Edge,
}

impl TypeKind {
    /// The word that stands for this kind in keys, files and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Edge => "edge",
        }
    }
}

impl fmt::Display for TypeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A table of a graph, named by kind and type: `node:Person`, `edge:Knows`. A table of a directory is no graph's, and
/// has a name alone.
///
/// Keys are ordered; effects are taken in the order of their keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableKey {
    kind: Option<TypeKind>,
    name: String,
}

/// Why a text is no [`TableKey`] or no type name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text has no `node:` or `edge:` in front.
    #[error("`{0}` is not a table key: write `node:NAME` or `edge:NAME`")]
    NotAKey(String),
    /// The name cannot be a type's name.
    #[error(
        "`{0}` cannot name a type or property: start with a letter, go on with letters, digits or `_`, at most 128 of them"
    )]
    BadName(String),
}

/// Checks that `name` can name a type or a property: an ASCII letter, then letters, digits or `_`, at
/// most 128 in all. (The name becomes a part of a path and of SQL.)
///
/// # Errors
/// [`NameError::BadName`].
pub fn check_name(name: &str) -> Result<(), NameError> {
    let mut chars = name.chars();
    let head = chars.next().is_some_and(|c| c.is_ascii_alphabetic());
    if head && name.len() <= 128 && chars.all(|c| c.is_ascii_alphanumeric() || c == '_') {
        Ok(())
    } else {
        Err(NameError::BadName(name.to_owned()))
    }
}

impl TableKey {
    /// A key from its halves.
    ///
    /// # Errors
    /// [`NameError::BadName`] when `name` cannot name a type, see [`check_name`].
    pub fn new(kind: TypeKind, name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        check_name(&name)?;
        Ok(Self {
            kind: Some(kind),
            name,
        })
    }

    /// The key of a table in a directory. Other programs named it: anything goes.
    pub fn of_directory(name: impl Into<String>) -> Self {
        Self {
            kind: None,
            name: name.into(),
        }
    }

    /// `node` or `edge`, for a table of a graph.
    pub const fn kind(&self) -> Option<TypeKind> {
        self.kind
    }

    /// The type's name, without its kind.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for TableKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Some(kind) => write!(f, "{kind}:{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl FromStr for TableKey {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.split_once(':') {
            Some(("node", name)) => Self::new(TypeKind::Node, name),
            Some(("edge", name)) => Self::new(TypeKind::Edge, name),
            _ => Err(NameError::NotAKey(text.to_owned())),
        }
    }
}

impl Serialize for TableKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TableKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// One operation, for all time. A retry is another operation and has another id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OperationId(Uuid);

impl OperationId {
    /// A fresh id. Ids sort by the time they were made.
    pub fn fresh() -> Self {
        Self(Uuid::now_v7())
    }

    /// The first twelve digits, for people: those of the time. Two operations of one millisecond share them.
    pub fn short(self) -> String {
        let mut digits = self.0.hyphenated().to_string();
        digits.truncate(13);
        digits
    }

    /// Whether a user who writes this means the operation: by its id, or the beginning of it, eight digits at least.
    pub fn is_meant_by(self, text: &str) -> bool {
        text.len() >= 8 && self.to_string().starts_with(&text.to_lowercase())
    }

    /// The id as a uuid: the `uuid` of the operation's Lance transactions.
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for OperationId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for OperationId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::parse_str(text).map(Self)
    }
}

/// A process that has tickets: `host-pid-random`, and so the name of its heartbeat object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HolderId(String);

impl HolderId {
    /// The id of this process, fresh at every call: an engine makes one when it starts.
    pub fn fresh() -> Self {
        let host: String = gethostname::gethostname()
            .to_string_lossy()
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || c == '-' {
                    c
                } else {
                    '-'
                }
            })
            .take(64)
            .collect();
        let random = Uuid::new_v4().simple().to_string();
        Self(format!("{host}-{}-{}", std::process::id(), &random[..8]))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for HolderId {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for HolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an operation does, and so whether it is logical or physical.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum OperationKind {
    /// Changes the schema. Logical.
    SchemaApply,
    /// Adds or replaces rows. Logical.
    Load,
    /// Removes rows. Logical.
    Delete,
    /// Rewrites fragments. Physical.
    Compact,
    /// Creates, extends or merges indexes. Physical.
    Index,
    /// Removes old versions and files. Physical.
    Cleanup,
    /// Resolves quarantine and drift by an operator's word. Physical.
    Repair,
}

impl OperationKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::SchemaApply,
        Self::Load,
        Self::Delete,
        Self::Compact,
        Self::Index,
        Self::Cleanup,
        Self::Repair,
    ];

    /// Whether the operation changes layout only. A physical operation never fails, blocks or delays a
    /// logical one.
    pub const fn is_physical(self) -> bool {
        match self {
            Self::Compact | Self::Index | Self::Cleanup | Self::Repair => true,
            Self::SchemaApply | Self::Load | Self::Delete => false,
        }
    }

    /// The name as it stands in manifests, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SchemaApply => "SchemaApply",
            Self::Load => "Load",
            Self::Delete => "Delete",
            Self::Compact => "Compact",
            Self::Index => "Index",
            Self::Cleanup => "Cleanup",
            Self::Repair => "Repair",
        }
    }
}

impl fmt::Display for OperationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The tables that an operation writes and those that it only reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touched {
    /// Tables whose versions, names or existence the operation changes.
    pub writes: BTreeSet<TableKey>,
    /// Tables that must stand still meanwhile.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub reads: BTreeSet<TableKey>,
}

impl Touched {
    /// An operation that writes these tables and reads none.
    pub fn writing(tables: impl IntoIterator<Item = TableKey>) -> Self {
        Self {
            writes: tables.into_iter().collect(),
            reads: BTreeSet::new(),
        }
    }

    /// The same, reading these tables besides, as far as it does not write them.
    #[must_use]
    pub fn reading(mut self, tables: impl IntoIterator<Item = TableKey>) -> Self {
        let writes = &self.writes;
        self.reads
            .extend(tables.into_iter().filter(|t| !writes.contains(t)));
        self
    }

    /// Every touched table, in the order of keys.
    pub fn all(&self) -> impl Iterator<Item = &TableKey> {
        self.writes.union(&self.reads)
    }

    /// Whether a ticket for these tables does for `other`, too.
    pub fn covers(&self, other: &Self) -> bool {
        let reads = &mut other.reads.iter();
        self.writes.is_superset(&other.writes)
            && reads.all(|t| self.writes.contains(t) || self.reads.contains(t))
    }

    /// A table for which the two conflict: one writes what the other reads or writes.
    pub fn conflict<'a>(&'a self, other: &'a Self) -> Option<&'a TableKey> {
        let writes_touched = |a: &'a Self, b: &'a Self| {
            a.writes
                .iter()
                .find(|t| b.writes.contains(*t) || b.reads.contains(*t))
        };
        writes_touched(self, other).or_else(|| writes_touched(other, self))
    }
}

/// Whether a path that was read from a store is one folder directly below its root. A user who can write there must not
/// lead others elsewhere.
pub(crate) fn is_folder(path: &str) -> bool {
    !matches!(path, "" | "." | "..")
        && !path.contains(|c: char| c.is_control() || "/\\".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_as_it_is_written() {
        let key: TableKey = "edge:Knows".parse().unwrap();
        assert_eq!((key.kind(), key.name()), (Some(TypeKind::Edge), "Knows"));
        assert_eq!(key.to_string(), "edge:Knows");
    }

    #[test]
    fn a_folder_is_directly_below_the_root() {
        for good in ["Person.lance", "..Person", "a b", "Ärzte.lance"] {
            assert!(is_folder(good), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "../x",
            "a/../../x",
            "/etc",
            "a/b",
            "..\\x",
            "a\0",
        ] {
            assert!(!is_folder(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_name_that_would_leave_the_root_is_refused() {
        for bad in [
            "node:../x",
            "node:",
            "node:a/b",
            "node:_squire",
            "knows",
            "table:x",
        ] {
            assert!(bad.parse::<TableKey>().is_err(), "{bad}");
        }
    }
}
