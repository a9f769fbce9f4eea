//! The kinds of operations that the crash matrix goes through, each on a graph that is prepared for it.

use std::{future::Future, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use object_store::ObjectStoreExt;
use squire_engine::{
    Advice, Compacted, DeleteRequest, Error, Graph, Indexed, LoadMode, LoadRequest,
    ManifestRetention, Options, Rows, SchemaRequest,
    planner::{Ask, compaction::CompactionPolicy, indexing::IndexPolicy},
    schema::Schema,
};
use squire_tests::{
    fault::Counts,
    flights::{SCHEMA, airports, append, day, flights, key, planes, schema},
    place::Place,
    store::{Moment, Verb, Watch},
};
use tokio_util::sync::CancellationToken;

use crate::{cleanups, repairs, schemas};

/// Long enough to stay out of the way of an operation that nothing holds up.
pub(crate) const LEASE: Duration = Duration::from_millis(200);
pub(crate) const PLANE_COMMIT: &str = "Plane.lance/_versions/";
const FLIGHT_COMMIT: &str = "Flight.lance/_versions/";

/// What the caller of an operation was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It took place.
    Done,
    /// It did not and will not.
    Not,
    /// It may have.
    Unclear,
}

pub(crate) fn answer<T>(result: Result<T, Error>) -> Answer {
    match result {
        Ok(_) => Answer::Done,
        Err(e) if e.advice() == Advice::DoNotRetry => Answer::Unclear,
        Err(_) => Answer::Not,
    }
}

/// One kind of operation.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) counts: Counts,
    /// More writes than these are not looked at.
    pub(crate) writes: usize,
    /// Whether it begins with nothing at all.
    pub(crate) is_first: bool,
    /// Whether it carries out what is decided already.
    pub(crate) is_decided: bool,
    /// Whether it is an operator who ends what was begun.
    pub(crate) is_repaired: bool,
    /// Whether it removes what nobody was promised; done again, it finishes that.
    pub(crate) removes: bool,
    prepare: Option<Box<dyn Fn(Place) -> BoxFuture<'static, ()> + Send + Sync>>,
    operate: Box<dyn Fn(Place, Options) -> BoxFuture<'static, Answer> + Send + Sync>,
}

impl Kind {
    fn new<F>(name: &'static str, operate: fn(Place, Options) -> F) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        Self {
            name,
            counts: Counts::Operations,
            writes: usize::MAX,
            is_first: false,
            is_decided: false,
            is_repaired: false,
            removes: false,
            prepare: None,
            operate: Box::new(move |place, options| operate(place, options).boxed()),
        }
    }

    /// An operation on an open graph.
    pub(crate) fn on<F>(name: &'static str, operate: fn(Graph) -> F) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let opens = move |place: Place, options| async move {
            operate(place.open_with(options).await).await
        };
        Self {
            operate: Box::new(move |place, options| opens(place, options).boxed()),
            ..Self::new(name, |_, _| async { Answer::Not })
        }
    }

    /// Begins with a graph to which this was done.
    pub(crate) fn after<F>(mut self, prepare: fn(Place) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.prepare = Some(Box::new(move |place| prepare(place).boxed()));
        self
    }

    /// What it carries out is decided already.
    fn of_what_is_decided(mut self) -> Self {
        self.is_decided = true;
        self
    }

    /// It removes what nobody was promised.
    pub(crate) fn that_removes(mut self) -> Self {
        self.removes = true;
        self
    }

    /// It is an operator who ends what was begun.
    pub(crate) fn by_an_operator(mut self) -> Self {
        self.is_repaired = true;
        self
    }

    pub(crate) async fn prepare(&self, place: &Place) {
        if let Some(prepare) = &self.prepare {
            prepare(place.clone()).await;
        }
    }

    pub(crate) fn operate(&self, place: &Place, options: Options) -> BoxFuture<'static, Answer> {
        (self.operate)(place.clone(), options)
    }
}

/// The graph that all kinds but `create` begin with.
pub(crate) async fn common() -> Place {
    let (place, graph) = Place::with_graph().await;
    for request in [
        append("node:Airport", airports(0, 6, "old")),
        append("node:Plane", planes(0, 10, 1)),
        day(0, 6),
        day(1, 6),
        day(2, 6),
    ] {
        graph.load(request).await.unwrap();
    }
    place
}

/// Every kind.
pub(crate) fn all() -> Vec<Kind> {
    let mut kinds = logical();
    kinds.extend(schemas::all());
    kinds.extend(physical());
    kinds.extend(healing());
    kinds.extend(repairs::all());
    kinds.extend(cleanups::all());
    kinds
}

fn logical() -> Vec<Kind> {
    vec![
        Kind {
            is_first: true,
            ..create("create")
        },
        Kind {
            is_first: true,
            ..create("create, cut short before").after(cut_short)
        },
        Kind::on("load, short form", |graph| async move {
            answer(graph.load(both(LoadMode::Append, 10)).await)
        }),
        Kind::on("load, long form", |graph| async move {
            answer(graph.load(much()).await)
        }),
        Kind::on("load, upsert", |graph| async move {
            answer(graph.load(upsert()).await)
        }),
        Kind::on("load, overwrite", |graph| async move {
            answer(graph.load(both(LoadMode::Overwrite, 4)).await)
        }),
        Kind::on("load, bad rows", |graph| async move {
            let good = append("node:Plane", planes(100, 110, 2));
            let bad = planes(100, 110, 2);
            answer(
                graph
                    .load(rows("edge:Flight", bad, LoadMode::Append, good))
                    .await,
            )
        }),
        Kind::on("load, refused", |graph| async move {
            let stale = both(LoadMode::Append, 10).expect(key("node:Plane"), 1);
            answer(graph.load(stale).await)
        }),
        Kind::on("delete", |graph| async move {
            answer(graph.delete(some_of_both()).await)
        }),
        heartbeat(),
    ]
}

fn physical() -> Vec<Kind> {
    vec![
        Kind::on("compact", |graph| async move { compact(&graph).await }),
        Kind::on("index create", |graph| async move { index(&graph).await }).after(declared),
        Kind::on("index append", |graph| async move { index(&graph).await }).after(outside),
        Kind::on("collect", |graph| async move {
            let newest = graph.snapshot().await.unwrap().manifest().number;
            answer(graph.collect(&ManifestRetention::newest(newest - 4)).await)
        })
        .that_removes(),
    ]
}

fn healing() -> Vec<Kind> {
    vec![
        heals("heal a decided load", |place| async move {
            abandon(&place, Moment::After, PLANE_COMMIT, |graph| async move {
                answer(graph.load(both(LoadMode::Append, 10)).await)
            })
            .await;
        })
        .of_what_is_decided(),
        heals("heal a decided compaction", |place| async move {
            abandon(&place, Moment::Before, FLIGHT_COMMIT, |graph| async move {
                compact(&graph).await
            })
            .await;
        })
        .of_what_is_decided(),
        heals("heal a decided index", |place| async move {
            declared(place.clone()).await;
            abandon(&place, Moment::Before, FLIGHT_COMMIT, |graph| async move {
                index(&graph).await
            })
            .await;
        })
        .of_what_is_decided(),
        heals("heal a compaction without sidecar", |place| async move {
            abandon(&place, Moment::Before, FLIGHT_COMMIT, |graph| async move {
                compact(&graph).await
            })
            .await;
            without_sidecars(&place).await;
        }),
        heals("heal a waiting delete", abandon_waiting_delete),
        heals("heal an orphan", |place| async move {
            abandon(
                &place,
                Moment::After,
                "_squire/recovery/",
                |graph| async move { answer(graph.load(both(LoadMode::Append, 10)).await) },
            )
            .await;
        }),
    ]
}

/// Healing by hand of a graph to which this was done. An error says nothing of what was healed before it.
fn heals<F>(name: &'static str, prepare: fn(Place) -> F) -> Kind
where
    F: Future<Output = ()> + Send + 'static,
{
    let heal = Kind::on(name, |graph| async move {
        match graph.heal_now().await {
            Ok(_) => Answer::Done,
            Err(_) => Answer::Unclear,
        }
    });
    heal.after(prepare)
}

fn create(name: &'static str) -> Kind {
    Kind::new(name, |place, options| async move {
        answer(Graph::create(place.uri(), schema(), options).await)
    })
}

/// A graph whose creator died before it had any tables.
async fn cut_short(place: Place) {
    let (watch, uri) = (Watch::new(), place.uri().to_owned());
    let options = Options {
        wrapper: watch.wrapper(),
        ..Options::default()
    };
    let dies = watch.stall(Moment::After, Verb::Put, "_squire/manifest/");
    let creates = tokio::spawn(async move { Graph::create(&uri, schema(), options).await });
    dies.reached().await;
    creates.abort();
}

/// The first heartbeats of a load that waits behind a dead writer. Later ones are the same write again.
fn heartbeat() -> Kind {
    let waits = Kind::new(
        "heartbeat of a load that waits",
        |place, options| async move {
            let options = Options {
                lease: LEASE * 2,
                ..options
            };
            let graph = place.open_with(options).await;
            answer(graph.load(both(LoadMode::Append, 10)).await)
        },
    );
    Kind {
        counts: Counts::Heartbeats,
        writes: 2,
        ..waits.after(abandon_waiting_delete)
    }
}

async fn abandon_waiting_delete(place: Place) {
    abandon(
        &place,
        Moment::After,
        "_squire/recovery/",
        |graph| async move { answer(graph.delete(some_of_both()).await) },
    )
    .await;
}

/// Takes every sidecar away.
pub(crate) async fn without_sidecars(place: &Place) {
    let (store, _) = place.store().await;
    for sidecar in place.sidecars().await {
        store.inner.delete(&sidecar.as_str().into()).await.unwrap();
    }
}

/// Lets the process of an operation die at a write.
pub(crate) async fn abandon<F>(place: &Place, moment: Moment, at: &str, operate: fn(Graph) -> F)
where
    F: Future<Output = Answer> + Send + 'static,
{
    let (graph, watch) = place.short_lived(LEASE).await;
    let dies = watch.stall(moment, Verb::Put, at);
    let operation = tokio::spawn(operate(graph));
    dies.reached().await;
    operation.abort();
}

fn rows(
    table: &str,
    batch: arrow::array::RecordBatch,
    mode: LoadMode,
    to: LoadRequest,
) -> LoadRequest {
    to.add(key(table), mode, Rows::Batches(vec![batch]))
}

/// The same number of rows into each of two tables.
pub(crate) fn both(mode: LoadMode, n: usize) -> LoadRequest {
    let load = rows(
        "node:Plane",
        planes(100, 100 + n, 2),
        mode,
        LoadRequest::new(),
    );
    rows("edge:Flight", flights(7, n), mode, load)
}

/// The same as `both`, in arrays that take so much memory that they are not staged in an instant.
fn much() -> LoadRequest {
    const MANY: usize = 1 << 20;
    let load = append("node:Plane", planes(100, 110, 2));
    let flights = flights(7, MANY).slice(0, 10);
    rows("edge:Flight", flights, LoadMode::Append, load)
}

/// Half of the rows are there already.
fn upsert() -> LoadRequest {
    let load = rows(
        "node:Plane",
        planes(5, 15, 9),
        LoadMode::Upsert,
        LoadRequest::new(),
    );
    rows(
        "node:Airport",
        airports(3, 9, "new"),
        LoadMode::Upsert,
        load,
    )
}

fn some_of_both() -> DeleteRequest {
    DeleteRequest::new()
        .add(key("node:Plane"), "tailnum < 'N00004'")
        .add(key("edge:Flight"), "day = 1 AND dest < 'D04'")
}

/// A graph whose flights have a declared index.
async fn declared(place: Place) {
    let index = "\n[[edge.Flight.index]]\nproperty = \"dest\"\nkind = \"btree\"\n";
    let schema = Schema::parse(&format!("{SCHEMA}{index}"), "declared.toml").unwrap();
    let graph = place.open().await;
    let request = SchemaRequest::new(schema);
    graph.apply_schema(request).await.unwrap();
}

/// The same, built, with a day of flights outside.
async fn outside(place: Place) {
    declared(place.clone()).await;
    let graph = place.open().await;
    assert_eq!(index(&graph).await, Answer::Done);
    graph.load(day(3, 6)).await.unwrap();
}

async fn index(graph: &Graph) -> Answer {
    let (table, policy) = (key("edge:Flight"), IndexPolicy::default());
    let stop = CancellationToken::new();
    match graph.index(&table, &policy, &Ask::forced(), &stop).await {
        Ok(Indexed::Skipped(_) | Indexed::Lost(_)) => Answer::Not,
        indexed => answer(indexed),
    }
}

async fn compact(graph: &Graph) -> Answer {
    let (table, policy) = (key("edge:Flight"), CompactionPolicy::default());
    let stop = CancellationToken::new();
    match graph.compact(&table, &policy, &Ask::forced(), &stop).await {
        Ok(Compacted::Skipped(_) | Compacted::Lost(_)) => Answer::Not,
        compacted => answer(compacted),
    }
}
