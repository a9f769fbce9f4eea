//! Writers in processes of their own that die in the middle of an operation: the daemon finishes what they decided,
//! with nothing restarted, and whoever was blocked behind them goes on by itself.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use serde_json::Value;
use squire_engine::{
    Graph, LoadMode, LogEntry, OperationId,
    manifest::{Ticket, TicketState},
};
use squire_tests::{
    crew::{Member, Order, Stand, Work},
    flights::{SCHEMA, key},
    place::{rows_in, until_idle},
    store::Moment,
};

use crate::site::{Keeping, Site, under_way, until};

/// How long a writer may be silent, and how often the daemon looks for what the dead left behind.
const LEASE: Duration = Duration::from_secs(2);
const HEAL_INTERVAL: Duration = Duration::from_millis(500);
/// It says so in its log whenever it looked.
const SETTINGS: &str =
    "tick = \"100ms\"\nheal_interval = \"500ms\"\nlease = \"2s\"\nlog = \"info,squire=debug\"\n";
const ROWS: usize = 10;

/// A graph, and the daemon that keeps it.
struct Scene {
    site: Site,
    graph: Graph,
    daemon: Keeping,
}

impl Scene {
    async fn new() -> Self {
        let site = Site::new();
        let graph = site.graph("graph").await;
        let targets = [("graph", &*site.uri("graph"), "enabled = false\n")];
        let daemon = site.daemon(&site.config(SETTINGS, &targets), "log").await;
        Self {
            site,
            graph,
            daemon,
        }
    }

    /// A writer in a process of its own: ten rows into each of two tables, `from` which number on.
    fn writer(&self, actor: &str, from: usize, stands: Vec<Stand>) -> Member {
        let lines =
            |line: &dyn Fn(usize) -> String| -> String { (from..from + ROWS).map(line).collect() };
        let planes = lines(&|n| format!("N{n:05},{n}\n"));
        let flights = lines(&|n| format!("JFK,D{n},1\n"));
        let file =
            |name: &str, text: String| self.site.write(&format!("{actor}-{name}.csv"), text).into();
        let files = vec![
            // An upsert enters the queue before it is staged.
            (
                LoadMode::Upsert,
                "Plane".to_owned(),
                file("planes", format!("tailnum,seats\n{planes}")),
            ),
            (
                LoadMode::Append,
                "Flight".to_owned(),
                file("flights", format!("origin,dest,day\n{flights}")),
            ),
        ];
        self.start(actor, stands, Work::Load(files))
    }

    /// A process that renames a property of planes and adds one to flights, in one schema apply.
    fn operator(&self, stands: Vec<Stand>) -> Member {
        let seats = "seats = \"int32\"";
        let places = "places = { type = \"int32\", renamed_from = \"seats\" }";
        let wanted = SCHEMA.replace(seats, places) + "delay = \"int32\"\n";
        let file = self.site.write("wanted.toml", wanted);
        self.start("operator", stands, Work::Schema(file.into()))
    }

    fn start(&self, actor: &str, stands: Vec<Stand>, work: Work) -> Member {
        let order = Order {
            root: self.site.uri("graph"),
            actor: actor.to_owned(),
            lease: LEASE,
            stands,
            work,
        };
        Member::start(&order).unwrap()
    }

    /// The columns of planes and of flights, in one snapshot, as the tables and the schema agree on them.
    async fn columns(&self) -> [String; 2] {
        let snapshot = self.graph.snapshot().await.unwrap();
        let mut columns = [const { String::new() }; 2];
        for (columns, table) in columns.iter_mut().zip(["node:Plane", "edge:Flight"]) {
            let dataset = snapshot.open(&key(table)).await.unwrap();
            let names: Vec<_> = dataset.schema().fields.iter().map(|f| &*f.name).collect();
            let declared = &snapshot.manifest().schema.types[&key(table)].properties;
            let declared: Vec<_> = declared.iter().map(|p| &*p.name).collect();
            assert_eq!(names, declared, "{table}");
            *columns = names.join(" ");
        }
        columns
    }

    async fn queue(&self) -> Vec<Ticket> {
        self.graph
            .snapshot()
            .await
            .unwrap()
            .manifest()
            .queue
            .clone()
    }

    /// Rows of both tables, in one snapshot.
    async fn rows(&self) -> (usize, usize) {
        let snapshot = self.graph.snapshot().await.unwrap();
        (
            rows_in(&snapshot, "node:Plane").await,
            rows_in(&snapshot, "edge:Flight").await,
        )
    }

    fn sidecars(&self) -> usize {
        let left = under_way(&self.site.path("graph"));
        left.iter().filter(|f| f.contains("/recovery/")).count()
    }

    /// How often the daemon has looked for what the dead left behind.
    fn rounds(&self) -> usize {
        let log = std::fs::read_to_string(self.site.path("log")).unwrap();
        log.matches("\"looked for what the dead left behind\"")
            .count()
    }

    /// The number of the manifest in which an operation took a step, and when that was.
    async fn step(&self, operation: OperationId, transition: &str) -> (u64, DateTime<Utc>) {
        let log: Vec<LogEntry> = self.graph.log().try_collect().await.unwrap();
        let step = log.iter().find(|entry| {
            entry.change.operation == Some(operation) && entry.change.transition == transition
        });
        let step = step.unwrap_or_else(|| panic!("no {transition} of {operation} in {log:#?}"));
        (step.number, step.change.at)
    }

    /// What the daemon's log says when it has healed an operation.
    async fn until_healed(&mut self, operation: OperationId) -> Value {
        let operation = operation.to_string();
        let healed = |line: &Value| line["message"] == "healed" && line["operation"] == operation;
        self.daemon.until_logged("it is healed", healed).await
    }

    /// The one decided ticket, of a writer that committed to one of its two tables and to no more.
    async fn half_done(&self) -> Ticket {
        let queue = self.queue().await;
        let ticket = queue.first().expect("its ticket is there").clone();
        let TicketState::Decided { bases } = &ticket.state else {
            panic!("it is decided: {ticket:?}");
        };
        let snapshot = self.graph.snapshot().await.unwrap();
        for (table, is_committed) in [("node:Plane", true), ("edge:Flight", false)] {
            let dataset = snapshot.open(&key(table)).await.unwrap();
            let head = dataset.latest_version_id().await.unwrap();
            assert_eq!(head > bases[&key(table)], is_committed, "{table}");
        }
        assert_eq!(self.sidecars(), 1);
        ticket
    }

    /// Nothing is under way, and the daemon that ran all the time stops in order.
    async fn ends_well(self) {
        until_idle(&self.graph).await;
        until("no sidecar is left", async || self.sidecars() == 0).await;
        self.daemon.stop().await;
    }
}

/// Between the decision and the publish, with one table committed and the other not.
fn half_way() -> Stand {
    Stand::frozen(Moment::After, "Plane.lance/_versions/")
}

fn tell(what: &str, since: DateTime<Utc>, healed: DateTime<Utc>) {
    let took = (healed - since).to_std().unwrap_or_default();
    let bound = (LEASE + HEAL_INTERVAL).as_secs_f64();
    println!(
        "{what}: {:.2} of lease + heal interval",
        took.as_secs_f64() / bound
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_heals_a_dead_writers_sidecar_and_a_blocked_writer_goes_on_by_itself() {
    let scene = Scene::new().await;
    // The first writer has its place in line and shows that it lives; the second stands behind it.
    let at_its_sidecar = Stand::held(Moment::Before, "_squire/recovery/");
    let mut first = scene.writer("first", 0, vec![at_its_sidecar, half_way()]);
    first.stands().await.unwrap();
    let second = scene.writer("second", 100, Vec::new());
    until("both are in line", async || scene.queue().await.len() == 2).await;

    // The first is decided, half of it is committed, and it is killed.
    first.go_on().await.unwrap();
    first.stands().await.unwrap();
    let dead = scene.half_done().await;
    let queue = scene.queue().await;
    let blocked = queue.last().unwrap().clone();
    assert_eq!((&*dead.actor, &*blocked.actor), ("first", "second"));
    assert_eq!(blocked.state, TicketState::Waiting, "it is blocked");
    assert_eq!(scene.rows().await, (0, 0), "a reader sees nothing of it");
    let killed = Utc::now();
    first.kill().await.unwrap();

    let done = second.done().await.expect("it goes on by itself");
    assert!(done.starts_with("+20"), "{done}");
    assert_eq!(scene.rows().await, (2 * ROWS, 2 * ROWS));
    let (healed, at) = scene.step(dead.operation, "publish").await;
    let (decided, _) = scene.step(blocked.operation, "decide").await;
    let (entered, _) = scene.step(blocked.operation, "enqueue").await;
    let (dead_decided, _) = scene.step(dead.operation, "decide").await;
    let order = [entered, dead_decided, healed, decided];
    assert!(order.is_sorted(), "{order:?}");
    tell("healed, with a writer blocked behind it", killed, at);
    scene.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_alone_heals_a_dead_writers_sidecar_within_lease_and_heal_interval() {
    let mut scene = Scene::new().await;
    let mut writer = scene.writer("writer", 0, vec![half_way()]);
    writer.stands().await.unwrap();
    let dead = scene.half_done().await;
    assert_eq!(scene.rows().await, (0, 0), "a reader sees nothing of it");
    let rounds_before = scene.rounds();
    let killed = Utc::now();
    writer.kill().await.unwrap();

    let line = scene.until_healed(dead.operation).await;
    let rounds = scene.rounds() - rounds_before;
    assert_eq!(
        (&line["ending"], &line["kind"]),
        (&"Published".into(), &"Load".into())
    );
    assert_eq!(line["actor"], "writer");
    let how = "how=\"rolled_forward\",target=\"graph\"";
    scene
        .daemon
        .until_metric("squire_healed_total", how, |n| n == 1.0)
        .await;
    assert_eq!(scene.rows().await, (ROWS, ROWS));
    // Time is counted in rounds, which a slow machine stretches: a lease's worth, and one, from the one that sees the
    // ticket first; the one at work when the writer was killed comes on top.
    let lease = LEASE.as_millis().div_ceil(HEAL_INTERVAL.as_millis());
    assert!(rounds as u128 <= lease + 3, "{rounds} rounds");
    let (_, at) = scene.step(dead.operation, "publish").await;
    tell("healed, by the daemon alone", killed, at);
    scene.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_alone_finishes_a_schema_apply_that_died_between_two_tables() {
    let mut scene = Scene::new().await;
    let writer = scene.writer("writer", 0, Vec::new());
    writer.done().await.unwrap();
    let mut operator = scene.operator(vec![half_way()]);
    operator.stands().await.unwrap();
    let dead = scene.half_done().await;
    let before = ["tailnum seats", "origin dest day"];
    assert_eq!(scene.columns().await, before, "a reader sees nothing of it");
    let killed = Utc::now();
    operator.kill().await.unwrap();

    let line = scene.until_healed(dead.operation).await;
    assert_eq!(
        (&line["ending"], &line["kind"]),
        (&"Published".into(), &"SchemaApply".into())
    );
    let after = ["tailnum places", "origin dest day delay"];
    assert_eq!(scene.columns().await, after);
    assert_eq!(scene.rows().await, (ROWS, ROWS));
    let (_, at) = scene.step(dead.operation, "publish").await;
    tell("a schema apply healed, by the daemon alone", killed, at);
    scene.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_writer_that_had_not_decided_leaves_nothing_and_the_next_one_goes_on() {
    let scene = Scene::new().await;
    let at_its_sidecar = Stand::held(Moment::Before, "_squire/recovery/");
    let mut first = scene.writer("first", 0, vec![at_its_sidecar]);
    first.stands().await.unwrap();
    let second = scene.writer("second", 100, Vec::new());
    until("both are in line", async || scene.queue().await.len() == 2).await;
    let dead = scene.queue().await.remove(0);
    let killed = Utc::now();
    first.kill().await.unwrap();
    second.done().await.expect("it goes on by itself");
    assert_eq!(scene.rows().await, (ROWS, ROWS), "of the second alone");
    let (_, at) = scene.step(dead.operation, "abort").await;
    tell("taken back", killed, at);
    scene.ends_well().await;
}
