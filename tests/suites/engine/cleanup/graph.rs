//! What keeps versions of a graph's table.

use std::{fs::File, path::Path, time::Duration};

use lance::dataset::builder::DatasetBuilder;
use squire_engine::{
    Cleaned, Graph, Kept, ManifestRetention, Options,
    manifest::OperationKind,
    planner::{
        Ask,
        cleanup::{CleanupPolicy, Decision, Skip},
    },
};
use squire_tests::{
    flights::{day, key, schema},
    patience::until,
    place::{Place, rows},
    promise::Promise,
    store::{Moment, Verb},
};
use tokio_util::sync::CancellationToken;

use super::{clean, days, done, forget_all_but, greedy, versions};

#[tokio::test(flavor = "multi_thread")]
async fn a_graph_that_no_daemon_keeps_collects_its_own_manifests_and_leaves_it_to_a_daemon_where_there_is_one()
 {
    for kept in [false, true] {
        let (place, _) = Place::with_graph().await;
        if kept {
            let (store, root) = place.store().await;
            let shown = root.join("_squire").join("daemons").join("host-1-abcd");
            let put = object_store::ObjectStoreExt::put(&*store.inner, &shown, "{}".into());
            put.await.unwrap();
        }
        let options = Options {
            manifests: ManifestRetention::newest(5),
            ..Options::default()
        };
        let graph = place.open_with(options).await;
        days(&graph, 0..8).await;
        let collected = async || graph.snapshot().await.unwrap().manifest().collected_below;
        if kept {
            assert_eq!(collected().await, 0);
        } else {
            graph.close().await;
            assert!(collected().await > 0);
            let written = graph.snapshot().await.unwrap().manifest().number;
            let there = place.manifests().await.len() as u64;
            assert!(there < written, "{there} of {written}");
        }
        assert_eq!(rows(&graph, "edge:Flight").await, 160);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_that_no_kept_manifest_pins_go_and_every_kept_manifest_can_be_read() {
    let (place, graph) = Place::with_graph().await;
    days(&graph, 0..30).await;
    forget_all_but(&graph, 10).await;
    let promise = Promise::of(&place).await;
    let before = versions(&graph).await;
    assert_eq!(before.len(), 31);

    let receipt = done(clean(&graph).await);
    let after = versions(&graph).await;
    assert_eq!(receipt.versions as usize, before.len() - after.len());
    assert!(receipt.versions > 20, "{receipt:?}");
    assert!(receipt.bytes > 0);
    assert!(promise.versions() > 3);
    promise.holds(&place).await;
    assert_eq!(rows(&graph, "edge:Flight").await, 600);
    assert!(
        matches!(clean(&graph).await, Cleaned::Skipped(_)),
        "all is done"
    );
    // It stands in the log, for whoever misses a version.
    let snapshot = graph.snapshot().await.unwrap();
    let change = &snapshot.manifest().change;
    assert_eq!(change.kind, Some(OperationKind::Cleanup));
    assert!(change.summary.contains("edge:Flight"), "{}", change.summary);
    days(&graph, 30..32).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn as_long_as_the_first_manifest_is_kept_no_version_goes() {
    let (_place, graph) = Place::with_graph().await;
    days(&graph, 0..10).await;
    assert_eq!(clean(&graph).await, Cleaned::Skipped(Skip::Protected));
    assert_eq!(versions(&graph).await.len(), 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_got_another_key_is_known_by_its_path() {
    let (place, graph) = Place::with_graph().await;
    days(&graph, 0..12).await;
    let text = squire_tests::flights::SCHEMA
        .replace("[edge.Flight]", "[edge.Leg]\nrenamed_from = \"Flight\"")
        .replace("[edge.Flight.properties]", "[edge.Leg.properties]");
    let renamed = squire_engine::schema::Schema::parse(&text, "renamed.toml").unwrap();
    let applied = graph.apply_schema(squire_engine::SchemaRequest::new(renamed));
    applied.await.unwrap();
    forget_all_but(&graph, 8).await;
    let promise = Promise::of(&place).await;
    let (leg, stop) = (key("edge:Leg"), CancellationToken::new());
    let cleaned = graph.cleanup(&leg, &greedy(), &Ask::default(), &stop).await;
    assert!(done(cleaned.unwrap()).versions > 0);
    promise.holds(&place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tagged_version_stays_and_those_around_it_go() {
    let (place, graph) = Place::with_graph().await;
    days(&graph, 0..12).await;
    let uri = format!("{}/Flight.lance", place.lance_uri());
    let table = DatasetBuilder::from_uri(&uri).load().await.unwrap();
    table.tags().create("audit", 5).await.unwrap();
    forget_all_but(&graph, 4).await;
    let receipt = done(clean(&graph).await);
    let left = versions(&graph).await;
    assert_eq!(left[0], 5);
    assert!(left[1] > 6 && receipt.versions == left[1] - 2, "{left:?}");
    let tagged = table.checkout_version("audit").await.unwrap();
    assert_eq!(tagged.count_rows(None).await.unwrap(), 80);
    let preview = graph
        .explain_cleanup(&key("edge:Flight"), &greedy(), &Ask::default())
        .await
        .unwrap();
    let tag = Kept::Tag {
        name: "audit".to_owned(),
        version: 5,
    };
    assert!(preview.kept.contains(&tag), "{preview:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_while_an_operation_is_decided_on_the_table() {
    let (place, other) = Place::with_graph().await;
    days(&other, 0..12).await;
    forget_all_but(&other, 4).await;
    let (loader, held) = place.watched().await;
    let committing = held.hold_first(Verb::Put, "Flight.lance/_versions/");
    let load = tokio::spawn(async move { loader.load(day(20, 20)).await });
    committing.reached().await;
    let preview = other
        .explain_cleanup(&key("edge:Flight"), &greedy(), &Ask::default())
        .await
        .unwrap();
    let by_ticket = |kept: &Kept| {
        matches!(
            kept,
            Kept::Ticket {
                quarantined: false,
                ..
            }
        )
    };
    assert!(preview.kept.iter().any(by_ticket), "{preview:?}");

    let (cleaner, watch) = place.watched().await;
    let cleanup = tokio::spawn(async move { clean(&cleaner).await });
    let mut seen = Vec::new();
    until("it has been refused more than once", || {
        seen.extend(watch.take());
        let looks = seen
            .iter()
            .filter(|r| r.verb == Verb::List && r.is_squire("manifest"));
        let enough = looks.count() > 4;
        async move { enough }
    })
    .await;
    assert!(seen.iter().all(|r| r.verb != Verb::Delete), "{seen:?}");
    committing.open();
    load.await.unwrap().unwrap();
    assert!(done(cleanup.await.unwrap()).versions > 0);
    assert_eq!(rows(&other, "edge:Flight").await, 260);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarantined_operation_keeps_everything_of_its_tables() {
    let (place, other) = Place::with_graph().await;
    days(&other, 0..12).await;
    forget_all_but(&other, 4).await;
    let (loader, held) = place.short_lived(Duration::from_millis(200)).await;
    let dies = held.stall(Moment::Before, Verb::Put, "Flight.lance/_versions/");
    let load = tokio::spawn(async move { loader.load(day(20, 20)).await });
    dies.reached().await;
    load.abort();
    let (store, _) = place.store().await;
    for sidecar in place.sidecars().await {
        use object_store::ObjectStoreExt;
        store.inner.delete(&sidecar.as_str().into()).await.unwrap();
    }
    until("it is quarantined", async || {
        other.heal_now().await.unwrap().quarantined == 1
    })
    .await;
    let before = place.objects("Flight.lance/").await;
    assert_eq!(clean(&other).await, Cleaned::Skipped(Skip::Protected));
    assert_eq!(place.objects("Flight.lance/").await, before);
    let preview = other
        .explain_cleanup(&key("edge:Flight"), &greedy(), &Ask::default())
        .await
        .unwrap();
    let told: Vec<_> = preview.kept.iter().map(ToString::to_string).collect();
    assert!(
        told.iter().any(|line| line.contains("quarantined")),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_says_what_goes_and_what_stays_and_why_and_changes_nothing() {
    let (place, other) = Place::with_graph().await;
    days(&other, 0..20).await;
    forget_all_but(&other, 6).await;
    let before = place.objects("").await;
    let (graph, watch) = place.watched().await;
    let (table, ask) = (key("edge:Flight"), Ask::default());
    let preview = graph
        .explain_cleanup(&table, &greedy(), &ask)
        .await
        .unwrap();
    let asked = watch.take();
    assert!(asked.iter().all(|r| !r.verb.is_write()), "{asked:?}");
    assert_eq!(place.objects("").await, before);

    let Decision::Remove { versions, .. } = &preview.decision else {
        panic!("{preview:?}")
    };
    assert_eq!(preview.versions, 21);
    assert_eq!(preview.goes.versions as usize, versions.len());
    let newest = other.snapshot().await.unwrap().manifest().clone();
    let pins = Kept::Pins {
        from: versions.last().unwrap() + 1,
        manifests: (newest.collected_below, newest.number),
    };
    assert!(preview.kept.contains(&pins), "{preview:?}");
    assert!(
        preview.kept.contains(&Kept::Count { from: 21 }),
        "{preview:?}"
    );
    // It does what it said.
    let receipt = done(clean(&other).await);
    let said = (
        preview.goes.versions,
        preview.goes.files,
        preview.goes.bytes,
    );
    assert_eq!(said, (receipt.versions, receipt.files, receipt.bytes));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_superseded_lately_stays_however_many_there_are() {
    let (_place, graph) = Place::with_graph().await;
    days(&graph, 0..30).await;
    forget_all_but(&graph, 4).await;
    let (table, stop) = (key("edge:Flight"), CancellationToken::new());
    let policy = CleanupPolicy {
        keep_for: Duration::from_secs(3600),
        ..greedy()
    };
    let cleaned = graph.cleanup(&table, &policy, &Ask::forced(), &stop).await;
    assert_eq!(cleaned.unwrap(), Cleaned::Skipped(Skip::Retained));
    assert_eq!(versions(&graph).await.len(), 31);
}

/// Makes the objects of a folder older than they are.
fn age(folder: &Path, by: Duration) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = File::options()
            .write(true)
            .open(entry.unwrap().path())
            .unwrap();
        let older = file.metadata().unwrap().modified().unwrap() - by;
        file.set_modified(older).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_go_by_age_and_number_and_the_versions_that_they_pinned_after_them() {
    const HOUR: Duration = Duration::from_secs(3600);
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("graph");
    let graph = Graph::create(root.to_str().unwrap(), schema(), Options::default());
    let graph = graph.await.unwrap();
    days(&graph, 0..10).await;
    let retention = |keep_manifests| ManifestRetention {
        keep_for: HOUR,
        keep_manifests,
    };
    assert_eq!(
        graph.collect(&retention(4)).await.unwrap(),
        0,
        "all are young"
    );
    let aged = graph.snapshot().await.unwrap().manifest().number;
    age(&root.join("_squire/manifest"), 2 * HOUR);
    age(&root.join("Flight.lance/_versions"), 2 * HOUR);
    days(&graph, 10..14).await;
    assert_eq!(
        graph.collect(&retention(100)).await.unwrap(),
        0,
        "they are few"
    );
    graph.collect(&retention(4)).await.unwrap();
    // The last of the old ones was superseded just now.
    let newest = graph.snapshot().await.unwrap().manifest().clone();
    assert_eq!(newest.collected_below, aged);

    let policy = CleanupPolicy {
        keep_for: HOUR,
        ..greedy()
    };
    let stop = CancellationToken::new();
    let cleaned = graph
        .cleanup(&key("edge:Flight"), &policy, &Ask::default(), &stop)
        .await;
    assert_eq!(done(cleaned.unwrap()).versions, 10);
    assert_eq!(versions(&graph).await, [11, 12, 13, 14, 15]);
    assert_eq!(rows(&graph, "edge:Flight").await, 280);
}

#[tokio::test(flavor = "multi_thread")]
async fn however_young_no_more_than_ten_times_as_many_manifests_stay() {
    let (_place, graph) = Place::with_graph().await;
    days(&graph, 0..20).await;
    let retention = ManifestRetention {
        keep_for: Duration::from_secs(3600),
        keep_manifests: 2,
    };
    graph.collect(&retention).await.unwrap();
    let newest = graph.snapshot().await.unwrap().manifest().clone();
    assert!(
        newest.collected_below + 22 >= newest.number,
        "{}",
        newest.collected_below
    );
}

/// A hint to an old version, and a version that a sleeper brought into being far below the pin: on a local disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_stale_hint_to_a_version_that_a_tag_keeps_leads_nobody_astray() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("graph");
    let graph = Graph::create(root.to_str().unwrap(), schema(), Options::default());
    let graph = graph.await.unwrap();
    days(&graph, 0..12).await;
    let folder = root.join("Flight.lance");
    let table = DatasetBuilder::from_uri(folder.to_str().unwrap()).load();
    table
        .await
        .unwrap()
        .tags()
        .create("audit", 5)
        .await
        .unwrap();
    forget_all_but(&graph, 4).await;
    done(clean(&graph).await);
    assert_eq!(versions(&graph).await[0], 5);
    // A process that slept between its commit and its hint wakes up.
    let hint = folder.join("_versions/latest_version_hint.json");
    assert!(hint.exists(), "other programs are given one");
    std::fs::write(&hint, "{\"version\":5}").unwrap();

    let other = Graph::open(root.to_str().unwrap(), Options::default());
    let other = other.await.unwrap();
    assert!(other.drift().await.unwrap().drifted.is_empty());
    std::fs::write(&hint, "{\"version\":5}").unwrap();
    let loaded = other.load(day(30, 20)).await.unwrap();
    assert_eq!(loaded.pins[&key("edge:Flight")], 14);
    assert_eq!(rows(&graph, "edge:Flight").await, 260);
    assert!(
        !versions(&graph).await.contains(&6),
        "nobody took it for free"
    );
}
