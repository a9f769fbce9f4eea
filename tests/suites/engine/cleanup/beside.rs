//! Cleanup beside everything else that goes on, held still at the moments that matter.

use futures::future::join_all;
use lance::dataset::builder::DatasetBuilder;
use squire_engine::{
    Cleaned, Compacted, DeleteRequest,
    planner::{Ask, compaction::CompactionPolicy},
};
use squire_tests::{
    flights::{day, key},
    place::{Place, rows},
    promise::Promise,
    store::{Moment, Verb},
};
use tokio_util::sync::CancellationToken;

use super::{clean, days, done, forget_all_but, versions};

/// Everything that moves versions: loads, a delete, a compaction, in other processes.
async fn much_happens(place: &Place, from: i32) {
    let other = place.open().await;
    days(&other, from..from + 4).await;
    let delete = DeleteRequest::new().add(key("edge:Flight"), format!("day = {from}"));
    other.delete(delete).await.unwrap();
    let (table, policy) = (key("edge:Flight"), CompactionPolicy::default());
    let stop = CancellationToken::new();
    let compacted = other.compact(&table, &policy, &Ask::forced(), &stop).await;
    assert!(matches!(compacted.unwrap(), Compacted::Done(_)));
}

/// Cleanup has read what is kept, and stands still before it says what it removes; then it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn what_happens_after_cleanup_has_looked_is_at_its_pin_or_later() {
    let (place, other) = Place::with_graph().await;
    days(&other, 0..12).await;
    forget_all_but(&other, 6).await;
    let promise = Promise::of(&place).await;
    let (cleaner, watch) = place.watched().await;
    let saying = watch.hold_first(Verb::Put, "_squire/manifest/");
    let cleanup = tokio::spawn(async move { clean(&cleaner).await });
    saying.reached().await;
    much_happens(&place, 20).await;
    let since = Promise::of(&place).await;
    saying.open();
    assert!(done(cleanup.await.unwrap()).versions > 0);
    promise.holds(&place).await;
    since.holds(&place).await;
    assert_eq!(rows(&other, "edge:Flight").await, 300);
}

/// Cleanup stands still before it deletes anything, while others load, delete, compact, collect and clean up; then it
/// goes on with what it knew.
#[tokio::test(flavor = "multi_thread")]
async fn a_cleanup_that_slept_before_its_first_deletion_takes_nothing_that_is_kept() {
    let (place, other) = Place::with_graph().await;
    days(&other, 0..12).await;
    forget_all_but(&other, 6).await;
    let (cleaner, watch) = place.watched().await;
    let deleting = watch.hold(Verb::Delete, "Flight.lance/");
    let cleanup = tokio::spawn(async move { clean(&cleaner).await });
    deleting.reached().await;
    much_happens(&place, 20).await;
    forget_all_but(&other, 6).await;
    done(clean(&other).await);
    much_happens(&place, 30).await;
    let promise = Promise::of(&place).await;
    deleting.open();
    cleanup.await.unwrap();
    promise.holds(&place).await;
    assert_eq!(rows(&other, "edge:Flight").await, 360);
    days(&other, 50..52).await;
}

/// A load has staged at a pin that is the oldest that is kept, and comes in after the cleanup.
#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_staged_before_a_cleanup_takes_place_after_it() {
    let (place, other) = Place::with_graph().await;
    days(&other, 0..12).await;
    let (loader, held) = place.watched().await;
    let entering = held.hold_first(Verb::Put, "_squire/recovery/");
    let load = tokio::spawn(async move { loader.load(day(20, 20)).await });
    entering.reached().await;
    let staged_on = other.snapshot().await.unwrap().manifest().number;
    days(&other, 12..14).await;
    let newest = other.snapshot().await.unwrap().manifest().number;
    forget_all_but(&other, newest - staged_on).await;
    done(clean(&other).await);
    entering.open();
    load.await.unwrap().unwrap();
    assert_eq!(rows(&other, "edge:Flight").await, 300);
    Promise::of(&place).await.holds(&place).await;
}

/// A rewrite that read a version which is gone by now still comes in, and loses no row.
#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_of_a_version_that_is_cleaned_up_meanwhile_comes_in_over_the_new_ones() {
    let (place, other) = Place::with_graph().await;
    days(&other, 0..6).await;
    let (graph, watch) = place.watched().await;
    let rewriting = watch.hold_first(Verb::Put, "Flight.lance/data/");
    let compaction = tokio::spawn(async move {
        let (table, policy) = (key("edge:Flight"), CompactionPolicy::default());
        let stop = CancellationToken::new();
        graph.compact(&table, &policy, &Ask::forced(), &stop).await
    });
    rewriting.reached().await;
    days(&other, 6..12).await;
    forget_all_but(&other, 2).await;
    done(clean(&other).await);
    rewriting.open();
    let compacted = compaction.await.unwrap().unwrap();
    assert!(matches!(compacted, Compacted::Done(_)), "{compacted:?}");
    assert_eq!(rows(&other, "edge:Flight").await, 240);
    Promise::of(&place).await.holds(&place).await;
}

/// A rewrite has read a version with a tag, and those since are gone, among them a delete from its sources. Its owner
/// would see that under the pin, but dies as soon as it is decided: the healer must not take the old rows back in.
#[tokio::test(flavor = "multi_thread")]
async fn a_healer_does_not_commit_a_rewrite_over_versions_that_are_gone() {
    let (place, other) = Place::with_graph().await;
    days(&other, 0..4).await;
    let uri = format!("{}/Flight.lance", place.lance_uri());
    let table = DatasetBuilder::from_uri(uri).load().await.unwrap();
    table.tags().create("audit", 5).await.unwrap();
    let (graph, watch) = place.watched().await;
    let entering = watch.hold_first(Verb::Put, "_squire/manifest/");
    let dies = watch.stall_past(1, Moment::After, Verb::Put, "_squire/manifest/");
    let compaction = tokio::spawn(async move {
        let (table, policy) = (key("edge:Flight"), CompactionPolicy::default());
        let stop = CancellationToken::new();
        graph.compact(&table, &policy, &Ask::forced(), &stop).await
    });
    entering.reached().await;
    // It is refused, because the pin has moved, and falls asleep before it looks again.
    days(&other, 5..6).await;
    let asleep = watch.stall_past(1, Moment::Before, Verb::List, "_squire/manifest");
    entering.open();
    asleep.reached().await;
    let delete = DeleteRequest::new().add(key("edge:Flight"), "day = 0");
    other.delete(delete).await.unwrap();
    days(&other, 6..9).await;
    forget_all_but(&other, 0).await;
    done(clean(&other).await);
    let left = versions(&other).await;
    assert_eq!(left[0], 5);
    assert!(left[1] > 7, "what came after it is gone: {left:?}");
    asleep.open();
    dies.reached().await;
    compaction.abort();
    let healed = other.heal_now().await.unwrap();
    assert_eq!(healed.discarded, 1, "{healed:?}");
    assert_eq!(rows(&other, "edge:Flight").await, 140);
    days(&other, 9..10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cleanups_of_one_table_at_once_are_one_cleanup() {
    let (place, other) = Place::with_graph().await;
    days(&other, 0..16).await;
    forget_all_but(&other, 4).await;
    let promise = Promise::of(&place).await;
    let cleaners = join_all((0..4).map(|_| place.open())).await;
    let cleaned = join_all(cleaners.iter().map(clean)).await;
    assert!(
        cleaned.iter().any(|c| matches!(c, Cleaned::Done(_))),
        "{cleaned:?}"
    );
    promise.holds(&place).await;
    assert!(matches!(clean(&other).await, Cleaned::Skipped(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cleanup_that_is_stopped_ends_and_the_next_one_goes_on() {
    let (place, other) = Place::with_graph().await;
    days(&other, 0..16).await;
    forget_all_but(&other, 4).await;
    let promise = Promise::of(&place).await;
    let (cleaner, watch) = place.watched().await;
    let deleting = watch.hold(Verb::Delete, "Flight.lance/");
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let cleanup = tokio::spawn(async move {
        let (table, policy) = (key("edge:Flight"), super::greedy());
        cleaner
            .cleanup(&table, &policy, &Ask::default(), &stopped)
            .await
    });
    deleting.reached().await;
    stop.cancel();
    assert!(matches!(
        cleanup.await.unwrap(),
        Err(squire_engine::Error::Cancelled)
    ));
    deleting.open();
    done(clean(&other).await);
    promise.holds(&place).await;
}
