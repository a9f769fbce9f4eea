//! Manifests, and the engine's own transitions over them.
//!
//! A manifest is interned by its content: a state of the model holds a number in its place, and a transition runs
//! once for each manifest and arguments. The log line of a manifest and all times are left out: no rule reads them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::RwLock,
};

use chrono::DateTime;
use squire_engine::{
    OperationId, TableKey,
    manifest::{
        Change, Ending, Manifest, OperationKind, Refusal, Step, TableEntry, Ticket, TicketState,
        Touched,
        transition::{self, By, Resolution, Structure},
    },
};
use uuid::Uuid;

use super::{
    configurations::{Form, Operation},
    fingerprint::BuildFolding,
    rules::{Rule, Without},
    world::{OPERATIONS, Plan, TABLES},
};

/// A manifest, by content. The default stands for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ManifestId(u32);

impl ManifestId {
    pub(crate) const NONE: Self = Self(0);
}

/// Where an operation stands in a manifest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    #[default]
    Unknown,
    Waiting,
    Decided,
    Quarantined,
    Ended(Over),
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    Published,
    Aborted,
    Discarded,
}

impl From<Ending> for Over {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Published => Self::Published,
            Ending::Aborted => Self::Aborted,
            Ending::Discarded => Self::Discarded,
        }
    }
}

impl Standing {
    pub(crate) fn has_ticket(self) -> bool {
        matches!(self, Self::Waiting | Self::Decided | Self::Quarantined)
    }

    pub(crate) fn holds_tables(self) -> bool {
        matches!(self, Self::Decided | Self::Quarantined)
    }
}

/// What the model asks a manifest, in short.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) number: u8,
    pub(crate) collected_below: u8,
    pub(crate) pins: [u8; TABLES],
    pub(crate) standing: [Standing; OPERATIONS],
    /// Operations with a conflicting ticket ahead; for those without a ticket, with any.
    pub(crate) blocked: [bool; OPERATIONS],
    /// The same, with a quarantined one.
    pub(crate) quarantine_ahead: [bool; OPERATIONS],
    /// Which operations have a ticket, first come first, as index + 1.
    pub(crate) queue: [u8; OPERATIONS],
}

/// A transition with its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    Enqueue(u8),
    Decide(u8, Plan),
    EnqueueDecided(u8, Plan),
    Abort(u8),
    Bar(u8),
    Publish(u8, [u8; TABLES]),
    Discard(u8),
    Quarantine(u8),
    ResolveByPublish(u8, [u8; TABLES]),
    ResolveByDiscard(u8),
    Adopt { table: u8, pin: u8, head: u8 },
    Collect,
}

/// What comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Next(ManifestId),
    Already,
    Refused(Why),
}

/// A refusal, as far as actors look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Why {
    pub(crate) kind: Kind,
    /// What the engine makes of it: the operation never took place and never will.
    pub(crate) proves_absence: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Quarantined,
    /// Somebody came first.
    Moved,
    Stale,
    Ended(Over),
    NoTicket,
    Other,
}

impl From<&Refusal> for Why {
    fn from(refusal: &Refusal) -> Self {
        let kind = match refusal {
            Refusal::Quarantined { .. } => Kind::Quarantined,
            Refusal::NotInFront { .. }
            | Refusal::ExpectedVersionMismatch { .. }
            | Refusal::AnotherTable { .. }
            | Refusal::BaseBehindPin { .. } => Kind::Moved,
            Refusal::Stale { .. } => Kind::Stale,
            Refusal::Ended(ending) => Kind::Ended((*ending).into()),
            Refusal::NoTicket => Kind::NoTicket,
            _ => Kind::Other,
        };
        Self {
            kind,
            proves_absence: refusal.proves_absence(),
        }
    }
}

/// Every manifest that the exploration has met, and what every transition of it came to.
pub(crate) struct Manifests {
    operations: Vec<Operation>,
    tickets: Vec<Ticket>,
    without: Without,
    interned: RwLock<Interned>,
    outcomes: RwLock<HashMap<(ManifestId, Call), Outcome, BuildFolding>>,
}

#[derive(Default)]
struct Interned {
    all: Vec<(Manifest, Facts)>,
    by_content: HashMap<String, ManifestId>,
}

fn key(table: usize) -> TableKey {
    ["node:A", "node:B"][table].parse().unwrap()
}

fn path(table: usize) -> String {
    format!("{}.lance", key(table).name())
}

fn id(operation: usize) -> OperationId {
    Uuid::from_u128(operation as u128 + 1).into()
}

const BY: By = By {
    actor: String::new(),
    at: DateTime::UNIX_EPOCH,
    summary: String::new(),
};

fn ticket(index: usize, operation: &Operation) -> Ticket {
    let tables = |of: [bool; TABLES]| (0..TABLES).filter(move |t| of[*t]).map(key);
    let kind = match operation.form {
        Form::Physical => OperationKind::Compact,
        _ if operation.adds => OperationKind::SchemaApply,
        _ if operation.removes => OperationKind::Delete,
        _ => OperationKind::Load,
    };
    let touched = Touched::writing(tables(operation.writes)).reading(tables(operation.reads));
    Ticket::waiting(id(index), "holder".into(), "", kind, touched, BY.at)
}

impl Manifests {
    pub(crate) fn new(operations: &[Operation], without: Without) -> Self {
        let tickets = operations.iter().enumerate();
        Self {
            tickets: tickets.map(|(index, o)| ticket(index, o)).collect(),
            operations: operations.to_vec(),
            without,
            interned: RwLock::default(),
            outcomes: RwLock::default(),
        }
    }

    /// The first manifest: every table at version 1, but those that an operation adds.
    pub(crate) fn first(&self) -> ManifestId {
        let mut first = Manifest::first(Uuid::nil(), "", BY.at);
        for table in 0..TABLES {
            if !self.operations.iter().any(|o| o.adds && o.writes[table]) {
                let entry = TableEntry::new(&path(table), 1, 1);
                first.tables.insert(key(table), entry);
            }
        }
        self.intern(first)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.interned.read().unwrap().all.len()
    }

    pub(crate) fn facts(&self, id: ManifestId) -> Facts {
        self.interned.read().unwrap().all[id.0 as usize - 1].1
    }

    /// The transition, computed once.
    pub(crate) fn compute(&self, on: ManifestId, call: Call) -> Outcome {
        if let Some(outcome) = self.outcomes.read().unwrap().get(&(on, call)) {
            return *outcome;
        }
        let manifest = self.interned.read().unwrap().all[on.0 as usize - 1]
            .0
            .clone();
        let outcome = match self.step(&manifest, call) {
            Ok(Step::Next(next)) => Outcome::Next(self.intern(*next)),
            Ok(Step::Already) if self.forgets_itself(&manifest, call) => Outcome::Refused(Why {
                kind: Kind::NoTicket,
                proves_absence: true,
            }),
            Ok(Step::Already) => Outcome::Already,
            Err(refusal) => Outcome::Refused((&refusal).into()),
        };
        self.outcomes.write().unwrap().insert((on, call), outcome);
        outcome
    }

    fn intern(&self, mut manifest: Manifest) -> ManifestId {
        manifest.change = Change {
            transition: String::new(),
            operation: None,
            kind: None,
            tables: Vec::new(),
            ..manifest.change
        };
        let content = serde_json::to_string(&manifest).unwrap();
        let facts = self.look(&manifest);
        let mut interned = self.interned.write().unwrap();
        if let Some(id) = interned.by_content.get(&content) {
            return *id;
        }
        interned.all.push((manifest, facts));
        let id = ManifestId(interned.all.len() as u32);
        interned.by_content.insert(content, id);
        id
    }

    fn look(&self, m: &Manifest) -> Facts {
        let mut facts = Facts {
            number: m.number as u8,
            collected_below: m.collected_below as u8,
            pins: std::array::from_fn(|t| m.pin(&key(t)) as u8),
            ..Facts::default()
        };
        for (index, ticket) in self.tickets.iter().enumerate() {
            facts.standing[index] = match (m.ticket(id(index)), m.outcomes.get(&id(index))) {
                (Some(ticket), _) => match ticket.state {
                    TicketState::Waiting => Standing::Waiting,
                    TicketState::Decided { .. } => Standing::Decided,
                    TicketState::Quarantined { .. } => Standing::Quarantined,
                },
                (None, Some(outcome)) => Standing::Ended(outcome.ending.into()),
                (None, None) => Standing::Unknown,
            };
            facts.blocked[index] = m.ahead(ticket).next().is_some();
            let quarantined = |t: &Ticket| matches!(t.state, TicketState::Quarantined { .. });
            facts.quarantine_ahead[index] = m.ahead(ticket).any(quarantined);
        }
        for (place, ticket) in m.queue.iter().enumerate() {
            facts.queue[place] = ticket.operation.uuid().as_u128() as u8;
        }
        facts
    }

    fn of_writes(&self, operation: u8, versions: [u8; TABLES]) -> BTreeMap<TableKey, u64> {
        let writes = self.operations[operation as usize].writes;
        let written = (0..TABLES).filter(|t| writes[*t]);
        written.map(|t| (key(t), versions[t].into())).collect()
    }

    fn of_all(&self, operation: u8, versions: [u8; TABLES]) -> BTreeMap<TableKey, u64> {
        let touched = self.operations[operation as usize].touches();
        let touched = (0..TABLES).filter(|t| touched[*t]);
        touched.map(|t| (key(t), versions[t].into())).collect()
    }

    fn structure(&self, operation: u8) -> Option<Structure> {
        let operation = &self.operations[operation as usize];
        let added = (0..TABLES).filter(|t| operation.writes[*t]);
        operation.adds.then(|| Structure {
            added: added.map(|t| (key(t), path(t))).collect(),
            ..Structure::default()
        })
    }

    /// The engine's transition, with the checks of rules that are taken away made to pass.
    fn step(&self, m: &Manifest, call: Call) -> Result<Step, Refusal> {
        let by = &BY;
        match call {
            Call::Enqueue(o) => self.alone(m, o, |m| {
                transition::enqueue(m, &self.tickets[o as usize], by)
            }),
            Call::Decide(o, plan) => self.decided(m, o, plan, |m, expected, bases| {
                transition::decide(m, id(o as usize), expected, bases, None, by)
            }),
            Call::EnqueueDecided(o, plan) => {
                let kept = self.without.holds(Rule::StagedOnKept);
                let staged_on = if kept {
                    plan.staged_on.into()
                } else {
                    u64::MAX
                };
                self.decided(m, o, plan, |m, expected, bases| {
                    let ticket = &self.tickets[o as usize];
                    transition::enqueue_decided(m, ticket, expected, bases, staged_on, by)
                })
            }
            Call::Abort(o) => {
                let mut m = m.clone();
                if !self.without.holds(Rule::AbortOnlyWaiting) {
                    set_state(&mut m, o, TicketState::Waiting);
                }
                transition::abort(&m, id(o as usize), by)
            }
            Call::Bar(o) => transition::bar(m, id(o as usize), by),
            Call::Publish(o, pins) => {
                let pins = self.of_writes(o, pins);
                let structure = self.structure(o);
                let m = self.lowered(m, &pins);
                transition::publish(&m, id(o as usize), &pins, structure.as_ref(), by)
            }
            Call::Discard(o) => match transition::discard(m, id(o as usize), by) {
                Err(Refusal::NoTicket) if !self.without.holds(Rule::DiscardNeedsTicket) => {
                    Ok(Step::Already)
                }
                otherwise => otherwise,
            },
            Call::Quarantine(o) => transition::quarantine(m, id(o as usize), "", by),
            Call::ResolveByPublish(o, pins) => {
                let how = Resolution::Publish(self.of_writes(o, pins), self.structure(o));
                transition::resolve(m, id(o as usize), m.number, &how, by)
            }
            Call::ResolveByDiscard(o) => {
                transition::resolve(m, id(o as usize), m.number, &Resolution::Discard, by)
            }
            Call::Adopt { table, pin, head } => {
                let mut without_queue = m.clone();
                if !self.without.holds(Rule::AdoptOnlyUntouched) {
                    without_queue.queue.clear();
                }
                let table = key(table as usize);
                let step = transition::adopt(
                    &without_queue,
                    &table,
                    m.number,
                    pin.into(),
                    head.into(),
                    by,
                )?;
                Ok(with_queue(step, |queue| m.queue.clone_into(queue)))
            }
            Call::Collect => transition::collect(m, m.number + 1, by),
        }
    }

    /// Computes on a manifest in which no quarantined ticket, or nobody at all, is in the way, if such a rule is
    /// taken away.
    fn alone(
        &self,
        m: &Manifest,
        operation: u8,
        step: impl Fn(&Manifest) -> Result<Step, Refusal>,
    ) -> Result<Step, Refusal> {
        let nobody_ahead = self.without.holds(Rule::NobodyAhead);
        let quarantine = self.without.holds(Rule::QuarantineBlocks);
        if nobody_ahead && quarantine {
            return step(m);
        }
        let operation = id(operation as usize);
        let mut cleared = m.clone();
        cleared.queue.retain(|t| {
            let quarantined = matches!(t.state, TicketState::Quarantined { .. });
            t.operation == operation
                || if quarantined {
                    quarantine
                } else {
                    nobody_ahead
                }
        });
        let step = step(&cleared)?;
        Ok(with_queue(step, |queue| {
            let mine = queue.iter().find(|t| t.operation == operation).cloned();
            m.queue.clone_into(queue);
            match (queue.iter_mut().find(|t| t.operation == operation), mine) {
                (Some(ticket), Some(mine)) => *ticket = mine,
                (_, mine) => queue.extend(mine),
            }
        }))
    }

    fn decided(
        &self,
        m: &Manifest,
        operation: u8,
        plan: Plan,
        step: impl Fn(
            &Manifest,
            &BTreeMap<TableKey, u64>,
            &BTreeMap<TableKey, u64>,
        ) -> Result<Step, Refusal>,
    ) -> Result<Step, Refusal> {
        let mut expected = self.of_all(operation, plan.expected);
        if !self.without.holds(Rule::ExpectedPins) {
            expected.iter_mut().for_each(|(t, pin)| *pin = m.pin(t));
        }
        let bases = self.of_writes(operation, plan.bases);
        let mut checked = bases.clone();
        if !self.without.holds(Rule::BaseNotBehindPin) {
            checked
                .iter_mut()
                .for_each(|(t, base)| *base = m.pin(t).max(*base));
        }
        let step = self.alone(m, operation, |m| step(m, &expected, &checked))?;
        Ok(with_queue(step, |queue| {
            let mine = queue
                .iter_mut()
                .find(|t| t.operation == id(operation as usize));
            if let Some(ticket) = mine {
                ticket.state = TicketState::Decided {
                    bases: bases.clone(),
                };
            }
        }))
    }

    /// The manifest with its pins at or behind those of a publish, if that rule is taken away.
    fn lowered(&self, m: &Manifest, pins: &BTreeMap<TableKey, u64>) -> Manifest {
        let mut m = m.clone();
        if !self.without.holds(Rule::PinsOnlyForward) {
            for (table, entry) in &mut m.tables {
                entry.pin = pins.get(table).map_or(entry.pin, |to| entry.pin.min(*to));
            }
        }
        m
    }

    /// Whether, with a rule taken away, a transition does not recognise what it has done.
    fn forgets_itself(&self, m: &Manifest, call: Call) -> bool {
        let (Call::Decide(o, _) | Call::EnqueueDecided(o, _)) = call else {
            return false;
        };
        let decided = m.ticket(id(o as usize)).map(|t| &t.state);
        !self.without.holds(Rule::Idempotence)
            || !self.without.holds(Rule::DecidedStaysDecided)
                && !matches!(decided, Some(TicketState::Decided { .. }))
    }
}

fn set_state(m: &mut Manifest, operation: u8, state: TicketState) {
    let ticket = m
        .queue
        .iter_mut()
        .find(|t| t.operation == id(operation as usize));
    if let Some(ticket) = ticket {
        ticket.state = state;
    }
}

fn with_queue(step: Step, change: impl FnOnce(&mut Vec<Ticket>)) -> Step {
    match step {
        Step::Next(mut next) => {
            change(&mut next.queue);
            Step::Next(next)
        }
        Step::Already => Step::Already,
    }
}
