//! Steps 8 to 10 of an operation (`docs/protocol.md`, The life of a logical operation), from the sidecar alone: the owner
//! and any number of healers run this same code, at once if need be, without a lock.

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc};

use super::{
    apply::{self, Applied},
    conclude::{clear, publish},
    outcome::Execution,
};
use crate::{
    error::Result,
    graph::{context::Core, manifest::Manifest, sidecar::Sidecar},
    ids::TableKey,
};

/// Carries a decided operation out: apply, publish, clear. `decided` is a manifest that was listed after the decision, if
/// the caller has one: it saves the first look at each table's head and at the manifest.
///
/// # Errors
/// When the store or Lance fail again and again; the operation stays decided and a healer goes on.
pub(crate) async fn carry_out(
    core: &Core,
    sidecar: &Sidecar,
    decided: Option<Arc<Manifest>>,
) -> Result<Execution> {
    let execution = match apply(core, sidecar, decided.as_deref()).await? {
        ControlFlow::Continue(pins) => publish(core, sidecar, pins).await?,
        ControlFlow::Break(stopped) => stopped,
    };
    clear(core, sidecar, &execution).await;
    Ok(execution)
}

/// Commits the effects, in the order of their tables. Gives the version of each, unless the operation is over.
async fn apply(
    core: &Core,
    sidecar: &Sidecar,
    decided: Option<&Manifest>,
) -> Result<ControlFlow<Execution, BTreeMap<TableKey, u64>>> {
    let mut pins = BTreeMap::new();
    for effect in &sidecar.effects {
        match apply::apply(core, sidecar, effect, decided).await? {
            Applied::At(version) => {
                pins.insert(effect.table.clone(), version);
            }
            Applied::Stop(execution) => return Ok(ControlFlow::Break(execution)),
        }
    }
    Ok(ControlFlow::Continue(pins))
}
