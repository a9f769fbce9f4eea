//! Quarantine and its repair: a preview changes nothing, a repair leaves all of an operation or none of it, and one that
//! is killed can be run again.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use object_store::{ObjectStoreExt, path::Path};
use squire_engine::{
    EffectState, Error, Finding, Graph, LoadMode, LoadRequest, Options, Quarantined, Receipt,
    Remedy, Repaired, Rows, SidecarState, Word,
};
use squire_tests::{
    flights::{append, day, flights, key, planes, schema},
    patience::until,
    place::{Place, sums},
    store::{Gate, Moment, Verb, Watch},
    stranger::Stranger,
};
use tokio::task::JoinHandle;

const LEASE: Duration = Duration::from_millis(300);
/// The effects are taken in this order.
const FIRST: &str = "Plane.lance/_versions/";
const SECOND: &str = "Flight.lance/_versions/";

/// Ten rows into each of two tables.
fn both() -> LoadRequest {
    let rows = |batch| Rows::Batches(vec![batch]);
    LoadRequest::new()
        .add(key("node:Plane"), LoadMode::Append, rows(planes(0, 10, 1)))
        .add(key("edge:Flight"), LoadMode::Append, rows(flights(1, 10)))
}

/// A load of both tables that stalled, lost its sidecar, and is quarantined.
struct Lost {
    place: Place,
    graph: Graph,
    load: JoinHandle<Result<Receipt, Error>>,
    gate: Arc<Gate>,
    sidecar: (Path, Bytes),
}

impl Lost {
    async fn at(moment: Moment, part: &str) -> Self {
        let (place, graph) = Place::with_graph().await;
        let (owner, watch) = place.short_lived(LEASE).await;
        let gate = watch.stall(moment, Verb::Put, part);
        let load = tokio::spawn(async move { owner.load(both()).await });
        gate.reached().await;
        let sidecar = lose_sidecar(&place).await;
        quarantine(&place).await;
        Self {
            place,
            graph,
            load,
            gate,
            sidecar,
        }
    }

    async fn restore_sidecar(&self) {
        let (store, _) = self.place.store().await;
        let (path, bytes) = self.sidecar.clone();
        store.inner.put(&path, bytes.into()).await.unwrap();
    }

    /// The owner comes to itself: it applies nothing any more, and the tables can be written.
    async fn awake(self, sums_now: (usize, usize)) {
        self.gate.open();
        let _ = self.load.await.unwrap();
        assert_eq!(sums(&self.graph).await, sums_now, "nothing comes late");
        assert!(self.graph.findings().await.unwrap().is_empty());
        self.graph.load(both()).await.unwrap();
        let twice = (sums_now.0 + 10, sums_now.1 + 10);
        assert_eq!(sums(&self.graph).await, twice);
        assert!(self.place.sidecars().await.is_empty());
    }
}

/// Deletes the one sidecar, and returns it.
async fn lose_sidecar(place: &Place) -> (Path, Bytes) {
    let (store, _) = place.store().await;
    let sidecars = place.sidecars().await;
    let path = Path::from(sidecars.first().expect("there is a sidecar").as_str());
    let read = store.inner.get(&path).await.unwrap();
    let bytes = read.bytes().await.unwrap();
    store.inner.delete(&path).await.unwrap();
    (path, bytes)
}

async fn quarantine(place: &Place) {
    let (healer, _) = place.short_lived(LEASE).await;
    until("it is quarantined", async || {
        healer.heal().await.unwrap().quarantined == 1
    })
    .await;
}

/// The one finding about a quarantined operation.
async fn quarantined(graph: &Graph) -> (Finding, Quarantined) {
    let findings = graph.findings().await.unwrap();
    let mut found = findings.into_iter().filter_map(|finding| match &finding {
        Finding::Quarantined(found) => {
            let found = found.clone();
            Some((finding, found))
        }
        _ => None,
    });
    found.next().expect("an operation is quarantined")
}

async fn repair(graph: &Graph, partial: bool) -> Repaired {
    let (finding, _) = quarantined(graph).await;
    graph
        .repair(
            &finding,
            &Word {
                partial,
                ..Word::default()
            },
        )
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_says_where_the_effect_is_and_changes_nothing() {
    let lost = Lost::at(Moment::After, FIRST).await;
    let before = (
        lost.graph.snapshot().await.unwrap().manifest().clone(),
        lost.place.objects("").await,
    );
    let (finding, found) = quarantined(&lost.graph).await;
    assert_eq!(found.effects[&key("node:Plane")], EffectState::At(2));
    assert!(matches!(
        &found.effects[&key("edge:Flight")],
        EffectState::Absent { hindrance: Some(why) } if why.contains("sidecar")
    ));
    assert_eq!(found.remedy, Remedy::PublishPartial);
    let id = found.ticket.operation.to_string();
    assert!(finding.is_meant_by(&id) && finding.is_meant_by(&found.ticket.operation.short()));
    assert!(finding.is_meant_by("Flight") && !finding.is_meant_by("Airport"));
    let after = (
        lost.graph.snapshot().await.unwrap().manifest().clone(),
        lost.place.objects("").await,
    );
    assert_eq!(after, before);
    let blocked = lost.graph.load(day(2, 10)).await.unwrap_err();
    assert!(blocked.to_string().contains("squire repair"), "{blocked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_nowhere_is_discarded_and_cannot_land_later() {
    let lost = Lost::at(Moment::Before, FIRST).await;
    assert_eq!(quarantined(&lost.graph).await.1.remedy, Remedy::Discard);
    assert_eq!(repair(&lost.graph, false).await, Repaired::Discarded);
    lost.awake((0, 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_everywhere_is_published_even_without_its_sidecar() {
    let lost = Lost::at(Moment::After, SECOND).await;
    assert_eq!(quarantined(&lost.graph).await.1.remedy, Remedy::Publish);
    assert!(matches!(
        repair(&lost.graph, false).await,
        Repaired::Published { .. }
    ));
    assert_eq!(sums(&lost.graph).await, (10, 10));
    lost.awake((10, 10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_part_is_published_in_part_by_an_explicit_word_alone() {
    let lost = Lost::at(Moment::After, FIRST).await;
    let Repaired::Left(why) = repair(&lost.graph, false).await else {
        panic!("it is left")
    };
    assert!(why.contains("--publish-partial"), "{why}");
    assert_eq!(sums(&lost.graph).await, (0, 0));
    let Repaired::PublishedInPart { without, .. } = repair(&lost.graph, true).await else {
        panic!("it is published")
    };
    assert_eq!(without, [key("edge:Flight")].into());
    assert_eq!(sums(&lost.graph).await, (10, 0));
    lost.awake((10, 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_part_is_finished_when_its_sidecar_is_back() {
    let lost = Lost::at(Moment::After, FIRST).await;
    lost.restore_sidecar().await;
    let sidecars = lost.graph.sidecars().await.unwrap();
    let states: Vec<_> = sidecars.iter().map(|s| s.state).collect();
    assert_eq!(states, [SidecarState::Quarantined]);
    assert_eq!(quarantined(&lost.graph).await.1.remedy, Remedy::Finish);
    assert!(matches!(
        repair(&lost.graph, false).await,
        Repaired::Published { .. }
    ));
    assert_eq!(sums(&lost.graph).await, (10, 10));
    lost.awake((10, 10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stranger_hindered_is_finished_when_the_hindrance_is_gone() {
    let (place, graph) = Place::with_graph().await;
    let (owner, watch) = place.short_lived(LEASE).await;
    let gate = watch.hold_first(Verb::Put, SECOND);
    let load = tokio::spawn(async move { owner.load(both()).await });
    gate.reached().await;
    let mut stranger = Stranger::at(&place.lance_uri(), "Flight.lance").await;
    stranger.add_column("delay").await;
    gate.open();
    let refused = load.await.unwrap();
    assert!(
        matches!(refused, Err(Error::Unapplied { .. })),
        "{refused:?}"
    );
    let (_, found) = quarantined(&graph).await;
    assert_eq!(found.remedy, Remedy::PublishPartial, "{found:?}");
    stranger.drop_column("delay").await;
    assert_eq!(quarantined(&graph).await.1.remedy, Remedy::Finish);
    assert!(matches!(
        repair(&graph, false).await,
        Repaired::Published { .. }
    ));
    assert_eq!(sums(&graph).await, (10, 10));
    assert!(place.sidecars().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_that_is_killed_anywhere_can_be_run_again_and_wakes_up_to_no_harm() {
    for (moment, part, ahead) in [
        (Moment::Before, FIRST, 0),
        (Moment::After, FIRST, 0),
        (Moment::Before, SECOND, 0),
        (Moment::After, SECOND, 0),
        (Moment::Before, "", 1),
        (Moment::After, "", 1),
        // It was decided anew, and takes effect.
        (Moment::Before, "", 2),
        (Moment::After, "", 2),
    ] {
        let lost = Lost::at(Moment::After, FIRST).await;
        lost.restore_sidecar().await;
        let newest = lost.graph.snapshot().await.unwrap().manifest().number;
        let part = match ahead {
            0 => part.to_owned(),
            n => format!("_squire/manifest/{:020}", newest + n),
        };
        let case = format!("killed {moment:?} {part}");
        let (killed, watch) = lost.place.short_lived(LEASE).await;
        let (finding, _) = quarantined(&killed).await;
        let gate = watch.stall(moment, Verb::Put, &part);
        let stalled = tokio::spawn(async move { killed.repair(&finding, &Word::default()).await });
        gate.reached().await;
        let (healer, _) = lost.place.short_lived(LEASE).await;
        until("it is published", async || {
            for finding in healer.findings().await.unwrap() {
                if matches!(finding, Finding::Quarantined(_)) {
                    healer.repair(&finding, &Word::default()).await.unwrap();
                }
            }
            healer.heal().await.unwrap();
            healer.snapshot().await.unwrap().manifest().queue.is_empty()
        })
        .await;
        assert_eq!(sums(&lost.graph).await, (10, 10), "{case}");
        gate.open();
        let woken = stalled.await.unwrap();
        assert!(woken.is_ok(), "{case}: {woken:?}");
        assert_eq!(sums(&lost.graph).await, (10, 10), "{case}");
        lost.awake((10, 10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_repairs_at_once_resolve_an_operation_once() {
    for restored in [false, true] {
        let lost = Lost::at(Moment::After, FIRST).await;
        if restored {
            lost.restore_sidecar().await;
        }
        let (one, two) = (lost.place.open().await, lost.place.open().await);
        let repairs = [&one, &two].map(|graph| async move {
            let (finding, _) = quarantined(graph).await;
            graph
                .repair(
                    &finding,
                    &Word {
                        partial: true,
                        ..Word::default()
                    },
                )
                .await
                .unwrap()
        });
        futures::future::join_all(repairs).await;
        let expected = if restored { (10, 10) } else { (10, 0) };
        assert_eq!(sums(&lost.graph).await, expected);
        lost.awake(expected).await;
    }
}

/// A graph whose creation stalled and lost its sidecar.
async fn lost_creation(moment: Moment) -> (Place, Graph, Arc<Gate>, (Path, Bytes)) {
    let place = Place::empty();
    let watch = Watch::new();
    let options = Options {
        wrapper: watch.wrapper(),
        ..Options::default()
    };
    // The first of three tables, by the order of keys.
    let gate = watch.stall(moment, Verb::Put, "Airport.lance/_versions/");
    let uri = place.uri().to_owned();
    tokio::spawn(async move { Graph::create(&uri, schema(), options).await });
    gate.reached().await;
    let sidecar = lose_sidecar(&place).await;
    quarantine(&place).await;
    let graph = place.open().await;
    (place, graph, gate, sidecar)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_stands_nowhere_is_discarded_and_its_paths_are_never_used() {
    let (place, graph, gate, _) = lost_creation(Moment::Before).await;
    assert_eq!(repair(&graph, false).await, Repaired::Discarded);
    // The late commit makes a table that nobody ever looks at.
    gate.open();
    let created = Graph::create(place.uri(), schema(), Options::default()).await;
    let created = created.unwrap();
    created.load(both()).await.unwrap();
    assert_eq!(sums(&created).await, (10, 10));
    let manifest = created.snapshot().await.unwrap().manifest().clone();
    let path = &manifest.tables[&key("node:Airport")].path;
    assert_ne!(path, "Airport.lance");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_stands_in_part_waits_for_its_sidecar_and_is_published_whole() {
    let (place, graph, gate, (path, bytes)) = lost_creation(Moment::After).await;
    for partial in [false, true] {
        let Repaired::Left(why) = repair(&graph, partial).await else {
            panic!("nobody can tell what its tables are")
        };
        assert!(why.contains("sidecar"), "{why}");
    }
    let (store, _) = place.store().await;
    store.inner.put(&path, bytes.into()).await.unwrap();
    assert!(matches!(
        repair(&graph, false).await,
        Repaired::Published { .. }
    ));
    gate.open();
    let manifest = graph.snapshot().await.unwrap().manifest().clone();
    assert_eq!((manifest.schema, manifest.tables.len()), (schema(), 3));
    graph.load(both()).await.unwrap();
    assert_eq!(sums(&graph).await, (10, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_adopted_by_an_operators_word_unless_it_does_not_fit_the_schema() {
    let (place, graph) = Place::with_graph().await;
    graph.load(both()).await.unwrap();
    let mut stranger = Stranger::at(&place.lance_uri(), "Flight.lance").await;
    stranger.append(flights(9, 4)).await;
    let findings = graph.findings().await.unwrap();
    let [finding @ Finding::Drifted(drifted)] = findings.as_slice() else {
        panic!("{findings:?}")
    };
    assert!(finding.is_meant_by("edge:Flight") && !finding.is_meant_by("Plane"));
    let pin = stranger.version();
    assert_eq!(drifted.head, pin);
    assert_eq!(
        graph.repair(finding, &Word::default()).await.unwrap(),
        Repaired::Adopted { pin }
    );
    assert_eq!(sums(&graph).await, (10, 14));
    graph.load(day(2, 10)).await.unwrap();

    let mut stranger = Stranger::at(&place.lance_uri(), "Flight.lance").await;
    stranger.add_column("delay").await;
    let findings = graph.findings().await.unwrap();
    let left = graph.repair(&findings[0], &Word::default()).await.unwrap();
    assert!(
        matches!(&left, Repaired::Left(why) if why.contains("`delay`")),
        "{left:?}"
    );
    assert_eq!(sums(&graph).await, (10, 24));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_whose_author_may_be_about_to_come_in_is_shown_and_left() {
    let (place, graph) = Place::with_graph().await;
    let (writer, watch) = place.short_lived(LEASE).await;
    let gate = watch.hold_at(Moment::After, Verb::Put, "_squire/recovery/");
    let load = tokio::spawn(async move { writer.load(day(1, 10)).await });
    gate.reached().await;
    let findings = graph.findings().await.unwrap();
    let [finding @ Finding::Orphan(orphan)] = findings.as_slice() else {
        panic!("{findings:?}")
    };
    assert!(!orphan.is_due());
    assert!(matches!(
        graph.repair(finding, &Word::default()).await.unwrap(),
        Repaired::Left(_)
    ));
    gate.open();
    load.await.unwrap().unwrap();
    assert_eq!(sums(&graph).await, (0, 10));
    let planes = append("node:Plane", planes(0, 1, 1));
    graph.load(planes).await.unwrap();
}
