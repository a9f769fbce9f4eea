//! The register over a store that fails in every way a store can: each call is told the truth, and takes effect
//! at most once.

use std::sync::atomic::{AtomicBool, Ordering};

use chrono::DateTime;
use uuid::Uuid;

#[path = "flaky.rs"]
mod flaky;

use flaky::{Fault, Flaky};

use super::*;
use crate::graph::manifest::{
    Call, OperationKind, Purge, Refusal, Step, TableEntry, Ticket, TicketState, Touched,
    transition::{By, abort, bar, collect, discard, enqueue, enqueue_decided},
};

fn register(store: &Arc<Flaky>, definite: bool) -> Arc<Register> {
    let uri = "memory://graph".to_owned();
    let dir = Path::from("_squire/manifest");
    Arc::new(Register::new(store.clone(), dir, uri, definite))
}

fn by() -> By {
    By {
        actor: "ada@lab".to_owned(),
        at: DateTime::UNIX_EPOCH,
        summary: String::new(),
    }
}

fn first() -> Manifest {
    Manifest::first(Uuid::from_u128(1), "ada@lab", DateTime::UNIX_EPOCH)
}

fn ticket(n: u128) -> Ticket {
    Ticket {
        operation: Uuid::from_u128(n).into(),
        holder: "lab-1".into(),
        actor: "ada@lab".to_owned(),
        kind: OperationKind::Load,
        touched: Touched::default(),
        state: TicketState::Waiting,
        at: DateTime::UNIX_EPOCH,
    }
}

fn enqueueing(ticket: &Ticket) -> impl Fn(&Manifest) -> Result<Step, Refusal> + use<> {
    let ticket = ticket.clone();
    move |m| enqueue(m, &ticket, &by())
}

/// A transition that is allowed on the first manifest it meets and refused on every later one.
fn allowed_once(ticket: &Ticket) -> impl Fn(&Manifest) -> Result<Step, Refusal> + use<> {
    let (ticket, met) = (ticket.clone(), AtomicBool::new(false));
    move |m| match met.swap(true, Ordering::SeqCst) {
        false => enqueue(m, &ticket, &by()),
        true => Err(Refusal::NoTicket),
    }
}

/// A graph whose next puts fail by this script.
async fn graph(
    definite: bool,
    script: impl IntoIterator<Item = Fault>,
) -> (Arc<Flaky>, Arc<Register>) {
    let store = Arc::new(Flaky::default());
    let register = register(&store, definite);
    register.create(first()).await.unwrap();
    store.script.lock().unwrap().extend(script);
    store.asked();
    (store, register)
}

async fn enter(register: &Arc<Register>, n: u128) -> Arc<Manifest> {
    let call = register
        .change(ticket(n).operation, enqueueing(&ticket(n)))
        .await;
    held(call)
}

fn held(call: Result<Call>) -> Arc<Manifest> {
    match call {
        Ok(Call::Holds(manifest)) => manifest,
        Ok(Call::Refused(refusal)) => panic!("refused: {refusal}"),
        Err(e) => panic!("{e}"),
    }
}

/// What a process that was not there finds: the newest number, and how many tickets.
async fn found(store: &Arc<Flaky>) -> (u64, usize) {
    let newest = register(store, true).newest().await.unwrap();
    (newest.number, newest.queue.len())
}

#[tokio::test]
async fn an_uncontended_change_costs_one_put_and_one_list() {
    let (store, register) = graph(true, []).await;
    let manifest = enter(&register, 7).await;
    assert_eq!((manifest.number, store.asked()), (2, (1, 1, 0)));
    enter(&register, 8).await;
    assert_eq!(store.asked(), (1, 1, 0));
}

#[tokio::test]
async fn calls_that_wait_together_share_one_write() {
    let (store, register) = graph(true, []).await;
    let calls = (1..=8).map(|n| enter(&register, n));
    for manifest in futures::future::join_all(calls).await {
        assert_eq!((manifest.number, manifest.queue.len()), (2, 8));
        assert_eq!(manifest.changes().count(), 8);
    }
    assert_eq!((store.asked(), found(&store).await), ((1, 1, 0), (2, 8)));
}

#[tokio::test]
async fn calls_that_share_a_write_are_each_told_what_became_of_it() {
    let lost = || [Fault::Lost, Fault::Lost, Fault::Lost, Fault::Lost];
    for definite in [true, false] {
        let (store, register) = graph(definite, lost()).await;
        let calls = (1..=3).map(|n| {
            let (ticket, register) = (ticket(n), &register);
            async move {
                (
                    n,
                    register.change(ticket.operation, enqueueing(&ticket)).await,
                )
            }
        });
        for (n, call) in futures::future::join_all(calls).await {
            match call {
                Err(Error::Store { .. }) => assert!(definite),
                Err(Error::OutcomeUnknown { operation, .. }) => {
                    assert!(!definite);
                    assert_eq!(operation, ticket(n).operation);
                }
                _ => panic!("nothing was written"),
            }
        }
        assert_eq!(store.asked().0, 4, "they shared each try");
    }
}

#[tokio::test]
async fn a_refused_call_keeps_no_other_from_being_written() {
    let (store, register) = graph(true, []).await;
    let unknown = ticket(9).operation;
    let (one, refused, two) = tokio::join!(
        enter(&register, 1),
        register.change(unknown, move |m| discard(m, unknown, &by())),
        enter(&register, 2),
    );
    assert!(matches!(refused, Ok(Call::Refused(Refusal::NoTicket))));
    assert_eq!((one.number, two.queue.len()), (2, 2));
    assert_eq!(found(&store).await, (2, 2));
}

#[tokio::test]
async fn a_write_goes_on_when_its_caller_goes_away() {
    let (store, register) = graph(true, []).await;
    {
        let ticket = ticket(1);
        let call = register.change(ticket.operation, enqueueing(&ticket));
        assert!(futures::FutureExt::now_or_never(call).is_none());
    }
    assert_eq!(enter(&register, 2).await.queue.len(), 2);
    assert_eq!(found(&store).await.1, 2);
}

#[tokio::test]
async fn a_call_that_panics_keeps_no_later_one_from_being_written() {
    let (store, register) = graph(true, []).await;
    let operation = ticket(9).operation;
    let panics = register.change(operation, |_| panic!("a fault of ours"));
    assert!(matches!(panics.await, Err(Error::OutcomeUnknown { .. })));
    enter(&register, 1).await;
    assert_eq!(found(&store).await, (2, 1));
}

#[tokio::test]
async fn an_unchanged_register_costs_one_list_to_look_at() {
    let (store, register) = graph(true, []).await;
    for _ in 0..3 {
        assert_eq!(register.newest().await.unwrap().number, 1);
    }
    assert_eq!(store.asked(), (0, 3, 0));
}

#[tokio::test]
async fn a_lost_race_is_run_again_on_the_winners_manifest() {
    let (store, slow) = graph(true, []).await;
    let fast = register(&store, true);
    enter(&fast, 7).await;
    enter(&fast, 8).await;
    let manifest = enter(&slow, 9).await;
    let order: Vec<_> = manifest
        .queue
        .iter()
        .map(|t| t.operation.uuid().as_u128())
        .collect();
    assert_eq!((manifest.number, order), (4, vec![7, 8, 9]));
}

#[tokio::test]
async fn writers_at_once_all_get_in_exactly_once() {
    let store = Arc::new(Flaky::default());
    register(&store, true).create(first()).await.unwrap();
    let writers = (0..8_u128).map(|writer| {
        let register = register(&store, true);
        async move {
            for n in 0..10 {
                enter(&register, writer * 100 + n).await;
                tokio::task::yield_now().await;
            }
        }
    });
    futures::future::join_all(writers).await;
    assert_eq!(found(&store).await, (81, 80));
}

#[tokio::test]
async fn a_put_that_landed_unheard_counts_exactly_once() {
    for definite in [true, false] {
        for fault in [Fault::LandedUnheard, Fault::Echo] {
            let (store, register) = graph(definite, [fault]).await;
            let manifest = enter(&register, 7).await;
            assert_eq!((manifest.number, manifest.queue.len()), (2, 1));
            assert_eq!((store.asked().0, found(&store).await), (1, (2, 1)));
        }
    }
}

#[tokio::test]
async fn a_last_attempt_that_landed_unheard_counts() {
    for definite in [true, false] {
        let script = [Fault::Lost, Fault::Lost, Fault::Lost, Fault::LandedUnheard];
        let (store, register) = graph(definite, script).await;
        assert_eq!(enter(&register, 7).await.queue.len(), 1);
        assert_eq!(found(&store).await, (2, 1));
    }
}

#[tokio::test]
async fn a_put_that_lands_late_counts_exactly_once() {
    let (store, register) = graph(false, [Fault::LandsLate]).await;
    enter(&register, 7).await;
    assert_eq!(found(&store).await, (2, 1));
}

#[tokio::test]
async fn a_put_that_was_lost_is_tried_again() {
    for definite in [true, false] {
        let (store, register) = graph(definite, [Fault::Lost, Fault::Lost]).await;
        enter(&register, 7).await;
        assert_eq!((store.asked().0, found(&store).await), (3, (2, 1)));
    }
}

#[tokio::test]
async fn a_store_that_keeps_failing_is_a_failure_only_where_nothing_can_land_any_more() {
    let lost = || [Fault::Lost, Fault::Lost, Fault::Lost, Fault::Lost];
    let (store, register) = graph(true, lost()).await;
    let call = register
        .change(ticket(7).operation, enqueueing(&ticket(7)))
        .await;
    assert!(matches!(call, Err(Error::Store { .. })));
    assert_eq!(found(&store).await, (1, 0));

    let (_, register) = graph(false, lost()).await;
    let call = register
        .change(ticket(7).operation, enqueueing(&ticket(7)))
        .await;
    let Err(Error::OutcomeUnknown {
        operation, source, ..
    }) = call
    else {
        panic!("it may land yet")
    };
    assert_eq!(operation, ticket(7).operation);
    assert!(source.is_some(), "the store's own error is kept");
}

#[tokio::test]
async fn a_refusal_after_a_lost_put_is_a_refusal_only_where_nothing_can_land_any_more() {
    let ticket = ticket(7);
    let (_, register) = graph(true, [Fault::Lost]).await;
    let call = register
        .change(ticket.operation, allowed_once(&ticket))
        .await;
    assert!(matches!(call, Ok(Call::Refused(Refusal::NoTicket))));

    let (_, register) = graph(false, [Fault::Lost]).await;
    let call = register
        .change(ticket.operation, allowed_once(&ticket))
        .await;
    assert!(matches!(call, Err(Error::OutcomeUnknown { .. })));
}

#[tokio::test]
async fn a_slot_that_somebody_else_took_closes_the_outcome() {
    let (ticket, other) = (ticket(7), ticket(8));
    let rival = match enqueue(&first(), &other, &by()) {
        Ok(Step::Next(rival)) => codec::encode(&rival).unwrap(),
        other => panic!("{other:?}"),
    };
    let (store, register) = graph(false, [Fault::LostToRival(rival)]).await;
    let call = register
        .change(ticket.operation, allowed_once(&ticket))
        .await;
    assert!(matches!(call, Ok(Call::Refused(Refusal::NoTicket))));
    assert_eq!(found(&store).await, (2, 1));
}

#[tokio::test]
async fn a_no_of_the_store_is_final_only_where_no_earlier_try_can_have_landed() {
    let (store, register) = graph(true, [Fault::Denied]).await;
    let call = register
        .change(ticket(7).operation, enqueueing(&ticket(7)))
        .await;
    assert!(matches!(call, Err(Error::Store { .. })));
    assert_eq!((store.asked().0, found(&store).await), (1, (1, 0)));

    let (_, register) = graph(false, [Fault::Denied]).await;
    let ticket = ticket(7);
    let call = register
        .change(ticket.operation, allowed_once(&ticket))
        .await;
    assert!(matches!(call, Err(Error::OutcomeUnknown { .. })));
}

/// A register that sleeps at manifest 1 while others go on to 5, collect below 4 and delete.
async fn asleep() -> (Arc<Flaky>, Arc<Register>) {
    let (store, sleeper) = graph(true, []).await;
    let awake = register(&store, true);
    for n in 1..4 {
        enter(&awake, n).await;
    }
    let operation = ticket(99).operation;
    held(awake.change(operation, |m| collect(m, 4, &by())).await);
    for number in 1..4 {
        store.inner.delete(&awake.path(number)).await.unwrap();
    }
    (store, sleeper)
}

#[tokio::test]
async fn a_create_at_a_collected_number_does_not_count() {
    let (store, sleeper) = asleep().await;
    let manifest = enter(&sleeper, 7).await;
    assert_eq!((manifest.number, manifest.queue.len()), (6, 4));
    assert_eq!(found(&store).await, (6, 4));
}

#[tokio::test]
async fn an_object_that_was_created_anew_between_list_and_read_is_not_taken() {
    let (store, writer) = graph(true, []).await;
    let second = enter(&writer, 7).await;
    let sleepers = enqueue(&first(), &ticket(8), &by()).unwrap();
    let third = collect(&second, 3, &by()).unwrap();
    let (Step::Next(sleepers), Step::Next(third)) = (sleepers, third) else {
        panic!("both make a manifest");
    };
    for manifest in [sleepers, third] {
        let object = codec::encode(&manifest).unwrap();
        let changed = (writer.path(manifest.number), object.into());
        store.before_read.lock().unwrap().push(changed);
    }
    let newest = register(&store, true).newest().await.unwrap();
    assert_eq!(newest.number, 3);
    assert!(newest.ticket(ticket(7).operation).is_some());
}

#[tokio::test]
async fn what_was_staged_on_a_collected_manifest_is_not_known_to_have_failed() {
    let (store, sleeper) = asleep().await;
    let (ticket, none) = (ticket(7), Default::default());
    let call = sleeper
        .change(ticket.operation, move |m| {
            enqueue_decided(m, &ticket, &none, &none, 1, &by())
        })
        .await;
    assert!(matches!(call, Err(Error::OutcomeUnknown { .. })));
    assert_eq!(found(&store).await, (5, 3));
}

#[tokio::test]
async fn a_refusal_counts_only_on_a_manifest_that_was_listed_after_the_call_began() {
    let (store, stale) = graph(true, []).await;
    let operation = ticket(7).operation;
    enter(&stale, 7).await;
    let awake = register(&store, true);
    held(
        awake
            .change(operation, move |m| abort(m, operation, &by()))
            .await,
    );
    // The stale register still sees the ticket, which would refuse the bar.
    held(
        stale
            .change(operation, move |m| bar(m, operation, &by()))
            .await,
    );
}

async fn opened_after(write: impl FnOnce(Manifest) -> Vec<u8>) -> Error {
    let (store, register) = graph(true, []).await;
    let Ok(Step::Next(second)) = enqueue(&first(), &ticket(7), &by()) else {
        panic!("nothing is in its way")
    };
    let bytes = write(*second);
    store
        .inner
        .put(&register.path(2), bytes.into())
        .await
        .unwrap();
    register.newest().await.expect_err("it cannot be read")
}

#[tokio::test]
async fn a_manifest_of_a_newer_format_is_named_with_both_formats() {
    let error = opened_after(|m| {
        let mut json = serde_json::to_value(&m).unwrap();
        json["format"] = 2.into();
        json["tables"] = "of another shape".into();
        serde_json::to_vec(&json).unwrap()
    });
    assert!(matches!(
        error.await,
        Error::NewerFormat {
            found: 2,
            known: 1,
            ..
        }
    ));
}

#[tokio::test]
async fn a_manifest_that_is_cut_short_or_stands_in_the_wrong_place_is_damaged() {
    let cut = opened_after(|m| {
        let bytes = codec::encode(&m).unwrap();
        bytes[..bytes.len() / 2].to_vec()
    });
    let compressed = opened_after(|mut m| {
        m.change.summary = "long ".repeat(10_000);
        let bytes = codec::encode(&m).unwrap();
        assert!(bytes.len() < 10_000, "it is compressed");
        bytes[..bytes.len() - 8].to_vec()
    });
    let misplaced = opened_after(|mut m| {
        m.number = 3;
        codec::encode(&m).unwrap()
    });
    let empty = opened_after(|_| Vec::new());
    let bomb = opened_after(|_| zstd::bulk::compress(&vec![b' '; 64 << 20], 3).unwrap());
    for error in [
        cut.await,
        compressed.await,
        misplaced.await,
        empty.await,
        bomb.await,
    ] {
        let Error::Damaged { object, .. } = &error else {
            panic!("{error}")
        };
        assert!(object.contains("2.json"), "{object}");
    }
}

#[tokio::test]
async fn a_manifest_that_leads_out_of_its_root_is_damaged() {
    for path in ["../elsewhere.lance", "..", "a/b.lance", "/etc", ""] {
        let led = opened_after(|mut m| {
            let entry = TableEntry {
                path: path.to_owned(),
                pin: 1,
                since: 0,
            };
            m.tables.insert("node:Person".parse().unwrap(), entry);
            codec::encode(&m).unwrap()
        });
        let purged = opened_after(|mut m| {
            let purge = Purge {
                table: "node:Person".parse().unwrap(),
                below: None,
            };
            m.purges.insert(path.to_owned(), purge);
            codec::encode(&m).unwrap()
        });
        for error in [led.await, purged.await] {
            let Error::Damaged { reason, .. } = &error else {
                panic!("{error}")
            };
            assert!(reason.contains("directly below the root"), "{reason}");
        }
    }
}

#[tokio::test]
async fn a_root_without_manifests_is_no_graph() {
    let error = register(&Arc::new(Flaky::default()), true).newest().await;
    assert!(matches!(error, Err(Error::NotAGraph { .. })));
}

#[tokio::test]
async fn a_graph_is_created_once() {
    let (store, again) = graph(true, []).await;
    assert!(matches!(
        again.create(first()).await,
        Err(Error::AlreadyAGraph { .. })
    ));
    let other = register(&store, true);
    assert!(matches!(
        other.create(first()).await,
        Err(Error::AlreadyAGraph { .. })
    ));

    let store = Arc::new(Flaky::default());
    let (one, two) = (register(&store, true), register(&store, true));
    let both = tokio::join!(one.create(first()), two.create(first()));
    assert_eq!(usize::from(both.0.is_ok()) + usize::from(both.1.is_ok()), 1);
}

#[tokio::test]
async fn a_store_that_overwrites_carries_no_graph_and_holds_none_afterwards() {
    let store = Arc::new(Flaky {
        overwrites: true,
        ..Flaky::default()
    });
    let register = register(&store, true);
    assert!(matches!(
        register.create(first()).await,
        Err(Error::UnfitStore { .. })
    ));
    assert!(matches!(
        register.newest().await,
        Err(Error::NotAGraph { .. })
    ));
}

#[tokio::test]
async fn a_graph_that_could_not_be_written_is_not_there() {
    let store = Arc::new(Flaky::failing([Fault::Lost]));
    let register = register(&store, true);
    assert!(matches!(
        register.create(first()).await,
        Err(Error::Store { .. })
    ));
    assert!(matches!(
        register.newest().await,
        Err(Error::NotAGraph { .. })
    ));
    assert!(register.create(first()).await.is_ok());
}
