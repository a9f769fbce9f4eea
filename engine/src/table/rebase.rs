//! Late deletions: rows of the source fragments that writers deleted while those were being rewritten.
//!
//! A rewrite reads its sources in order and keeps what lives. So the i-th row that lived when they were read is row i of
//! the new fragments, and a row that was deleted since can be deleted there: a rewrite is not worthless because a
//! writer came in between. `docs/directories.md` tells why that is safe.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use lance::{
    Dataset,
    dataset::transaction::{Operation, RewriteGroup},
};
use lance_table::format::Fragment;

use super::{
    Table,
    discard::{Loss, OrLost},
    fragments::{fragments_by_id, same_files},
};
use crate::{error::Result, planner::compaction::Group};

/// Maximum number of versions that are read to learn why a source fragment is gone.
const MAX_HISTORY: u64 = 512;
/// Maximum number of deletion files, or transactions, that are read at once.
const READ_AT_ONCE: usize = 8;

/// The deleted rows of one source fragment, as offsets in it, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Deleted {
    /// Rows in its files.
    rows: u64,
    /// Those that were deleted when it was read.
    read: Vec<u32>,
    /// Those that are deleted now.
    now: Vec<u32>,
}

/// Where the late deletions are in the new fragments: for each its offsets, in their order. `written` are the rows of
/// the new fragments.
fn late_deletions(sources: &[Deleted], written: &[u64]) -> OrLost<Vec<Vec<u32>>> {
    let mut late = vec![Vec::new(); written.len()];
    // The new fragment that the next row is in, and the first row of it.
    let (mut fragment, mut first) = (0, 0);
    // Rows that lived when they were read, so far.
    let mut lived = 0_u64;
    for source in sources {
        let mut read = source.read.iter().peekable();
        let mut dead = 0_u64;
        for &offset in &source.now {
            match read.peek() {
                Some(&&known) if known < offset => return Err(Loss::RowsRevived),
                Some(&&known) if known == offset => {
                    read.next();
                    dead += 1;
                    continue;
                }
                _ => {}
            }
            let row = lived + u64::from(offset) - dead;
            while fragment < written.len() && row >= first + written[fragment] {
                first += written[fragment];
                fragment += 1;
            }
            let Some(offsets) = late.get_mut(fragment) else {
                return Err(Loss::RowsMiscounted);
            };
            offsets.push(u32::try_from(row - first).map_err(|_| Loss::RowsMiscounted)?);
        }
        if read.peek().is_some() {
            return Err(Loss::RowsRevived);
        }
        let dead = source.read.len() as u64;
        lived += source.rows.checked_sub(dead).ok_or(Loss::RowsMiscounted)?;
    }
    if lived == written.iter().sum::<u64>() {
        Ok(late)
    } else {
        Err(Loss::RowsMiscounted)
    }
}

/// A rewrite, as it fits a later version of its table.
#[derive(Clone, Debug)]
pub(crate) struct Carried {
    /// The sources, as they are there.
    sources: Vec<Fragment>,
    /// The new fragments, and the rows that are deleted in each.
    written: Vec<(Fragment, Vec<u32>)>,
}

impl Carried {
    /// Rows that were deleted late.
    pub(crate) fn rows(&self) -> u64 {
        self.written.iter().map(|(_, rows)| rows.len() as u64).sum()
    }

    /// Whether there is a new fragment of which every row was deleted late.
    pub(crate) fn is_emptied(&self) -> bool {
        let mut written = self.written.iter();
        written.any(|(fragment, late)| fragment.physical_rows == Some(late.len()))
    }

    /// The new fragments with rows that live, and the rows that do not, to give them ids and deletion files.
    pub(crate) fn alive(&mut self) -> impl Iterator<Item = (&mut Fragment, &[u32])> {
        self.written
            .retain(|(fragment, late)| fragment.physical_rows != Some(late.len()));
        let fragments = self.written.iter_mut();
        fragments.map(|(fragment, late)| (fragment, late.as_slice()))
    }

    /// What replaces what.
    pub(crate) fn into_group(self) -> RewriteGroup {
        RewriteGroup {
            old_fragments: self.sources,
            new_fragments: self.written.into_iter().map(|(f, _)| f).collect(),
        }
    }
}

/// What a rewrite reads: its source fragments, and which of their rows were deleted then. Taken before the rewrite, as
/// another program may remove the version that was read.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    version: u64,
    /// The largest id that a fragment ever had, then.
    max_fragment_id: u64,
    fragments: Vec<(Fragment, Vec<u32>)>,
}

impl Sources {
    /// Reads the deletions of these fragments.
    ///
    /// # Errors
    /// Lance's, when a deletion file cannot be read.
    pub(crate) async fn read(dataset: &Dataset, fragments: &[u64]) -> lance::Result<Self> {
        let by_id = fragments_by_id(dataset);
        let fragments = fragments.iter().filter_map(|id| by_id.get(id));
        let fragments: Vec<_> = fragments.map(|f| (*f).clone()).collect();
        let deleted = all_deleted_rows(dataset, fragments.iter().map(|f| f.id).collect()).await?;
        Ok(Self {
            version: dataset.manifest().version,
            max_fragment_id: dataset.manifest().max_fragment_id().unwrap_or(0),
            fragments: fragments.into_iter().zip(deleted).collect(),
        })
    }

    /// What the rewrites of these groups read, by the first fragment of each.
    ///
    /// # Errors
    /// [`crate::Error::Lance`].
    pub(crate) async fn of_groups(
        table: &Table,
        dataset: &Dataset,
        groups: &[Group],
    ) -> Result<BTreeMap<u64, Self>> {
        let mut sources = BTreeMap::new();
        for group in groups {
            let read = Self::read(dataset, &group.fragments).await;
            let read = read.map_err(|e| table.failed("reading deletions of", e))?;
            sources.extend(group.fragments.first().map(|first| (*first, read)));
        }
        Ok(sources)
    }

    /// The largest id that a fragment of the table ever had, then.
    pub(crate) fn max_fragment_id(&self) -> u64 {
        self.max_fragment_id
    }

    /// The ids of the fragments.
    pub(crate) fn ids(&self) -> impl Iterator<Item = u32> {
        let ids = self.fragments.iter().map(|(fragment, _)| fragment.id);
        ids.filter_map(|id| u32::try_from(id).ok())
    }

    /// Of each fragment its id, the rows in its files, and those among them that were deleted.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (u32, u64, &[u32])> {
        self.fragments.iter().filter_map(|(fragment, deleted)| {
            let rows = fragment.physical_rows.unwrap_or(0) as u64;
            Some((u32::try_from(fragment.id).ok()?, rows, deleted.as_slice()))
        })
    }
}

/// Carries new fragments, written of these sources in their order, over to `head`, a later version of the same table.
///
/// # Errors
/// Lance's, when a deletion file or a transaction cannot be read.
pub(crate) async fn carry(
    read: &Sources,
    written: &[Fragment],
    head: &Dataset,
) -> lance::Result<OrLost<Carried>> {
    let now = fragments_by_id(head);
    let ids = read.fragments.iter().map(|(f, _)| f.id);
    let (live, gone): (BTreeSet<_>, BTreeSet<_>) = ids.partition(|id| now.contains_key(id));
    if live.is_empty() || !were_emptied(&gone, read.version, head).await? {
        return Ok(Err(Loss::SourceGone));
    }
    let changed: Vec<_> = read
        .fragments
        .iter()
        .filter(|(source, _)| {
            now.get(&source.id)
                .is_some_and(|current| current.deletion_file != source.deletion_file)
        })
        .map(|(source, _)| source.id)
        .collect();
    let since = all_deleted_rows(head, changed.clone()).await?;
    let mut since: BTreeMap<_, _> = changed.into_iter().zip(since).collect();
    let mut sources = Vec::new();
    let mut deleted = Vec::new();
    for (source, before) in &read.fragments {
        let rows = source.physical_rows.unwrap_or(0) as u64;
        let now = match now.get(&source.id) {
            None => (0..u32::try_from(rows).unwrap_or(u32::MAX)).collect(),
            Some(current) if !same_files(source, current) => return Ok(Err(Loss::OtherFiles)),
            Some(current) => {
                sources.push((*current).clone());
                since.remove(&source.id).unwrap_or_else(|| before.clone())
            }
        };
        deleted.push(Deleted {
            rows,
            read: before.clone(),
            now,
        });
    }
    let rows = written.iter().map(|f| f.physical_rows.unwrap_or(0) as u64);
    let rows: Vec<_> = rows.collect();
    Ok(late_deletions(&deleted, &rows).map(|late| Carried {
        sources,
        written: written.iter().cloned().zip(late).collect(),
    }))
}

/// The deleted rows of each of these fragments, read a few at a time: an attempt to commit must be quick.
async fn all_deleted_rows(dataset: &Dataset, fragments: Vec<u64>) -> lance::Result<Vec<Vec<u32>>> {
    let reads = fragments.into_iter().map(|id| deleted_rows(dataset, id));
    let reads: Vec<_> = reads.collect();
    stream::iter(reads)
        .buffered(READ_AT_ONCE)
        .try_collect()
        .await
}

async fn deleted_rows(dataset: &Dataset, fragment: u64) -> lance::Result<Vec<u32>> {
    let id = usize::try_from(fragment).unwrap_or(usize::MAX);
    let Some(fragment) = dataset.get_fragment(id) else {
        return Ok(Vec::new());
    };
    let deleted = fragment.get_deletion_vector().await?;
    Ok(deleted.map_or_else(Vec::new, |rows| rows.to_sorted_iter().collect()))
}

/// Whether these fragments went because every row of theirs was deleted or updated, and for no other reason.
async fn were_emptied(gone: &BTreeSet<u64>, read: u64, head: &Dataset) -> lance::Result<bool> {
    if gone.is_empty() {
        return Ok(true);
    }
    let newest = head.manifest().version;
    if newest.saturating_sub(read) > MAX_HISTORY {
        return Ok(false);
    }
    let mut unexplained = gone.clone();
    let reads = (read + 1..=newest).map(|version| head.read_transaction_by_version(version));
    let reads: Vec<_> = reads.collect();
    let mut reads = stream::iter(reads).buffered(READ_AT_ONCE);
    while let Some(transaction) = reads.next().await {
        let transaction = match transaction {
            Ok(Some(transaction)) => transaction,
            // Removed by cleanup, or written without one.
            Ok(None)
            | Err(lance::Error::NotFound { .. } | lance::Error::DatasetNotFound { .. }) => {
                return Ok(false);
            }
            Err(e) => return Err(e),
        };
        match transaction.operation {
            Operation::Delete {
                deleted_fragment_ids: emptied,
                ..
            }
            | Operation::Update {
                removed_fragment_ids: emptied,
                ..
            } => unexplained.retain(|id| !emptied.contains(id)),
            Operation::Append { .. }
            | Operation::CreateIndex { .. }
            | Operation::Project { .. }
            | Operation::ReserveFragments { .. }
            | Operation::UpdateConfig { .. } => {}
            Operation::Rewrite { groups, .. } => {
                let mut sources = groups.iter().flat_map(|g| &g.old_fragments);
                if sources.any(|f| gone.contains(&f.id)) {
                    return Ok(false);
                }
            }
            _ => return Ok(false),
        }
    }
    Ok(unexplained.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn source(rows: u64, read: &[u32], now: &[u32]) -> Deleted {
        Deleted {
            rows,
            read: read.to_vec(),
            now: now.to_vec(),
        }
    }

    #[test]
    fn without_late_deletions_nothing_is_deleted() {
        let sources = [source(5, &[1], &[1]), source(3, &[], &[])];
        assert_eq!(late_deletions(&sources, &[7]), Ok(vec![vec![]]));
    }

    #[test]
    fn a_late_deletion_is_found_at_its_rank_among_the_rows_that_lived() {
        // Lived: 0 2 3 4 | 0 1 2, as rows 0..7 of two new fragments of 4 and 3.
        let sources = [source(5, &[1], &[1, 3]), source(3, &[], &[0, 2])];
        assert_eq!(
            late_deletions(&sources, &[4, 3]),
            Ok(vec![vec![2], vec![0, 2]])
        );
    }

    #[test]
    fn a_row_that_came_back_makes_the_rewrite_stale() {
        let back = |now: &[u32]| late_deletions(&[source(5, &[1, 2], now)], &[3]);
        assert_eq!(back(&[1]), Err(Loss::RowsRevived));
        assert_eq!(back(&[2, 4]), Err(Loss::RowsRevived));
        assert_eq!(back(&[]), Err(Loss::RowsRevived));
    }

    #[test]
    fn new_fragments_with_other_rows_than_were_read_are_never_trusted() {
        assert_eq!(
            late_deletions(&[source(5, &[], &[4])], &[4]),
            Err(Loss::RowsMiscounted)
        );
        assert_eq!(
            late_deletions(&[source(5, &[], &[])], &[6]),
            Err(Loss::RowsMiscounted)
        );
    }

    /// Rows by number, and for each whether it was dead at the read, and whether it died since.
    fn fragment() -> impl Strategy<Value = Vec<(bool, bool)>> {
        prop::collection::vec(
            (prop::bool::weighted(0.3), prop::bool::weighted(0.3)),
            0..40,
        )
    }

    proptest! {
        #[test]
        fn the_rows_that_live_in_the_new_fragments_are_those_that_live_in_the_sources(
            fragments in prop::collection::vec(fragment(), 1..6),
            cuts in prop::collection::vec(1..30_u64, 0..6),
        ) {
            let offsets = |f: &[(bool, bool)], dead: fn(&(bool, bool)) -> bool| -> Vec<u32> {
                (0_u32..).zip(f).filter(|(_, row)| dead(row)).map(|(n, _)| n).collect()
            };
            let sources: Vec<_> = fragments.iter().map(|f| Deleted {
                rows: f.len() as u64,
                read: offsets(f, |r| r.0),
                now: offsets(f, |r| r.0 || r.1),
            }).collect();
            // What a scan in order writes, as (fragment, offset), cut into new fragments anyhow.
            let mut scanned: Vec<(usize, usize)> = Vec::new();
            for (n, f) in fragments.iter().enumerate() {
                scanned.extend(f.iter().enumerate().filter(|(_, r)| !r.0).map(|(at, _)| (n, at)));
            }
            let mut written: Vec<Vec<(usize, usize)>> = Vec::new();
            let mut rest = scanned.as_slice();
            for cut in cuts {
                let at = usize::try_from(cut).unwrap().min(rest.len());
                written.push(rest[..at].to_vec());
                rest = &rest[at..];
            }
            written.push(rest.to_vec());
            let rows: Vec<_> = written.iter().map(|w| w.len() as u64).collect();
            let late = late_deletions(&sources, &rows).unwrap();
            let mut alive = Vec::new();
            for (rows, late) in written.iter().zip(&late) {
                let row = |(n, row): (u32, &(usize, usize))| (!late.contains(&n)).then_some(*row);
                alive.extend((0_u32..).zip(rows).filter_map(row));
            }
            let lives = |(n, f): (usize, &Vec<(bool, bool)>)| -> Vec<(usize, usize)> {
                f.iter().enumerate().filter(|(_, r)| !r.0 && !r.1).map(|(at, _)| (n, at)).collect()
            };
            let expected: Vec<_> = fragments.iter().enumerate().flat_map(lives).collect();
            prop_assert_eq!(alive, expected);
        }
    }
}
