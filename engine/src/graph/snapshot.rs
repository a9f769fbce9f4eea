//! One state of a graph.

use std::sync::Arc;

use lance::Dataset;

use super::{context::Core, manifest::Manifest};
use crate::{
    error::Result,
    ids::TableKey,
    table::{Table, bases, handle::guarded, stats::TableStats},
};

/// One state of a graph: every table at the version that one manifest pins.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(super) core: Arc<Core>,
    pub(super) manifest: Arc<Manifest>,
}

impl Snapshot {
    /// The manifest itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The key of a table by its key or, where that is unambiguous, by its bare type name.
    ///
    /// # Errors
    /// [`crate::Error::UnknownTable`], naming the nearest key.
    pub fn resolve(&self, name: &str) -> Result<TableKey> {
        if let Ok(key) = name.parse::<TableKey>()
            && self.manifest.tables.contains_key(&key)
        {
            return Ok(key);
        }
        let mut named = self.manifest.tables.keys().filter(|key| key.name() == name);
        match (named.next(), named.next()) {
            (Some(key), None) => Ok(key.clone()),
            _ => Err(self.core.unknown_table(&self.manifest, name)),
        }
    }

    /// Opens a table at its pin, with Lance; where another program pruned that version, at the one after it, if that holds
    /// the same rows.
    ///
    /// # Errors
    /// [`crate::Error::UnknownTable`]; [`crate::Error::SnapshotGone`], when that version was removed: take a new snapshot;
    /// [`crate::Error::Lance`].
    pub async fn open(&self, table: &TableKey) -> Result<Dataset> {
        let pin = self.manifest.pin(table);
        self.core.table_in(&self.manifest, table)?.at_pin(pin).await
    }

    /// What a planner needs to know of a table, from its Lance manifest and its declared type alone.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn stats(&self, table: &TableKey) -> Result<TableStats> {
        let place = self.core.table_in(&self.manifest, table)?;
        guarded(&place, "reading", self.stats_of(&place)).await
    }

    async fn stats_of(&self, place: &Table) -> Result<TableStats> {
        let table = &place.key;
        let dataset = self.open(table).await?;
        let read = match self.manifest.schema.types.get(table) {
            Some(def) => TableStats::read_declared(&dataset, def).await,
            None => TableStats::read(&dataset).await,
        };
        let failed = |e| place.failed("reading the indexes of", e);
        let mut stats = read.map_err(failed)?;
        let marked = bases::mark(place, &dataset, &mut stats).await;
        marked.map_err(failed)?;
        let path = &place.path;
        self.core.refused.mark(path, &mut stats);
        Ok(stats)
    }
}
