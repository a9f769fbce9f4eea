//! How the structural part of a publish comes from the steps of a schema apply, and what it does to a manifest.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    refusal::Refusal,
    state::{Manifest, Purge, TableEntry},
    structure::Structure,
};
use crate::{
    ids::{OperationId, TableKey},
    schema::{self, Misfit, Step},
};

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
