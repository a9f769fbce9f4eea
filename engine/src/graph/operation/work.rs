//! What a logical operation is, apart from the protocol: which tables it touches, and what it stages.

use std::collections::BTreeMap;

use crate::{
    error::Result,
    graph::{
        context::Core,
        manifest::{Manifest, OperationKind, Touched, transition::Structure},
        sidecar::LogicalPlan,
    },
    ids::{OperationId, TableKey},
    schema::Step,
    table::{effect::Effect, staged::Staged},
};

/// What an operation stages, table by table, on one snapshot.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    pub(crate) effects: Vec<Effect>,
    pub(crate) staged: Vec<(TableKey, Staged)>,
    pub(crate) structure: Option<Structure>,
    /// The steps of a schema apply.
    pub(crate) steps: Vec<Step>,
    /// Pins that the caller insists on; the snapshot's for every other table.
    pub(crate) expected: BTreeMap<TableKey, u64>,
    pub(crate) rows_written: u64,
    pub(crate) rows_deleted: u64,
    pub(crate) summary: String,
}

impl Stage {
    /// Removes what was staged so far, when the rest cannot be.
    pub(crate) async fn abandon(&self, core: &Core, snapshot: &Manifest) {
        for (key, staged) in &self.staged {
            if let Ok(table) = core.table_in(snapshot, key) {
                staged.delete_files(&table).await;
            }
        }
    }

    /// Whether the operation changes nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.effects.is_empty() && self.structure.is_none()
    }
}

/// A logical operation, apart from the protocol.
#[async_trait::async_trait]
pub(crate) trait LogicalWork: Send + Sync {
    fn kind(&self) -> OperationKind;

    /// The touched tables, from the plan alone, without a snapshot (step 1).
    fn touched(&self) -> Touched;

    /// Whether it is staged in an instant, so that staging it twice delays no other operation.
    fn is_small(&self) -> bool;

    /// What the sidecar says for staging an effect again.
    fn plan(&self, stage: &Stage) -> LogicalPlan;

    /// The touched tables on a snapshot, when a snapshot can add to them (step 4).
    fn touched_on(&self, _snapshot: &Manifest) -> Touched {
        self.touched()
    }

    /// Writes every effect, uncommitted, at the heads (step 5). On an error it leaves no file behind.
    async fn stage(
        &self,
        core: &Core,
        snapshot: &Manifest,
        operation: OperationId,
    ) -> Result<Stage>;
}
