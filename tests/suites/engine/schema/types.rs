//! Types: tables that come, go and change their names.

use squire_engine::{Error, Graph, Options, SchemaRequest, schema::Schema};
use squire_tests::{
    flights::{SCHEMA, append, day, key, planes},
    place::{Place, rows},
};

use super::{apply, changed, fill, filled, path, plainly, read, to};

/// A schema of node types, each of which may say what it was called.
fn nodes(types: &[(&str, Option<&str>)]) -> Schema {
    let mut text = String::new();
    for (name, former) in types {
        let former = former.map_or(String::new(), |f| format!("renamed_from = \"{f}\"\n"));
        text.push_str(&format!(
            "[node.{name}]\nkey = [\"tailnum\"]\n{former}[node.{name}.properties]\ntailnum = \"string\"\nseats = \"int32\"\n"
        ));
    }
    Schema::parse(&text, "nodes.toml").unwrap()
}

async fn with_nodes(names: &[&str]) -> (Place, Graph) {
    let place = Place::empty();
    let types: Vec<_> = names.iter().map(|name| (*name, None)).collect();
    let graph = Graph::create(place.uri(), nodes(&types), Options::default());
    (place.clone(), graph.await.unwrap())
}

async fn wants(graph: &Graph, types: &[(&str, Option<&str>)]) {
    let request = SchemaRequest::new(nodes(types));
    graph.apply_schema(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_keeps_path_and_data_in_memory() {
    rename_story(Place::empty().uri()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_keeps_path_and_data_on_local_disk() {
    let dir = tempfile::tempdir().unwrap();
    rename_story(dir.path().join("graph").to_str().unwrap()).await;
}

async fn rename_story(uri: &str) {
    let graph = filled(uri).await;
    let (flown, planned) = (
        read(&graph, "edge:Flight").await,
        read(&graph, "node:Plane").await,
    );
    let before = graph.snapshot().await.unwrap();
    // The edges at a node go along; a property changes in the same apply.
    let renamed = [
        ("[node.Airport]", "[node.Field]\nrenamed_from = \"Airport\""),
        ("node.Airport.", "node.Field."),
        ("node = \"Airport\"", "node = \"Field\""),
        ("[node.Plane]", "[node.Jet]\nrenamed_from = \"Plane\""),
        ("node.Plane.", "node.Jet."),
        ("seats = \"int32\"", "seats = \"int32\"\nbuilt = \"int32\""),
    ];
    let receipt = apply(&graph, &renamed).await.unwrap();
    let after = graph.snapshot().await.unwrap();
    assert_eq!(receipt.pins.keys().collect::<Vec<_>>(), [&key("node:Jet")]);
    assert_eq!(path(&after, "node:Field"), "Airport.lance");
    assert_eq!(path(&after, "node:Jet"), "Plane.lance");
    let pin = |s: &squire_engine::Snapshot, table| s.manifest().pin(&key(table));
    assert_eq!(
        pin(&after, "node:Field"),
        pin(&before, "node:Airport"),
        "no new version"
    );
    assert_eq!(pin(&after, "node:Jet"), pin(&before, "node:Plane") + 1);
    let ends = after.manifest().schema.types[&key("edge:Flight")]
        .endpoints
        .clone()
        .unwrap();
    assert_eq!(ends.to.node, "Field");
    assert_eq!(read(&graph, "edge:Flight").await, flown);
    assert_eq!(
        read(&graph, "node:Jet").await.columns()[..2],
        planned.columns()[..]
    );
    let plain = plainly(uri, "Plane.lance").await;
    assert_eq!(plain.count_rows(None).await.unwrap(), 50);
    // The old name is unknown, the new one takes rows.
    let gone = graph.load(append("node:Plane", planes(60, 61, 1))).await;
    assert!(matches!(gone, Err(Error::UnknownTable { .. })), "{gone:?}");
    graph
        .load(append("node:Jet", planes(60, 61, 1)))
        .await
        .unwrap();
    graph.load(day(10, 1)).await.unwrap();
    assert_eq!(rows(&graph, "node:Jet").await, 51);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_passed_on_in_a_chain_and_each_table_keeps_its_path() {
    let (_place, graph) = with_nodes(&["A", "B"]).await;
    graph.load(append("node:A", planes(0, 1, 1))).await.unwrap();
    graph.load(append("node:B", planes(0, 2, 1))).await.unwrap();
    wants(&graph, &[("B", Some("A")), ("C", Some("B"))]).await;
    let there = graph.snapshot().await.unwrap();
    assert_eq!(there.manifest().tables.len(), 2);
    assert_eq!(
        (path(&there, "node:B"), path(&there, "node:C")),
        ("A.lance".into(), "B.lance".into())
    );
    assert_eq!(
        (rows(&graph, "node:B").await, rows(&graph, "node:C").await),
        (1, 2)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_was_given_up_gets_a_fresh_path_when_it_is_given_again() {
    let (place, graph) = with_nodes(&["A"]).await;
    graph.load(append("node:A", planes(0, 3, 1))).await.unwrap();
    // In the same apply.
    wants(&graph, &[("B", Some("A")), ("A", None)]).await;
    let there = graph.snapshot().await.unwrap();
    assert_eq!(path(&there, "node:B"), "A.lance");
    let fresh = path(&there, "node:A");
    assert!(fresh.starts_with("A-"), "{fresh}");
    assert_eq!(
        (rows(&graph, "node:A").await, rows(&graph, "node:B").await),
        (0, 3)
    );
    graph.load(append("node:A", planes(0, 1, 1))).await.unwrap();
    // Dropped and added again, and in another case.
    wants(&graph, &[("B", None)]).await;
    wants(&graph, &[("B", None), ("a", None)]).await;
    let there = graph.snapshot().await.unwrap();
    let third = path(&there, "node:a");
    assert!(third.starts_with("a-") && third != fresh, "{third}");
    assert_eq!(rows(&graph, "node:a").await, 0);
    assert!(there.manifest().retired_paths.contains(&fresh));
    assert!(
        !place.objects(&fresh).await.is_empty(),
        "a soft drop leaves it to cleanup"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_changes_the_case_of_its_name_and_keeps_its_path() {
    let (_place, graph) = with_nodes(&["Plane"]).await;
    graph
        .load(append("node:Plane", planes(0, 3, 1)))
        .await
        .unwrap();
    let refused = graph
        .apply_schema(SchemaRequest::new(nodes(&[("PLANE", None)])))
        .await;
    assert!(
        matches!(&refused, Err(Error::Plan(_))),
        "it would be dropped: {refused:?}"
    );
    wants(&graph, &[("PLANE", Some("Plane"))]).await;
    let there = graph.snapshot().await.unwrap();
    assert_eq!(path(&there, "node:PLANE"), "Plane.lance");
    assert_eq!(rows(&graph, "node:PLANE").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_need_one_name_for_two_tables_at_once_is_refused_with_the_way_around() {
    let (_place, graph) = with_nodes(&["A"]).await;
    let text = "[node.B]\nkey = [\"tailnum\"]\nrenamed_from = \"A\"\n\
                properties = { tailnum = \"string\", seats = \"int64\" }\n\
                [node.A]\nkey = [\"id\"]\nproperties = { id = \"int64\" }\n";
    let both = SchemaRequest::new(Schema::parse(text, "both.toml").unwrap());
    let refused = graph.apply_schema(both.clone()).await.unwrap_err();
    assert!(
        refused.to_string().contains("add the new type in the next"),
        "{refused}"
    );
    let first = text.split("[node.A]").next().unwrap();
    let first = SchemaRequest::new(Schema::parse(first, "first.toml").unwrap());
    graph.apply_schema(first).await.unwrap();
    graph.apply_schema(both).await.unwrap();
    assert_eq!(graph.snapshot().await.unwrap().manifest().tables.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn types_are_added_and_dropped_and_a_node_that_an_edge_needs_stays() {
    let (place, graph) = Place::with_graph().await;
    fill(&graph).await;
    let flight_at = SCHEMA.find("[edge.Flight]").unwrap();
    let edgeless = Schema::parse(&SCHEMA[..flight_at], "edgeless.toml").unwrap();
    let node = SCHEMA.find("[node.Airport]").unwrap()..SCHEMA.find("[node.Plane]").unwrap();
    let mut nodeless = SCHEMA.to_owned();
    nodeless.replace_range(node, "");
    let refused = Schema::parse(&nodeless, "nodeless.toml").map(SchemaRequest::new);
    assert!(
        refused.is_err(),
        "the file itself says that Flight needs Airport"
    );
    graph
        .apply_schema(SchemaRequest::new(edgeless))
        .await
        .unwrap();
    let there = graph.snapshot().await.unwrap();
    assert_eq!(there.manifest().tables.len(), 2);
    assert!(!place.objects("Flight.lance/data").await.is_empty());
    // All of it at once: a type comes back, another comes anew, one gets another name.
    let all = changed(&[
        (
            "[node.Plane]",
            "[node.Airline]\nkey = [\"id\"]\nproperties = { id = \"int64\" }\n[node.Jet]\nrenamed_from = \"Plane\"",
        ),
        ("node.Plane.", "node.Jet."),
        ("name = \"flights\"", "name = \"skies\""),
    ]);
    graph
        .apply_schema(SchemaRequest::new(all.clone()))
        .await
        .unwrap();
    let there = graph.snapshot().await.unwrap();
    let keys: Vec<_> = there
        .manifest()
        .tables
        .keys()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        keys,
        ["node:Airline", "node:Airport", "node:Jet", "edge:Flight"]
    );
    assert_eq!(there.manifest().schema, all.settled());
    assert_eq!(rows(&graph, "edge:Flight").await, 0, "it is another table");
    graph.load(day(5, 5)).await.unwrap();
    assert_eq!(rows(&graph, "edge:Flight").await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_manifest_alone_says_moves_no_table() {
    let (_place, graph) = Place::with_graph().await;
    fill(&graph).await;
    let before = graph.snapshot().await.unwrap();
    let said = [
        ("name = \"flights\"", "name = \"skies\""),
        (
            "seats = \"int32\"\n",
            "seats = \"int32\"\n[[node.Plane.index]]\nproperty = \"seats\"\nkind = \"btree\"\n",
        ),
        (
            "to = { node = \"Airport\", property = \"dest\" }",
            "to = { node = \"Plane\", property = \"dest\" }",
        ),
    ];
    let receipt = graph.apply_schema(to(&said)).await.unwrap();
    assert!(receipt.pins.is_empty());
    let after = graph.snapshot().await.unwrap();
    assert_eq!(after.manifest().tables, before.manifest().tables);
    assert_eq!(after.manifest().schema, changed(&said).settled());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_of_steps_that_were_planned_on_another_schema_is_refused() {
    let (place, graph) = Place::with_graph().await;
    let shown = graph.snapshot().await.unwrap().manifest().schema.clone();
    let other = place.open().await;
    apply(
        &other,
        &[("seats = \"int32\"", "seats = \"int32\"\nbuilt = \"int32\"")],
    )
    .await
    .unwrap();
    // Without the word it would drop what the other has just added.
    let request = to(&[("day = \"int32\"", "day = \"int64\"")]).planned_on(shown);
    let refused = graph.apply_schema(request).await;
    assert!(
        matches!(refused, Err(Error::SchemaMoved { .. })),
        "{refused:?}"
    );
    let version = to(&[("day = \"int32\"", "day = \"int64\"")]).expect(key("node:Plane"), 7);
    let refused = graph.apply_schema(version).await;
    assert!(
        matches!(
            refused,
            Err(Error::ExpectedVersionMismatch { found: 2, .. })
        ),
        "{refused:?}"
    );
    assert!(graph.snapshot().await.unwrap().manifest().queue.is_empty());
}
