//! How many bytes the rows of fragments take in memory once they are decoded, so that a batch has as many as there is room
//! for: on disk a text may take a thousandth of that, and a large value lies elsewhere.
//!
//! Columns whose values are all of one size are known by their types. Of the others some rows are read, in every page of
//! a data file where that is cheap: a page has as many rows as make some megabytes, so rows of another width have pages
//! of their own. Large values (blobs) are not read: their descriptors say how large they are, each of them.
//!
//! What is found is an estimate between the rows that were read. Files of storage version 2.1 and later are read in
//! batches that follow what was decoded last, see [`super::batches::in_batches`]; they never have more rows than the estimate says.
//!
//! | file | what is in it |
//! |---|---|
//! | [`pages`] | stretches of a fragment's rows, by the pages of its data files |
//! | [`values`] | how many bytes values take, row by row |
//! | [`windows`] | how many bytes consecutive rows have at most |

mod pages;
mod values;
mod windows;

use std::{collections::BTreeSet, sync::Arc};

use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use lance::{Dataset, dataset::fragment::FileFragment};
use lance_core::datatypes::{BlobHandling, Schema};
use lance_table::format::Fragment;

use self::{
    pages::{Pages, Stretch},
    windows::{Sliding, Windows},
};
use super::{Table, fragments::holds_blobs, guard::caught_by_lance};
use crate::{
    error::{Error, Result},
    memory::{self, MOST_ROWS, width},
};

/// Maximum number of fragments that are measured at once.
const AT_ONCE: usize = 2;
/// Maximum number of rows that are read at once to see how large they are.
const READ_AT_ONCE: u64 = 64;
/// Rows are read to be measured until they are this part of a fragment,
const MEASURED_PART: u64 = 16;
/// or this many bytes on disk, when that is more.
const MEASURED_BYTES: u64 = 8 << 20;
/// Minimum and maximum number of rows of a fragment that are read.
const MEASURED_ROWS: (u64, u64) = (3, 1024);

/// The rows of some fragments: the maximum number of bytes of any number of consecutive ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RowSizes {
    /// Without the large values that lie beside the rows.
    rows: Windows,
    /// Those values alone.
    values: Windows,
    /// The largest row with its values, in bytes, and the fragment that it is in.
    largest: Option<(u64, u64)>,
    /// Bytes that Lance reads when it opens the files, whatever is read of them, and a fragment that has some of them.
    at_once: (u64, u64),
}

impl RowSizes {
    /// Measures the rows of these fragments of a table.
    ///
    /// # Errors
    /// [`Error::Lance`].
    pub(crate) async fn of(
        table: &Table,
        dataset: &Dataset,
        fragments: &[Fragment],
    ) -> Result<Self> {
        let columns = Columns::of(dataset.schema());
        let dataset = Arc::new(dataset.clone());
        let measured = fragments
            .iter()
            .map(|f| columns.measure(&dataset, f).boxed());
        let measured: Vec<_> = measured.collect();
        let measured = stream::iter(measured).buffered(AT_ONCE);
        let all = measured.try_fold(Self::default(), |all, one| async move { Ok(all.and(one)) });
        caught_by_lance(all)
            .await
            .map_err(|e| table.failed("measuring the rows of", e))
    }

    /// Rows that a batch may have with their large values, or one.
    pub(crate) fn batch(&self) -> usize {
        let most = memory::limits().batch_bytes();
        self.fitting(most, |rows, values| rows.saturating_add(values))
    }

    /// Rows that a batch may have when large values are not read, but where they lie; or one.
    pub(crate) fn described_batch(&self) -> usize {
        self.fitting(memory::limits().batch_bytes(), |rows, _| rows)
    }

    /// Whether a job has room for the largest row.
    ///
    /// # Errors
    /// [`Error::RowTooLarge`].
    pub(crate) fn fit(&self, table: &Table, dataset: &Dataset) -> Result<()> {
        let most = memory::limits().largest_row();
        let at_once = Some(self.at_once).filter(|_| !can_be_split(dataset));
        let largest = self.largest.into_iter().chain(at_once);
        match largest.max_by_key(|(_, bytes)| *bytes) {
            Some((fragment, bytes)) if bytes > most => Err(Error::RowTooLarge {
                table: table.key.clone(),
                fragment,
                bytes,
                most,
                uri: table.storage.uri.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Whether Lance would read more at once than there is room for when it opens the fragments: then they are read a few
    /// rows at a time, see [`Self::piece`].
    pub(crate) fn in_pieces(&self) -> bool {
        self.at_once.1 > memory::limits().largest_row()
    }

    /// The number of rows to read at a time.
    pub(crate) fn piece(&self) -> u64 {
        let most = memory::limits().largest_batch();
        self.fitting(most, |rows, _| rows) as u64
    }

    fn fitting(&self, most: u64, bytes: impl Fn(u64, u64) -> u64) -> usize {
        let windows = self.rows.sizes().zip(self.values.sizes());
        let fits = windows.take_while(|((_, rows), (_, values))| bytes(*rows, *values) <= most);
        let rows = fits.map(|((rows, _), _)| rows).last();
        rows.unwrap_or(1).min(MOST_ROWS)
    }

    /// Both together. No batch has rows of two fragments.
    fn and(mut self, other: Self) -> Self {
        self.rows.widen(&other.rows);
        self.values.widen(&other.values);
        // Lance opens several of them ahead.
        self.at_once = match (self.at_once, other.at_once) {
            (few, (_, 0)) => few,
            ((_, before), (fragment, more)) => (fragment, before.saturating_add(more)),
        };
        self.largest = self
            .largest
            .into_iter()
            .chain(other.largest)
            .max_by_key(|l| l.1);
        self
    }
}

/// Whether rows of a table may differ in size.
pub(crate) fn differ(schema: &Schema) -> bool {
    let columns = Columns::of(schema);
    !columns.texts.is_empty() || !columns.blobs.is_empty()
}

/// The columns of a table, by what has to be read to know their size.
#[derive(Debug)]
struct Columns {
    schema: Schema,
    /// Bytes of a row in those whose values are all of one size.
    fixed: u64,
    /// The ids of those of which rows have to be read.
    texts: Vec<i32>,
    /// The ids of those of which the descriptors have to be read.
    blobs: Vec<i32>,
}

impl Columns {
    fn of(schema: &Schema) -> Self {
        let mut columns = Self {
            schema: schema.clone(),
            fixed: 0,
            texts: Vec::new(),
            blobs: Vec::new(),
        };
        for field in &schema.fields {
            if holds_blobs(field) {
                columns.blobs.push(field.id);
            } else if let Some(bytes) = width(&field.data_type()) {
                columns.fixed += bytes;
            } else {
                columns.texts.push(field.id);
            }
        }
        columns
    }

    async fn measure(
        &self,
        dataset: &Arc<Dataset>,
        fragment: &Fragment,
    ) -> lance::Result<RowSizes> {
        let mut rows = Sliding::default();
        let mut at_once = 0;
        let physical = fragment.physical_rows.unwrap_or(MOST_ROWS) as u64;
        if self.texts.is_empty() {
            rows.push(physical, self.fixed);
        } else {
            let texts = self.texts(dataset, fragment, physical).await?;
            at_once = texts.at_once;
            for stretch in texts.stretches {
                let bytes = self.fixed.saturating_add(stretch.bytes);
                rows.push(stretch.rows.end - stretch.rows.start, bytes);
            }
        }
        let values = self.blobs(dataset, fragment).await?;
        let largest = rows.most().largest().saturating_add(values.largest());
        Ok(RowSizes {
            rows: rows.most(),
            values,
            largest: Some((fragment.id, largest)),
            at_once: (fragment.id, at_once),
        })
    }

    /// How wide rows of the columns are that have to be read, stretch by stretch.
    async fn texts(
        &self,
        dataset: &Arc<Dataset>,
        fragment: &Fragment,
        physical: u64,
    ) -> lance::Result<Pages> {
        let projection = self.schema.project_by_ids(&self.texts, true);
        let fields: BTreeSet<i32> = projection.fields_pre_order().map(|f| f.id).collect();
        let mut pages = Pages::of(dataset, fragment, &fields, physical).await;
        let stretches = &mut pages.stretches;
        let on_disk = |s: &Stretch| s.bytes.saturating_mul(s.rows.end - s.rows.start);
        let all = stretches
            .iter()
            .fold(0_u64, |all, s| all.saturating_add(on_disk(s)));
        let average = (all / physical.max(1)).max(1);
        let worth = (all / MEASURED_PART).max(MEASURED_BYTES) / average;
        let worth = worth.clamp(MEASURED_ROWS.0, MEASURED_ROWS.1);
        let chosen = pages::chosen(stretches, worth);
        // As it lies in its files, whatever is deleted.
        let whole = Fragment {
            deletion_file: None,
            ..fragment.clone()
        };
        let whole = FileFragment::new(dataset.clone(), whole);
        let mut widest = stretches.iter().map(|s| s.bytes).max().unwrap_or(0).max(1);
        // One alone, as nothing is known of them.
        let mut next = 1;
        let mut left = chosen.as_slice();
        // How much wider than on disk, in parts of that.
        let mut ratio = 1;
        while !left.is_empty() {
            let (now, later) = left.split_at(next.min(left.len()));
            let rows: Vec<u32> = now.iter().map(|(_, row)| *row).collect();
            let batch = whole.take(&rows, &projection).boxed().await?;
            let mut sizes = vec![0; batch.num_rows()];
            for (array, field) in batch.columns().iter().zip(&projection.fields) {
                values::add(array, Some(field), &mut sizes);
            }
            for ((at, _), size) in now.iter().zip(sizes) {
                widest = widest.max(size);
                if let Some(stretch) = stretches.get_mut(*at) {
                    ratio = ratio.max(size / stretch.least.max(1));
                    stretch.bytes = stretch.bytes.max(size);
                    stretch.measured = true;
                }
            }
            let fitting = memory::limits().batch_bytes() / widest;
            next = usize::try_from(fitting.clamp(1, READ_AT_ONCE)).unwrap_or(1);
            left = later;
        }
        for stretch in stretches.iter_mut().filter(|s| !s.measured) {
            stretch.bytes = stretch.least.saturating_mul(ratio);
        }
        Ok(pages)
    }

    /// How large the large values of a fragment's rows are, by their descriptors.
    async fn blobs(&self, dataset: &Arc<Dataset>, fragment: &Fragment) -> lance::Result<Windows> {
        let mut rows = Sliding::default();
        if self.blobs.is_empty() {
            return Ok(rows.most());
        }
        let projection = self.schema.project_by_ids(&self.blobs, true);
        let mut scan = dataset.scan();
        scan.with_fragments(vec![fragment.clone()])
            .scan_in_order(true)
            .batch_size(MOST_ROWS)
            .io_buffer_size(memory::limits().io_buffer())
            .blob_handling(BlobHandling::BlobsDescriptions)
            .project_with_schema(&projection)?;
        let mut batches = scan.try_into_stream().boxed().await?;
        while let Some(batch) = batches.try_next().await? {
            let mut sizes = vec![0; batch.num_rows()];
            for (array, field) in batch.columns().iter().zip(&projection.fields) {
                values::add(array, Some(field), &mut sizes);
            }
            for size in sizes {
                rows.push(1, size);
            }
        }
        Ok(rows.most())
    }
}

/// Whether a table can be rewritten like this: its rows have no ids that follow them, and no values that lie beside them.
fn can_be_split(dataset: &Dataset) -> bool {
    let mut fields = dataset.schema().fields.iter();
    !dataset.manifest().uses_stable_row_ids() && !fields.any(holds_blobs)
}
