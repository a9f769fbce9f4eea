//! Stretches of a fragment's rows, by the pages of its data files.

use std::{collections::BTreeSet, ops::Range, sync::Arc};

use lance::Dataset;
use lance_file::{
    format::pbfile::column_metadata as pbfile,
    reader::{FileReader, describe_encoding},
};
use lance_io::scheduler::{ScanScheduler, SchedulerConfig};
use lance_table::format::{DataFile, Fragment};

use crate::memory;

/// Files of so few bytes on disk are one stretch.
const SMALL_FILE: u64 = 64 << 10;
/// A smaller value that is read when a file is opened does not matter.
const LARGE_VALUE: u64 = 64 << 10;
/// A fragment has no more stretches.
const MOST: usize = 1024;

/// Rows of a fragment that are taken to be alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) rows: Range<u64>,
    /// Bytes of a row on disk, on average.
    pub(super) least: u64,
    /// Bytes of a row, as far as is known.
    pub(super) bytes: u64,
    /// Whether a row of it was read.
    pub(super) measured: bool,
}

/// A page of a column: its rows, and its bytes on disk.
type Page = (Range<u64>, u64);

/// What the pages of a fragment tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pages {
    /// Its rows.
    pub(super) stretches: Vec<Stretch>,
    /// Bytes that Lance reads when it opens the fragment: of pages whose rows have all one value.
    pub(super) at_once: u64,
}

impl Pages {
    /// Of a fragment with `rows` rows, by the pages of these columns. Where they cannot be known the whole is one
    /// stretch: old files do not tell them.
    pub(super) async fn of(
        dataset: &Dataset,
        fragment: &Fragment,
        fields: &BTreeSet<i32>,
        rows: u64,
    ) -> Self {
        let mut at_once = 0;
        let mut columns: Vec<Vec<Page>> = Vec::new();
        for file in &fragment.files {
            let wanted: Vec<usize> = file
                .fields
                .iter()
                .zip(file.column_indices.iter())
                .filter(|(field, _)| fields.contains(field))
                .filter_map(|(_, column)| usize::try_from(*column).ok())
                .collect();
            let size = file.file_size_bytes.get().map_or(0, u64::from);
            let layout = if wanted.is_empty() || size <= SMALL_FILE {
                None
            } else {
                pages(dataset, file, &wanted).await.ok()
            };
            match layout {
                Some((pages, constant)) => {
                    columns.extend(pages.into_iter().map(|pages| whole(pages, rows)));
                    at_once += constant;
                }
                // All of it may be of these columns.
                None => columns.push(vec![(0..rows, size)]),
            }
        }
        Self {
            stretches: cut(&columns, rows),
            at_once,
        }
    }
}

/// The pages of some columns of a file, and how many bytes there are in those whose rows have all one value.
async fn pages(
    dataset: &Dataset,
    file: &DataFile,
    columns: &[usize],
) -> lance::Result<(Vec<Vec<Page>>, u64)> {
    if file.base_id.is_some() {
        return Err(lance::Error::not_supported("a file elsewhere"));
    }
    let store = dataset.object_store(None).await?;
    let config = SchedulerConfig::new(memory::limits().io_buffer());
    let scheduler = ScanScheduler::new(Arc::clone(&store), config);
    let path = dataset.data_dir().join(file.path.as_str());
    let opened = scheduler.open_file(&path, &file.file_size_bytes).await?;
    let metadata = FileReader::read_all_metadata(&opened).await?;
    let all = columns
        .iter()
        .filter_map(|column| metadata.column_metadatas.get(*column));
    let bytes = |page: &pbfile::Page| page.buffer_sizes.iter().sum::<u64>();
    let large = all
        .flat_map(|column| &column.pages)
        .filter(|page| bytes(page) > LARGE_VALUE);
    let constant = large.filter(|page| describe_encoding(page).contains("ConstantLayout"));
    let at_once = constant.map(bytes).sum();
    let pages_of = |column: &usize| {
        let mut start = 0;
        let pages = metadata.column_metadatas.get(*column).into_iter();
        let pages = pages.flat_map(|column| &column.pages).map(|page| {
            let rows = start..start + page.length;
            start = rows.end;
            (rows, bytes(page))
        });
        pages.collect()
    };
    Ok((columns.iter().map(pages_of).collect(), at_once))
}

/// The pages of a column, when they are counted in rows of the table. Those of lists may be counted in items: then all
/// of it is one.
fn whole(pages: Vec<Page>, rows: u64) -> Vec<Page> {
    match pages.last() {
        Some((last, _)) if last.end != rows => {
            vec![(0..rows, pages.iter().map(|(_, bytes)| bytes).sum())]
        }
        _ => pages,
    }
}

/// Stretches that begin wherever a page of any column does.
fn cut(columns: &[Vec<Page>], rows: u64) -> Vec<Stretch> {
    let starts = columns.iter().flatten().map(|(rows, _)| rows.start);
    let starts: BTreeSet<u64> = starts.chain([0]).filter(|row| *row < rows.max(1)).collect();
    // Some begin elsewhere when there are very many.
    let every = starts.len().div_ceil(MOST).max(1);
    let starts: Vec<u64> = starts.into_iter().step_by(every).collect();
    let ends = starts.iter().skip(1).copied().chain([rows]);
    let ranges = starts.iter().zip(ends).map(|(start, end)| *start..end);
    let mut stretches: Vec<Stretch> = ranges
        .map(|rows| Stretch {
            rows,
            least: 0,
            bytes: 0,
            measured: false,
        })
        .collect();
    for pages in columns {
        let mut pages = pages.iter().peekable();
        for stretch in &mut stretches {
            let mut widest = 0;
            while let Some((rows, bytes)) = pages.peek() {
                if rows.start >= stretch.rows.end {
                    break;
                }
                widest = widest.max(bytes / (rows.end - rows.start).max(1));
                if rows.end > stretch.rows.end {
                    break;
                }
                pages.next();
            }
            stretch.least += widest;
        }
    }
    for stretch in &mut stretches {
        stretch.bytes = stretch.least;
    }
    stretches
}

/// Which rows to read to know how wide they are, as many as is worth it: of each stretch the first, the last and one
/// between, or of some stretches. By the place of their stretch, in their order.
pub(super) fn chosen(stretches: &[Stretch], worth: u64) -> Vec<(usize, u32)> {
    let worth = usize::try_from(worth).unwrap_or(usize::MAX).max(1);
    let of_each = if stretches.len().saturating_mul(3) <= worth {
        3
    } else {
        1
    };
    let every = stretches
        .len()
        .saturating_mul(of_each)
        .div_ceil(worth)
        .max(1);
    let some = stretches.iter().enumerate().step_by(every);
    let rows = some.flat_map(|(at, stretch)| {
        let Range { start, end } = stretch.rows;
        let last = end.saturating_sub(1).max(start);
        let mut rows = if of_each == 3 {
            vec![start, start.midpoint(last), last]
        } else {
            vec![start]
        };
        rows.dedup();
        rows.retain(|_| start < end);
        rows.into_iter().map(move |row| (at, row))
    });
    rows.filter_map(|(at, row)| Some((at, u32::try_from(row).ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn widths(stretches: &[Stretch]) -> Vec<(Range<u64>, u64)> {
        stretches
            .iter()
            .map(|s| (s.rows.clone(), s.least))
            .collect()
    }

    #[test]
    fn rows_of_another_width_have_stretches_of_their_own_whatever_column_they_are_wide_in() {
        let one = vec![(0..100, 1_000), (100..200, 100_000)];
        let other = vec![(0..150, 150), (150..200, 50)];
        assert_eq!(
            widths(&cut(&[one, other], 200)),
            [(0..100, 11), (100..150, 1_001), (150..200, 1_001)]
        );
        assert_eq!(widths(&cut(&[], 5)), [(0..5, 0)]);
    }

    #[test]
    fn where_there_are_very_many_pages_the_widest_counts_for_its_neighbours() {
        let page = |n: u64| (n..n + 1, if n == 777 { 1_000_000 } else { 1 });
        let stretches = cut(&[(0..5_000).map(page).collect()], 5_000);
        assert!(stretches.len() <= MOST);
        assert_eq!(stretches.iter().map(|s| s.least).max(), Some(1_000_000));
        assert_eq!(stretches.last().unwrap().rows.end, 5_000);
    }

    #[test]
    fn pages_that_are_told_in_items_say_nothing_of_where_rows_are() {
        assert_eq!(whole(vec![(0..7, 10), (7..30, 20)], 10), [(0..10, 30)]);
        assert_eq!(whole(vec![(0..7, 10), (7..10, 20)], 10).len(), 2);
    }

    #[test]
    fn as_many_rows_are_read_as_it_is_worth_and_each_once() {
        let pages = (0..10).map(|n| (n * 10..n * 10 + 10, 1)).collect();
        let stretches = cut(&[pages], 100);
        assert_eq!(chosen(&stretches, 30).len(), 30);
        assert_eq!(chosen(&stretches, 29).len(), 10);
        let few: Vec<_> = chosen(&stretches, 3).into_iter().map(|(_, r)| r).collect();
        assert_eq!(few, [0, 40, 80]);
        let single = cut(&[vec![(0..1, 5)]], 1);
        assert_eq!(chosen(&single, 100), [(0, 0)]);
        assert_eq!(chosen(&cut(&[], 0), 100), []);
    }
}
