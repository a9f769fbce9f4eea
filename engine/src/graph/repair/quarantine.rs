//! A quarantined operation: where its effect is, and how it is resolved.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Repaired, drift,
    remedy::{EffectState, Known, Remedy, remedy},
};
use crate::{
    error::{Error, Result},
    graph::{
        context::Core,
        manifest::{
            ChangeResult, Manifest, OperationKind, Refusal, Ticket, TicketState,
            transition::{self, Resolution},
        },
        operation::{effects, outcome::Conclusion, restage},
        sidecar::Sidecar,
    },
    ids::{OperationId, TableKey},
    table::{
        Table,
        staged::{Search, search},
    },
};

/// A decided operation that could not be applied, and what was seen of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Its ticket.
    pub ticket: Ticket,
    /// Why it is quarantined.
    pub reason: String,
    /// Where its effect is, by table.
    pub effects: BTreeMap<TableKey, EffectState>,
    /// What a repair would do.
    pub remedy: Remedy,
}

/// Looks at a ticket; `None` when it is not quarantined.
pub(super) async fn look(
    core: &Core,
    manifest: &Manifest,
    ticket: &Ticket,
) -> Result<Option<Quarantined>> {
    let sidecar = sidecar_of(core, ticket.operation).await?;
    look_with(core, manifest, ticket, sidecar.as_ref()).await
}

/// The same, by this sidecar: a repair decides by what it acts with.
async fn look_with(
    core: &Core,
    manifest: &Manifest,
    ticket: &Ticket,
    sidecar: Option<&Sidecar>,
) -> Result<Option<Quarantined>> {
    let TicketState::Quarantined { bases, reason, .. } = &ticket.state else {
        return Ok(None);
    };
    let mut effects = BTreeMap::new();
    for (key, &base) in bases {
        let table = table_of(core, manifest, sidecar, ticket.operation, key);
        let seen = standing(sidecar, ticket.operation, &table, base).await?;
        effects.insert(key.clone(), seen);
    }
    let known = Known {
        sidecar: sidecar.is_some(),
        structural: ticket.kind == OperationKind::SchemaApply,
    };
    Ok(Some(Quarantined {
        ticket: ticket.clone(),
        reason: reason.clone(),
        remedy: remedy(&effects, known),
        effects,
    }))
}

/// The sidecar of an operation; a damaged one counts as none.
async fn sidecar_of(core: &Core, operation: OperationId) -> Result<Option<Sidecar>> {
    match core.sidecars.read(operation).await {
        Err(Error::Damaged { .. }) => Ok(None),
        read => read,
    }
}

/// A table by the sidecar's word; without a sidecar, by the manifest's, where a new table's path is the one that it
/// would get now: no other operation could add a table meanwhile.
fn table_of(
    core: &Core,
    manifest: &Manifest,
    sidecar: Option<&Sidecar>,
    operation: OperationId,
    key: &TableKey,
) -> Table {
    let effect = sidecar.and_then(|s| s.effects.iter().find(|e| e.table == *key));
    let by_sidecar = effect.map(|e| e.path.clone());
    let by_manifest = || manifest.tables.get(key).map(|e| e.path.clone());
    let path = by_sidecar
        .or_else(by_manifest)
        .unwrap_or_else(|| manifest.fresh_path(key, operation));
    core.table(key, &path)
}

async fn standing(
    sidecar: Option<&Sidecar>,
    operation: OperationId,
    table: &Table,
    base: u64,
) -> Result<EffectState> {
    let head = table.head().await?;
    if head < base {
        return Ok(EffectState::Unclear { missing: base });
    }
    Ok(match search(table, operation, base, head).await? {
        Search::Found(version) => EffectState::At(version),
        Search::Missing(missing) => EffectState::Unclear { missing },
        Search::Absent => {
            let effect =
                sidecar.and_then(|s| Some((s, s.effects.iter().find(|e| e.table == table.key)?)));
            let hindrance = match effect {
                Some((sidecar, effect)) => restage::hindrance(sidecar, effect, table, head).await?,
                None => Some("its sidecar is gone"),
            };
            let hindrance = hindrance.map(str::to_owned);
            EffectState::Absent { hindrance }
        }
    })
}

/// Resolves a quarantine: fences every touched table, looks, decides, and changes the manifest.
///
/// # Errors
/// [`Error::Contended`] when a table cannot be fenced; [`Error::Unfinished`] when the operation was decided anew but
/// could not be finished here; as [`Error::advice`] says otherwise.
pub(super) async fn resolve(
    core: &Core,
    operation: OperationId,
    partial: bool,
) -> Result<Repaired> {
    let manifest = core.manifests.newest().await?;
    let over = || Repaired::Left("it is not quarantined any more".to_owned());
    let Some(ticket) = manifest.ticket(operation) else {
        return Ok(over());
    };
    let TicketState::Quarantined { bases, .. } = &ticket.state else {
        return Ok(over());
    };
    let sidecar = sidecar_of(core, operation).await?;
    for key in bases.keys() {
        let table = table_of(core, &manifest, sidecar.as_ref(), operation, key);
        core.fence_head(&table).await?;
    }
    // From here on, late commits fail: what is seen now stays as it is.
    let Some(seen) = look_with(core, &manifest, ticket, sidecar.as_ref()).await? else {
        return Ok(over());
    };
    let mut pins = BTreeMap::new();
    let mut without = BTreeSet::new();
    for (key, standing) in &seen.effects {
        match standing {
            EffectState::At(version) => pins.insert(key.clone(), *version),
            EffectState::Absent { .. } | EffectState::Unclear { .. } => {
                without.insert(key.clone());
                pins.insert(key.clone(), manifest.pin(key))
            }
        };
    }
    let structure = sidecar.as_ref().and_then(|s| s.structure.clone());
    let how = match &seen.remedy {
        Remedy::Publish => Resolution::Publish(pins.clone(), structure),
        Remedy::PublishPartial if partial => Resolution::Publish(pins.clone(), None),
        Remedy::Discard => Resolution::Discard,
        Remedy::Finish => Resolution::Redecide,
        remedy @ (Remedy::PublishPartial | Remedy::Stuck(_)) => {
            return Ok(Repaired::Left(remedy.to_string()));
        }
    };
    let by = core.by(&summary(core, sidecar.as_ref(), &without, &how));
    let (number, resolution) = (manifest.number, how.clone());
    let call = core
        .manifests
        .change(operation, move |m| {
            transition::resolve(m, operation, number, &resolution, &by)
        })
        .await?;
    let newest = match call {
        ChangeResult::Holds(newest) => newest,
        ChangeResult::Refused(Refusal::Ended(_) | Refusal::NoTicket | Refusal::WrongState(_)) => {
            return Ok(over());
        }
        ChangeResult::Refused(refusal) => return Err(core.refused(operation, refusal)),
    };
    tracing::info!(%operation, remedy = %seen.remedy, actor = %core.actor, uri = %core.storage.uri, "a quarantined operation is resolved");
    let manifest = newest
        .outcomes
        .get(&operation)
        .map_or(newest.number, |o| o.number);
    let repaired = match (how, sidecar) {
        (Resolution::Redecide, Some(sidecar)) => {
            let repaired = finish(core, &sidecar).await?;
            drift::adopt_fences(core, seen.effects.keys()).await;
            return Ok(repaired);
        }
        (Resolution::Redecide | Resolution::Discard, _) => Repaired::Discarded,
        (Resolution::Publish(..), _) if without.is_empty() => {
            Repaired::Published { manifest, pins }
        }
        (Resolution::Publish(..), _) => Repaired::PublishedInPart { manifest, without },
    };
    core.sidecars.delete(operation).await;
    drift::adopt_fences(core, seen.effects.keys()).await;
    Ok(repaired)
}

/// One line for the log: what the operation did, and who repaired it.
fn summary(
    core: &Core,
    sidecar: Option<&Sidecar>,
    without: &BTreeSet<TableKey>,
    how: &Resolution,
) -> String {
    let did = sidecar.map_or("", |s| s.summary.as_str());
    let by = format!("repaired by {}", core.actor);
    match how {
        Resolution::Publish(..) if !without.is_empty() => {
            let without: Vec<_> = without.iter().map(ToString::to_string).collect();
            format!("{did} without {}, {by}", without.join(", "))
        }
        _ if did.is_empty() => by,
        _ => format!("{did}, {by}"),
    }
}

/// Carries out what was decided anew, as any healer would.
async fn finish(core: &Core, sidecar: &Sidecar) -> Result<Repaired> {
    let operation = sidecar.operation;
    let execution = match effects::carry_out(core, sidecar, None).await {
        Ok(execution) => execution,
        Err(e) => {
            return Err(Error::Unfinished {
                operation,
                uri: core.storage.uri.clone(),
                source: Box::new(e),
            });
        }
    };
    Ok(match execution.conclude(core, operation).await {
        Conclusion::Published { manifest, pins } => Repaired::Published { manifest, pins },
        Conclusion::Quarantined { reason, .. } => {
            Repaired::Left(format!("it was tried again, and still {reason}"))
        }
        Conclusion::Discarded { .. } | Conclusion::Unknown => {
            Repaired::Left("somebody else resolved it meanwhile".to_owned())
        }
    })
}
