//! What a snapshot of the bank holds.

use std::collections::BTreeMap;

use arrow::{array::AsArray, datatypes::Int64Type};
use futures::TryStreamExt;
use squire_engine::{Error, Snapshot, TableKey, manifest::Manifest, schema::Schema};

use super::{Tag, Till};

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// In which table.
    pub till: Till,
    /// Its key.
    pub id: String,
    /// How much.
    pub amount: i64,
    /// The operation that wrote it, by its own columns.
    pub tag: Tag,
    /// The same once more, as text in the column that is renamed again and again.
    pub note: Option<String>,
}

/// All rows of one snapshot, and its schema.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Holdings {
    /// The manifest's number.
    pub manifest: u64,
    /// The rows of all tills.
    pub rows: Vec<Row>,
    /// The schema.
    pub schema: Schema,
}

/// Tables as they were read last: a version never changes.
#[derive(Debug, Default)]
pub struct Shelf(BTreeMap<Till, Kept>);

#[derive(Debug)]
struct Kept {
    pin: u64,
    rows: Vec<Row>,
}

/// The key that a till's table has in a manifest, and the name that its column of notes has.
pub fn now(manifest: &Manifest, till: Till) -> Option<(TableKey, &'static str)> {
    let path = till.path();
    let (key, _) = manifest.tables.iter().find(|(_, e)| e.path == path)?;
    let def = manifest.schema.types.get(key)?;
    let note = ["note", "memo"]
        .into_iter()
        .find(|name| def.property(name).is_some())?;
    Some((key.clone(), note))
}

impl Holdings {
    /// Reads a whole snapshot; what is on the shelf already is not read again.
    ///
    /// # Errors
    /// When a table is missing or cannot be read.
    pub async fn of(snapshot: &Snapshot, shelf: &mut Shelf) -> Result<Self, Error> {
        let manifest = snapshot.manifest();
        let mut rows = Vec::new();
        for till in Till::ALL {
            let Some((key, note)) = now(manifest, till) else {
                return Err(Error::UnknownTable {
                    table: till.path(),
                    nearest: None,
                    uri: "the bank".to_owned(),
                });
            };
            let pin = manifest.pin(&key);
            if shelf.0.get(&till).is_none_or(|kept| kept.pin != pin) {
                let dataset = snapshot.open(&key).await?;
                let read = read(&dataset, till, note).await;
                let rows = read.map_err(|e| Error::Lance {
                    action: "reading",
                    table: key.clone(),
                    uri: "the bank".to_owned(),
                    source: Box::new(e),
                })?;
                shelf.0.insert(till, Kept { pin, rows });
            }
            rows.extend(shelf.0.get(&till).iter().flat_map(|kept| kept.rows.clone()));
        }
        Ok(Self {
            manifest: manifest.number,
            rows,
            schema: manifest.schema.clone(),
        })
    }
}

async fn read(dataset: &lance::Dataset, till: Till, note: &str) -> lance::Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut scan = dataset.scan();
    scan.project(&["id", "amount", "writer", "seq", note])?;
    let mut batches = scan.try_into_stream().await?;
    while let Some(batch) = batches.try_next().await? {
        let ids = batch.column(0).as_string::<i32>();
        let numbers = |n: usize| batch.column(n).as_primitive::<Int64Type>();
        let (amounts, writers, seqs) = (numbers(1), numbers(2), numbers(3));
        let notes = batch.column(4).as_string::<i32>();
        for (n, note) in notes.iter().enumerate() {
            rows.push(Row {
                till,
                id: ids.value(n).to_owned(),
                amount: amounts.value(n),
                tag: Tag {
                    writer: usize::try_from(writers.value(n)).unwrap_or(usize::MAX),
                    seq: u64::try_from(seqs.value(n)).unwrap_or(u64::MAX),
                },
                note: note.map(str::to_owned),
            });
        }
    }
    // A table has no order: another layout of the same rows may show them in another one.
    rows.sort_by(|a, b| {
        let key = |row: &Row| (row.id.clone(), row.tag.writer, row.tag.seq, row.amount);
        key(a).cmp(&key(b))
    });
    Ok(rows)
}
