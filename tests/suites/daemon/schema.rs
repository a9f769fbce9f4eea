//! `squire schema apply`, as a person and a script use it.

use squire_engine::Graph;
use squire_tests::{
    flights::{SCHEMA, append, day, key, planes},
    place::rows,
};

use crate::site::{QUICK, Site, done, files, refused, squire, under_way};

/// A graph with rows, in a place of its own.
struct Loaded {
    site: Site,
    graph: Graph,
    uri: String,
}

impl Loaded {
    async fn new() -> Self {
        let site = Site::new();
        let graph = site.graph("graph").await;
        graph.load(day(1, 50)).await.unwrap();
        let some = append("node:Plane", planes(0, 20, 150));
        graph.load(some).await.unwrap();
        let uri = site.uri("graph");
        Self { site, graph, uri }
    }

    /// The suites' schema with some of its text replaced, as a file.
    fn wanted(&self, changes: &[(&str, &str)]) -> String {
        let text = changes.iter().fold(SCHEMA.to_owned(), |text, (a, b)| {
            assert!(text.contains(a), "{a}");
            text.replace(a, b)
        });
        self.site.write("wanted.toml", text)
    }

    fn files(&self) -> impl PartialEq + std::fmt::Debug + use<> {
        files(&self.site.path("graph"))
    }
}

const WITHOUT_SEATS: (&str, &str) = ("seats = \"int32\"\n", "");

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_shows_its_steps_takes_them_and_leaves_nothing_to_do() {
    let loaded = Loaded::new().await;
    let wanted = loaded.wanted(&[(
        "day = \"int32\"",
        "at = { type = \"int64\", renamed_from = \"day\" }\nnote = \"string\"",
    )]);
    let apply = ["schema", "apply", &loaded.uri, &wanted];
    let told = done(squire(&apply).await);
    for said in [
        "rename property `day` to `at`",
        "rewrites 50 rows",
        "add property `note`",
        "applied (operation ",
    ] {
        assert!(told.contains(said), "{said}: {told}");
    }
    let shown = done(squire(&["schema", "show", &loaded.uri]).await);
    assert!(shown.contains("at     = \"int64\""), "{shown}");
    assert_eq!(rows(&loaded.graph, "edge:Flight").await, 50);
    assert_eq!(under_way(&loaded.site.path("graph")), Vec::<String>::new());
    let again = done(squire(&apply).await);
    assert_eq!(again.trim(), "the graph has this schema already");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soft_drop_is_not_asked_about_and_keeps_earlier_versions() {
    let loaded = Loaded::new().await;
    let wanted = loaded.wanted(&[WITHOUT_SEATS]);
    let told = done(squire(&["schema", "apply", &loaded.uri, &wanted]).await);
    assert!(told.contains("`seats` of 20 rows, after cleanup"), "{told}");
    let snapshot = loaded.graph.snapshot().await.unwrap();
    let now = snapshot.open(&key("node:Plane")).await.unwrap();
    assert!(now.schema().field("seats").is_none());
    let before = now.checkout_version(now.manifest().version - 1).await;
    assert!(before.unwrap().schema().field("seats").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hard_drop_without_a_terminal_needs_a_yes_and_is_gone_at_once() {
    let loaded = Loaded::new().await;
    let wanted = loaded.wanted(&[WITHOUT_SEATS]);
    let before = loaded.files();
    let apply = ["schema", "apply", &loaded.uri, &wanted, "--hard"];
    refused(
        squire(&apply).await,
        2,
        &["add --yes", "nothing was changed"],
    );
    assert_eq!(loaded.files(), before);
    let apply = [&apply[..], &["--yes"]].concat();
    let told = done(squire(&apply).await);
    assert!(told.contains("`seats` of 20 rows, at once"), "{told}");
    let snapshot = loaded.graph.snapshot().await.unwrap();
    let now = snapshot.open(&key("node:Plane")).await.unwrap();
    let versions = now.versions().await.unwrap();
    assert_eq!(versions.len(), 1, "only the one that readers see is left");
    assert_eq!(rows(&loaded.graph, "node:Plane").await, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_cannot_follow_is_refused_by_name_and_changes_nothing() {
    let loaded = Loaded::new().await;
    let before = loaded.files();
    let airport = "[node.Airport]\nkey = [\"faa\"]\n[node.Airport.properties]\nfaa = \"string\"\nname = \"string\"\n";
    let without_airport = loaded.wanted(&[(airport, "")]);
    let args = ["schema", "apply", &loaded.uri, &without_airport, "--yes"];
    refused(squire(&args).await, 2, &["edge `Flight`", "Airport"]);
    let other_key = loaded.wanted(&[("key = [\"tailnum\"]", "key = [\"seats\"]")]);
    let args = ["schema", "apply", &loaded.uri, &other_key, "--yes"];
    refused(
        squire(&args).await,
        2,
        &["the key of node:Plane would change"],
    );
    assert_eq!(loaded.files(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_property_that_rows_leave_empty_cannot_become_required() {
    let loaded = Loaded::new().await;
    let named = "name = \"string\"";
    let airports = loaded
        .site
        .write("airports.csv", "faa,name\nJFK,Kennedy\nLGA,\n");
    let load = format!("Airport={airports}");
    done(squire(&["load", &loaded.uri, &load]).await);
    let wanted = loaded.wanted(&[(named, "name = { type = \"string\", required = true }")]);
    let args = ["schema", "apply", &loaded.uri, &wanted];
    refused(squire(&args).await, 2, &["node:Airport", "name"]);
    let shown = done(squire(&["schema", "show", &loaded.uri]).await);
    assert!(shown.contains("name = \"string\""), "{shown}");
    assert_eq!(under_way(&loaded.site.path("graph")), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_declared_on_a_table_that_nobody_writes_is_built_by_the_daemon() {
    let loaded = Loaded::new().await;
    let off = "enabled = false\n[target.index]\ninterval_floor = \"100ms\"\n";
    let targets = [("graph", &*loaded.uri, off)];
    let daemon = loaded
        .site
        .daemon(&loaded.site.config(QUICK, &targets), "log")
        .await;
    let known = "state=\"due\",table=\"node:Plane\",target=\"graph\"";
    daemon
        .until_metric("squire_table_missing_indexes", known, |n| n == 0.0)
        .await;
    let wanted = loaded.wanted(&[(
        "seats = \"int32\"\n",
        "seats = \"int32\"\n[[node.Plane.index]]\nproperty = \"seats\"\nkind = \"btree\"\n",
    )]);
    done(squire(&["schema", "apply", &loaded.uri, &wanted]).await);
    let built = "duty=\"index\",outcome=\"done\",target=\"graph\"";
    daemon
        .until_metric("squire_jobs_total", built, |n| n == 1.0)
        .await;
    daemon
        .until_metric("squire_table_missing_indexes", known, |n| n == 0.0)
        .await;
    let snapshot = loaded.graph.snapshot().await.unwrap();
    let stats = snapshot.stats(&key("node:Plane")).await.unwrap();
    assert_eq!(stats.indexes.len(), 1);
    daemon.stop().await;
}
