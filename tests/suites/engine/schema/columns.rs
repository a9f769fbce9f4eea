//! The columns of one table.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray},
    compute::cast,
    datatypes::DataType,
};
use squire_engine::{DeleteRequest, Error, LoadMode, LoadRequest, Obstacle, Rows};
use squire_tests::{
    flights::{append, flights, key, planes},
    place::{Place, rows},
};

use super::{apply, column, fill, filled, is_empty, names, open, plainly, read, to};

const SEATS: &str = "seats = \"int32\"";

/// Planes with one column more.
fn built(from: usize, to: usize, year: i32) -> RecordBatch {
    let planes = planes(from, to, 7);
    let years: ArrayRef = Arc::new(Int32Array::from(vec![year; to - from]));
    RecordBatch::try_from_iter([
        ("tailnum", planes.column(0).clone()),
        ("seats", planes.column(1).clone()),
        ("built", years),
    ])
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_on_columns_keeps_all_other_values_in_memory() {
    main_story(Place::empty().uri()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_on_columns_keeps_all_other_values_on_local_disk() {
    let dir = tempfile::tempdir().unwrap();
    main_story(dir.path().join("graph").to_str().unwrap()).await;
}

async fn main_story(uri: &str) {
    let graph = filled(uri).await;
    let before = read(&graph, "node:Plane").await;

    // Added: null in every row, behind the others, and it takes values from then on.
    let added = ("seats = \"int32\"", "seats = \"int32\"\nbuilt = \"int32\"");
    apply(&graph, &[added]).await.unwrap();
    let there = read(&graph, "node:Plane").await;
    assert_eq!(names(&there), ["tailnum", "seats", "built"]);
    assert_eq!(there.columns()[..2], before.columns()[..]);
    assert!(is_empty(&column(&there, "built")));
    let load = append("node:Plane", built(50, 60, 1999));
    graph.load(load).await.unwrap();
    let there = read(&graph, "node:Plane").await;
    assert_eq!(column(&there, "built").null_count(), 50);

    // Renamed: the same values.
    let renamed = (
        SEATS,
        "places = { type = \"int32\", renamed_from = \"seats\" }\nbuilt = \"int32\"",
    );
    apply(&graph, &[renamed]).await.unwrap();
    let now = read(&graph, "node:Plane").await;
    assert_eq!(names(&now), ["tailnum", "places", "built"]);
    assert_eq!(now.columns(), there.columns());

    // Widened: the same values of another type, in the same place.
    let widened = (SEATS, "places = \"int64\"\nbuilt = \"int32\"");
    apply(&graph, &[widened]).await.unwrap();
    let wide = read(&graph, "node:Plane").await;
    assert_eq!(names(&wide), ["tailnum", "places", "built"]);
    let places = cast(&column(&there, "seats"), &DataType::Int64).unwrap();
    assert_eq!(&column(&wide, "places"), &places);
    assert_eq!(&column(&wide, "built"), &column(&there, "built"));

    // Dropped, and another added in the same step: fresh nulls, not the values of what was dropped.
    let dropped = (SEATS, "places = \"int64\"\nyear = \"int32\"");
    apply(&graph, &[dropped]).await.unwrap();
    let last = read(&graph, "node:Plane").await;
    assert_eq!(names(&last), ["tailnum", "places", "year"]);
    assert_eq!(&column(&last, "places"), &places);
    assert!(is_empty(&column(&last, "year")));

    // Other programs see an ordinary table, Squire loads on, and the edges never noticed.
    let plain = plainly(uri, "Plane.lance").await;
    assert_eq!(plain.scan().try_into_batch().await.unwrap(), last);
    plain.validate().await.unwrap();
    let tails = StringArray::from(vec!["N90000"]);
    let one = RecordBatch::try_from_iter([
        ("tailnum", Arc::new(tails) as ArrayRef),
        ("places", Arc::new(Int64Array::from(vec![1_i64 << 40]))),
        ("year", Arc::new(Int32Array::from(vec![2_000]))),
    ])
    .unwrap();
    graph.load(append("node:Plane", one)).await.unwrap();
    assert_eq!(rows(&graph, "node:Plane").await, 61);
    assert_eq!(rows(&graph, "edge:Flight").await, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn properties_that_pass_their_names_on_keep_their_values() {
    let place = Place::empty();
    let graph = filled(place.uri()).await;
    let three = "seats = \"int32\"\ndoors = \"int32\"\ncrew = \"int32\"";
    apply(&graph, &[(SEATS, three)]).await.unwrap();
    let before = read(&graph, "node:Plane").await;
    let passed = "doors = { type = \"int32\", renamed_from = \"seats\" }\n\
                  crew = { type = \"int32\", renamed_from = \"doors\" }\n\
                  rest = { type = \"int32\", renamed_from = \"crew\" }\n\
                  seats = \"int32\"";
    apply(&graph, &[(SEATS, passed)]).await.unwrap();
    let after = read(&graph, "node:Plane").await;
    assert_eq!(names(&after), ["tailnum", "doors", "crew", "rest", "seats"]);
    assert_eq!(after.columns()[..4], before.columns()[..]);
    assert!(is_empty(&column(&after, "seats")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cast_takes_deleted_rows_nullability_and_names_that_move_along() {
    let place = Place::empty();
    let graph = filled(place.uri()).await;
    let more = "seats = \"int32\"\ndoors = \"int32\"\ncrew = { type = \"int32\" }";
    apply(&graph, &[(SEATS, more)]).await.unwrap();
    let manned = planes(50, 55, 7);
    let of = |n: i32| Arc::new(Int32Array::from(vec![n; 5])) as ArrayRef;
    let batch = RecordBatch::try_from_iter([
        ("tailnum", manned.column(0).clone()),
        ("seats", manned.column(1).clone()),
        ("doors", of(4)),
        ("crew", of(2)),
    ]);
    graph
        .load(append("node:Plane", batch.unwrap()))
        .await
        .unwrap();
    let gone = DeleteRequest::new().add(
        key("node:Plane"),
        "tailnum < 'N00020' OR tailnum = 'N00033'",
    );
    graph.delete(gone).await.unwrap();
    let before = read(&graph, "node:Plane").await;
    // One is cast, one must have values from now on, one takes over a name, and one is added under a name given up.
    let all = "seats = { type = \"int64\", required = true }\n\
               crew = { type = \"int32\", renamed_from = \"doors\" }\n\
               rest = { type = \"int32\", renamed_from = \"crew\" }\n\
               doors = \"int32\"";
    apply(
        &graph,
        &[
            (SEATS, all),
            ("name = \"string\"", "name = \"large_string\""),
        ],
    )
    .await
    .unwrap();
    let after = read(&graph, "node:Plane").await;
    assert_eq!(names(&after), ["tailnum", "seats", "crew", "rest", "doors"]);
    assert_eq!(&column(&after, "tailnum"), &column(&before, "tailnum"));
    let seats = cast(&column(&before, "seats"), &DataType::Int64).unwrap();
    assert_eq!(&column(&after, "seats"), &seats);
    assert_eq!(&column(&after, "crew"), &column(&before, "doors"));
    assert_eq!(&column(&after, "rest"), &column(&before, "crew"));
    assert_eq!(column(&after, "rest").null_count(), 29);
    assert!(is_empty(&column(&after, "doors")));
    assert!(
        !after
            .schema()
            .field_with_name("seats")
            .unwrap()
            .is_nullable()
    );
    open(&graph, "node:Plane").await.validate().await.unwrap();
    // A table without rows is cast as well.
    let airports = read(&graph, "node:Airport").await;
    assert_eq!(*column(&airports, "name").data_type(), DataType::LargeUtf8);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_that_widens_is_widened() {
    let widening = [
        ("uint8", "int64"),
        ("float16", "float64"),
        ("string", "large_string"),
        ("binary", "large_binary"),
        ("date32", "date64"),
        ("time32(s)", "time64(us)"),
        ("decimal(5, 2)", "decimal(40, 4)"),
        ("vector(3)", "vector(3, float64)"),
        ("list(int8)", "list(int32)"),
    ];
    let place = Place::empty();
    let graph = filled(place.uri()).await;
    let properties = |wide: bool| {
        let mut text = SEATS.to_owned();
        for (n, (from, to)) in widening.iter().enumerate() {
            let of = if wide { to } else { from };
            text.push_str(&format!("\np{n} = \"{of}\""));
        }
        text
    };
    apply(&graph, &[(SEATS, &properties(false))]).await.unwrap();
    let narrow = open(&graph, "node:Plane").await;
    let arrow = Arc::new(arrow::datatypes::Schema::from(narrow.schema()));
    let mut columns = planes(60, 63, 1).columns().to_vec();
    for field in &arrow.fields()[2..] {
        let text: ArrayRef = Arc::new(StringArray::from(vec![Some("1"), None, Some("2")]));
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(2)]));
        let values: ArrayRef = match field.data_type() {
            DataType::FixedSizeList(item, n) => {
                let items: ArrayRef = Arc::new(Int32Array::from_iter_values(0..9));
                let items = cast(&items, item.data_type()).unwrap();
                Arc::new(arrow::array::FixedSizeListArray::new(
                    item.clone(),
                    *n,
                    items,
                    None,
                ))
            }
            DataType::List(item) => {
                let items: ArrayRef = Arc::new(Int32Array::from_iter_values(0..9));
                let items = cast(&items, item.data_type()).unwrap();
                let offsets = arrow::buffer::OffsetBuffer::from_lengths([4, 0, 5]);
                Arc::new(arrow::array::ListArray::new(
                    item.clone(),
                    offsets,
                    items,
                    None,
                ))
            }
            DataType::Utf8 | DataType::Binary => cast(&text, field.data_type()).unwrap(),
            of => cast(&numbers, of).unwrap(),
        };
        columns.push(values);
    }
    let batch = RecordBatch::try_new(arrow, columns).unwrap();
    graph.load(append("node:Plane", batch)).await.unwrap();
    let before = read(&graph, "node:Plane").await;
    apply(&graph, &[(SEATS, &properties(true))]).await.unwrap();
    let after = read(&graph, "node:Plane").await;
    assert_eq!(names(&after), names(&before));
    for (n, (from, to)) in widening.iter().enumerate() {
        let (was, now) = (
            column(&before, &format!("p{n}")),
            column(&after, &format!("p{n}")),
        );
        assert_ne!(was.data_type(), now.data_type(), "{from} to {to}");
        assert_eq!(
            &cast(&was, now.data_type()).unwrap(),
            &now,
            "{from} to {to}"
        );
    }
    open(&graph, "node:Plane").await.validate().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_property_is_required_only_when_every_row_has_a_value() {
    let (place, graph) = Place::with_graph().await;
    fill(&graph).await;
    let more = "seats = \"int32\"\nbuilt = \"int32\"";
    apply(&graph, &[(SEATS, more)]).await.unwrap();
    graph
        .load(append("node:Plane", built(50, 53, 1999)))
        .await
        .unwrap();
    let before = (
        place.objects(".lance/").await,
        graph.snapshot().await.unwrap(),
    );
    let required = "seats = \"int32\"\nbuilt = { type = \"int32\", required = true }";
    let refused = apply(&graph, &[(SEATS, required)]).await;
    let Err(Error::RowsForbid {
        table, obstacle, ..
    }) = refused
    else {
        panic!("50 rows have none: {refused:?}")
    };
    assert_eq!(table, key("node:Plane"));
    let expected = Obstacle::MissingValues {
        property: "built".to_owned(),
        rows: 50,
    };
    assert_eq!(obstacle, expected);
    let after = graph.snapshot().await.unwrap();
    assert_eq!(after.manifest().tables, before.1.manifest().tables);
    assert_eq!(after.manifest().schema, before.1.manifest().schema);
    assert!(after.manifest().queue.is_empty());
    assert_eq!(place.objects(".lance/").await, before.0, "no file is left");

    let gone = DeleteRequest::new().add(key("node:Plane"), "built IS NULL");
    graph.delete(gone).await.unwrap();
    apply(&graph, &[(SEATS, required)]).await.unwrap();
    let there = read(&graph, "node:Plane").await;
    assert!(
        !there
            .schema()
            .field_with_name("built")
            .unwrap()
            .is_nullable()
    );
    // And back.
    apply(&graph, &[(SEATS, more)]).await.unwrap();
    let load = append("node:Plane", planes(60, 61, 1));
    graph.load(load).await.unwrap();
    assert_eq!(rows(&graph, "node:Plane").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_staged_for_one_table_is_taken_back_when_another_does_not_allow_its_steps() {
    let (place, graph) = Place::with_graph().await;
    fill(&graph).await;
    let odd = RecordBatch::try_from_iter([
        (
            "origin",
            Arc::new(StringArray::from(vec!["JFK"])) as ArrayRef,
        ),
        ("dest", Arc::new(StringArray::from(vec!["BQN"]))),
        ("day", Arc::new(Int32Array::from(vec![None::<i32>]))),
    ])
    .unwrap();
    graph.load(append("edge:Flight", odd)).await.unwrap();
    let before = place.objects(".lance/").await;
    // Nodes come before edges: the planes are cast by the time the flights are looked at.
    let refused = apply(
        &graph,
        &[
            (SEATS, "seats = \"int64\""),
            (
                "day = \"int32\"",
                "day = { type = \"int32\", required = true }",
            ),
        ],
    )
    .await;
    assert!(
        matches!(&refused, Err(Error::RowsForbid { table, .. }) if *table == key("edge:Flight")),
        "{refused:?}"
    );
    assert_eq!(place.objects(".lance/").await, before, "no file is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_gets_a_key_only_when_it_tells_its_rows_apart() {
    let (_place, graph) = Place::with_graph().await;
    fill(&graph).await;
    let keyed = [(
        "[edge.Flight]\n",
        "[edge.Flight]\nkey = [\"dest\", \"day\"]\n",
    )];
    let twice = LoadRequest::new().add(
        key("edge:Flight"),
        LoadMode::Append,
        Rows::Batches(vec![flights(1, 3)]),
    );
    graph.load(twice).await.unwrap();
    let refused = apply(&graph, &keyed).await;
    let Err(Error::RowsForbid {
        obstacle:
            Obstacle::RepeatedKeys {
                key: of,
                rows: repeated,
                example,
            },
        ..
    }) = refused
    else {
        panic!("three flights are there twice: {refused:?}")
    };
    assert_eq!(
        (of, repeated),
        (vec!["dest".to_owned(), "day".to_owned()], 3)
    );
    assert!(
        ["(D00, 1)", "(D01, 1)", "(D02, 1)"].contains(&&*example),
        "{example}"
    );
    let gone = DeleteRequest::new().add(key("edge:Flight"), "day = 1");
    graph.delete(gone).await.unwrap();
    apply(&graph, &keyed).await.unwrap();
    let upsert = LoadRequest::new().add(
        key("edge:Flight"),
        LoadMode::Upsert,
        Rows::Batches(vec![flights(0, 50)]),
    );
    graph.load(upsert).await.unwrap();
    assert_eq!(rows(&graph, "edge:Flight").await, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_the_graph_has_already_is_nothing_to_do() {
    let (place, graph) = Place::with_graph().await;
    fill(&graph).await;
    let more = "seats = \"int32\"\nbuilt = \"int32\"";
    apply(&graph, &[(SEATS, more)]).await.unwrap();
    let before = place.objects("").await;
    let again = graph.apply_schema(to(&[(SEATS, more)])).await.unwrap();
    assert!(again.pins.is_empty());
    assert_eq!(
        again.manifest,
        graph.snapshot().await.unwrap().manifest().number
    );
    // Another process that has not seen it yet finds the same.
    let other = place.open().await;
    apply(&other, &[(SEATS, more)]).await.unwrap();
    assert_eq!(place.objects("").await, before);
}
