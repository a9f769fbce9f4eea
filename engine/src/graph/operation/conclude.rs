//! How a decided operation ends: published, discarded, called off or quarantined.

use std::collections::BTreeMap;

use chrono::Utc;

use super::outcome::Execution;
use crate::{
    error::Result,
    graph::{
        context::Core,
        manifest::{
            ChangeResult, Ending, Refusal, TicketState,
            transition::{self, By, Structure},
        },
        sidecar::Sidecar,
    },
    ids::TableKey,
    table::{
        effect::Effect,
        staged::{Search, search},
    },
};

/// Calls off a decided physical operation that cannot take effect: every table is fenced, so that no late commit takes
/// its place. A healer may have been faster: what is committed by then is published.
pub(crate) async fn call_off(core: &Core, sidecar: &Sidecar) -> Result<Execution> {
    let mut pins = BTreeMap::new();
    let mut certain = true;
    for effect in &sidecar.effects {
        let table = core.table(&effect.table, &effect.path);
        core.fence(&table, effect.base).await?;
        let head = table.head().await?;
        match search(&table, sidecar.operation, effect.base, head).await? {
            Search::Found(version) => {
                pins.insert(effect.table.clone(), version);
            }
            Search::Absent => {}
            Search::Missing(_) => certain = false,
        }
    }
    let execution = if pins.len() == sidecar.effects.len() {
        publish(core, sidecar, pins).await?
    } else {
        match discard(core, sidecar).await? {
            Execution::Ended(Ending::Discarded) if certain && pins.is_empty() => Execution::TooLate,
            otherwise => otherwise,
        }
    };
    clear(core, sidecar, &execution).await;
    Ok(execution)
}

/// Why the operation is not to be carried out any more; `None` while its ticket is decided (step 8b).
pub(super) async fn stop_reason(
    core: &Core,
    sidecar: &Sidecar,
    effect: &Effect,
) -> Result<Option<Execution>> {
    let newest = core.manifests.newest().await?;
    let operation = sidecar.operation;
    Ok(match newest.ticket(operation).map(|t| &t.state) {
        Some(TicketState::Decided { .. }) => None,
        Some(TicketState::Quarantined { reason, .. }) => Some(Execution::Quarantined {
            table: effect.table.clone(),
            reason: reason.clone(),
        }),
        Some(TicketState::Waiting) | None => {
            let outcome = newest.outcomes.get(&operation);
            Some(outcome.map_or(Execution::Forgotten, |o| Execution::Ended(o.ending)))
        }
    })
}

/// As [`end`], if the operation is still decided: once it is over, the versions that it needs may have been cleaned up.
pub(super) async fn end_if_decided(
    core: &Core,
    sidecar: &Sidecar,
    effect: &Effect,
    why: &str,
) -> Result<Execution> {
    match stop_reason(core, sidecar, effect).await? {
        Some(stop) => Ok(stop),
        None => end(core, sidecar, effect, why).await,
    }
}

/// Ends an operation that cannot be applied: a logical one is quarantined; a physical one is fenced off and
/// discarded.
pub(super) async fn end(
    core: &Core,
    sidecar: &Sidecar,
    effect: &Effect,
    why: &str,
) -> Result<Execution> {
    if sidecar.kind.is_physical() {
        return call_off(core, sidecar).await;
    }
    let operation = sidecar.operation;
    let reason = format!("its effect on {} cannot be applied: {why}", effect.table);
    let (by, why) = (by(sidecar), reason.clone());
    let call = core
        .manifests
        .change(operation, move |m| {
            transition::quarantine(m, operation, &why, &by)
        })
        .await?;
    match call {
        ChangeResult::Holds(_) => {
            tracing::error!(table = %effect.table, %operation, kind = %sidecar.kind, reason, uri = %core.storage.uri, "operation quarantined: run `squire repair`");
            Ok(Execution::Quarantined {
                table: effect.table.clone(),
                reason,
            })
        }
        ChangeResult::Refused(Refusal::Ended(ending)) => Ok(Execution::Ended(ending)),
        ChangeResult::Refused(refusal) => Err(core.refused(operation, refusal)),
    }
}

/// Discards a physical operation, once base+1 exists and is not its own.
pub(super) async fn discard(core: &Core, sidecar: &Sidecar) -> Result<Execution> {
    let operation = sidecar.operation;
    let by = by(sidecar);
    let call = core
        .manifests
        .change(operation, move |m| transition::discard(m, operation, &by))
        .await?;
    match call {
        ChangeResult::Holds(_) => Ok(Execution::Ended(Ending::Discarded)),
        ChangeResult::Refused(Refusal::Ended(ending)) => Ok(Execution::Ended(ending)),
        ChangeResult::Refused(Refusal::NoTicket) => Ok(Execution::Forgotten),
        ChangeResult::Refused(refusal) => Err(core.refused(operation, refusal)),
    }
}

/// Publishes the operation (step 9).
pub(super) async fn publish(
    core: &Core,
    sidecar: &Sidecar,
    pins: BTreeMap<TableKey, u64>,
) -> Result<Execution> {
    let operation = sidecar.operation;
    let (at, structure, by) = (pins.clone(), sidecar.structure.clone(), by(sidecar));
    let call = core
        .manifests
        .change(operation, move |m| {
            transition::publish(m, operation, &at, structure.as_ref(), &by)
        })
        .await?;
    match call {
        ChangeResult::Holds(newest) => {
            let outcome = newest.outcomes.get(&operation);
            let manifest = outcome.map_or(newest.number, |o| o.number);
            let pins = pins
                .into_iter()
                .map(|(table, pin)| (key_after(sidecar, table), pin));
            Ok(Execution::Published {
                manifest,
                pins: pins.collect(),
            })
        }
        ChangeResult::Refused(Refusal::Ended(ending)) => Ok(Execution::Ended(ending)),
        ChangeResult::Refused(Refusal::NoTicket) => Ok(Execution::Forgotten),
        ChangeResult::Refused(refusal) => {
            // Another healer may have found it impossible to apply.
            let stop = match sidecar.effects.first() {
                Some(effect) => stop_reason(core, sidecar, effect).await?,
                None => None,
            };
            stop.ok_or_else(|| core.refused(operation, refusal))
        }
    }
}

/// The key that a table has from the publish on.
fn key_after(sidecar: &Sidecar, table: TableKey) -> TableKey {
    let added = |s: &&Structure| s.added.contains_key(&table);
    let structure = sidecar.structure.as_ref().filter(|s| !added(s));
    let renamed = structure.and_then(|s| s.renamed.get(&table));
    renamed.cloned().unwrap_or(table)
}

/// Deletes the sidecar, unless the operation is quarantined and needs it (step 10).
pub(super) async fn clear(core: &Core, sidecar: &Sidecar, execution: &Execution) {
    if !matches!(execution, Execution::Quarantined { .. }) {
        core.sidecars.delete(sidecar.operation).await;
    }
}

fn by(sidecar: &Sidecar) -> By {
    By {
        actor: sidecar.actor.clone(),
        at: Utc::now(),
        summary: sidecar.summary.clone(),
    }
}
