//! A quarantined operation: where its effect is, and how it is resolved.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Repaired, drift,
    remedy::{EffectState, Known, Remedy, Word, by_word, remedy},
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
    known: Known,
}

impl Quarantined {
    /// What a repair by this word would do.
    pub fn remedy_by(&self, word: &Word) -> Remedy {
        let effects = self.effects.iter();
        let by_word = effects.map(|(key, seen)| (key.clone(), by_word(seen.clone(), key, 0, word)));
        remedy(&by_word.collect(), self.known)
    }
}

/// Looks at a ticket; `None` when it is not quarantined.
pub(super) async fn look(
    core: &Core,
    manifest: &Manifest,
    ticket: &Ticket,
) -> Result<Option<Quarantined>> {
    let sidecar = sidecar_of(core, ticket.operation).await?;
    look_with(core, manifest, ticket, sidecar.as_ref(), &Word::default()).await
}

/// The same, by this sidecar and by an operator's word: a repair decides by what it acts with.
async fn look_with(
    core: &Core,
    manifest: &Manifest,
    ticket: &Ticket,
    sidecar: Option<&Sidecar>,
    word: &Word,
) -> Result<Option<Quarantined>> {
    let TicketState::Quarantined { bases, reason, .. } = &ticket.state else {
        return Ok(None);
    };
    let mut effects = BTreeMap::new();
    for (key, &base) in bases {
        let table = table_of(core, manifest, sidecar, ticket.operation, key);
        let head = table.head().await?;
        let seen = standing(ticket.operation, &table, base, head).await?;
        let seen = by_word(seen, key, head, word);
        let seen = with_hindrance(core, sidecar, &table, seen, head).await?;
        effects.insert(key.clone(), seen);
    }
    let structure = ticket.structure.is_some() || sidecar.is_some_and(|s| s.structure.is_some());
    let known = Known {
        sidecar: sidecar.is_some(),
        structural: ticket.kind == OperationKind::SchemaApply,
        structure,
    };
    Ok(Some(Quarantined {
        ticket: ticket.clone(),
        reason: reason.clone(),
        remedy: remedy(&effects, known),
        effects,
        known,
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

/// Where the effect is in one table.
async fn standing(
    operation: OperationId,
    table: &Table,
    base: u64,
    head: u64,
) -> Result<EffectState> {
    if head < base {
        return Ok(EffectState::Unclear { missing: base });
    }
    Ok(match search(table, operation, base, head).await? {
        Search::Found(version) => EffectState::At(version),
        Search::Missing(missing) => EffectState::Unclear { missing },
        Search::Absent => EffectState::Absent { hindrance: None },
    })
}

/// The same, with why an effect that is absent cannot be staged again.
async fn with_hindrance(
    core: &Core,
    sidecar: Option<&Sidecar>,
    table: &Table,
    seen: EffectState,
    head: u64,
) -> Result<EffectState> {
    if !matches!(seen, EffectState::Absent { .. }) {
        return Ok(seen);
    }
    let effect = sidecar.and_then(|s| Some((s, s.effects.iter().find(|e| e.table == table.key)?)));
    let hindrance = match effect {
        Some((_, effect)) if head < effect.base => Some("the table ends before its base"),
        Some((sidecar, effect)) => restage::hindrance(core, sidecar, effect, table, head).await?,
        None => Some("its sidecar is gone"),
    };
    let hindrance = hindrance.map(str::to_owned);
    Ok(EffectState::Absent { hindrance })
}

/// Resolves a quarantine: fences every touched table, looks, decides, and changes the manifest.
///
/// # Errors
/// [`Error::Contended`] when a table cannot be fenced; [`Error::Unfinished`] when the operation was decided anew but
/// could not be finished here; as [`Error::advice`] says otherwise.
pub(super) async fn resolve(core: &Core, operation: OperationId, word: &Word) -> Result<Repaired> {
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
    let Some(seen) = look_with(core, &manifest, ticket, sidecar.as_ref(), word).await? else {
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
    let structure = structure.or_else(|| ticket.structure.as_deref().cloned());
    let how = match &seen.remedy {
        Remedy::Publish => Resolution::Publish(pins.clone(), structure),
        Remedy::PublishPartial if word.partial => Resolution::Publish(pins.clone(), None),
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

/// Gives a decided logical operation up, by an operator's word: it is quarantined, so that what waits for it fails with its
/// name, and a repair can resolve it.
///
/// # Errors
/// [`Error::Store`], [`Error::OutcomeUnknown`].
pub(crate) async fn give_up(core: &Core, operation: OperationId) -> Result<Repaired> {
    let reason = format!("given up by {}", core.actor);
    let by = core.by(&reason);
    let call = core
        .manifests
        .change(operation, move |m| {
            transition::quarantine(m, operation, &reason, &by)
        })
        .await?;
    Ok(match call {
        ChangeResult::Holds(_) => {
            tracing::warn!(%operation, actor = %core.actor, uri = %core.storage.uri, "operation quarantined by an operator");
            Repaired::GivenUp
        }
        ChangeResult::Refused(Refusal::WrongState("waiting")) => Repaired::Left(
            "it waits, and is not decided: `squire heal --now` takes back what dead processes left"
                .to_owned(),
        ),
        ChangeResult::Refused(Refusal::WrongState("physical")) => Repaired::Left(
            "it changes no rows, and whoever waits for it finishes it or calls it off; so does `squire heal --now`"
                .to_owned(),
        ),
        ChangeResult::Refused(refusal) => Repaired::Left(refusal.to_string()),
    })
}
