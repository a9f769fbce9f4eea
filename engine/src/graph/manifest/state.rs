//! The state that one manifest object holds. Its fields are the format on disk.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    ticket::{Ending, Ticket},
    unknown::UnknownFields,
};
use crate::{
    ids::{OperationId, OperationKind, TableKey},
    schema::Schema,
};

/// The format that this program writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// The whole state of a graph at one number. The newest manifest is the graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format of the object, [`FORMAT`] when written by this program.
    pub format: u32,
    /// The graph's identity, for all time.
    pub graph: Uuid,
    /// The place in the sequence; the object's name says the same.
    pub number: u64,
    /// Manifests below this number may be deleted. A create below it does not count.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub collected_below: u64,
    /// What made this manifest out of the one before.
    pub change: Change,
    /// What the same process changed besides in the same write, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Change>,
    /// The published tables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tables: BTreeMap<TableKey, TableEntry>,
    /// Paths that tables once had. A path is never used twice.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub retired_paths: BTreeSet<String>,
    /// What hard drops took away and has yet to be made unreachable, by path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub purges: BTreeMap<String, Purge>,
    /// Tickets, first come first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queue: Vec<Ticket>,
    /// What became of recent operations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outcomes: BTreeMap<OperationId, Outcome>,
    /// The published schema.
    #[serde(default)]
    pub schema: Schema,
    /// What a newer build wrote besides. It stays.
    #[serde(flatten)]
    pub unknown: UnknownFields,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A published table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableEntry {
    /// The dataset's folder below the root, `Person.lance`.
    pub path: String,
    /// The Lance version that readers open.
    pub pin: u64,
    /// The manifest that gave the key to the dataset at this path; 0 in manifests of the first release. A key that was
    /// given up and given again can be at the same pin as before, so pins alone do not distinguish the two tables.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub since: u64,
    /// What a newer build wrote besides. It stays.
    #[serde(flatten)]
    pub unknown: UnknownFields,
}

impl TableEntry {
    /// The entry of a table whose key is its own since manifest `since`.
    pub fn new(path: &str, pin: u64, since: u64) -> Self {
        Self {
            path: path.to_owned(),
            pin,
            since,
            unknown: UnknownFields::default(),
        }
    }
}

/// What a hard drop asks to be made unreachable at one path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purge {
    /// The table's key when it was noted. For people.
    pub table: TableKey,
    /// Every Lance version before this one, a pin; the whole folder when there is none, because the table was
    /// dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<u64>,
}

impl Purge {
    /// Whether nothing of `other` is left to do after this one.
    pub fn covers(&self, other: &Self) -> bool {
        match (self.below, other.below) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(below), Some(others)) => below >= others,
        }
    }
}

/// What became of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// The manifest that says so first.
    pub number: u64,
}

/// Who made a manifest out of the one before, how and when. Every manifest keeps its own; together they are
/// the graph's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The transition's name.
    pub transition: String,
    /// The operation it was done for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationId>,
    /// The operation's kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<OperationKind>,
    /// On whose behalf.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub actor: String,
    /// Which tables got new pins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<TableKey>,
    /// One line for the log: `+1,432 rows`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// When, by the writer's clock. For users; no rule depends on it.
    pub at: DateTime<Utc>,
}

impl Manifest {
    /// The first manifest of a graph: number 1, no tables.
    pub fn first(graph: Uuid, actor: &str, at: DateTime<Utc>) -> Self {
        Self {
            format: FORMAT,
            graph,
            number: 1,
            collected_below: 0,
            change: Change {
                transition: "create".to_owned(),
                operation: None,
                kind: None,
                actor: actor.to_owned(),
                tables: Vec::new(),
                summary: String::new(),
                at,
            },
            also: Vec::new(),
            tables: BTreeMap::new(),
            retired_paths: BTreeSet::new(),
            purges: BTreeMap::new(),
            queue: Vec::new(),
            outcomes: BTreeMap::new(),
            schema: Schema::default(),
            unknown: UnknownFields::default(),
        }
    }

    /// What made this manifest out of the one before, in the order in which it was done.
    pub fn changes(&self) -> impl DoubleEndedIterator<Item = &Change> {
        std::iter::once(&self.change).chain(&self.also)
    }

    /// The pin of a table; 0 when there is no such table.
    pub fn pin(&self, table: &TableKey) -> u64 {
        self.tables.get(table).map_or(0, |entry| entry.pin)
    }

    /// The ticket of an operation.
    pub fn ticket(&self, operation: OperationId) -> Option<&Ticket> {
        self.queue.iter().find(|t| t.operation == operation)
    }

    /// The tickets ahead of `operation` that conflict with it; all conflicting ones when it has no ticket
    /// yet, as `probe` describes it.
    pub fn ahead<'a>(&'a self, probe: &'a Ticket) -> impl Iterator<Item = &'a Ticket> {
        self.queue
            .iter()
            .take_while(|t| t.operation != probe.operation)
            .filter(|t| t.conflict(probe).is_some())
    }

    /// A path for a table of this name that no table has or had, compared case-folded.
    pub fn fresh_path(&self, key: &TableKey, operation: OperationId) -> String {
        let plain = format!("{}.lance", key.name());
        let taken = |path: &str| {
            let folded = path.to_lowercase();
            self.tables
                .values()
                .map(|entry| &entry.path)
                .chain(&self.retired_paths)
                .any(|used| used.to_lowercase() == folded)
        };
        if taken(&plain) {
            format!("{}-{}.lance", key.name(), operation.uuid().simple())
        } else {
            plain
        }
    }
}
