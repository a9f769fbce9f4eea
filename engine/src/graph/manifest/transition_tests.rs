//! The transitions keep the protocol's promises under every order of calls.

#[path = "refusal_tests.rs"]
mod refusals;

use std::collections::BTreeSet;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::{
    graph::manifest::{
        Contested, OperationKind, Purge, TableEntry, Touched,
        batch::{Batch, Place, Transition},
        codec,
    },
    schema::{self, Schema, TypeDef},
};

type Pins = BTreeMap<TableKey, u64>;
/// A transition with all its arguments, to be applied to any manifest.
type Call = Box<Transition>;

const KEYS: [&str; 4] = ["node:A", "node:B", "edge:C", "node:D"];

fn key(n: usize) -> TableKey {
    KEYS[n % KEYS.len()].parse().unwrap()
}

fn by() -> By {
    By {
        actor: "ada@lab".to_owned(),
        at: DateTime::UNIX_EPOCH,
        summary: String::new(),
    }
}

/// Three tables at pin 5; the fourth key is free.
fn start() -> Manifest {
    let mut first = Manifest::first(Uuid::from_u128(1), "ada@lab", DateTime::UNIX_EPOCH);
    first.tables = (0..3)
        .map(|n| {
            let path = format!("{}.lance", key(n).name());
            (key(n), TableEntry::new(&path, 5, 1))
        })
        .collect();
    first.schema = Schema {
        types: (0..3).map(|n| (key(n), TypeDef::default())).collect(),
        ..Schema::default()
    };
    first
}

fn operation(n: usize) -> OperationId {
    Uuid::from_u128(100 + n as u128).into()
}

fn ticket(n: usize, kind: OperationKind, writes: &[usize], reads: &[usize]) -> Ticket {
    let keys = |of: &[usize]| of.iter().map(|n| key(*n)).collect();
    let touched = Touched {
        writes: keys(writes),
        reads: keys(reads),
    };
    let at = DateTime::UNIX_EPOCH;
    Ticket::waiting(operation(n), "lab-1".into(), "ada@lab", kind, touched, at)
}

/// The cast of every random run: loads, a delete that reads, physical operations, and schema applies that add,
/// drop and rename, and give a name that was given up to a new type.
fn cast() -> Vec<Ticket> {
    use OperationKind::{Compact, Delete, Index, Load, SchemaApply};
    vec![
        ticket(0, Load, &[0, 1], &[]),
        ticket(1, Load, &[1], &[]),
        ticket(2, Delete, &[2], &[0]),
        ticket(3, Compact, &[0], &[]),
        ticket(4, Index, &[2], &[]),
        ticket(5, SchemaApply, &[3], &[]),
        ticket(6, SchemaApply, &[0], &[]),
        ticket(7, SchemaApply, &[1, 3], &[]),
        ticket(8, SchemaApply, &[1, 3], &[]),
    ]
}

fn add(n: usize) -> schema::Step {
    schema::Step::AddType {
        table: key(n),
        def: TypeDef::default(),
    }
}

fn rename(from: usize, to: usize) -> schema::Step {
    schema::Step::RenameType {
        from: key(from),
        to: key(to),
    }
}

/// What a schema apply of the cast would stage on `m`; `None` when it cannot follow.
fn structure(n: usize, m: &Manifest) -> Option<Structure> {
    let has = |n| m.tables.contains_key(&key(n));
    let steps = match n {
        5 if !has(3) => vec![add(3)],
        6 if has(0) => vec![schema::Step::DropType { table: key(0) }],
        6 => vec![add(0)],
        7 if has(1) && !has(3) => vec![rename(1, 3)],
        7 if has(3) && !has(1) => vec![rename(3, 1)],
        8 if has(1) && !has(3) => vec![rename(1, 3), add(1)],
        _ => return None,
    };
    // An apply that was decided in one batch with another has left a schema that its author never saw.
    Structure::of(m, &steps, true, operation(n)).ok()
}

/// The versions that an operation stages at: of what it changes the data of.
fn bases(ticket: &Ticket, structure: Option<&Structure>, m: &Manifest, past: u64) -> Pins {
    match structure {
        Some(structure) => structure.added.keys().map(|k| (k.clone(), 0)).collect(),
        None => {
            let based = |k: &TableKey| (k.clone(), (m.pin(k) + past).saturating_sub(1));
            ticket.touched.writes.iter().map(based).collect()
        }
    }
}

/// One random call; the numbers are offsets to what would be sane, where 1 is sane.
#[derive(Clone, Debug)]
enum Do {
    Enqueue(usize),
    Decide(usize, u64, u64),
    EnqueueDecided(usize, u64, u64, u64),
    Abort(usize),
    Publish(usize, u64),
    Discard(usize),
    Quarantine(usize),
    Resolve(usize, Option<u64>),
    Redecide(usize),
    Adopt(usize, u64, u64),
    Collect(u64),
    Bar(usize),
    Purged(usize, bool),
}

fn calls() -> impl Strategy<Value = Vec<Do>> {
    let op = 0..9_usize;
    // Mostly sane, now and then off by one or two.
    let off = || prop_oneof![6 => Just(1_u64), 1 => Just(0), 2 => Just(2)];
    let one = prop_oneof![
        4 => op.clone().prop_map(Do::Enqueue),
        6 => (op.clone(), off(), off()).prop_map(|(n, e, b)| Do::Decide(n, e, b)),
        3 => (op.clone(), off(), off(), 0..4_u64).prop_map(|(n, e, b, s)| Do::EnqueueDecided(n, e, b, s)),
        1 => op.clone().prop_map(Do::Abort),
        4 => (op.clone(), off()).prop_map(|(n, p)| Do::Publish(n, p)),
        1 => op.clone().prop_map(Do::Discard),
        3 => op.clone().prop_map(Do::Quarantine),
        6 => (op.clone(), prop::option::of(off())).prop_map(|(n, p)| Do::Resolve(n, p)),
        2 => op.clone().prop_map(Do::Redecide),
        1 => (0..4_usize, off(), 0..3_u64).prop_map(|(t, p, h)| Do::Adopt(t, p, h)),
        1 => (0..6_u64).prop_map(Do::Collect),
        1 => op.prop_map(Do::Bar),
        1 => (0..2_usize, any::<bool>()).prop_map(|(n, whole)| Do::Purged(n, whole)),
    ];
    prop::collection::vec(one, 1..60)
}

/// A run of the protocol: what its authors remember besides the manifest.
struct Run {
    cast: Vec<Ticket>,
    staged: BTreeMap<usize, Structure>,
}

impl Run {
    /// A call as its author would make it on `m`; `None` when it could not even be staged.
    fn prepare(&mut self, what: &Do, m: &Manifest) -> Option<Call> {
        let shifted = |version: u64, off: u64| (version + off).saturating_sub(1);
        let expected = |ticket: &Ticket, off| -> Pins {
            let pin = |k: &TableKey| (k.clone(), shifted(m.pin(k), off));
            ticket.touched.all().map(pin).collect()
        };
        let landed = |n: usize, off: u64| -> Pins {
            let of = |bases: &Pins| bases.iter().map(|(k, b)| (k.clone(), b + off)).collect();
            match m.ticket(operation(n)).map(|t| &t.state) {
                Some(TicketState::Decided { bases } | TicketState::Quarantined { bases, .. }) => {
                    of(bases)
                }
                _ => BTreeMap::new(),
            }
        };
        Some(match *what {
            Do::Enqueue(n) => {
                let ticket = self.cast[n].clone();
                Box::new(move |m| enqueue(m, &ticket, &by()))
            }
            Do::Decide(n, e, b) | Do::EnqueueDecided(n, e, b, _) => {
                let ticket = self.cast[n].clone();
                let staged = structure(n, m);
                if ticket.kind == OperationKind::SchemaApply && staged.is_none() {
                    return None;
                }
                let (expected, bases) =
                    (expected(&ticket, e), bases(&ticket, staged.as_ref(), m, b));
                let decided = m
                    .ticket(operation(n))
                    .is_some_and(|t| t.state != TicketState::Waiting);
                if let Some(staged) = staged.filter(|_| !decided) {
                    self.staged.insert(n, staged);
                }
                match *what {
                    Do::EnqueueDecided(.., back) => {
                        let on = m.number.saturating_sub(back);
                        Box::new(move |m| enqueue_decided(m, &ticket, &expected, &bases, on, &by()))
                    }
                    _ => Box::new(move |m| decide(m, operation(n), &expected, &bases, None, &by())),
                }
            }
            Do::Abort(n) => Box::new(move |m| abort(m, operation(n), &by())),
            Do::Publish(n, off) => {
                let (pins, staged) = (landed(n, off), self.staged.get(&n).cloned());
                Box::new(move |m| publish(m, operation(n), &pins, staged.as_ref(), &by()))
            }
            Do::Discard(n) => Box::new(move |m| discard(m, operation(n), &by())),
            Do::Quarantine(n) => Box::new(move |m| quarantine(m, operation(n), "why", &by())),
            Do::Resolve(n, how) => {
                let how = how.map_or(Resolution::Discard, |off| {
                    Resolution::Publish(landed(n, off), self.staged.get(&n).cloned())
                });
                let seen = m.number;
                Box::new(move |m| resolve(m, operation(n), seen, &how, &by()))
            }
            Do::Redecide(n) => {
                let seen = m.number;
                Box::new(move |m| resolve(m, operation(n), seen, &Resolution::Redecide, &by()))
            }
            Do::Adopt(t, pin, head) => {
                let (pin, head) = (shifted(m.pin(&key(t)), pin), shifted(m.pin(&key(t)), head));
                let seen = m.number;
                Box::new(move |m| adopt(m, &key(t), seen, pin, head, &by()))
            }
            Do::Collect(back) => {
                let below = (m.number + 2).saturating_sub(back);
                Box::new(move |m| collect(m, below, &by()))
            }
            Do::Bar(n) => Box::new(move |m| bar(m, operation(n), &by())),
            Do::Purged(n, whole) => {
                let path = m.purges.keys().nth(n)?.clone();
                let done = Purge {
                    table: key(0),
                    below: (!whole).then_some(5),
                };
                Box::new(move |m| purged(m, &path, &done, &by()))
            }
        })
    }
}

/// What every step keeps, whatever it is.
mod promise {
    use super::*;

    type Check = Result<(), TestCaseError>;

    pub(super) fn number_grows_by_one(old: &Manifest, new: &Manifest) -> Check {
        prop_assert_eq!((new.number, new.graph), (old.number + 1, old.graph));
        Ok(())
    }

    /// By path, because a key may be renamed; a path that is gone is retired.
    pub(super) fn pins_never_go_back(old: &Manifest, new: &Manifest) -> Check {
        for entry in old.tables.values() {
            match new.tables.values().find(|e| e.path == entry.path) {
                Some(now) => prop_assert!(now.pin >= entry.pin, "{} went back", entry.path),
                None => prop_assert!(new.retired_paths.contains(&entry.path)),
            }
        }
        Ok(())
    }

    pub(super) fn paths_are_never_used_twice(old: &Manifest, new: &Manifest) -> Check {
        let live = |m: &Manifest| -> Vec<String> {
            m.tables.values().map(|e| e.path.to_lowercase()).collect()
        };
        prop_assert!(new.retired_paths.is_superset(&old.retired_paths));
        prop_assert_eq!(
            live(new).iter().collect::<BTreeSet<_>>().len(),
            live(new).len()
        );
        let retired: BTreeSet<_> = new.retired_paths.iter().map(|p| p.to_lowercase()).collect();
        prop_assert!(live(new).iter().all(|path| !retired.contains(path)));
        Ok(())
    }

    /// Only the tables that the transition names change, and it names none that its operation does not write.
    pub(super) fn other_tables_stand_still(old: &Manifest, new: &Manifest) -> Check {
        let named: BTreeSet<_> = new.change.tables.iter().collect();
        for k in old
            .tables
            .keys()
            .chain(new.tables.keys())
            .filter(|k| !named.contains(k))
        {
            prop_assert_eq!(old.tables.get(k), new.tables.get(k), "{} moved", k);
        }
        if let Some(ticket) = new.change.operation.and_then(|op| old.ticket(op)) {
            prop_assert!(named.iter().all(|k| ticket.touched.writes.contains(*k)));
        }
        Ok(())
    }

    /// Ended once, an operation has that outcome and no ticket for as long as the outcome is kept.
    pub(super) fn an_operation_ends_at_most_once(old: &Manifest, new: &Manifest) -> Check {
        for (op, outcome) in &old.outcomes {
            let kept = new.outcomes.get(op);
            let trimmed = kept.is_none() && outcome.number < new.collected_below;
            prop_assert!(kept == Some(outcome) || trimmed, "{op} ended twice");
            prop_assert!(new.ticket(*op).is_none(), "{op} came in again");
        }
        let tickets: BTreeSet<_> = new.queue.iter().map(|t| t.operation).collect();
        prop_assert_eq!(tickets.len(), new.queue.len());
        prop_assert!(new.outcomes.keys().all(|op| !tickets.contains(op)));
        for (op, outcome) in new
            .outcomes
            .iter()
            .filter(|(op, _)| !old.outcomes.contains_key(op))
        {
            prop_assert_eq!(
                (Some(*op), outcome.number),
                (new.change.operation, new.number)
            );
        }
        Ok(())
    }

    pub(super) fn the_queue_keeps_its_order(old: &Manifest, new: &Manifest) -> Check {
        let stayed: Vec<_> = old
            .queue
            .iter()
            .map(|t| t.operation)
            .filter(|op| new.ticket(*op).is_some())
            .collect();
        let now: Vec<_> = new.queue.iter().map(|t| t.operation).collect();
        prop_assert!(now.starts_with(&stayed) && now.len() <= stayed.len() + 1);
        Ok(())
    }

    /// What is decided happens: it leaves by a publish alone, or, when it is physical, by a discard; and it leaves
    /// quarantine, for an outcome or to be decided anew, only by `resolve`.
    pub(super) fn what_is_decided_happens(old: &Manifest, new: &Manifest) -> Check {
        for ticket in old.queue.iter().filter(|t| t.state != TicketState::Waiting) {
            let quarantined = matches!(ticket.state, TicketState::Quarantined { .. });
            let ending = new.outcomes.get(&ticket.operation).map(|o| o.ending);
            match (new.ticket(ticket.operation), ending) {
                (Some(now), _) if now.state == ticket.state => {}
                (Some(now), _) if quarantined => {
                    let decided = matches!(now.state, TicketState::Decided { .. });
                    prop_assert!(decided && new.change.transition == "resolve");
                }
                (Some(now), _) => {
                    let quarantined_now = matches!(now.state, TicketState::Quarantined { .. });
                    prop_assert!(quarantined_now);
                }
                (None, Some(_)) if quarantined => {
                    prop_assert_eq!(&new.change.transition, "resolve")
                }
                (None, Some(Ending::Published)) => {}
                (None, ending) => {
                    prop_assert!(ticket.kind.is_physical() && ending == Some(Ending::Discarded))
                }
            }
        }
        Ok(())
    }

    /// Two that conflict are never decided together, quarantined ones included; so the decided one is in front.
    pub(super) fn the_decided_are_in_front(_: &Manifest, new: &Manifest) -> Check {
        let decided = |t: &&Ticket| t.state != TicketState::Waiting;
        for ticket in new.queue.iter().filter(decided) {
            prop_assert_eq!(new.ahead(ticket).next(), None);
        }
        Ok(())
    }

    pub(super) fn quarantine_keeps_conflicting_operations_out(
        old: &Manifest,
        new: &Manifest,
    ) -> Check {
        if let Some(came) = new.queue.iter().find(|t| old.ticket(t.operation).is_none()) {
            let blocks = |t: &&Ticket| {
                matches!(t.state, TicketState::Quarantined { .. }) && t.conflict(came).is_some()
            };
            prop_assert_eq!(old.queue.iter().find(blocks), None);
        }
        Ok(())
    }

    pub(super) fn collection_never_falls_nor_passes_the_newest(
        old: &Manifest,
        new: &Manifest,
    ) -> Check {
        prop_assert!((old.collected_below..=new.number).contains(&new.collected_below));
        prop_assert!(
            new.outcomes
                .values()
                .all(|o| o.number >= new.collected_below)
        );
        Ok(())
    }

    pub(super) fn the_tables_are_the_types_of_the_schema(_: &Manifest, new: &Manifest) -> Check {
        prop_assert!(new.tables.keys().eq(new.schema.types.keys()));
        Ok(())
    }

    /// What a hard drop noted stays noted until it is reported as done, and never reaches what readers open.
    pub(super) fn purges_are_kept_and_spare_what_is_published(
        old: &Manifest,
        new: &Manifest,
    ) -> Check {
        if new.change.transition != "purged" {
            for (path, noted) in &old.purges {
                prop_assert!(new.purges.get(path).is_some_and(|now| now.covers(noted)));
            }
        }
        for (path, noted) in &new.purges {
            match new.tables.values().find(|e| e.path == *path) {
                Some(entry) => prop_assert!(noted.below.is_some_and(|below| below <= entry.pin)),
                None => prop_assert!(new.retired_paths.contains(path)),
            }
        }
        Ok(())
    }

    pub(super) fn it_reads_back_as_it_was_written(_: &Manifest, new: &Manifest) -> Check {
        let bytes = codec::encode(new).unwrap();
        prop_assert_eq!(
            &codec::decode(&bytes, new.number, "a.json", "memory://g").unwrap(),
            new
        );
        Ok(())
    }

    pub(super) const ALL: [fn(&Manifest, &Manifest) -> Check; 13] = [
        number_grows_by_one,
        pins_never_go_back,
        paths_are_never_used_twice,
        other_tables_stand_still,
        an_operation_ends_at_most_once,
        the_queue_keeps_its_order,
        what_is_decided_happens,
        the_decided_are_in_front,
        quarantine_keeps_conflicting_operations_out,
        collection_never_falls_nor_passes_the_newest,
        the_tables_are_the_types_of_the_schema,
        purges_are_kept_and_spare_what_is_published,
        it_reads_back_as_it_was_written,
    ];
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn every_order_of_calls_keeps_every_promise(calls in calls()) {
        let mut run = Run { cast: cast(), staged: BTreeMap::new() };
        let mut manifest = start();
        for what in &calls {
            let Some(call) = run.prepare(what, &manifest) else { continue };
            let before = manifest.clone();
            let step = call(&manifest);
            prop_assert_eq!(&manifest, &before, "a transition changes nothing in place");
            if let Ok(Step::Next(next)) = step {
                for promise in promise::ALL {
                    promise(&manifest, &next)?;
                }
                prop_assert_eq!(call(&next), Ok(Step::Already), "{:?} took place twice", what);
                manifest = *next;
            }
        }
    }

    #[test]
    fn transitions_in_one_manifest_come_to_what_they_come_to_one_by_one(
        calls in calls(), together in 2..6_usize,
    ) {
        let mut run = Run { cast: cast(), staged: BTreeMap::new() };
        let mut manifest = start();
        for some in calls.chunks(together) {
            // A collection looks at the number, in which the two ways differ.
            let some = some.iter().filter(|what| !matches!(what, Do::Collect(_)));
            let prepared: Vec<_> = some.filter_map(|what| run.prepare(what, &manifest)).collect();
            let mut batch = Batch::on(&manifest);
            let (mut alone, mut changes) = (manifest.clone(), Vec::new());
            for call in &prepared {
                let step = call(&alone);
                let place = batch.take(&**call);
                match (&step, &place) {
                    (Ok(Step::Next(_)), Place::Included) | (Ok(Step::Already), Place::Included | Place::Holds) => {}
                    (Err(refusal), Place::Refused(on_start)) => {
                        let same = refusal == on_start;
                        prop_assert!(same || call(&manifest).as_ref() == Err(on_start));
                    }
                    (Err(_), Place::Later) => prop_assert!(matches!(call(&manifest), Ok(Step::Next(_)))),
                    (Err(_), Place::Holds) => prop_assert_eq!(call(&manifest), Ok(Step::Already)),
                    other => prop_assert!(false, "{:?}", other),
                }
                if let Ok(Step::Next(next)) = step {
                    changes.push(next.change.clone());
                    alone = *next;
                }
            }
            let Some(next) = batch.into_next() else { continue };
            prop_assert_eq!(next.number, manifest.number + 1);
            prop_assert_eq!(next.changes().cloned().collect::<Vec<_>>(), changes);
            let state = |m: &Manifest| {
                let ended: Vec<_> = m.outcomes.iter().map(|(op, o)| (*op, o.ending)).collect();
                let mut queue = m.queue.clone();
                for ticket in &mut queue {
                    if let TicketState::Quarantined { since, .. } = &mut ticket.state {
                        *since = 0;
                    }
                }
                let table = |(key, entry): (&TableKey, &TableEntry)| {
                    (key.clone(), entry.path.clone(), entry.pin)
                };
                let tables: Vec<_> = m.tables.iter().map(table).collect();
                (tables, m.purges.clone(), m.retired_paths.clone(), queue, ended, m.schema.clone())
            };
            prop_assert_eq!(state(&next), state(&alone));
            manifest = *next;
        }
    }
}
