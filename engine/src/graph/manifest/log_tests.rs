//! The manifest log over a store that fails in every way a store can: each call gets the right answer, and takes effect
//! at most once.

use std::sync::atomic::{AtomicBool, Ordering};

use chrono::DateTime;
use uuid::Uuid;

#[path = "flaky.rs"]
mod flaky;

use flaky::{Fault, Flaky};

use super::*;
use crate::graph::manifest::{
    ChangeResult, OperationKind, Purge, Refusal, Step, TableEntry, Ticket, Touched,
    transition::{By, abort, bar, collect, discard, enqueue, enqueue_decided},
};

fn log(store: &Arc<Flaky>, failed_put_is_final: bool) -> Arc<ManifestLog> {
    let uri = "memory://graph".to_owned();
    let dir = Path::from("_squire/manifest");
    Arc::new(ManifestLog::new(
        store.clone(),
        dir,
        uri,
        failed_put_is_final,
    ))
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
    let (kind, at) = (OperationKind::Load, DateTime::UNIX_EPOCH);
    let operation = Uuid::from_u128(n).into();
    Ticket::waiting(
        operation,
        "lab-1".into(),
        "ada@lab",
        kind,
        Touched::default(),
        at,
    )
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
    failed_put_is_final: bool,
    script: impl IntoIterator<Item = Fault>,
) -> (Arc<Flaky>, Arc<ManifestLog>) {
    let store = Arc::new(Flaky::default());
    let log = log(&store, failed_put_is_final);
    log.create(first()).await.unwrap();
    store.script.lock().unwrap().extend(script);
    store.asked();
    (store, log)
}

async fn enter(log: &Arc<ManifestLog>, n: u128) -> Arc<Manifest> {
    let call = log
        .change(ticket(n).operation, enqueueing(&ticket(n)))
        .await;
    held(call)
}

fn held(call: Result<ChangeResult>) -> Arc<Manifest> {
    match call {
        Ok(ChangeResult::Holds(manifest)) => manifest,
        Ok(ChangeResult::Refused(refusal)) => panic!("refused: {refusal}"),
        Err(e) => panic!("{e}"),
    }
}

/// What a process that was not there finds: the newest number, and how many tickets.
async fn found(store: &Arc<Flaky>) -> (u64, usize) {
    let newest = log(store, true).newest().await.unwrap();
    (newest.number, newest.queue.len())
}

#[tokio::test]
async fn an_uncontended_change_costs_one_put_and_one_list() {
    let (store, log) = graph(true, []).await;
    let manifest = enter(&log, 7).await;
    assert_eq!((manifest.number, store.asked()), (2, (1, 1, 0)));
    enter(&log, 8).await;
    assert_eq!(store.asked(), (1, 1, 0));
}

#[tokio::test]
async fn calls_that_wait_together_share_one_write() {
    let (store, log) = graph(true, []).await;
    let calls = (1..=8).map(|n| enter(&log, n));
    for manifest in futures::future::join_all(calls).await {
        assert_eq!((manifest.number, manifest.queue.len()), (2, 8));
        assert_eq!(manifest.changes().count(), 8);
    }
    assert_eq!((store.asked(), found(&store).await), ((1, 1, 0), (2, 8)));
}

#[tokio::test]
async fn calls_that_share_a_write_are_each_told_what_became_of_it() {
    let lost = || [Fault::Lost, Fault::Lost, Fault::Lost, Fault::Lost];
    for failed_put_is_final in [true, false] {
        let (store, log) = graph(failed_put_is_final, lost()).await;
        let calls = (1..=3).map(|n| {
            let (ticket, log) = (ticket(n), &log);
            async move { (n, log.change(ticket.operation, enqueueing(&ticket)).await) }
        });
        for (n, call) in futures::future::join_all(calls).await {
            match call {
                Err(Error::Store { .. }) => assert!(failed_put_is_final),
                Err(Error::OutcomeUnknown { operation, .. }) => {
                    assert!(!failed_put_is_final);
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
    let (store, log) = graph(true, []).await;
    let unknown = ticket(9).operation;
    let (one, refused, two) = tokio::join!(
        enter(&log, 1),
        log.change(unknown, move |m| discard(m, unknown, &by())),
        enter(&log, 2),
    );
    assert!(matches!(
        refused,
        Ok(ChangeResult::Refused(Refusal::NoTicket))
    ));
    assert_eq!((one.number, two.queue.len()), (2, 2));
    assert_eq!(found(&store).await, (2, 2));
}

#[tokio::test]
async fn a_write_goes_on_when_its_caller_goes_away() {
    let (store, log) = graph(true, []).await;
    {
        let ticket = ticket(1);
        let call = log.change(ticket.operation, enqueueing(&ticket));
        assert!(futures::FutureExt::now_or_never(call).is_none());
    }
    assert_eq!(enter(&log, 2).await.queue.len(), 2);
    assert_eq!(found(&store).await.1, 2);
}

#[tokio::test]
async fn a_call_that_panics_keeps_no_later_one_from_being_written() {
    let (store, log) = graph(true, []).await;
    let operation = ticket(9).operation;
    let panics = log.change(operation, |_| panic!("a fault of ours"));
    assert!(matches!(panics.await, Err(Error::OutcomeUnknown { .. })));
    enter(&log, 1).await;
    assert_eq!(found(&store).await, (2, 1));
}

#[tokio::test]
async fn an_unchanged_manifest_costs_one_list_to_look_at() {
    let (store, log) = graph(true, []).await;
    for _ in 0..3 {
        assert_eq!(log.newest().await.unwrap().number, 1);
    }
    assert_eq!(store.asked(), (0, 3, 0));
}

#[tokio::test]
async fn a_lost_race_is_run_again_on_the_winners_manifest() {
    let (store, slow) = graph(true, []).await;
    let fast = log(&store, true);
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
    log(&store, true).create(first()).await.unwrap();
    let writers = (0..8_u128).map(|writer| {
        let log = log(&store, true);
        async move {
            for n in 0..10 {
                enter(&log, writer * 100 + n).await;
                tokio::task::yield_now().await;
            }
        }
    });
    futures::future::join_all(writers).await;
    assert_eq!(found(&store).await, (81, 80));
}

#[tokio::test]
async fn a_put_that_was_carried_out_unheard_counts_exactly_once() {
    for failed_put_is_final in [true, false] {
        for fault in [Fault::LandedUnheard, Fault::Echo] {
            let (store, log) = graph(failed_put_is_final, [fault]).await;
            let manifest = enter(&log, 7).await;
            assert_eq!((manifest.number, manifest.queue.len()), (2, 1));
            assert_eq!((store.asked().0, found(&store).await), (1, (2, 1)));
        }
    }
}

#[tokio::test]
async fn a_last_attempt_that_was_carried_out_unheard_counts() {
    for failed_put_is_final in [true, false] {
        let script = [Fault::Lost, Fault::Lost, Fault::Lost, Fault::LandedUnheard];
        let (store, log) = graph(failed_put_is_final, script).await;
        assert_eq!(enter(&log, 7).await.queue.len(), 1);
        assert_eq!(found(&store).await, (2, 1));
    }
}

#[tokio::test]
async fn a_put_that_is_carried_out_late_counts_exactly_once() {
    let (store, log) = graph(false, [Fault::LandsLate]).await;
    enter(&log, 7).await;
    assert_eq!(found(&store).await, (2, 1));
}

#[tokio::test]
async fn a_put_that_was_lost_is_tried_again() {
    for failed_put_is_final in [true, false] {
        let (store, log) = graph(failed_put_is_final, [Fault::Lost, Fault::Lost]).await;
        enter(&log, 7).await;
        assert_eq!((store.asked().0, found(&store).await), (3, (2, 1)));
    }
}

#[tokio::test]
async fn a_store_that_keeps_failing_is_a_failure_only_where_no_put_is_under_way() {
    let lost = || [Fault::Lost, Fault::Lost, Fault::Lost, Fault::Lost];
    let (store, log) = graph(true, lost()).await;
    let call = log
        .change(ticket(7).operation, enqueueing(&ticket(7)))
        .await;
    assert!(matches!(call, Err(Error::Store { .. })));
    assert_eq!(found(&store).await, (1, 0));

    let (_, log) = graph(false, lost()).await;
    let call = log
        .change(ticket(7).operation, enqueueing(&ticket(7)))
        .await;
    let Err(Error::OutcomeUnknown {
        operation, source, ..
    }) = call
    else {
        panic!("it may be carried out yet")
    };
    assert_eq!(operation, ticket(7).operation);
    assert!(source.is_some(), "the store's own error is kept");
}

#[tokio::test]
async fn a_refusal_after_a_lost_put_is_a_refusal_only_where_no_put_is_under_way() {
    let ticket = ticket(7);
    let (_, log) = graph(true, [Fault::Lost]).await;
    let call = log.change(ticket.operation, allowed_once(&ticket)).await;
    assert!(matches!(call, Ok(ChangeResult::Refused(Refusal::NoTicket))));

    let (_, log) = graph(false, [Fault::Lost]).await;
    let call = log.change(ticket.operation, allowed_once(&ticket)).await;
    assert!(matches!(call, Err(Error::OutcomeUnknown { .. })));
}

#[tokio::test]
async fn a_slot_that_somebody_else_took_closes_the_outcome() {
    let (ticket, other) = (ticket(7), ticket(8));
    let rival = match enqueue(&first(), &other, &by()) {
        Ok(Step::Next(rival)) => codec::encode(&rival).unwrap(),
        other => panic!("{other:?}"),
    };
    let (store, log) = graph(false, [Fault::LostToRival(rival)]).await;
    let call = log.change(ticket.operation, allowed_once(&ticket)).await;
    assert!(matches!(call, Ok(ChangeResult::Refused(Refusal::NoTicket))));
    assert_eq!(found(&store).await, (2, 1));
}

#[tokio::test]
async fn a_refusal_of_the_store_is_final_only_where_no_earlier_try_can_have_been_carried_out() {
    let (store, log) = graph(true, [Fault::Denied]).await;
    let call = log
        .change(ticket(7).operation, enqueueing(&ticket(7)))
        .await;
    assert!(matches!(call, Err(Error::Store { .. })));
    assert_eq!((store.asked().0, found(&store).await), (1, (1, 0)));

    let (_, log) = graph(false, [Fault::Denied]).await;
    let ticket = ticket(7);
    let call = log.change(ticket.operation, allowed_once(&ticket)).await;
    assert!(matches!(call, Err(Error::OutcomeUnknown { .. })));
}

/// A log that is suspended at manifest 1 while others go on to 5, collect below 4 and delete.
async fn suspended() -> (Arc<Flaky>, Arc<ManifestLog>) {
    let (store, suspended) = graph(true, []).await;
    let awake = log(&store, true);
    for n in 1..4 {
        enter(&awake, n).await;
    }
    let operation = ticket(99).operation;
    held(awake.change(operation, |m| collect(m, 4, &by())).await);
    for number in 1..4 {
        store.inner.delete(&awake.path(number)).await.unwrap();
    }
    (store, suspended)
}

#[tokio::test]
async fn a_create_at_a_collected_number_does_not_count() {
    let (store, log) = suspended().await;
    let manifest = enter(&log, 7).await;
    assert_eq!((manifest.number, manifest.queue.len()), (6, 4));
    assert_eq!(found(&store).await, (6, 4));
}

#[tokio::test]
async fn an_object_that_was_created_anew_between_list_and_read_is_not_taken() {
    let (store, writer) = graph(true, []).await;
    let second = enter(&writer, 7).await;
    let late = enqueue(&first(), &ticket(8), &by()).unwrap();
    let third = collect(&second, 3, &by()).unwrap();
    let (Step::Next(late), Step::Next(third)) = (late, third) else {
        panic!("both make a manifest");
    };
    for manifest in [late, third] {
        let object = codec::encode(&manifest).unwrap();
        let changed = (writer.path(manifest.number), object.into());
        store.before_read.lock().unwrap().push(changed);
    }
    let newest = log(&store, true).newest().await.unwrap();
    assert_eq!(newest.number, 3);
    assert!(newest.ticket(ticket(7).operation).is_some());
}

#[tokio::test]
async fn what_was_staged_on_a_collected_manifest_is_not_known_to_have_failed() {
    let (store, log) = suspended().await;
    let (ticket, none) = (ticket(7), Default::default());
    let call = log
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
    let awake = log(&store, true);
    held(
        awake
            .change(operation, move |m| abort(m, operation, &by()))
            .await,
    );
    // The stale log still sees the ticket, which would refuse the bar.
    held(
        stale
            .change(operation, move |m| bar(m, operation, &by()))
            .await,
    );
}

async fn opened_after(write: impl FnOnce(Manifest) -> Vec<u8>) -> Error {
    let (store, log) = graph(true, []).await;
    let Ok(Step::Next(second)) = enqueue(&first(), &ticket(7), &by()) else {
        panic!("nothing is in its way")
    };
    let bytes = write(*second);
    store.inner.put(&log.path(2), bytes.into()).await.unwrap();
    log.newest().await.expect_err("it cannot be read")
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
            let entry = TableEntry::new(path, 1, 0);
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
    let error = log(&Arc::new(Flaky::default()), true).newest().await;
    assert!(matches!(error, Err(Error::NotAGraph { .. })));
}

#[tokio::test]
async fn a_graph_is_created_once() {
    let (store, again) = graph(true, []).await;
    assert!(matches!(
        again.create(first()).await,
        Err(Error::AlreadyAGraph { .. })
    ));
    let other = log(&store, true);
    assert!(matches!(
        other.create(first()).await,
        Err(Error::AlreadyAGraph { .. })
    ));

    let store = Arc::new(Flaky::default());
    let (one, two) = (log(&store, true), log(&store, true));
    let both = tokio::join!(one.create(first()), two.create(first()));
    assert_eq!(usize::from(both.0.is_ok()) + usize::from(both.1.is_ok()), 1);
}

#[tokio::test]
async fn a_store_that_overwrites_carries_no_graph_and_holds_none_afterwards() {
    let store = Arc::new(Flaky {
        overwrites: true,
        ..Flaky::default()
    });
    let log = log(&store, true);
    assert!(matches!(
        log.create(first()).await,
        Err(Error::UnfitStore { .. })
    ));
    assert!(matches!(log.newest().await, Err(Error::NotAGraph { .. })));
}

#[tokio::test]
async fn a_graph_that_could_not_be_written_is_not_there() {
    let store = Arc::new(Flaky::failing([Fault::Lost]));
    let log = log(&store, true);
    assert!(matches!(
        log.create(first()).await,
        Err(Error::Store { .. })
    ));
    assert!(matches!(log.newest().await, Err(Error::NotAGraph { .. })));
    assert!(log.create(first()).await.is_ok());
}
