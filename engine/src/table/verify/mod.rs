//! What a rewrite wrote is read back before it is committed.
//!
//! A file that cannot be read is worse than none: once it is committed, the next cleanup takes the last good version.
//! So the new fragments are opened as a reader will open them, with the table's schema, and compared with the rows that
//! lived in the sources. `ends` reads the first and the last batch of each new fragment, and the same rows of the
//! sources; `full` reads all of both. Of large values that lie beside the rows, neither reads more than where they lie
//! and how large they are.
//!
//! **Memory.** One scan is open at a time. Its batches have as many rows as those of the rewrite itself, and its buffer is
//! as large; of a batch that was looked at, one number for each column stays. So it never takes more than the rewrite
//! did, which wrote besides.
//!
//! | file | what is in it |
//! |---|---|
//! | [`fault`] | what is wrong with what a rewrite wrote |
//! | [`sums`] | rows as one number for each column |

pub(crate) mod fault;
mod sums;

use std::{ops::Range, sync::Arc};

use futures::{FutureExt, TryStreamExt};
use lance::{
    Dataset,
    dataset::{fragment::FileFragment, optimize::RewriteResult},
};
use lance_core::datatypes::{BlobHandling, Field, Schema};
use lance_table::format::Fragment;

use self::{
    fault::{EVERY_COLUMN, Fault},
    sums::Sums,
};
use super::{Table, pieces, row_sizes::RowSizes};
use crate::{
    error::{Result, cause::Cause, plain},
    memory,
    planner::compaction::Verify,
    table::guard::caught_by_lance,
};

/// Why a check failed.
enum Trouble {
    /// The new files are at fault.
    Fault(Fault),
    /// The store is, or the sources are: nothing is known of the new files.
    Lance(lance::Error),
}

impl From<lance::Error> for Trouble {
    fn from(e: lance::Error) -> Self {
        Self::Lance(e)
    }
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Reads back what these rewrites wrote, which is not committed, and tells what is wrong with it. `sizes` are those of the
/// rows that were read.
///
/// # Errors
/// [`crate::Error::Lance`], when the store failed or the sources cannot be read: that says nothing of the new files.
pub(crate) async fn rewritten(
    table: &Table,
    dataset: &Dataset,
    results: &[RewriteResult],
    how: Verify,
    sizes: &RowSizes,
) -> Result<Result<(), Fault>> {
    for result in results {
        let looked = match how {
            Verify::Off => Ok(()),
            // Boxed, because Lance's futures are large.
            _ => Look::at(dataset, result, how, sizes).run().boxed().await,
        };
        match looked {
            Ok(()) => {}
            Err(Trouble::Fault(fault)) => return Ok(Err(fault)),
            Err(Trouble::Lance(e)) => return Err(table.failed("reading back", e)),
        }
    }
    Ok(Ok(()))
}

/// One rewrite, and what it was made from.
struct Look<'a> {
    dataset: Arc<Dataset>,
    sources: &'a [Fragment],
    new: Vec<Fragment>,
    how: Verify,
    batch: usize,
    /// The number of rows to read at a time, where Lance would read too much at once.
    piece: Option<u64>,
}

impl<'a> Look<'a> {
    fn at(dataset: &Dataset, result: &'a RewriteResult, how: Verify, sizes: &RowSizes) -> Self {
        // They have no ids yet, and must not be taken for fragments that are there: Lance remembers some things by id.
        let ids = (0..=u64::from(u32::MAX)).rev();
        let new = result.new_fragments.iter().zip(ids);
        let new: Vec<_> = new.map(|(f, id)| Fragment { id, ..f.clone() }).collect();
        Self {
            dataset: Arc::new(dataset.clone()),
            sources: &result.original_fragments,
            new,
            how,
            batch: match how {
                Verify::Full => sizes.batch(),
                _ => sizes.described_batch(),
            },
            piece: sizes.in_pieces().then(|| sizes.piece()),
        }
    }

    async fn run(&self) -> Result<(), Trouble> {
        let lives = self.live_rows().await?;
        let (wanted, found) = (lives.iter().sum::<u64>(), rows(&self.new));
        if wanted != found {
            let reason = format!("{found} rows were written, of {wanted}");
            return Err(Fault::of(EVERY_COLUMN, reason).into());
        }
        for fragment in &self.new {
            self.files_agree(fragment).await?;
        }
        match self.how {
            Verify::Full => self.all(&lives).await,
            _ => self.ends(&lives).await,
        }
    }

    /// How many rows live in each source.
    async fn live_rows(&self) -> lance::Result<Vec<u64>> {
        let mut lives = Vec::new();
        for source in self.sources {
            lives.push(match source.num_rows() {
                Some(rows) => rows as u64,
                None => self.opened(source).count_rows(None).await? as u64,
            });
        }
        Ok(lives)
    }

    /// Whether each file of a new fragment opens, and has as many rows as the fragment is said to have.
    async fn files_agree(&self, fragment: &Fragment) -> Result<(), Trouble> {
        if fragment.physical_rows.is_none() {
            return Err(Fault::of(EVERY_COLUMN, "nothing tells how many rows there are").into());
        }
        match caught_by_lance(self.opened(fragment).validate()).await {
            Ok(()) => Ok(()),
            Err(e) if Cause::of(&e).is_of_store() => Err(e.into()),
            Err(e) => Err(Fault::of(EVERY_COLUMN, plain(&e)).into()),
        }
    }

    /// The first and the last batch of each new fragment.
    async fn ends(&self, lives: &[u64]) -> Result<(), Trouble> {
        let mut before = 0;
        for fragment in &self.new {
            let rows = fragment.physical_rows.unwrap_or(0) as u64;
            for range in both_ends(rows, self.batch as u64) {
                let new = self.sums_of_new(fragment, Some(range.clone())).await?;
                let there = before + range.start..before + range.end;
                let (of, within) = window(lives, there);
                let sources = self.sources.get(of).unwrap_or_default();
                let old = self.sums(sources, Some(within), None).await?;
                compare(old?, &new)?;
            }
            before += rows;
        }
        Ok(())
    }

    /// Every row. One scan after the other: what is kept of the first is a number for each column.
    async fn all(&self, lives: &[u64]) -> Result<(), Trouble> {
        let (mut new, mut old) = (Sums::default(), Sums::default());
        for fragment in &self.new {
            for range in self.pieces(fragment.physical_rows.unwrap_or(0) as u64) {
                self.add_new(&mut new, fragment, range).await?;
            }
        }
        for (source, live) in self.sources.iter().zip(lives) {
            let alone = std::slice::from_ref(source);
            for range in self.pieces(*live) {
                self.add(&mut old, alone, range, None).await??;
            }
        }
        compare(old, &new)
    }

    /// All rows of a fragment with this many.
    fn pieces(&self, rows: u64) -> Vec<Option<Range<u64>>> {
        match self.piece {
            None => vec![None],
            Some(piece) => pieces::ranges(rows, piece).map(Some).collect(),
        }
    }

    async fn sums_of_new(
        &self,
        fragment: &Fragment,
        range: Option<Range<u64>>,
    ) -> Result<Sums, Trouble> {
        let mut sums = Sums::default();
        self.add_new(&mut sums, fragment, range).await?;
        Ok(sums)
    }

    /// Adds rows of a new fragment. When they cannot be read, one column after the other is tried, for its name.
    async fn add_new(
        &self,
        sums: &mut Sums,
        fragment: &Fragment,
        range: Option<Range<u64>>,
    ) -> Result<(), Trouble> {
        let alone = std::slice::from_ref(fragment);
        let e = match self.add(sums, alone, range.clone(), None).await {
            Ok(added) => return Ok(added?),
            Err(e) if Cause::of(&e).is_of_store() => return Err(e.into()),
            Err(e) => e,
        };
        let schema = self.dataset.schema();
        for (path, id) in leaves(&schema.fields) {
            let column = schema.project_by_ids(&[id], true);
            match self.sums(alone, range.clone(), Some(&column)).await {
                Ok(Ok(_)) => {}
                Ok(Err(fault)) => return Err(fault.into()),
                Err(e) if Cause::of(&e).is_of_store() => return Err(e.into()),
                Err(e) => return Err(Fault::of(&path, plain(&e)).into()),
            }
        }
        Err(Fault::of(EVERY_COLUMN, plain(&e)).into())
    }

    async fn sums(
        &self,
        fragments: &[Fragment],
        range: Option<Range<u64>>,
        columns: Option<&Schema>,
    ) -> lance::Result<Result<Sums, Fault>> {
        let mut sums = Sums::default();
        let added = self.add(&mut sums, fragments, range, columns).await?;
        Ok(added.map(|()| sums))
    }

    /// Adds what a scan reads. The fault is one of what was read.
    async fn add(
        &self,
        sums: &mut Sums,
        fragments: &[Fragment],
        range: Option<Range<u64>>,
        columns: Option<&Schema>,
    ) -> lance::Result<Result<(), Fault>> {
        let mut scan = self.dataset.scan();
        scan.with_fragments(fragments.to_vec())
            .scan_in_order(true)
            .batch_size(self.batch)
            .io_buffer_size(memory::limits().io_buffer())
            .blob_handling(self.blobs());
        if let Some(range) = range {
            pieces::limit(&mut scan, &range)?;
        }
        if let Some(columns) = columns {
            scan.project_with_schema(columns)?;
        }
        let fields = &self.dataset.schema().fields;
        let read = async {
            let mut batches = scan.try_into_stream().await?;
            while let Some(batch) = batches.try_next().await? {
                if let Err(fault) = sums.add(fields, &batch) {
                    return Ok(Err(fault));
                }
            }
            Ok(Ok(()))
        };
        caught_by_lance(read.boxed()).await
    }

    /// Large values that lie beside the rows are not read, but where they lie and how large they are. Only `full` reads
    /// those of the older kind, which lie in the data file itself.
    fn blobs(&self) -> BlobHandling {
        let fields = self.dataset.schema().fields_pre_order();
        let older = fields.filter(|f| f.is_blob() && !f.is_blob_v2());
        match self.how {
            Verify::Full => BlobHandling::SomeBlobsBinary(
                older.filter_map(|f| u32::try_from(f.id).ok()).collect(),
            ),
            _ => BlobHandling::BlobsDescriptions,
        }
    }

    fn opened(&self, fragment: &Fragment) -> FileFragment {
        FileFragment::new(self.dataset.clone(), fragment.clone())
    }
}

fn compare(old: Sums, new: &Sums) -> Result<(), Trouble> {
    match old.difference(new) {
        None => Ok(()),
        Some(fault) => Err(fault.into()),
    }
}

fn rows(fragments: &[Fragment]) -> u64 {
    let rows = fragments.iter().filter_map(|f| f.physical_rows);
    rows.map(|rows| rows as u64).sum()
}

/// The first and the last rows, as many as a batch has; each row once.
fn both_ends(rows: u64, batch: u64) -> Vec<Range<u64>> {
    let first = 0..rows.min(batch);
    let last = first.end.max(rows.saturating_sub(batch))..rows;
    let ends = [first, last].into_iter();
    ends.filter(|range| !range.is_empty()).collect()
}

/// Which sources have these rows, of those that live, and which of their rows they are.
fn window(lives: &[u64], rows: Range<u64>) -> (Range<usize>, Range<u64>) {
    let (mut before, mut first, mut start) = (0, lives.len(), 0);
    for (n, live) in lives.iter().enumerate() {
        if first == lives.len() && rows.start < before + live {
            (first, start) = (n, rows.start - before);
        }
        before += live;
        if rows.end <= before {
            return (
                first.min(n + 1)..n + 1,
                start..start + rows.end - rows.start,
            );
        }
    }
    (first..lives.len(), start..start + rows.end - rows.start)
}

/// The columns that can be read by themselves: those at the ends of structs. Lists are read as they are.
fn leaves(fields: &[Field]) -> Vec<(String, i32)> {
    let mut leaves = Vec::new();
    for field in fields {
        let is_plain =
            !field.logical_type.is_struct() || field.is_blob() || field.is_packed_struct();
        if is_plain || field.children.is_empty() {
            leaves.push((field.name.clone(), field.id));
        } else {
            let within = self::leaves(&field.children).into_iter();
            leaves.extend(within.map(|(path, id)| (format!("{}.{path}", field.name), id)));
        }
    }
    leaves
}

#[cfg(test)]
mod tests;
