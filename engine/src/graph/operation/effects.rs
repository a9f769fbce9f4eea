//! Taking effect, publishing and clearing (design §3, steps 8 to 10), from the sidecar alone: the owner and any
//! number of healers run this same code, at once if need be, without a lock.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::Utc;
use futures::FutureExt;
use tokio::time::sleep;

use super::{restage, schema_apply};
use crate::{
    error::{Error, Result, plain},
    failpoint,
    graph::{
        context::Core,
        manifest::{
            Call, Ending, Manifest, Refusal, TicketState,
            transition::{self, By, Structure},
        },
        sidecar::{LogicalPlan, Sidecar},
    },
    ids::TableKey,
    table::{
        Table,
        commit::{Landing, commit_at},
        effect::Effect,
        staged::{Search, Staged, search},
    },
};

/// So often an effect is tried before the store is given up on; a healer goes on later.
const MAX_ATTEMPTS: u32 = 12;
/// So often a physical effect is: it must not stand in the way of logical ones.
const MAX_PHYSICAL_FAILURES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How carrying out an operation ended.
#[derive(Debug)]
pub(crate) enum Carried {
    /// Every effect stands and readers see them from this manifest on.
    Published {
        manifest: u64,
        pins: BTreeMap<TableKey, u64>,
    },
    /// It was physical and came too late, as this caller saw for itself: base+1 is somebody else's, and no version
    /// holds its files.
    TooLate,
    /// It was physical and Lance will not have it, because of this. It is called off, and no version holds its files.
    Refused(String),
    /// It was over already, or ended meanwhile: somebody else carried it out or called it off.
    Ended(Ending),
    /// It is over, so long ago that the manifest has forgotten how.
    Forgotten,
    /// It cannot be applied to this table.
    Quarantined { table: TableKey, reason: String },
}

enum Landed {
    At(u64),
    Stop(Carried),
}

/// Carries a decided operation out. `decided` is a manifest that was listed after the decision, if the caller has
/// one: it saves the first look at each table's head and at the manifest (see `land`).
///
/// # Errors
/// When the store or Lance fail again and again; the operation stays decided and a healer goes on.
pub(crate) async fn carry_out(
    core: &Core,
    sidecar: &Sidecar,
    decided: Option<Arc<Manifest>>,
) -> Result<Carried> {
    let mut pins = BTreeMap::new();
    for effect in &sidecar.effects {
        match land(core, sidecar, effect, decided.as_deref()).await? {
            Landed::At(version) => {
                pins.insert(effect.table.clone(), version);
            }
            Landed::Stop(carried) => {
                clear(core, sidecar, &carried).await;
                return Ok(carried);
            }
        }
    }
    let carried = publish(core, sidecar, pins).await?;
    clear(core, sidecar, &carried).await;
    Ok(carried)
}

/// Calls off a decided physical operation that cannot take effect: every table is fenced, so that nobody's late
/// commit can still land. A healer may have been faster: what stands by then is published.
pub(crate) async fn call_off(core: &Core, sidecar: &Sidecar) -> Result<Carried> {
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
    let carried = if pins.len() == sidecar.effects.len() {
        publish(core, sidecar, pins).await?
    } else {
        match discard(core, sidecar).await? {
            Carried::Ended(Ending::Discarded) if certain && pins.is_empty() => Carried::TooLate,
            otherwise => otherwise,
        }
    };
    clear(core, sidecar, &carried).await;
    Ok(carried)
}

/// Step 8 for one table.
///
/// The first attempt of a caller that holds the manifest of the decision goes straight to base+1: with head = base
/// there is no version to search, the manifest was read after the decision, and a commit at exactly base+1 cannot
/// land over anybody's version, a fence's included. Every later attempt takes the steps (a), (b), (c) in order.
async fn land(
    core: &Core,
    sidecar: &Sidecar,
    effect: &Effect,
    decided: Option<&Manifest>,
) -> Result<Landed> {
    let operation = sidecar.operation;
    let table = core.table(&effect.table, &effect.path);
    let mut staged = match Staged::from_effect(effect, &table) {
        Ok(staged) => staged,
        // Nobody can read it, now or later.
        Err(e) => return cannot_any_more(core, sidecar, effect, &e.to_string()).await,
    };
    // Whether what is staged has files that no sidecar names.
    let mut has_own_files = false;
    let mut head = effect.base;
    let mut straight = effect.base > 0
        && decided.is_some_and(|m| {
            let ticket = m.ticket(operation);
            ticket.is_some_and(|t| matches!(t.state, TicketState::Decided { .. }))
        });
    let mut pause = FIRST_PAUSE;
    let mut conflict_at: Option<(u64, String)> = None;
    let mut last = None;
    let mut failures = 0;
    for _ in 0..MAX_ATTEMPTS {
        if !straight {
            // (a)
            head = table.head().await?;
            if head < effect.base {
                let why = format!("the table ends at version {head}, before its base");
                return cannot_any_more(core, sidecar, effect, &why).await;
            }
            match search(&table, operation, effect.base, head).await? {
                Search::Found(version) => return Ok(Landed::At(version)),
                Search::Missing(version) => {
                    let why = format!("version {version} is missing");
                    return cannot_any_more(core, sidecar, effect, &why).await;
                }
                Search::Absent if sidecar.kind.is_physical() && head > effect.base => {
                    return Ok(Landed::Stop(match discard(core, sidecar).await? {
                        Carried::Ended(Ending::Discarded) => Carried::TooLate,
                        otherwise => otherwise,
                    }));
                }
                // A new table is created at version 1 or not at all.
                Search::Absent if head > effect.base || sidecar.plan == LogicalPlan::Index => {
                    if let Some(why) = restage::hindrance(sidecar, effect, &table, head).await? {
                        return cannot_any_more(core, sidecar, effect, why).await;
                    }
                }
                Search::Absent => {}
            }
            let conflict = conflict_at.as_ref().filter(|(at, _)| *at == head);
            let stale = staged.transaction.read_version != head
                && restage::depends_on_all_rows(sidecar, effect);
            if stale || conflict.is_some() {
                // Boxed, because it is rare and large.
                let again = Box::pin(restage(core, sidecar, effect, &table, head)).await;
                // The version that it was staged for is another's, so that it never can be committed.
                if has_own_files && staged.transaction.read_version < head {
                    staged.delete_files(&table).await;
                }
                match again.or_else(lasting)? {
                    Restaged::As(again) => {
                        staged = *again;
                        has_own_files = restage::writes_files(sidecar, effect);
                    }
                    Restaged::Impossible(why) => {
                        let changed = format!("version {head} is not what it was staged for");
                        let reason = conflict.map_or(&changed, |(_, reason)| reason);
                        return cannot(core, sidecar, effect, why.as_ref().unwrap_or(reason)).await;
                    }
                }
            }
            // (b)
            if let Some(stop) = standing(core, sidecar, effect).await? {
                return Ok(Landed::Stop(stop));
            }
        }
        straight = false;
        // (c)
        failpoint::hit!(BEFORE_COMMIT);
        let landing = commit_at(&table, &staged, head).await;
        failpoint::hit!(AFTER_COMMIT);
        match landing {
            Landing::Landed(version) => {
                if head > effect.base {
                    tracing::info!(table = %effect.table, %operation, base = effect.base, version, uri = %core.storage.uri, "drift that slipped in between is published along");
                }
                return Ok(Landed::At(version));
            }
            Landing::Taken | Landing::Lost => {
                sleep(FIRST_PAUSE).await;
            }
            Landing::Conflict(reason)
                if conflict_at.as_ref().is_some_and(|(at, _)| *at == head) =>
            {
                return cannot(core, sidecar, effect, &reason).await;
            }
            Landing::Conflict(reason) => conflict_at = Some((head, reason)),
            // A logical one may be had by a healer of another build.
            Landing::Refused(e) if sidecar.kind.is_physical() => {
                let reason = plain(&*e);
                return Ok(match cannot(core, sidecar, effect, &reason).await? {
                    Landed::Stop(Carried::TooLate) => Landed::Stop(Carried::Refused(reason)),
                    otherwise => otherwise,
                });
            }
            Landing::Failed(e) | Landing::Refused(e) | Landing::Unclear(e) => {
                failures += 1;
                if sidecar.kind.is_physical() && failures == MAX_PHYSICAL_FAILURES {
                    return cannot(core, sidecar, effect, &e.to_string()).await;
                }
                last = Some(table.failed("committing to", *e));
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
    Err(last.unwrap_or_else(|| Error::Contended {
        table: effect.table.clone(),
        uri: core.storage.uri.clone(),
    }))
}

/// Whether the ticket is decided no more, and how it ended then.
async fn standing(core: &Core, sidecar: &Sidecar, effect: &Effect) -> Result<Option<Carried>> {
    let newest = core.register.newest().await?;
    let operation = sidecar.operation;
    Ok(match newest.ticket(operation).map(|t| &t.state) {
        Some(TicketState::Decided { .. }) => None,
        Some(TicketState::Quarantined { reason, .. }) => Some(Carried::Quarantined {
            table: effect.table.clone(),
            reason: reason.clone(),
        }),
        Some(TicketState::Waiting) | None => {
            let outcome = newest.outcomes.get(&operation);
            Some(outcome.map_or(Carried::Forgotten, |o| Carried::Ended(o.ending)))
        }
    })
}

/// Ends an operation that cannot be applied to what is there now, if it is decided still: when it is over, what it needs
/// may have been cleaned up.
async fn cannot_any_more(
    core: &Core,
    sidecar: &Sidecar,
    effect: &Effect,
    why: &str,
) -> Result<Landed> {
    match standing(core, sidecar, effect).await? {
        Some(stop) => Ok(Landed::Stop(stop)),
        None => cannot(core, sidecar, effect, why).await,
    }
}

/// Ends an operation that cannot be applied: a logical one is quarantined; a physical one is fenced off and
/// discarded.
async fn cannot(core: &Core, sidecar: &Sidecar, effect: &Effect, why: &str) -> Result<Landed> {
    if sidecar.kind.is_physical() {
        return call_off(core, sidecar).await.map(Landed::Stop);
    }
    let operation = sidecar.operation;
    let reason = format!("its effect on {} cannot be applied: {why}", effect.table);
    let (by, why) = (by(sidecar), reason.clone());
    let call = core
        .register
        .change(operation, move |m| {
            transition::quarantine(m, operation, &why, &by)
        })
        .await?;
    match call {
        Call::Holds(_) => {
            tracing::error!(table = %effect.table, %operation, kind = %sidecar.kind, reason, uri = %core.storage.uri, "operation quarantined: run `squire repair`");
            Ok(Landed::Stop(Carried::Quarantined {
                table: effect.table.clone(),
                reason,
            }))
        }
        Call::Refused(Refusal::Ended(ending)) => Ok(Landed::Stop(Carried::Ended(ending))),
        Call::Refused(refusal) => Err(core.refused(operation, refusal)),
    }
}

/// Gives up a physical operation that came too late: base+1 exists and is not its own.
async fn discard(core: &Core, sidecar: &Sidecar) -> Result<Carried> {
    let operation = sidecar.operation;
    let by = by(sidecar);
    let call = core
        .register
        .change(operation, move |m| transition::discard(m, operation, &by))
        .await?;
    match call {
        Call::Holds(_) => Ok(Carried::Ended(Ending::Discarded)),
        Call::Refused(Refusal::Ended(ending)) => Ok(Carried::Ended(ending)),
        Call::Refused(Refusal::NoTicket) => Ok(Carried::Forgotten),
        Call::Refused(refusal) => Err(core.refused(operation, refusal)),
    }
}

/// Step 9.
async fn publish(core: &Core, sidecar: &Sidecar, pins: BTreeMap<TableKey, u64>) -> Result<Carried> {
    let operation = sidecar.operation;
    let (at, structure, by) = (pins.clone(), sidecar.structure.clone(), by(sidecar));
    let call = core
        .register
        .change(operation, move |m| {
            transition::publish(m, operation, &at, structure.as_ref(), &by)
        })
        .await?;
    match call {
        Call::Holds(newest) => {
            let outcome = newest.outcomes.get(&operation);
            let manifest = outcome.map_or(newest.number, |o| o.number);
            let pins = pins
                .into_iter()
                .map(|(table, pin)| (key_after(sidecar, table), pin));
            Ok(Carried::Published {
                manifest,
                pins: pins.collect(),
            })
        }
        Call::Refused(Refusal::Ended(ending)) => Ok(Carried::Ended(ending)),
        Call::Refused(Refusal::NoTicket) => Ok(Carried::Forgotten),
        Call::Refused(refusal) => {
            // Another healer may have found it impossible to apply.
            let stop = match sidecar.effects.first() {
                Some(effect) => standing(core, sidecar, effect).await?,
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

/// Step 10.
async fn clear(core: &Core, sidecar: &Sidecar, carried: &Carried) {
    if !matches!(carried, Carried::Quarantined { .. }) {
        core.recovery.delete(sidecar.operation).await;
    }
}

enum Restaged {
    As(Box<Staged>),
    /// With the reason, where there is another one than the conflict.
    Impossible(Option<String>),
}

impl From<Option<Staged>> for Restaged {
    fn from(staged: Option<Staged>) -> Self {
        staged.map_or(Self::Impossible(None), |again| Self::As(Box::new(again)))
    }
}

/// An error that every further attempt would meet, too, makes it impossible to stage again.
fn lasting(e: Error) -> Result<Restaged> {
    use lance::Error as Lance;
    match &e {
        Error::Lance { source, .. }
            if matches!(
                **source,
                Lance::InvalidInput { .. }
                    | Lance::SchemaMismatch { .. }
                    | Lance::Schema { .. }
                    | Lance::FieldNotFound { .. }
                    | Lance::Arrow { .. }
                    | Lance::CorruptFile { .. }
                    | Lance::NotSupported { .. }
                    | Lance::NotFound { .. }
                    | Lance::DatasetNotFound { .. }
                    | Lance::VersionNotFound { .. }
            ) =>
        {
            Ok(Restaged::Impossible(Some(e.to_string())))
        }
        _ => Err(e),
    }
}

/// Stages an effect again, at another version, with the same uuid.
async fn restage(
    core: &Core,
    sidecar: &Sidecar,
    effect: &Effect,
    table: &Table,
    head: u64,
) -> Result<Restaged> {
    match &sidecar.plan {
        LogicalPlan::Load { .. } => {
            let again = restage::load(core, sidecar, effect, table, head).await?;
            Ok(again.into())
        }
        LogicalPlan::Delete { .. } => {
            let again = restage::delete(sidecar, effect, table, head).await?;
            Ok(again.into())
        }
        LogicalPlan::SchemaApply { steps } => {
            let dataset = Arc::new(table.at(head).await?);
            let again = schema_apply::alter(table, &dataset, steps, sidecar.operation);
            match again.boxed().await {
                Ok(again) => Ok(again.into()),
                Err(e @ (Error::Misfit(_) | Error::RowsForbid { .. })) => {
                    Ok(Restaged::Impossible(Some(e.to_string())))
                }
                Err(e) => Err(e),
            }
        }
        LogicalPlan::Compact | LogicalPlan::Index => Ok(Restaged::Impossible(None)),
    }
}

fn by(sidecar: &Sidecar) -> By {
    By {
        actor: sidecar.actor.clone(),
        at: Utc::now(),
        summary: sidecar.summary.clone(),
    }
}
