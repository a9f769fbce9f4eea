//! Soft and hard drops.

use std::path::Path;

use lance::dataset::builder::DatasetBuilder;
use squire_engine::{SchemaRequest, schema::Schema};
use squire_tests::{
    flights::{SCHEMA, append, day, key, planes},
    patience::until,
    place::{Place, rows, until_idle},
    store::Verb,
};

use super::{apply, changed, fill, filled, names, open, path, plainly, read, to};

const SEATLESS: (&str, &str) = ("seats = \"int32\"\n", "");

fn without_flights() -> SchemaRequest {
    let at = SCHEMA.find("[edge.Flight]").unwrap();
    SchemaRequest::new(Schema::parse(&SCHEMA[..at], "edgeless.toml").unwrap())
}

/// The versions of a table that can be opened, as another program sees it.
async fn versions(uri: &str, folder: &str) -> Vec<u64> {
    let newest = plainly(uri, folder).await;
    let listed = newest.versions().await.unwrap();
    listed.into_iter().map(|v| v.version).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soft_drop_leaves_earlier_versions_to_cleanup() {
    let (place, graph) = Place::with_graph().await;
    fill(&graph).await;
    let before = graph.snapshot().await.unwrap();
    apply(&graph, &[SEATLESS]).await.unwrap();
    assert_eq!(names(&read(&graph, "node:Plane").await), ["tailnum"]);
    let pin = before.manifest().pin(&key("node:Plane"));
    let earlier = plainly(place.uri(), "Plane.lance").await;
    let earlier = earlier.checkout_version(pin).await.unwrap();
    assert_eq!(
        names(&earlier.scan().try_into_batch().await.unwrap()),
        ["tailnum", "seats"]
    );
    assert!(graph.snapshot().await.unwrap().manifest().purges.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hard_drop_leaves_no_earlier_version_and_no_folder_in_memory() {
    hard_story(Place::empty().uri()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hard_drop_leaves_no_earlier_version_and_no_folder_on_local_disk() {
    let dir = tempfile::tempdir().unwrap();
    let uri = dir.path().join("graph");
    hard_story(uri.to_str().unwrap()).await;
    assert!(!Path::new(&uri).join("Flight.lance").exists());
    assert!(Path::new(&uri).join("Plane.lance").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hard_drop_removes_links_in_a_table_and_not_what_they_lead_to() {
    let dir = tempfile::tempdir().unwrap();
    let (uri, outside) = (dir.path().join("graph"), dir.path().join("precious"));
    let graph = filled(uri.to_str().unwrap()).await;
    std::fs::create_dir_all(outside.join("deep/er")).unwrap();
    for file in ["a.txt", "deep/er/b.doc"] {
        std::fs::write(outside.join(file), file).unwrap();
    }
    std::os::unix::fs::symlink(&outside, uri.join("Flight.lance/extra")).unwrap();
    graph.apply_schema(without_flights().hard()).await.unwrap();
    assert!(!uri.join("Flight.lance").exists());
    for file in ["a.txt", "deep/er/b.doc"] {
        assert_eq!(std::fs::read_to_string(outside.join(file)).unwrap(), file);
    }
}

async fn hard_story(uri: &str) {
    let graph = filled(uri).await;
    // What the property was cast from is gone afterwards, too.
    let wide = ("seats = \"int32\"", "seats = \"int64\"");
    apply(&graph, &[wide]).await.unwrap();
    graph.apply_schema(to(&[SEATLESS]).hard()).await.unwrap();
    let there = graph.snapshot().await.unwrap();
    let pin = there.manifest().pin(&key("node:Plane"));
    assert_eq!(versions(uri, "Plane.lance").await, [pin]);
    assert!(
        there.manifest().purges.is_empty(),
        "carried out by its owner"
    );
    assert_eq!(names(&read(&graph, "node:Plane").await), ["tailnum"]);
    assert_eq!(rows(&graph, "node:Plane").await, 50);
    assert_eq!(versions(uri, "Flight.lance").await.len(), 3, "untouched");

    graph.apply_schema(without_flights().hard()).await.unwrap();
    let there = graph.snapshot().await.unwrap();
    assert!(there.manifest().retired_paths.contains("Flight.lance"));
    assert!(there.manifest().purges.is_empty());
    let root = if uri.starts_with("memory://") {
        format!("shared-{uri}")
    } else {
        uri.to_owned()
    };
    let gone = DatasetBuilder::from_uri(format!("{root}/Flight.lance")).load();
    assert!(gone.await.is_err());
    // The graph goes on, with a table of that name at another path.
    graph
        .apply_schema(SchemaRequest::new(changed(&[])))
        .await
        .unwrap();
    graph.load(day(1, 5)).await.unwrap();
    assert_eq!(rows(&graph, "edge:Flight").await, 5);
    assert_ne!(
        path(&graph.snapshot().await.unwrap(), "edge:Flight"),
        "Flight.lance"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hard_drop_whose_author_dies_after_the_publish_is_carried_out_by_the_next_healer() {
    let (place, other) = Place::with_graph().await;
    fill(&other).await;
    let (graph, watch) = place.watched().await;
    // It never gets to delete anything of the table.
    let purging = watch.hold(Verb::Delete, ".lance/");
    let both = [SEATLESS, ("day = \"int32\"\n", "")];
    let drop = tokio::spawn(async move { graph.apply_schema(to(&both).hard()).await });
    purging.reached().await;
    drop.abort();
    let noted = other.snapshot().await.unwrap();
    assert_eq!(noted.manifest().purges.len(), 2, "one note for each path");
    assert!(versions(place.uri(), "Plane.lance").await.len() > 1);
    assert_eq!(
        names(&read(&other, "node:Plane").await),
        ["tailnum"],
        "readers need not wait"
    );
    // The table goes on meanwhile.
    let plane = planes(50, 51, 1).project(&[0]).unwrap();
    other.load(append("node:Plane", plane)).await.unwrap();

    let healed = other.heal().await.unwrap();
    assert_eq!(healed.purged, 2);
    let there = other.snapshot().await.unwrap();
    assert!(there.manifest().purges.is_empty());
    let noted_at = noted.manifest().pin(&key("node:Plane"));
    assert_eq!(
        versions(place.uri(), "Plane.lance").await,
        [noted_at, noted_at + 1]
    );
    assert_eq!(rows(&other, "node:Plane").await, 51);
    assert_eq!(rows(&other, "edge:Flight").await, 100);
    assert_eq!(other.heal().await.unwrap().purged, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_does_not_wait_for_operations_that_stand_in_line_behind_the_drop() {
    let (place, other) = Place::with_graph().await;
    fill(&other).await;
    let (graph, watch) = place.watched().await;
    let committing = watch.hold_first(Verb::Put, "Plane.lance/_versions/");
    let drop = tokio::spawn(async move { graph.apply_schema(to(&[SEATLESS]).hard()).await });
    committing.reached().await;
    let (loader, held) = place.watched().await;
    let staging = held.hold_first(Verb::Put, "Plane.lance/data/");
    let plane = planes(50, 51, 1).project(&[0]).unwrap();
    let load = tokio::spawn(async move { loader.load(append("node:Plane", plane)).await });
    until("the load stands in line", async || {
        other.snapshot().await.unwrap().manifest().queue.len() == 2
    })
    .await;
    committing.open();
    drop.await.unwrap().unwrap();
    assert!(other.snapshot().await.unwrap().manifest().purges.is_empty());
    assert_eq!(versions(place.uri(), "Plane.lance").await.len(), 1);
    // It stages at the version that is left.
    staging.reached().await;
    staging.open();
    load.await.unwrap().unwrap();
    assert_eq!(rows(&other, "node:Plane").await, 51);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_waits_while_an_operation_on_the_table_is_decided() {
    let (place, other) = Place::with_graph().await;
    fill(&other).await;
    let (graph, watch) = place.watched().await;
    let purging = watch.hold(Verb::Delete, ".lance/");
    let drop = tokio::spawn(async move { graph.apply_schema(to(&[SEATLESS]).hard()).await });
    purging.reached().await;
    drop.abort();
    let (loader, held) = place.watched().await;
    let committing = held.hold_first(Verb::Put, "Plane.lance/_versions/");
    let plane = planes(50, 51, 1).project(&[0]).unwrap();
    let load = tokio::spawn(async move { loader.load(append("node:Plane", plane)).await });
    committing.reached().await;
    assert_eq!(other.heal().await.unwrap().purged, 0, "not under its feet");
    assert_eq!(other.snapshot().await.unwrap().manifest().purges.len(), 1);
    committing.open();
    load.await.unwrap().unwrap();
    until_idle(&other).await;
    assert_eq!(other.heal().await.unwrap().purged, 1);
    assert_eq!(versions(place.uri(), "Plane.lance").await.len(), 2);
    assert_eq!(rows(&other, "node:Plane").await, 51);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tagged_version_outlives_a_hard_drop() {
    let (place, graph) = Place::with_graph().await;
    fill(&graph).await;
    let pin = graph
        .snapshot()
        .await
        .unwrap()
        .manifest()
        .pin(&key("node:Plane"));
    let table = plainly(place.uri(), "Plane.lance").await;
    table.tags().create("audit", pin).await.unwrap();
    graph.apply_schema(to(&[SEATLESS]).hard()).await.unwrap();
    assert_eq!(versions(place.uri(), "Plane.lance").await, [pin, pin + 1]);
    assert!(graph.snapshot().await.unwrap().manifest().purges.is_empty());
    assert_eq!(open(&graph, "node:Plane").await.schema().fields.len(), 1);
}

/// Whoever computed a transition before has to compute it again, and sees what is about to go.
#[tokio::test(flavor = "multi_thread")]
async fn a_purge_moves_the_register_before_it_deletes() {
    let (place, other) = Place::with_graph().await;
    fill(&other).await;
    let (graph, watch) = place.watched().await;
    let purging = watch.hold(Verb::Delete, "Plane.lance/");
    let drop = tokio::spawn(async move { graph.apply_schema(to(&[SEATLESS]).hard()).await });
    purging.reached().await;
    let snapshot = other.snapshot().await.unwrap();
    let manifest = snapshot.manifest();
    assert_eq!(manifest.purges.len(), 1, "nothing is gone yet");
    assert_eq!(manifest.change.transition, "clean");
    purging.open();
    drop.await.unwrap().unwrap();
    assert!(other.snapshot().await.unwrap().manifest().purges.is_empty());
}
