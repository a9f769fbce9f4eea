//! Schema applies of every kind, for the crash matrix.

use squire_engine::{Graph, SchemaRequest, schema::Schema};
use squire_tests::flights::SCHEMA;

use crate::kinds::{Answer, Kind, answer};

/// Brings the graph to the suites' schema with some of its text replaced.
async fn apply(graph: &Graph, hard: bool, changes: &[(&str, &str)]) -> Answer {
    let text = changes.iter().fold(SCHEMA.to_owned(), |text, (a, b)| {
        assert!(text.contains(a), "{a}");
        text.replace(a, b)
    });
    let wanted = Schema::parse(&text, "wanted.toml").expect("the wanted schema is good");
    let request = SchemaRequest::new(wanted);
    let request = if hard { request.hard() } else { request };
    answer(graph.apply_schema(request).await)
}

const SEATS: &str = "seats = \"int32\"\n";
const NAME: &str = "\nname = \"string\"\n\n[node.Plane]";
const DAY: &str = "day = \"int32\"\n";
const PILOT: &str = "\n[node.Pilot]\nkey = [\"id\"]\n[node.Pilot.properties]\nid = \"string\"\n";

/// The suites' edge type, as its schema writes it: the last one.
fn flight() -> &'static str {
    &SCHEMA[SCHEMA.find("\n[edge.Flight]").expect("there is one")..]
}

/// Every kind of schema apply.
pub(crate) fn all() -> Vec<Kind> {
    vec![
        Kind::on("schema, add a property", |graph| async move {
            apply(
                &graph,
                false,
                &[(SEATS, "seats = \"int32\"\nnote = \"string\"\n")],
            )
            .await
        }),
        Kind::on("schema, in three tables", |graph| async move {
            let renamed =
                "\ncalled = { type = \"string\", renamed_from = \"name\" }\n\n[node.Plane]";
            let added = "seats = \"int32\"\nnote = \"string\"\n";
            apply(&graph, false, &[(NAME, renamed), (SEATS, added), (DAY, "")]).await
        }),
        Kind::on(
            "schema, rename a type and give its name again",
            |graph| async move {
                let craft = "[node.Craft]\nrenamed_from = \"Plane\"\nkey = [\"tailnum\"]\n[node.Craft.properties]\n\
                tailnum = \"string\"\nseats = \"int32\"\n\n[node.Plane]";
                apply(&graph, false, &[("[node.Plane]", craft)]).await
            },
        ),
        Kind::on("schema, widen two columns", |graph| async move {
            apply(&graph, false, &[("\"int32\"", "\"int64\"")]).await
        }),
        Kind::on("schema, make a property required", |graph| async move {
            let required = "day = { type = \"int32\", required = true }\n";
            apply(&graph, false, &[(DAY, required)]).await
        }),
        Kind::on("schema, add and drop types", |graph| async move {
            apply(&graph, false, &[(flight(), PILOT)]).await
        }),
        Kind::on("schema, drop hard", |graph| async move {
            apply(&graph, true, &[(flight(), ""), (SEATS, "")]).await
        }),
        Kind::on("schema, refused by rows", |graph| async move {
            // Many flights go to one place.
            let keyed = "[edge.Flight]\nkey = [\"origin\"]";
            apply(&graph, false, &[("[edge.Flight]\n", &format!("{keyed}\n"))]).await
        }),
    ]
}
