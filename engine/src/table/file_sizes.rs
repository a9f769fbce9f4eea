//! Bytes of a table's files that its manifest does not tell: of files that old writers left no size of, and of large values
//! that lie beside a data file. The store is asked once for each file; files never change.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use futures::{StreamExt, TryStreamExt, stream};
use lance::Dataset;
use lance_core::datatypes::{Field, Schema};
use lance_table::format::{DataFile, Fragment};
use object_store::{ObjectStoreExt, path::Path};

use super::{Table, stats::TableStats};
use crate::error::{Error, Result};

/// Maximum number of requests at once.
const AT_ONCE: usize = 8;

/// What the store reported of files, by the path of their table.
#[derive(Debug, Default)]
pub(crate) struct FileSizes(Mutex<HashMap<String, HashMap<Asked, u64>>>);

/// A question that one request answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Asked {
    /// How large a data file is.
    File(String),
    /// How large all values are that lie beside it: they are in a folder of its name.
    Beside(String),
}

impl FileSizes {
    /// Adds to the statistics of a table what its manifest does not tell of sizes, with a maximum number of requests;
    /// tells whether that was enough. What is not known by then stays
    /// [`unmeasured`](super::stats::FragmentStats::unmeasured).
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn add(
        &self,
        table: &Table,
        dataset: &Dataset,
        stats: &mut TableStats,
        most: usize,
    ) -> Result<bool> {
        let large = large_values(dataset.schema());
        let fragments = &dataset.manifest().fragments;
        let asked: Vec<_> = fragments.iter().map(|f| questions(f, &large)).collect();
        let enough = self.ask(table, asked.iter().flatten(), most).await?;
        let all: HashSet<&Asked> = asked.iter().flatten().collect();
        let mut known = self.known();
        if let Some(known) = known.get_mut(&table.path) {
            known.retain(|asked, _| all.contains(asked));
        }
        if all.is_empty() {
            known.remove(&table.path);
            return Ok(enough);
        }
        let none = HashMap::new();
        let known = known.get(&table.path).unwrap_or(&none);
        let described = fragments.iter().zip(&asked).zip(&mut stats.fragments);
        for ((fragment, asked), stats) in described {
            let sizes: Vec<_> = asked.iter().filter_map(|asked| known.get(asked)).collect();
            let elsewhere = fragment.files.iter().any(|file| is_untold(file, &large));
            stats.measured = sizes.iter().copied().sum();
            stats.bytes = stats.bytes.saturating_add(stats.measured);
            stats.unmeasured =
                fragment.physical_rows.is_none() || elsewhere || sizes.len() < asked.len();
        }
        Ok(enough)
    }

    /// Bytes of fragments, large values included.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn bytes(
        &self,
        table: &Table,
        schema: &Schema,
        fragments: impl Iterator<Item = &Fragment> + Clone,
    ) -> Result<u64> {
        let large = large_values(schema);
        let asked: Vec<_> = fragments
            .clone()
            .flat_map(|f| questions(f, &large))
            .collect();
        self.ask(table, asked.iter(), usize::MAX).await?;
        let sizes = fragments.flat_map(|f| &f.files);
        let sizes = sizes.filter_map(|file| file.file_size_bytes.get());
        let listed: u64 = sizes.map(u64::from).sum();
        let known = self.known();
        let known = known.get(&table.path);
        let measured = asked.iter().filter_map(|asked| known?.get(asked));
        Ok(listed.saturating_add(measured.sum()))
    }

    /// Forgets the tables at all other paths.
    pub(crate) fn keep(&self, paths: &BTreeSet<String>) {
        self.known().retain(|path, _| paths.contains(path));
    }

    /// Asks what is not known; returns whether the maximum number of requests was enough.
    async fn ask(
        &self,
        table: &Table,
        asked: impl Iterator<Item = &Asked>,
        most: usize,
    ) -> Result<bool> {
        let mut unknown: Vec<Asked> = {
            let known = self.known();
            let known = known.get(&table.path);
            let is_new = |asked: &&Asked| known.is_none_or(|known| !known.contains_key(*asked));
            asked.filter(is_new).cloned().collect()
        };
        let enough = unknown.len() <= most;
        unknown.truncate(most);
        let requests = unknown.into_iter().map(|asked| answer(table, asked));
        let requests: Vec<_> = requests.collect();
        let mut answers = stream::iter(requests).buffer_unordered(AT_ONCE);
        while let Some(answer) = answers.try_next().await? {
            if let Some((asked, bytes)) = answer {
                let mut known = self.known();
                known
                    .entry(table.path.clone())
                    .or_default()
                    .insert(asked, bytes);
            }
        }
        Ok(enough)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, HashMap<Asked, u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request. Nothing when there is no such file: its reader gets the error.
async fn answer(table: &Table, asked: Asked) -> Result<Option<(Asked, u64)>> {
    let data = table.storage.table_base(&table.path).join("data");
    let store = &table.storage.store;
    let (Asked::File(name) | Asked::Beside(name)) = &asked;
    let place = Path::from(format!("{data}/{name}"));
    let bytes = match &asked {
        Asked::File(_) => match store.head(&place).await {
            Ok(found) => Ok(found.size),
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(e) => Err(e),
        },
        Asked::Beside(_) => {
            let found = store.list(Some(&place));
            let sum = |sum: u64, found: object_store::ObjectMeta| {
                std::future::ready(Ok(sum.saturating_add(found.size)))
            };
            found.try_fold(0, sum).await
        }
    };
    let bytes = bytes.map_err(|e| {
        let of = format!("{} of {}", table.key, table.storage.uri);
        Error::store("measuring the files of", of, e)
    })?;
    Ok(Some((asked, bytes)))
}

/// What is to be asked of a fragment's files.
fn questions(fragment: &Fragment, large: &BTreeSet<i32>) -> Vec<Asked> {
    let own = fragment.files.iter().filter(|file| file.base_id.is_none());
    let asked = own.flat_map(|file| {
        let size = file.file_size_bytes.get().is_none();
        let size = size.then(|| Asked::File(file.path.clone()));
        let stem = file.path.strip_suffix(".lance").unwrap_or(&file.path);
        let beside = holds(file, large).then(|| Asked::Beside(stem.to_owned()));
        size.into_iter().chain(beside)
    });
    asked.collect()
}

/// Whether a file lies in the folder of another table, which is not asked, and leaves a size untold.
fn is_untold(file: &DataFile, large: &BTreeSet<i32>) -> bool {
    file.base_id.is_some() && (file.file_size_bytes.get().is_none() || holds(file, large))
}

fn holds(file: &DataFile, large: &BTreeSet<i32>) -> bool {
    file.fields.iter().any(|field| large.contains(field))
}

/// The ids of columns whose values lie beside their data file.
fn large_values(schema: &Schema) -> BTreeSet<i32> {
    fn ids(field: &Field, into: &mut BTreeSet<i32>) {
        into.insert(field.id);
        field.children.iter().for_each(|child| ids(child, into));
    }
    let mut large = BTreeSet::new();
    let fields = schema.fields_pre_order();
    for field in fields.filter(|field| field.is_blob_v2()) {
        ids(field, &mut large);
    }
    large
}
