//! What the programs wrote down of their operations (`tests/python/ledger.py`), and what must be there because of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    path::Path,
    time::Duration,
};

use arrow::array::{AsArray, types::Int64Type};
use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt;
use lance::Dataset;
use serde_json::Value;

/// One writer's operations.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// In the order in which they were done.
    pub operations: Vec<Operation>,
}

/// One operation, and what came of it.
#[derive(Clone, Debug)]
pub struct Operation {
    /// What was meant.
    pub intent: Intent,
    /// When it began, by the writer's clock; nothing when nobody was told of its end.
    pub at: Option<DateTime<Utc>>,
    /// How long it took; nothing when nobody was told of its end.
    pub took: Option<Duration>,
    /// What the client was told of, when it failed.
    pub error: Option<String>,
}

/// What an operation means to do.
#[derive(Clone, Debug)]
pub enum Intent {
    /// These rows will be there, with this stamp.
    Put(Vec<i64>, i64),
    /// These rows will be gone.
    Drop(Vec<i64>),
    /// No row changes.
    Nothing,
}

impl Ledger {
    /// Reads a ledger.
    ///
    /// # Errors
    /// When it cannot be read, or is none.
    pub fn read(path: &Path) -> io::Result<Self> {
        let text = std::fs::read_to_string(path)?;
        let mut operations: Vec<Operation> = Vec::new();
        for line in text.lines() {
            let bad =
                || io::Error::other(format!("{}: no line of a ledger: {line}", path.display()));
            let line: Value = serde_json::from_str(line)?;
            let Some(seconds) = line.get("seconds") else {
                operations.push(Operation {
                    intent: Intent::parse(&line).ok_or_else(bad)?,
                    at: None,
                    took: None,
                    error: None,
                });
                continue;
            };
            let last = operations.last_mut().ok_or_else(bad)?;
            let at = line.get("at").and_then(Value::as_f64).ok_or_else(bad)?;
            let at = TimeDelta::from_std(Duration::from_secs_f64(at)).map_err(io::Error::other)?;
            last.at = Some(DateTime::UNIX_EPOCH + at);
            last.took = Some(Duration::from_secs_f64(seconds.as_f64().ok_or_else(bad)?));
            last.error = line.get("error").and_then(Value::as_str).map(str::to_owned);
        }
        Ok(Self { operations })
    }

    /// What the client was told of.
    pub fn errors(&self) -> impl Iterator<Item = &str> {
        self.operations.iter().filter_map(|op| op.error.as_deref())
    }
}

impl Intent {
    fn parse(line: &Value) -> Option<Self> {
        let ids = |name| {
            let ids: Option<Vec<i64>> = line
                .get(name)?
                .as_array()?
                .iter()
                .map(Value::as_i64)
                .collect();
            ids
        };
        if line.get("put").is_some() {
            return Some(Self::Put(ids("put")?, line.get("stamp")?.as_i64()?));
        }
        if line.get("drop").is_some() {
            return ids("drop").map(Self::Drop);
        }
        Some(Self::Nothing)
    }
}

/// The rows that must be in a table: for each id the stamps that it may have, `None` among them when it may be gone.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    rows: BTreeMap<i64, BTreeSet<Option<i64>>>,
}

impl Expected {
    /// Rows that were there before the writers, with this stamp.
    pub fn seeded(ids: impl IntoIterator<Item = i64>, stamp: i64) -> Self {
        let certain = BTreeSet::from([Some(stamp)]);
        Self {
            rows: ids.into_iter().map(|id| (id, certain.clone())).collect(),
        }
    }

    /// Takes a writer's operations along. An operation that failed may have happened or not.
    pub fn follow(&mut self, ledger: &Ledger) {
        for operation in &ledger.operations {
            let certain = operation.took.is_some() && operation.error.is_none();
            match &operation.intent {
                Intent::Put(ids, stamp) => self.set(ids, Some(*stamp), certain),
                Intent::Drop(ids) => self.set(ids, None, certain),
                Intent::Nothing => {}
            }
        }
    }

    fn set(&mut self, ids: &[i64], to: Option<i64>, certain: bool) {
        for id in ids {
            let may = self
                .rows
                .entry(*id)
                .or_insert_with(|| BTreeSet::from([None]));
            if certain {
                may.clear();
            }
            may.insert(to);
        }
    }

    /// Compares with every row of a table, which has the columns `id` and `stamp`.
    ///
    /// # Errors
    /// Lance's, when the table cannot be read.
    pub async fn compare(&self, dataset: &Dataset) -> lance::Result<Difference> {
        let mut found: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        let mut scan = dataset.scan();
        scan.project(&["id", "stamp"])?;
        let mut batches = scan.try_into_stream().await?;
        while let Some(batch) = batches.try_next().await? {
            let column = |n: usize| batch.column(n).as_primitive::<Int64Type>().values().clone();
            for (id, stamp) in column(0).iter().zip(column(1).iter()) {
                found.entry(*id).or_default().push(*stamp);
            }
        }
        let mut difference = Difference {
            rows: found.values().map(Vec::len).sum(),
            ..Difference::default()
        };
        for (id, may) in &self.rows {
            match found.remove(id).as_deref() {
                None if may.contains(&None) => {}
                None => difference.lost.push(*id),
                Some([stamp]) if may.contains(&Some(*stamp)) => {}
                Some([_]) if *may == BTreeSet::from([None]) => difference.risen.push(*id),
                Some([_]) => difference.stale.push(*id),
                Some(_) => difference.doubled.push(*id),
            }
        }
        difference.unknown.extend(found.into_keys());
        Ok(difference)
    }
}

/// How a table differs from what must be in it, as ids.
#[derive(Clone, Debug, Default)]
pub struct Difference {
    /// How many rows the table has.
    pub rows: usize,
    /// They must be there, and are not.
    pub lost: Vec<i64>,
    /// They are there more than once.
    pub doubled: Vec<i64>,
    /// They are not as they were written last.
    pub stale: Vec<i64>,
    /// They were deleted, and are there.
    pub risen: Vec<i64>,
    /// Nobody wrote them.
    pub unknown: Vec<i64>,
}

impl Difference {
    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        self.ids() == 0
    }

    /// How many ids are not as they must be.
    pub fn ids(&self) -> usize {
        self.kinds().iter().map(|(_, ids)| ids.len()).sum()
    }

    fn kinds(&self) -> [(&'static str, &[i64]); 5] {
        [
            ("lost", &self.lost),
            ("doubled", &self.doubled),
            ("stale", &self.stale),
            ("risen", &self.risen),
            ("unknown", &self.unknown),
        ]
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_none() {
            return f.write_str("exact");
        }
        let mut kinds = self.kinds().into_iter().filter(|(_, ids)| !ids.is_empty());
        let mut comma = "";
        kinds.try_for_each(|(kind, ids)| {
            let first = ids.first().copied().unwrap_or_default();
            let written = write!(f, "{comma}{} {kind} (such as id {first})", ids.len());
            comma = ", ";
            written
        })
    }
}
