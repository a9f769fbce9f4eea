//! The transitions: pure functions from one manifest to the next, or a typed refusal.
//!
//! Each is checked against nothing but the manifest it is applied to, and each first looks for its own
//! operation in the queue and the outcomes, and goes on from there: transitions are idempotent. The engine,
//! the tests, the model and `squire status` all call these same functions.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{Change, Ending, Manifest, OperationKind, Outcome, Refusal, Ticket, TicketState};
pub use super::{
    removal::{clean, collect, purged},
    structure::Structure,
};
use crate::ids::{OperationId, TableKey};

/// What a transition leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A new manifest, to be created at its number.
    Next(Box<Manifest>),
    /// The manifest holds the transition's effect already.
    Already,
}

/// Who asks for a transition, when, and one line for the log: what [`Change`] keeps.
#[derive(Clone, Debug)]
pub struct By {
    /// On whose behalf.
    pub actor: String,
    /// The writer's clock.
    pub at: DateTime<Utc>,
    /// One line for the log.
    pub summary: String,
}

pub(super) fn next(
    m: &Manifest,
    transition: &str,
    ticket: Option<&Ticket>,
    by: &By,
) -> Box<Manifest> {
    let mut next = Box::new(m.clone());
    next.format = super::state::FORMAT;
    next.number = m.number + 1;
    next.change = Change {
        transition: transition.to_owned(),
        operation: ticket.map(|t| t.operation),
        kind: ticket.map(|t| t.kind),
        actor: ticket.map_or(&by.actor, |t| &t.actor).clone(),
        tables: Vec::new(),
        summary: by.summary.clone(),
        at: by.at,
    };
    next.also.clear();
    next
}

/// Where an operation stands.
enum TicketStanding<'a> {
    Queued(&'a Ticket),
    Ended(Ending),
    Unknown,
}

fn standing(m: &Manifest, operation: OperationId) -> TicketStanding<'_> {
    match (m.ticket(operation), m.outcomes.get(&operation)) {
        (Some(ticket), _) => TicketStanding::Queued(ticket),
        (None, Some(outcome)) => TicketStanding::Ended(outcome.ending),
        (None, None) => TicketStanding::Unknown,
    }
}

fn check_quarantine(m: &Manifest, probe: &Ticket) -> Result<(), Refusal> {
    for ticket in m.ahead(probe) {
        if let (TicketState::Quarantined { reason, .. }, Some(table)) =
            (&ticket.state, ticket.conflict(probe))
        {
            return Err(Refusal::Quarantined {
                table,
                by: ticket.operation,
                reason: reason.clone(),
            });
        }
    }
    Ok(())
}

fn check_front(m: &Manifest, probe: &Ticket) -> Result<(), Refusal> {
    let mut ahead = m
        .ahead(probe)
        .filter_map(|t| Some((t.conflict(probe)?, t.operation)));
    match ahead.next() {
        None => Ok(()),
        Some((table, by)) => Err(Refusal::NotInFront { table, by }),
    }
}

/// The rules of `decide` that look at versions: every touched table's pin is the expected one, every base is
/// at or past the pin. Base 0 of a schema apply is a table at a fresh path, of which no pin speaks: the table that
/// gives up the name in the same apply may have one.
fn check_versions(
    m: &Manifest,
    ticket: &Ticket,
    expected: &BTreeMap<TableKey, u64>,
    bases: &BTreeMap<TableKey, u64>,
) -> Result<(), Refusal> {
    for table in ticket.touched.all() {
        let found = m.pin(table);
        let expected = expected.get(table).copied().unwrap_or(0);
        if expected != found {
            return Err(Refusal::ExpectedVersionMismatch {
                table: table.clone(),
                expected,
                found,
            });
        }
    }
    for (table, &base) in bases {
        let pin = m.pin(table);
        let added = base == 0 && ticket.kind == OperationKind::SchemaApply;
        if base < pin && !added {
            return Err(Refusal::BaseBehindPin {
                table: table.clone(),
                base,
                pin,
            });
        }
    }
    Ok(())
}

/// The rule for what was looked at without a ticket, in manifest `seen`: its key was not given to another table since.
/// The pin of that could be the expected one by chance.
fn check_table(m: &Manifest, table: &TableKey, seen: u64) -> Result<(), Refusal> {
    match m.tables.get(table) {
        Some(entry) if entry.since > seen => Err(Refusal::AnotherTable {
            table: table.clone(),
        }),
        _ => Ok(()),
    }
}

/// The rule of a publish: it says where every effect stands, and moves nothing else.
fn check_pins(
    bases: &BTreeMap<TableKey, u64>,
    pins: &BTreeMap<TableKey, u64>,
) -> Result<(), Refusal> {
    let missing = bases.keys().find(|t| !pins.contains_key(*t));
    let stray = pins.keys().find(|t| !bases.contains_key(*t));
    match (missing, stray) {
        (None, None) => Ok(()),
        (Some(table), _) => Err(Refusal::MissingPin(table.clone())),
        (None, Some(table)) => Err(Refusal::StrayPin(table.clone())),
    }
}

/// `enqueue`: the ticket waits at the end of the queue. Allowed when no quarantined ticket conflicts.
///
/// # Errors
/// [`Refusal::Quarantined`]; [`Refusal::Ended`] when the operation is over.
pub fn enqueue(m: &Manifest, ticket: &Ticket, by: &By) -> Result<Step, Refusal> {
    match standing(m, ticket.operation) {
        TicketStanding::Queued(_) => return Ok(Step::Already),
        TicketStanding::Ended(ending) => return Err(Refusal::Ended(ending)),
        TicketStanding::Unknown => {}
    }
    check_quarantine(m, ticket)?;
    let mut next = next(m, "enqueue", Some(ticket), by);
    let mut ticket = ticket.clone();
    ticket.state = TicketState::Waiting;
    next.queue.push(ticket);
    Ok(Step::Next(next))
}

/// `decide`: the operation will happen. Allowed when its ticket waits, no earlier ticket conflicts, every
/// touched table's pin is the expected one (0 for a table that must not exist) and every base is at or past
/// the pin. What a schema apply changes besides pins is kept with the ticket.
///
/// # Errors
/// The first rule that is broken.
pub fn decide(
    m: &Manifest,
    operation: OperationId,
    expected: &BTreeMap<TableKey, u64>,
    bases: &BTreeMap<TableKey, u64>,
    structure: Option<&Structure>,
    by: &By,
) -> Result<Step, Refusal> {
    let ticket = match standing(m, operation) {
        TicketStanding::Queued(ticket) => ticket,
        // It was decided, and a healer has carried it out since.
        TicketStanding::Ended(Ending::Published) => return Ok(Step::Already),
        TicketStanding::Ended(ending) => return Err(Refusal::Ended(ending)),
        TicketStanding::Unknown => return Err(Refusal::NoTicket),
    };
    match &ticket.state {
        TicketState::Waiting => {}
        TicketState::Decided { .. } | TicketState::Quarantined { .. } => {
            return Ok(Step::Already);
        }
    }
    check_front(m, ticket)?;
    check_versions(m, ticket, expected, bases)?;
    let mut next = next(m, "decide", Some(ticket), by);
    if let Some(ticket) = ticket_mut(&mut next, operation) {
        ticket.state = TicketState::Decided {
            bases: bases.clone(),
        };
        ticket.structure = structure.cloned().map(Box::new);
    }
    Ok(Step::Next(next))
}

/// `enqueue` and `decide` in one: allowed when both are and no operation is ahead. So physical operations enter, and for logical ones that are staged in an instant.
///
/// The operation was staged on manifest `staged_on`, without a ticket. It may have been barred since (see
/// [`bar`]), and a barred operation never enters: so it is refused once `staged_on` is collected, because from
/// then on the bar may be trimmed.
///
/// # Errors
/// As `enqueue` and `decide`; [`Refusal::Stale`].
pub fn enqueue_decided(
    m: &Manifest,
    ticket: &Ticket,
    expected: &BTreeMap<TableKey, u64>,
    bases: &BTreeMap<TableKey, u64>,
    staged_on: u64,
    by: &By,
) -> Result<Step, Refusal> {
    match standing(m, ticket.operation) {
        TicketStanding::Queued(queued) => {
            return match queued.state {
                TicketState::Decided { .. } | TicketState::Quarantined { .. } => Ok(Step::Already),
                TicketState::Waiting => Err(Refusal::WrongState("waiting")),
            };
        }
        // It was decided, and a healer has carried it out since.
        TicketStanding::Ended(Ending::Published) => return Ok(Step::Already),
        TicketStanding::Ended(ending) => return Err(Refusal::Ended(ending)),
        TicketStanding::Unknown => {}
    }
    if m.collected_below > staged_on {
        return Err(Refusal::Stale { staged_on });
    }
    for table in ticket.touched.all() {
        check_table(m, table, staged_on)?;
    }
    check_quarantine(m, ticket)?;
    check_front(m, ticket)?;
    check_versions(m, ticket, expected, bases)?;
    let mut next = next(m, "enqueue+decide", Some(ticket), by);
    let mut ticket = ticket.clone();
    ticket.state = TicketState::Decided {
        bases: bases.clone(),
    };
    next.queue.push(ticket);
    Ok(Step::Next(next))
}

/// `abort`: the ticket is taken back. Allowed while it waits.
///
/// # Errors
/// [`Refusal::WrongState`] once it is decided.
pub fn abort(m: &Manifest, operation: OperationId, by: &By) -> Result<Step, Refusal> {
    match standing(m, operation) {
        TicketStanding::Queued(ticket) => match ticket.state {
            TicketState::Waiting => {
                let mut next = next(m, "abort", Some(ticket), by);
                end(&mut next, operation, Ending::Aborted);
                Ok(Step::Next(next))
            }
            TicketState::Decided { .. } => Err(Refusal::WrongState("decided")),
            TicketState::Quarantined { .. } => Err(Refusal::WrongState("quarantined")),
        },
        TicketStanding::Ended(Ending::Aborted) | TicketStanding::Unknown => Ok(Step::Already),
        TicketStanding::Ended(ending) => Err(Refusal::Ended(ending)),
    }
}

/// `bar`: an operation that has no ticket shall never get one. Its outcome is recorded as aborted, so that its
/// sidecar can be deleted although the process that wrote it may only be suspended.
///
/// # Errors
/// [`Refusal::WrongState`] when it has a ticket after all.
pub fn bar(m: &Manifest, operation: OperationId, by: &By) -> Result<Step, Refusal> {
    match standing(m, operation) {
        TicketStanding::Queued(_) => Err(Refusal::WrongState("in the queue")),
        TicketStanding::Ended(_) => Ok(Step::Already),
        TicketStanding::Unknown => {
            let mut next = next(m, "bar", None, by);
            next.change.operation = Some(operation);
            end(&mut next, operation, Ending::Aborted);
            Ok(Step::Next(next))
        }
    }
}

/// `publish`: readers see the operation. Allowed when the ticket is decided and no pin goes backwards.
///
/// # Errors
/// [`Refusal::Ended`] with another ending, [`Refusal::PinBackwards`], [`Refusal::MissingPin`],
/// [`Refusal::StrayPin`].
pub fn publish(
    m: &Manifest,
    operation: OperationId,
    pins: &BTreeMap<TableKey, u64>,
    structure: Option<&Structure>,
    by: &By,
) -> Result<Step, Refusal> {
    let ticket = match standing(m, operation) {
        TicketStanding::Queued(ticket) => ticket,
        TicketStanding::Ended(Ending::Published) => return Ok(Step::Already),
        TicketStanding::Ended(ending) => return Err(Refusal::Ended(ending)),
        TicketStanding::Unknown => return Err(Refusal::NoTicket),
    };
    let bases = match &ticket.state {
        TicketState::Decided { bases } => bases,
        TicketState::Waiting => return Err(Refusal::WrongState("waiting")),
        TicketState::Quarantined { .. } => return Err(Refusal::WrongState("quarantined")),
    };
    check_pins(bases, pins)?;
    let mut next = next(m, "publish", Some(ticket), by);
    next.change.tables = ticket.touched.writes.iter().cloned().collect();
    apply_pins(&mut next, pins, structure)?;
    end(&mut next, operation, Ending::Published);
    Ok(Step::Next(next))
}

/// `discard`: nothing is published. Allowed for a decided physical ticket, once the caller has seen that
/// base+1 exists and is not its own, or has fenced it.
///
/// # Errors
/// [`Refusal::WrongState`] for a logical ticket or one that is not decided.
pub fn discard(m: &Manifest, operation: OperationId, by: &By) -> Result<Step, Refusal> {
    match standing(m, operation) {
        TicketStanding::Queued(ticket) => match ticket.state {
            TicketState::Decided { .. } if ticket.kind.is_physical() => {
                let mut next = next(m, "discard", Some(ticket), by);
                end(&mut next, operation, Ending::Discarded);
                Ok(Step::Next(next))
            }
            TicketState::Decided { .. } => Err(Refusal::WrongState("logical")),
            TicketState::Waiting => Err(Refusal::WrongState("waiting")),
            TicketState::Quarantined { .. } => Err(Refusal::WrongState("quarantined")),
        },
        TicketStanding::Ended(Ending::Discarded) => Ok(Step::Already),
        TicketStanding::Unknown => Err(Refusal::NoTicket),
        TicketStanding::Ended(ending) => Err(Refusal::Ended(ending)),
    }
}

/// `quarantine`: the ticket keeps its place and blocks logical operations on its tables. Allowed for a
/// decided logical ticket.
///
/// # Errors
/// [`Refusal::WrongState`] for a physical ticket or one that waits.
pub fn quarantine(
    m: &Manifest,
    operation: OperationId,
    reason: &str,
    by: &By,
) -> Result<Step, Refusal> {
    let ticket = match standing(m, operation) {
        TicketStanding::Queued(ticket) => ticket,
        TicketStanding::Ended(ending) => return Err(Refusal::Ended(ending)),
        TicketStanding::Unknown => return Err(Refusal::NoTicket),
    };
    match &ticket.state {
        TicketState::Quarantined { .. } => Ok(Step::Already),
        TicketState::Waiting => Err(Refusal::WrongState("waiting")),
        TicketState::Decided { .. } if ticket.kind.is_physical() => {
            Err(Refusal::WrongState("physical"))
        }
        TicketState::Decided { bases } => {
            let mut next = next(m, "quarantine", Some(ticket), by);
            let state = TicketState::Quarantined {
                bases: bases.clone(),
                reason: reason.to_owned(),
                since: next.number,
            };
            reason.clone_into(&mut next.change.summary);
            set_state(&mut next, operation, state);
            Ok(Step::Next(next))
        }
    }
}

/// How an operator resolves a quarantined operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Resolution {
    /// Publish it with these pins: every table holds the effect there, or the operator lets go of the rest.
    Publish(BTreeMap<TableKey, u64>, Option<Structure>),
    /// Discard it: no table holds the effect, and every touched table is fenced.
    Discard,
    /// Decide it anew: what hindered it is gone, so that any process can carry it out.
    Redecide,
}

/// `resolve`: ends a quarantine. The caller has seen it quarantined in manifest `seen`, and has fenced every touched
/// table since. Only then it has looked for the effect; [`Resolution::Discard`] is right only when no table holds it.
///
/// What was seen of an operation that was decided anew and quarantined again since is worth nothing: it is refused.
///
/// # Errors
/// [`Refusal::WrongState`] for a ticket that is not quarantined, or was quarantined after `seen`; for the pins, as
/// [`publish`].
pub fn resolve(
    m: &Manifest,
    operation: OperationId,
    seen: u64,
    how: &Resolution,
    by: &By,
) -> Result<Step, Refusal> {
    let ending = match how {
        Resolution::Publish(..) | Resolution::Redecide => Ending::Published,
        Resolution::Discard => Ending::Discarded,
    };
    let ticket = match standing(m, operation) {
        TicketStanding::Queued(ticket) => ticket,
        TicketStanding::Ended(ended) if ended == ending => return Ok(Step::Already),
        TicketStanding::Ended(ended) => return Err(Refusal::Ended(ended)),
        TicketStanding::Unknown => return Err(Refusal::NoTicket),
    };
    let (bases, since) = match &ticket.state {
        TicketState::Quarantined { bases, since, .. } => (bases, *since),
        TicketState::Decided { .. } if *how == Resolution::Redecide => return Ok(Step::Already),
        _ => return Err(Refusal::WrongState("not quarantined")),
    };
    if since > seen {
        return Err(Refusal::WrongState(
            "quarantined again since it was looked at",
        ));
    }
    let mut next = next(m, "resolve", Some(ticket), by);
    match how {
        Resolution::Publish(pins, structure) => {
            check_pins(bases, pins)?;
            next.change.tables = ticket.touched.writes.iter().cloned().collect();
            apply_pins(&mut next, pins, structure.as_ref())?;
            end(&mut next, operation, ending);
        }
        Resolution::Discard => {
            // A late commit may still create a new table; its path is never looked at again.
            let unborn = bases.iter().filter(|(_, base)| **base == 0);
            let paths: Vec<_> = unborn
                .map(|(table, _)| m.fresh_path(table, operation))
                .collect();
            next.retired_paths.extend(paths);
            end(&mut next, operation, ending);
        }
        Resolution::Redecide => {
            let bases = bases.clone();
            set_state(&mut next, operation, TicketState::Decided { bases });
        }
    }
    Ok(Step::Next(next))
}

/// `adopt`: benign drift becomes the pin. Allowed when no ticket of any operation touches the table and both the
/// table and its pin are still the ones that the caller saw in manifest `seen`.
///
/// # Errors
/// [`Refusal::AnotherTable`], [`Refusal::NotInFront`], [`Refusal::ExpectedVersionMismatch`],
/// [`Refusal::PinBackwards`].
pub fn adopt(
    m: &Manifest,
    table: &TableKey,
    seen: u64,
    pin: u64,
    head: u64,
    by: &By,
) -> Result<Step, Refusal> {
    check_table(m, table, seen)?;
    let found = m.pin(table);
    if found == head {
        return Ok(Step::Already);
    }
    if let Some(ticket) = m.queue.iter().find(|t| t.touched.all().any(|k| k == table)) {
        return Err(Refusal::NotInFront {
            table: table.clone().into(),
            by: ticket.operation,
        });
    }
    if found != pin {
        return Err(Refusal::ExpectedVersionMismatch {
            table: table.clone(),
            expected: pin,
            found,
        });
    }
    let mut next = next(m, "adopt", None, by);
    next.change.tables = vec![table.clone()];
    apply_pins(&mut next, &BTreeMap::from([(table.clone(), head)]), None)?;
    Ok(Step::Next(next))
}

fn ticket_mut(m: &mut Manifest, operation: OperationId) -> Option<&mut Ticket> {
    m.queue.iter_mut().find(|t| t.operation == operation)
}

fn set_state(m: &mut Manifest, operation: OperationId, state: TicketState) {
    if let Some(ticket) = ticket_mut(m, operation) {
        ticket.state = state;
    }
}

fn end(m: &mut Manifest, operation: OperationId, ending: Ending) {
    m.queue.retain(|t| t.operation != operation);
    let outcome = Outcome {
        ending,
        number: m.number,
    };
    m.outcomes.insert(operation, outcome);
}

/// Moves pins, and changes what tables there are: pins of tables that exist first, then drops, then all renames at
/// once, then additions. So each step finds the keys that it was planned with.
fn apply_pins(
    m: &mut Manifest,
    pins: &BTreeMap<TableKey, u64>,
    structure: Option<&Structure>,
) -> Result<(), Refusal> {
    let is_added = |table| structure.is_some_and(|s| s.added.contains_key(table));
    for (table, &to) in pins.iter().filter(|(table, _)| !is_added(*table)) {
        match m.tables.get_mut(table) {
            Some(entry) if to < entry.pin => {
                return Err(Refusal::PinBackwards {
                    table: table.clone(),
                    pin: entry.pin,
                    to,
                });
            }
            Some(entry) => entry.pin = to,
            None => return Err(Refusal::MissingPin(table.clone())),
        }
    }
    match structure {
        Some(structure) => structure.change(m, pins),
        None => Ok(()),
    }
}

#[cfg(test)]
#[path = "transition_tests.rs"]
mod tests;
