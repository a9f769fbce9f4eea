//! A small graph in the shape of nycflights13, and rows for it.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int32Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema as ArrowSchema},
};
use squire_engine::{LoadMode, LoadRequest, Rows, TableKey, schema::Schema};

/// Two node types and an edge type between them.
pub const SCHEMA: &str = r#"
[graph]
name = "flights"

[node.Airport]
key = ["faa"]
[node.Airport.properties]
faa = "string"
name = "string"

[node.Plane]
key = ["tailnum"]
[node.Plane.properties]
tailnum = "string"
seats = "int32"

[edge.Flight]
from = { node = "Airport", property = "origin" }
to = { node = "Airport", property = "dest" }
[edge.Flight.properties]
origin = { type = "string", required = true }
dest = { type = "string", required = true }
day = "int32"
"#;

/// The schema, parsed.
pub fn schema() -> Schema {
    Schema::parse(SCHEMA, "flights.toml").expect("the suites' schema is good")
}

/// A key, from its text.
pub fn key(text: &str) -> TableKey {
    text.parse().expect("a table key")
}

/// `rows` flights of one day.
pub fn flights(day: i32, rows: usize) -> RecordBatch {
    let schema = ArrowSchema::new(vec![
        Field::new("origin", DataType::Utf8, false),
        Field::new("dest", DataType::Utf8, false),
        Field::new("day", DataType::Int32, true),
    ]);
    let dest: Vec<_> = (0..rows).map(|n| format!("D{:02}", n % 50)).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec!["JFK"; rows])),
        Arc::new(StringArray::from(dest)),
        Arc::new(Int32Array::from(vec![day; rows])),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).expect("columns fit")
}

/// Planes `from..to`, each with this many seats.
pub fn planes(from: usize, to: usize, seats: i32) -> RecordBatch {
    let schema = ArrowSchema::new(vec![
        Field::new("tailnum", DataType::Utf8, false),
        Field::new("seats", DataType::Int32, true),
    ]);
    let tails: Vec<_> = (from..to).map(|n| format!("N{n:05}")).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(tails)),
        Arc::new(Int32Array::from(vec![seats; to - from])),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).expect("columns fit")
}

/// Airports `from..to`, each with this name.
pub fn airports(from: usize, to: usize, name: &str) -> RecordBatch {
    let schema = ArrowSchema::new(vec![
        Field::new("faa", DataType::Utf8, false),
        Field::new("name", DataType::Utf8, true),
    ]);
    let codes: Vec<_> = (from..to).map(|n| format!("D{n:02}")).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(codes)),
        Arc::new(StringArray::from(vec![name; to - from])),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).expect("columns fit")
}

/// A load of one day's flights.
pub fn day(day: i32, rows: usize) -> LoadRequest {
    append("edge:Flight", flights(day, rows))
}

/// A load of one batch, appended to one table.
pub fn append(table: &str, batch: RecordBatch) -> LoadRequest {
    LoadRequest::new().add(key(table), LoadMode::Append, Rows::Batches(vec![batch]))
}
