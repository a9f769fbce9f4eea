//! A staged logical operation, ready to be decided.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{
    expiry::unless_expired,
    work::{LogicalWork, Stage},
};
use crate::{
    error::Result,
    graph::{
        context::Core,
        manifest::{ChangeResult, Manifest, Refusal, Step, Touched},
        sidecar::Sidecar,
    },
    ids::{OperationId, TableKey},
};

/// A staged logical operation, ready to be decided.
pub(super) struct Prepared {
    pub(super) sidecar: Sidecar,
    pub(super) stage: Stage,
    /// The pins that the touched tables must have when it is decided.
    pub(super) expected: BTreeMap<TableKey, u64>,
    /// The number of the manifest that it was staged on.
    pub(super) staged_on: u64,
    /// When staging began.
    began: DateTime<Utc>,
}

impl Prepared {
    pub(super) fn new(
        core: &Core,
        work: &dyn LogicalWork,
        operation: OperationId,
        touched: &Touched,
        snapshot: &Manifest,
        staged: (Stage, DateTime<Utc>),
    ) -> Self {
        let (stage, began) = staged;
        let pins = touched.all().map(|t| (t.clone(), snapshot.pin(t)));
        Self {
            sidecar: sidecar(core, work, operation, &stage),
            expected: pins.chain(stage.expected.clone()).collect(),
            stage,
            staged_on: snapshot.number,
            began,
        }
    }

    /// Writes the sidecar (step 6). When that fails, what was staged is removed.
    pub(super) async fn record(&self, core: &Core) -> Result<()> {
        let written = core.sidecars.write(&self.sidecar).await;
        if written.is_err() {
            self.undo(core).await;
        }
        written
    }

    /// Decides the operation by this transition (step 7). When it is certain that the operation does not take place, what
    /// was staged is removed.
    pub(super) async fn decide(
        &self,
        core: &Core,
        transition: impl Fn(&Manifest) -> Result<Step, Refusal> + Send + Sync + 'static,
    ) -> Result<ChangeResult> {
        let transition = unless_expired(self.began, transition);
        let operation = self.sidecar.operation;
        let decided = core.manifests.change(operation, transition).await;
        let is_absent = match &decided {
            Ok(ChangeResult::Holds(_)) => false,
            Ok(ChangeResult::Refused(refusal)) => refusal.proves_absence(),
            Err(e) => !e.leaves_open(),
        };
        if is_absent {
            self.undo(core).await;
        }
        decided
    }

    /// Removes what was staged for an operation that is known not to take place.
    async fn undo(&self, core: &Core) {
        core.sidecars.delete(self.sidecar.operation).await;
        for (key, staged) in &self.stage.staged {
            if let Some(effect) = self.stage.effects.iter().find(|e| e.table == *key) {
                staged.delete_files(&core.table(key, &effect.path)).await;
            }
        }
    }
}

fn sidecar(core: &Core, work: &dyn LogicalWork, operation: OperationId, stage: &Stage) -> Sidecar {
    let mut effects = stage.effects.clone();
    effects.sort_by(|a, b| a.table.cmp(&b.table));
    Sidecar {
        format: Sidecar::FORMAT,
        operation,
        kind: work.kind(),
        holder: core.holder.clone(),
        actor: core.actor.clone(),
        at: Utc::now(),
        plan: work.plan(stage),
        effects,
        structure: stage.structure.clone(),
        summary: stage.summary.clone(),
    }
}
