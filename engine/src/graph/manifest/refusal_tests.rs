//! Each transition is refused for the reason it says, and for no other.

use super::*;

type Call<'a> = &'a dyn Fn(&Manifest) -> Result<Step, Refusal>;

/// Applies transitions that are all allowed, in a row.
fn after(calls: &[Call<'_>]) -> Manifest {
    calls.iter().fold(start(), |m, call| match call(&m) {
        Ok(Step::Next(next)) => *next,
        other => panic!("{other:?}"),
    })
}

fn pins(of: &[(usize, u64)]) -> Pins {
    of.iter().map(|(n, v)| (key(*n), *v)).collect()
}

fn entering(n: usize) -> impl Fn(&Manifest) -> Result<Step, Refusal> {
    move |m| enqueue(m, &cast()[n], &by())
}

/// Decides an operation of the cast on the pins as they are.
fn deciding(n: usize) -> impl Fn(&Manifest) -> Result<Step, Refusal> {
    move |m| {
        let now: Pins = cast()[n]
            .touched
            .all()
            .map(|k| (k.clone(), m.pin(k)))
            .collect();
        let bases = bases(&cast()[n], None, m, 1);
        decide(m, operation(n), &now, &bases, None, &by())
    }
}

fn quarantining(n: usize) -> impl Fn(&Manifest) -> Result<Step, Refusal> {
    move |m| quarantine(m, operation(n), "a version is missing", &by())
}

fn publishing(n: usize) -> impl Fn(&Manifest) -> Result<Step, Refusal> {
    move |m| {
        let next = cast()[n]
            .touched
            .writes
            .iter()
            .map(|k| (k.clone(), m.pin(k) + 1))
            .collect();
        publish(m, operation(n), &next, None, &by())
    }
}

fn refusal(step: Result<Step, Refusal>) -> Refusal {
    step.expect_err("it is refused")
}

#[test]
fn a_quarantined_operation_blocks_operations_on_its_tables_and_no_others() {
    let m = after(&[&entering(0), &deciding(0), &quarantining(0)]);
    let expected = Refusal::Quarantined {
        table: key(1).into(),
        by: operation(0),
        reason: "a version is missing".to_owned(),
    };
    assert_eq!(refusal(entering(1)(&m)), expected);
    let at_once = enqueue_decided(&m, &cast()[1], &pins(&[(1, 5)]), &pins(&[(1, 5)]), 1, &by());
    assert_eq!(refusal(at_once), expected);
    assert!(
        matches!(entering(4)(&m), Ok(Step::Next(_))),
        "edge:C is free"
    );
}

#[test]
fn nobody_is_decided_past_a_conflicting_ticket_ahead() {
    let m = after(&[&entering(0), &entering(1), &entering(4)]);
    let blocked = Refusal::NotInFront {
        table: key(1).into(),
        by: operation(0),
    };
    assert_eq!(refusal(deciding(1)(&m)), blocked);
    let compaction = enqueue_decided(&m, &cast()[3], &pins(&[(0, 5)]), &pins(&[(0, 5)]), 1, &by());
    assert!(matches!(refusal(compaction), Refusal::NotInFront { .. }));
    assert!(
        matches!(deciding(4)(&m), Ok(Step::Next(_))),
        "another table waits for nobody"
    );
    let aborted = after(&[&entering(0), &entering(1), &|m| {
        abort(m, operation(0), &by())
    }]);
    assert!(matches!(deciding(1)(&aborted), Ok(Step::Next(_))));
}

#[test]
fn two_schema_applies_conflict_though_they_touch_different_tables() {
    let m = after(&[&entering(5), &entering(6)]);
    assert!(matches!(
        refusal(deciding(6)(&m)),
        Refusal::NotInFront { .. }
    ));
}

#[test]
fn two_schema_applies_that_touch_no_table_conflict_over_the_schema() {
    let naming = |n| ticket(n, OperationKind::SchemaApply, &[], &[]);
    let m = after(&[&|m| enqueue(m, &naming(20), &by()), &|m| {
        enqueue(m, &naming(21), &by())
    }]);
    let blocked = Refusal::NotInFront {
        table: Contested::Schema,
        by: operation(20),
    };
    let second = decide(&m, operation(21), &pins(&[]), &pins(&[]), None, &by());
    assert_eq!(refusal(second), blocked);
    let lost = after(&[
        &|m| enqueue(m, &naming(20), &by()),
        &|m| decide(m, operation(20), &pins(&[]), &pins(&[]), None, &by()),
        &quarantining(20),
    ]);
    let second = enqueue(&lost, &naming(21), &by());
    assert!(
        matches!(refusal(second), Refusal::Quarantined { table, .. } if table == Contested::Schema)
    );
}

/// Takes the steps as operation 7, on tables B and D.
fn restructured(m: &Manifest, steps: &[schema::Step], bases: &Pins, landed: &Pins) -> Manifest {
    let structure = Structure::of(m, steps, false, operation(7)).expect("the steps fit");
    let now = pins(&[(1, m.pin(&key(1))), (3, m.pin(&key(3)))]);
    let step = enqueue_decided(m, &cast()[7], &now, bases, m.number, &by());
    let Ok(Step::Next(decided)) = step else {
        panic!("{step:?}")
    };
    let step = publish(&decided, operation(7), landed, Some(&structure), &by());
    let Ok(Step::Next(published)) = step else {
        panic!("{step:?}")
    };
    *published
}

/// Table 1 is renamed, and its name is given to a new table with this pin, in one apply.
fn given_again(m: &Manifest, pin: u64) -> Manifest {
    let steps = [rename(1, 3), add(1)];
    restructured(m, &steps, &pins(&[(1, 0)]), &pins(&[(1, pin)]))
}

#[test]
fn a_name_that_is_given_up_and_given_again_in_one_apply_is_two_tables() {
    let m = start();
    let there = given_again(&m, 1);
    let table = |n| &there.tables[&key(n)];
    assert_eq!((table(3).path.as_str(), table(3).pin), ("B.lance", 5));
    assert_eq!(table(1).pin, 1);
    assert_ne!(table(1).path, "B.lance", "a path is never used twice");
}

#[test]
fn what_was_staged_without_a_ticket_on_a_table_that_gave_up_its_name_is_refused() {
    let m = start();
    let gone = given_again(&m, 5);
    assert_eq!(gone.pin(&key(1)), m.pin(&key(1)), "pins do not tell");
    let late = |staged_on| {
        let at = pins(&[(1, 5)]);
        enqueue_decided(&gone, &cast()[1], &at, &at, staged_on, &by())
    };
    assert_eq!(
        refusal(late(m.number)),
        Refusal::AnotherTable { table: key(1) }
    );
    assert!(matches!(late(gone.number), Ok(Step::Next(_))));
}

#[test]
fn drift_that_was_seen_of_a_table_that_gave_up_its_name_is_not_adopted() {
    let m = start();
    let gone = given_again(&m, 5);
    let another = Refusal::AnotherTable { table: key(1) };
    for head in [5, 6] {
        let late = adopt(&gone, &key(1), m.number, 5, head, &by());
        assert_eq!(refusal(late), another);
    }
    let adopted = adopt(&gone, &key(1), gone.number, 5, 6, &by());
    assert!(matches!(adopted, Ok(Step::Next(_))));
}

#[test]
fn an_operation_planned_on_another_version_is_refused_with_both_versions() {
    let m = after(&[&entering(1)]);
    let mismatch = |expected, found| Refusal::ExpectedVersionMismatch {
        table: key(1),
        expected,
        found,
    };
    let step = decide(
        &m,
        operation(1),
        &pins(&[(1, 4)]),
        &pins(&[(1, 5)]),
        None,
        &by(),
    );
    assert_eq!(refusal(step), mismatch(4, 5));
    let unnamed = decide(&m, operation(1), &pins(&[]), &pins(&[(1, 5)]), None, &by());
    assert_eq!(
        refusal(unnamed),
        mismatch(0, 5),
        "a table that is not named must not exist"
    );
    let adopted = adopt(&start(), &key(1), start().number, 4, 6, &by());
    assert_eq!(refusal(adopted), mismatch(4, 5));
}

#[test]
fn a_table_that_is_only_read_must_stand_still_too() {
    let m = after(&[&entering(2)]);
    let step = decide(
        &m,
        operation(2),
        &pins(&[(0, 4), (2, 5)]),
        &pins(&[(2, 5)]),
        None,
        &by(),
    );
    assert!(
        matches!(refusal(step), Refusal::ExpectedVersionMismatch { table, .. } if table == key(0))
    );
}

#[test]
fn an_effect_staged_before_the_pin_is_refused() {
    let m = after(&[&entering(1)]);
    let step = decide(
        &m,
        operation(1),
        &pins(&[(1, 5)]),
        &pins(&[(1, 4)]),
        None,
        &by(),
    );
    let behind = Refusal::BaseBehindPin {
        table: key(1),
        base: 4,
        pin: 5,
    };
    assert_eq!(refusal(step), behind);
    assert!(
        decide(
            &m,
            operation(1),
            &pins(&[(1, 5)]),
            &pins(&[(1, 6)]),
            None,
            &by()
        )
        .is_ok()
    );
}

#[test]
fn work_staged_before_the_collection_mark_never_comes_in() {
    let m = after(&[&entering(1), &|m| abort(m, operation(1), &by()), &|m| {
        collect(m, 3, &by())
    }]);
    let at = |on| {
        enqueue_decided(
            &m,
            &cast()[3],
            &pins(&[(0, 5)]),
            &pins(&[(0, 5)]),
            on,
            &by(),
        )
    };
    assert_eq!(refusal(at(2)), Refusal::Stale { staged_on: 2 });
    assert!(at(3).is_ok());
}

#[test]
fn an_operation_that_is_over_never_comes_in_again() {
    let aborted = after(&[&entering(1), &|m| abort(m, operation(1), &by())]);
    let barred = after(&[&|m| bar(m, operation(1), &by())]);
    for m in [aborted, barred] {
        assert_eq!(refusal(entering(1)(&m)), Refusal::Ended(Ending::Aborted));
        assert_eq!(refusal(deciding(1)(&m)), Refusal::Ended(Ending::Aborted));
        assert_eq!(refusal(publishing(1)(&m)), Refusal::Ended(Ending::Aborted));
        let at_once = enqueue_decided(&m, &cast()[1], &pins(&[(1, 5)]), &pins(&[(1, 5)]), 1, &by());
        assert_eq!(refusal(at_once), Refusal::Ended(Ending::Aborted));
    }
    let published = after(&[&entering(1), &deciding(1), &publishing(1)]);
    assert_eq!(
        refusal(abort(&published, operation(1), &by())),
        Refusal::Ended(Ending::Published)
    );
    assert_eq!(
        refusal(discard(&published, operation(1), &by())),
        Refusal::Ended(Ending::Published)
    );
}

#[test]
fn nothing_is_decided_or_published_for_an_operation_that_never_came_in() {
    assert_eq!(refusal(deciding(1)(&start())), Refusal::NoTicket);
    assert_eq!(refusal(publishing(1)(&start())), Refusal::NoTicket);
    assert_eq!(refusal(quarantining(1)(&start())), Refusal::NoTicket);
    let resolved = resolve(&start(), operation(1), 1, &Resolution::Discard, &by());
    assert_eq!(refusal(resolved), Refusal::NoTicket);
}

#[test]
fn a_ticket_goes_only_the_ways_that_its_state_allows() {
    let waiting = after(&[&entering(1)]);
    assert_eq!(
        refusal(publishing(1)(&waiting)),
        Refusal::WrongState("waiting")
    );
    assert_eq!(
        refusal(quarantining(1)(&waiting)),
        Refusal::WrongState("waiting")
    );
    assert_eq!(
        refusal(discard(&waiting, operation(1), &by())),
        Refusal::WrongState("waiting")
    );
    assert_eq!(
        refusal(bar(&waiting, operation(1), &by())),
        Refusal::WrongState("in the queue")
    );
    let decided = after(&[&entering(1), &deciding(1)]);
    assert_eq!(
        refusal(abort(&decided, operation(1), &by())),
        Refusal::WrongState("decided")
    );
    assert_eq!(
        refusal(discard(&decided, operation(1), &by())),
        Refusal::WrongState("logical")
    );
    let resolved = resolve(
        &decided,
        operation(1),
        decided.number,
        &Resolution::Discard,
        &by(),
    );
    assert_eq!(refusal(resolved), Refusal::WrongState("not quarantined"));
    let physical = after(&[&entering(3), &deciding(3)]);
    assert_eq!(
        refusal(quarantining(3)(&physical)),
        Refusal::WrongState("physical")
    );
    assert!(discard(&physical, operation(3), &by()).is_ok());
    let quarantined = after(&[&entering(1), &deciding(1), &quarantining(1)]);
    for step in [
        publishing(1)(&quarantined),
        abort(&quarantined, operation(1), &by()),
    ] {
        assert_eq!(refusal(step), Refusal::WrongState("quarantined"));
    }
}

#[test]
fn a_resolution_counts_only_for_the_quarantine_that_it_looked_at() {
    let redeciding =
        |m: &Manifest| resolve(m, operation(1), m.number, &Resolution::Redecide, &by());
    let once = after(&[&entering(1), &deciding(1), &quarantining(1)]);
    let again = after(&[
        &entering(1),
        &deciding(1),
        &quarantining(1),
        &redeciding,
        &quarantining(1),
    ]);
    for how in [
        Resolution::Discard,
        Resolution::Publish(pins(&[(1, 5)]), None),
    ] {
        assert!(resolve(&once, operation(1), once.number, &how, &by()).is_ok());
        let late = resolve(&again, operation(1), once.number, &how, &by());
        assert!(matches!(refusal(late), Refusal::WrongState(_)));
    }
}

#[test]
fn the_path_of_a_table_that_a_discarded_operation_would_have_added_is_never_used() {
    let added: TableKey = "node:Added".parse().unwrap();
    let ticket = Ticket {
        kind: OperationKind::SchemaApply,
        touched: Touched::writing([added.clone()]),
        ..cast()[1].clone()
    };
    let none = BTreeMap::from([(added.clone(), 0)]);
    let m = after(&[
        &|m| enqueue(m, &ticket, &by()),
        &|m| decide(m, operation(1), &none, &none, None, &by()),
        &quarantining(1),
        &|m| resolve(m, operation(1), m.number, &Resolution::Discard, &by()),
    ]);
    assert!(m.retired_paths.contains("Added.lance"));
    assert_ne!(m.fresh_path(&added, operation(2)), "Added.lance");
}

#[test]
fn neither_a_publish_nor_a_resolution_nor_an_adoption_takes_a_pin_back() {
    let back = Refusal::PinBackwards {
        table: key(1),
        pin: 5,
        to: 4,
    };
    let m = after(&[&entering(1), &deciding(1)]);
    let step = publish(&m, operation(1), &pins(&[(1, 4)]), None, &by());
    assert_eq!(refusal(step), back);
    let m = after(&[&entering(1), &deciding(1), &quarantining(1)]);
    let how = Resolution::Publish(pins(&[(1, 4)]), None);
    assert_eq!(
        refusal(resolve(&m, operation(1), m.number, &how, &by())),
        back
    );
    assert_eq!(
        refusal(adopt(&start(), &key(1), start().number, 5, 4, &by())),
        back
    );
}

#[test]
fn a_publish_says_where_every_effect_stands_and_a_resolution_likewise() {
    let some = pins(&[(0, 6)]);
    let m = after(&[&entering(0), &deciding(0)]);
    assert_eq!(
        refusal(publish(&m, operation(0), &some, None, &by())),
        Refusal::MissingPin(key(1))
    );
    let m = after(&[&entering(0), &deciding(0), &quarantining(0)]);
    let how = Resolution::Publish(some, None);
    assert_eq!(
        refusal(resolve(&m, operation(0), m.number, &how, &by())),
        Refusal::MissingPin(key(1))
    );
}

#[test]
fn a_publish_moves_no_table_that_its_operation_does_not_write() {
    let stray = pins(&[(1, 6), (2, 9)]);
    let m = after(&[&entering(1), &deciding(1)]);
    assert_eq!(
        refusal(publish(&m, operation(1), &stray, None, &by())),
        Refusal::StrayPin(key(2))
    );
}

#[test]
fn collection_keeps_the_newest_manifest_and_takes_nothing_back() {
    let m = after(&[&entering(1), &entering(4), &|m| collect(m, 3, &by())]);
    assert_eq!((m.number, m.collected_below), (4, 3));
    let bad = |below| {
        matches!(
            refusal(collect(&m, below, &by())),
            Refusal::BadCollection { .. }
        )
    };
    assert!(bad(2), "it falls");
    assert!(bad(6), "it passes the manifest that records it");
    assert!(collect(&m, 5, &by()).is_ok());
}

#[test]
fn versions_go_only_below_the_pin_of_a_table_on_which_nothing_is_decided() {
    let cleaning = |m: &Manifest, below| clean(m, &key(0), &m.tables[&key(0)].path, below, &by());
    let m = after(&[&entering(0)]);
    let Ok(Step::Next(next)) = cleaning(&m, 5) else {
        panic!("who waits stages at the pin or later")
    };
    assert_eq!((&next.tables, &next.queue), (&m.tables, &m.queue));
    assert_eq!(next.change.kind, Some(OperationKind::Cleanup));
    let past = Refusal::PastPin {
        table: key(0),
        below: 6,
        pin: 5,
    };
    assert_eq!(refusal(cleaning(&m, 6)), past);
    let other = clean(&m, &key(0), "other.lance", 5, &by());
    assert_eq!(refusal(other), Refusal::AnotherTable { table: key(0) });
    let decided = after(&[&entering(0), &deciding(0)]);
    let ahead = refusal(cleaning(&decided, 5));
    assert!(matches!(ahead, Refusal::NotInFront { by, .. } if by == operation(0)));
    let lost = after(&[&entering(0), &deciding(0), &quarantining(0)]);
    let blocked = refusal(cleaning(&lost, 5));
    assert!(matches!(blocked, Refusal::Quarantined { .. }), "{blocked}");
}

#[test]
fn drift_is_adopted_only_on_a_table_that_nobody_touches() {
    let m = after(&[&entering(2)]);
    let refused = refusal(adopt(&m, &key(0), m.number, 5, 6, &by()));
    assert!(
        matches!(refused, Refusal::NotInFront { by, .. } if by == operation(2)),
        "a reader counts"
    );
    assert!(
        matches!(adopt(&m, &key(1), m.number, 5, 6, &by()), Ok(Step::Next(n)) if n.pin(&key(1)) == 6)
    );
}

#[test]
fn a_dropped_or_renamed_type_never_gets_or_gives_a_path_twice() {
    let apply = |m: &Manifest, n: usize| {
        let staged = structure(n, m).unwrap();
        let (touched, bases) = (&cast()[n].touched, bases(&cast()[n], Some(&staged), m, 1));
        let now = touched.all().map(|k| (k.clone(), m.pin(k))).collect();
        let landed = bases.keys().map(|k| (k.clone(), 1)).collect();
        // Every apply is another operation.
        let mut ticket = cast()[n].clone();
        ticket.operation = Uuid::from_u128(1_000 + u128::from(m.number)).into();
        let decided = enqueue_decided(m, &ticket, &now, &bases, m.number, &by());
        let Ok(Step::Next(m)) = decided else {
            panic!("{decided:?}")
        };
        match publish(&m, ticket.operation, &landed, Some(&staged), &by()) {
            Ok(Step::Next(m)) => *m,
            other => panic!("{other:?}"),
        }
    };
    let dropped = apply(&start(), 6);
    assert!(dropped.retired_paths.contains("A.lance") && dropped.pin(&key(0)) == 0);
    let added = apply(&dropped, 6);
    assert_ne!(added.tables[&key(0)].path, "A.lance");
    let renamed = apply(&added, 7);
    assert_eq!(
        renamed.tables[&key(3)].path,
        "B.lance",
        "a rename keeps the path"
    );
    let fresh = renamed.fresh_path(&"node:b".parse().unwrap(), operation(9));
    assert_ne!(
        fresh.to_lowercase(),
        "b.lance",
        "the name was given up, its path was not"
    );
}

#[test]
fn an_author_who_never_heard_that_it_was_decided_learns_it_whatever_came_after() {
    let quarantined = after(&[&entering(1), &deciding(1), &quarantining(1)]);
    let published = after(&[&entering(1), &deciding(1), &publishing(1)]);
    for m in [quarantined, published] {
        assert_eq!(deciding(1)(&m), Ok(Step::Already));
        let (now, base) = (pins(&[(1, 5)]), pins(&[(1, 5)]));
        let at_once = enqueue_decided(&m, &cast()[1], &now, &base, 1, &by());
        assert_eq!(at_once, Ok(Step::Already));
    }
}
