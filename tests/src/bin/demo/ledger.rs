//! What the graph must hold, row by row, and the writer that notes it.

use std::collections::BTreeMap;

use arrow::{
    array::{Array, AsArray, BooleanArray, RecordBatch},
    compute::{cast, filter_record_batch},
    datatypes::{DataType, Int64Type, Schema as ArrowSchema},
};
use squire_engine::{Graph, LoadMode, LoadRequest, Rows, Snapshot, TableKey, input::conform};
use squire_tests::{
    fingerprint::Fingerprint,
    flights::key,
    nycflights::{self, Day},
};

use crate::Result;

/// Days whose cancelled flights are deleted.
pub(crate) const CLEANED_DAYS: [i64; 4] = [2, 9, 16, 23];
/// So many loads a day of flights.
const LOADS_A_DAY: usize = 10;

/// The rows of every load, as they were read.
#[derive(Default)]
pub(crate) struct Ledger {
    rows: BTreeMap<TableKey, Vec<RecordBatch>>,
}

impl Ledger {
    /// Notes rows that a table must hold in the end.
    pub(crate) fn add(&mut self, table: &str, rows: &RecordBatch) -> Result {
        let kept = without_cleaned(rows)?;
        self.rows.entry(key(table)).or_default().push(kept);
        Ok(())
    }

    /// Notes that a column has another name from now on.
    pub(crate) fn rename(&mut self, table: &str, from: &str, to: &str) -> Result {
        for rows in self.rows.entry(key(table)).or_default() {
            let schema = rows.schema();
            let fields = schema.fields().iter().map(|field| {
                let name = if field.name() == from {
                    to
                } else {
                    field.name()
                };
                field.as_ref().clone().with_name(name)
            });
            let renamed = ArrowSchema::new(fields.collect::<Vec<_>>());
            *rows = RecordBatch::try_new(renamed.into(), rows.columns().to_vec())?;
        }
        Ok(())
    }

    /// What each table must hold, fitted to the schema that it has in a snapshot.
    pub(crate) async fn expected(
        &self,
        snapshot: &Snapshot,
    ) -> Result<BTreeMap<TableKey, Fingerprint>> {
        let mut expected = BTreeMap::new();
        for (table, batches) in &self.rows {
            let target = ArrowSchema::from(snapshot.open(table).await?.schema()).into();
            let mut fingerprint = Fingerprint::default();
            for batch in batches {
                fingerprint.add(&conform(batch, &target, table.name(), 0)?)?;
            }
            expected.insert(table.clone(), fingerprint);
        }
        Ok(expected)
    }
}

/// The writer of this process.
pub(crate) struct Writer {
    graph: Graph,
    pub(crate) ledger: Ledger,
    pub(crate) loads: usize,
}

impl Writer {
    pub(crate) fn new(graph: Graph) -> Self {
        Self {
            graph,
            ledger: Ledger::default(),
            loads: 0,
        }
    }

    /// One atomic load into several tables.
    pub(crate) async fn load(&mut self, tables: Vec<(&str, RecordBatch)>) -> Result {
        let mut request = LoadRequest::new();
        for (name, batch) in tables {
            self.ledger.add(name, &batch)?;
            request = request.add(key(name), LoadMode::Append, Rows::Batches(vec![batch]));
        }
        self.graph.load(request).await?;
        self.loads += 1;
        Ok(())
    }

    /// A day of flights in small loads; some planes come along in each.
    pub(crate) async fn load_day(&mut self, day: &Day, planes: &[RecordBatch]) -> Result {
        let mut planes = planes.iter();
        for flights in nycflights::parts(&day.flights, LOADS_A_DAY) {
            let mut tables = vec![("edge:Flight", flights)];
            if let Some(some) = planes.next() {
                tables.push(("node:Plane", some.clone()));
            }
            self.load(tables).await?;
        }
        Ok(())
    }
}

/// The rows that no delete of the demo takes away.
fn without_cleaned(rows: &RecordBatch) -> Result<RecordBatch> {
    let (Some(day), Some(dep_time)) = (rows.column_by_name("day"), rows.column_by_name("dep_time"))
    else {
        return Ok(rows.clone());
    };
    let day = cast(day, &DataType::Int64)?;
    let day = day.as_primitive::<Int64Type>();
    let kept: BooleanArray = (0..rows.num_rows())
        .map(|row| Some(!(CLEANED_DAYS.contains(&day.value(row)) && dep_time.is_null(row))))
        .collect();
    Ok(filter_record_batch(rows, &kept)?)
}
