//! The structural part of a publish: what tables there are. `restructure` makes it, and carries it out.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{ids::TableKey, schema::Schema};

/// The structural part of a publish: what a schema apply changes besides pins.
///
/// Bases and pins of tables that exist are under the keys that these had before; those of added tables are under
/// their new keys, with base 0. No key is used for both: a type that is renamed away and changed, while its name is
/// given to a new type, takes two applies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Structure {
    /// New tables and their paths.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub added: BTreeMap<TableKey, String>,
    /// Tables that get another key; path and data stay.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub renamed: BTreeMap<TableKey, TableKey>,
    /// Tables that leave the graph.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub dropped: BTreeSet<TableKey>,
    /// Tables from which a hard drop takes something away, under the keys they had before: nothing from before the
    /// publish may stay reachable.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub purged: BTreeSet<TableKey>,
    /// The schema from now on.
    pub schema: Schema,
}
