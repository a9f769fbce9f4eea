//! The structural part of a publish: what tables there are.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Manifest, Purge, Refusal, TableEntry};
use crate::{
    ids::{OperationId, TableKey},
    schema::{self, Misfit, Schema, Step},
};

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

impl Structure {
    /// What the steps change besides pins, planned on `snapshot`. With `hard`, what they drop is to be purged.
    ///
    /// # Errors
    /// [`Misfit`] when the steps were planned for another schema.
    pub fn of(
        snapshot: &Manifest,
        steps: &[Step],
        hard: bool,
        operation: OperationId,
    ) -> Result<Self, Misfit> {
        let mut structure = Self {
            renamed: schema::renamed(steps),
            schema: schema::apply(snapshot.schema.clone(), steps)?,
            ..Self::default()
        };
        let mut thinned = BTreeSet::new();
        for step in steps {
            match step {
                Step::AddType { table, .. } => {
                    let path = snapshot.fresh_path(table, operation);
                    structure.added.insert(table.clone(), path);
                }
                Step::DropType { table } => _ = structure.dropped.insert(table.clone()),
                Step::DropProperty { table, .. } => _ = thinned.insert(table),
                _ => {}
            }
        }
        if hard {
            let keys = snapshot.tables.keys();
            let of_thinned =
                keys.filter(|key| thinned.contains(structure.renamed.get(*key).unwrap_or(key)));
            structure.purged = of_thinned.chain(&structure.dropped).cloned().collect();
        }
        Ok(structure)
    }

    /// Changes what tables there are: drops first, then all renames at once, then additions. So each finds the keys
    /// that it was planned with. `pins` are those of the publish; tables that exist have them already.
    pub(super) fn change(
        &self,
        m: &mut Manifest,
        pins: &BTreeMap<TableKey, u64>,
    ) -> Result<(), Refusal> {
        let since = m.number;
        for key in &self.purged {
            if let Some(entry) = m.tables.get(key) {
                let purge = Purge {
                    table: key.clone(),
                    below: (!self.dropped.contains(key)).then_some(entry.pin),
                };
                let noted = m.purges.get(&entry.path);
                if noted.is_none_or(|noted| purge.covers(noted)) {
                    m.purges.insert(entry.path.clone(), purge);
                }
            }
        }
        for key in &self.dropped {
            if let Some(entry) = m.tables.remove(key) {
                m.retired_paths.insert(entry.path);
            }
        }
        let renamed: Vec<_> = self
            .renamed
            .iter()
            .filter_map(|(from, to)| Some((to.clone(), m.tables.remove(from)?)))
            .map(|(to, entry)| (to, TableEntry { since, ..entry }))
            .collect();
        m.tables.extend(renamed);
        for (key, path) in &self.added {
            let pin = pins.get(key);
            let pin = *pin.ok_or_else(|| Refusal::MissingPin(key.clone()))?;
            m.tables
                .insert(key.clone(), TableEntry::new(path, pin, since));
        }
        m.schema = self.schema.clone();
        Ok(())
    }
}
