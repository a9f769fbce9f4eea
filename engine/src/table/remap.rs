//! Indexes over rewritten fragments: their segments are written anew with the rows' new addresses, beside the table and
//! with nothing held, and come in with the rewrite. So no row falls out of an index, at any moment, for any client.
//!
//! An address has the id of its fragment in it, so the new fragments have their ids before they are committed. They leave
//! a gap to those that are taken: writers take ids meanwhile. Where they have taken more than that, or have changed a
//! segment, it is remapped again.
//!
//! Rows that are deleted after they were read keep their places in the index; the deletion file of the new fragment hides
//! them.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use lance::{
    Dataset,
    dataset::{
        index::DatasetIndexRemapperOptions,
        optimize::{IndexRemapperOptions, RemappedIndex, RewriteResult},
        transaction::{Operation, RewrittenIndex, Transaction},
    },
    index::{DatasetIndexExt, DatasetIndexInternalExt},
};
use lance_core::utils::row_addr_remap::{GroupInput, RowAddrRemap};
use lance_index::metrics::NoOpMetricsCollector;
use lance_table::format::{Fragment, IndexMetadata};
use roaring::RoaringTreemap;
use uuid::Uuid;

use super::{
    Table,
    coverage::{Follows, Indexes, column, covers_any},
    discard::Loss,
    indexing::partitions,
    rebase::Sources,
    refusal::segments,
};
use crate::{
    error::{Error, Result, cause::Cause, plain},
    progress::{self, Phase},
    table::guard::caught,
};

/// Minimum number of ids that are left to writers.
const LEAST_GAP: u64 = 16;
/// And the maximum: ids are not used again, and there are four thousand million.
const LARGEST_GAP: u64 = 4096;

/// Segments that were written anew, for fragments with these ids.
#[derive(Clone, Debug)]
pub(crate) struct Remap {
    /// The first id of the new fragments.
    first_id: u64,
    segments: Vec<Remapped>,
    /// Ids that the next one leaves to writers, if these turn out to be taken.
    next_gap: u64,
}

/// A segment, and what takes its place.
#[derive(Clone, Debug)]
struct Remapped {
    old: Uuid,
    new: RewrittenIndex,
}

impl Remapped {
    /// Whether it was written. One without a row that is there stays as it is.
    fn is_new(&self) -> bool {
        self.new.new_id != self.old
    }
}

/// What a rewrite finds at a version that it is to be committed after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fits {
    /// It can be committed.
    Yes,
    /// Ids are taken, or a segment is another: it is to be remapped at this version.
    No,
    /// It never can be, because of this.
    Never(Loss),
}

/// One group of fragments that were rewritten: what was read, and what was written of it.
#[derive(Clone, Debug)]
pub(crate) struct Moved {
    pub(crate) read: Sources,
    pub(crate) written: Vec<Fragment>,
}

impl Moved {
    /// Rewrites, each with what it read. A group whose rewrite failed is none of them.
    pub(crate) fn all(
        sources: &mut BTreeMap<u64, Sources>,
        results: &[RewriteResult],
    ) -> Vec<Self> {
        let moved = results.iter().filter_map(|result| {
            let first = result.original_fragments.first()?;
            Some(Self {
                read: sources.remove(&first.id)?,
                written: result.new_fragments.clone(),
            })
        });
        moved.collect()
    }
}

impl Remap {
    /// Gives the new fragments ids, and writes the segments over their sources anew; nothing where no segment needs it.
    /// `dataset` is a later version of the table than what was read, or the same, open to write.
    ///
    /// # Errors
    /// [`Error::Unmapped`], when a segment cannot be written anew: fragments under it are left alone from then on.
    /// [`Error::Lance`].
    pub(crate) async fn of(
        table: &Table,
        dataset: &Dataset,
        moved: &mut [Moved],
        gap: Option<u64>,
    ) -> Result<Option<Self>> {
        let failed = |e| table.failed("reading the indexes of", e);
        let sources: HashSet<u32> = sources(moved);
        let indexes = Indexes::of(dataset).await.map_err(failed)?;
        let affected = match affected(&indexes, dataset, &sources) {
            Ok(affected) if affected.is_empty() => return Ok(None),
            Ok(affected) => affected,
            Err(segment) => {
                let reason = "its kind does not follow rows to other places";
                return Err(unmapped(table, &segment.name, reason));
            }
        };
        for segment in &affected {
            openable(table, dataset, segment).await?;
        }
        progress::enter(Phase::Indexing);
        let newest = dataset.manifest().max_fragment_id().unwrap_or(0);
        let read_at = moved.iter().map(|m| m.read.max_fragment_id()).min();
        let taken = newest.saturating_sub(read_at.unwrap_or(newest));
        let gap = gap.unwrap_or(LEAST_GAP + 4 * taken).min(LARGEST_GAP);
        let first_id = newest + 1 + gap;
        let written = moved.iter_mut().flat_map(|m| &mut m.written);
        for (fragment, id) in written.zip(first_id..) {
            fragment.id = id;
        }
        let addresses = addresses(moved).map_err(|e| table.failed("moving the indexes of", e))?;
        let segments = remapped(table, dataset, &affected, addresses, &sources).await?;
        Ok(Some(Self {
            first_id,
            segments,
            next_gap: gap.saturating_mul(4).min(LARGEST_GAP),
        }))
    }

    /// The segments as a transaction has them.
    pub(crate) fn rewritten(&self) -> Vec<RewrittenIndex> {
        self.segments.iter().map(|s| s.new.clone()).collect()
    }

    /// Whether a file below the table's folder belongs to one of the new segments.
    pub(crate) fn own(&self, path: &str) -> bool {
        let of = |s: &Remapped| s.is_new() && path.contains(&format!("/{}/", s.new.new_id));
        self.segments.iter().any(of)
    }

    /// Bytes of the new segments.
    pub(crate) fn bytes(&self) -> u64 {
        let new = self.segments.iter().filter(|s| s.is_new());
        let files = new.flat_map(|s| &s.new.new_index_files);
        files.flatten().map(|file| file.size_bytes).sum()
    }

    /// Ids that are left to writers when this is done again.
    pub(crate) fn next_gap(&self) -> u64 {
        self.next_gap
    }
}

/// Whether rewrites of these groups, remapped like this, can be committed right after a version: their new fragments have
/// ids that are free there, and every segment that covers a source there is one that was written anew.
///
/// # Errors
/// Lance's, when the list of indexes cannot be read.
pub(crate) async fn fits(
    remap: Option<&Remap>,
    moved: &[Moved],
    head: &Dataset,
) -> lance::Result<Fits> {
    let there = head.fragment_bitmap();
    let sources: HashSet<u32> = sources(moved)
        .into_iter()
        .filter(|id| there.contains(*id))
        .collect();
    let indexes = Indexes::of(head).await?;
    let Ok(affected) = affected(&indexes, head, &sources) else {
        return Ok(Fits::Never(Loss::IndexesChanged));
    };
    let half = |segment: &IndexMetadata| is_half_covered(segment, moved, &sources);
    if indexes.segments.iter().any(|s| half(&s.metadata)) {
        return Ok(Fits::Never(Loss::HalfCovered));
    }
    let Some(remap) = remap else {
        return Ok(if affected.is_empty() {
            Fits::Yes
        } else {
            Fits::No
        });
    };
    let free = head
        .manifest()
        .max_fragment_id()
        .is_none_or(|id| id < remap.first_id);
    let is_remapped = |segment: &&IndexMetadata| {
        let mut segments = remap.segments.iter();
        segments.any(|s| s.old == segment.uuid)
    };
    let mut replaced = remap.segments.iter();
    let there = replaced.all(|s| indexes.segments.iter().any(|i| i.metadata.uuid == s.old));
    Ok(if free && there && affected.iter().all(is_remapped) {
        Fits::Yes
    } else {
        Fits::No
    })
}

/// Whether a rewrite that takes segments of indexes along can be committed right after a version as it stands: the ids of
/// its new fragments are free there, and each segment that it replaces is there. A healer has nothing but the
/// transaction.
///
/// # Errors
/// Lance's, when the list of indexes cannot be read.
pub(super) async fn stands(head: &Dataset, transaction: &Transaction) -> lance::Result<bool> {
    let Operation::Rewrite {
        groups,
        rewritten_indices,
        ..
    } = &transaction.operation
    else {
        return Ok(true);
    };
    if rewritten_indices.is_empty() {
        return Ok(true);
    }
    let newest = head.manifest().max_fragment_id();
    let mut new = groups.iter().flat_map(|group| &group.new_fragments);
    let free = new.all(|fragment| newest.is_none_or(|newest| newest < fragment.id));
    let there = head.load_indices().await?;
    let mut replaced = rewritten_indices.iter().map(|index| index.old_id);
    Ok(free && replaced.all(|old| there.iter().any(|index| index.uuid == old)))
}

/// Whether a segment covers some of the sources of a group and not the others: Lance follows it as a whole, or not at all.
fn is_half_covered(segment: &IndexMetadata, moved: &[Moved], there: &HashSet<u32>) -> bool {
    let Some(bitmap) = &segment.fragment_bitmap else {
        return false;
    };
    moved.iter().any(|group| {
        let ids = group.read.ids().filter(|id| there.contains(id));
        let (inside, outside): (Vec<u32>, Vec<_>) = ids.partition(|id| bitmap.contains(*id));
        !inside.is_empty() && !outside.is_empty()
    })
}

fn sources(moved: &[Moved]) -> HashSet<u32> {
    moved.iter().flat_map(|m| m.read.ids()).collect()
}

/// The segments that cover any of these fragments and hold addresses; or one that would lose them.
fn affected<'i>(
    indexes: &'i Indexes,
    dataset: &Dataset,
    sources: &HashSet<u32>,
) -> Result<Vec<&'i IndexMetadata>, &'i IndexMetadata> {
    let stable = dataset.manifest().uses_stable_row_ids();
    let mut affected = Vec::new();
    for segment in &indexes.segments {
        if !covers_any(&segment.metadata, sources) {
            continue;
        }
        match indexes.follows(segment, stable) {
            Follows::ByItself => {}
            Follows::Remapped => affected.push(&segment.metadata),
            Follows::Not(_) => return Err(&segment.metadata),
        }
    }
    Ok(affected)
}

/// Opens a segment before it is remapped, and asks whether there is memory for it: Lance leaves out what it cannot open,
/// and what is left out is lost.
async fn openable(table: &Table, dataset: &Dataset, segment: &IndexMetadata) -> Result<()> {
    let refuse = |reason: &str| {
        segments::refuse([segment.uuid], reason);
        unmapped(table, &segment.name, reason)
    };
    let Some(column) = column(dataset, segment) else {
        return Err(refuse("the table has no such column"));
    };
    let opened = dataset.open_generic_index(&column, &segment.uuid, &NoOpMetricsCollector);
    match caught(opened).await {
        Ok(Ok(_)) => {}
        Ok(Err(e)) if Cause::of(&e).may_pass() => {
            return Err(table.failed("opening an index of", e));
        }
        Ok(Err(e)) => return Err(refuse(&plain(&e))),
        Err(panic) => return Err(refuse(&panic)),
    }
    let obstacle = partitions::obstacle(dataset, &[segment], true, 0).await;
    match obstacle.map_err(|e| table.failed("opening an index of", e))? {
        Some(obstacle) => Err(refuse(&obstacle)),
        None => Ok(()),
    }
}

/// Where each row that was read lies now.
fn addresses(moved: &[Moved]) -> lance::Result<RowAddrRemap> {
    let groups = moved.iter().map(|group| {
        let mut rows = RoaringTreemap::new();
        let mut old_frag_ids = Vec::new();
        for (id, physical, deleted) in group.read.rows() {
            old_frag_ids.push(id);
            let first = u64::from(id) << 32;
            rows.insert_range(first..first + physical);
            for offset in deleted {
                rows.remove(first + u64::from(*offset));
            }
        }
        let new_frags = group.written.iter().map(|f| {
            let rows = f.physical_rows.unwrap_or(0);
            (low(f.id), u32::try_from(rows).unwrap_or(u32::MAX))
        });
        GroupInput {
            rewritten_old_row_addrs: rows,
            old_frag_ids,
            new_frags: new_frags.collect(),
        }
    });
    RowAddrRemap::compact(groups)
}

async fn remapped(
    table: &Table,
    dataset: &Dataset,
    affected: &[&IndexMetadata],
    addresses: RowAddrRemap,
    sources: &HashSet<u32>,
) -> Result<Vec<Remapped>> {
    let names = || {
        let names: BTreeSet<_> = affected.iter().map(|s| s.name.as_str()).collect();
        names.into_iter().collect::<Vec<_>>().join(", ")
    };
    let refuse = |reason: &str| {
        segments::refuse(affected.iter().map(|s| s.uuid), reason);
        unmapped(table, &names(), reason)
    };
    let ids: Vec<u64> = sources.iter().copied().map(u64::from).collect();
    let dataset = Arc::new(dataset.clone());
    let work = async {
        let options = DatasetIndexRemapperOptions::default();
        match options.create_remapper(&dataset).await? {
            Some(remapper) => remapper.remap_indices(addresses, &ids).await,
            None => Ok(Vec::new()),
        }
    };
    let written: Vec<RemappedIndex> = match caught(Box::pin(work)).await {
        Ok(Ok(written)) => written,
        Ok(Err(e)) if Cause::of(&e).may_pass() => {
            return Err(table.failed("moving the indexes of", e));
        }
        Ok(Err(e)) => return Err(refuse(&plain(&e))),
        Err(panic) => return Err(refuse(&panic)),
    };
    // What is not there would be lost.
    if !affected
        .iter()
        .all(|s| written.iter().any(|w| w.old_id == s.uuid))
    {
        return Err(refuse("Lance would drop a part of it"));
    }
    let written = written.into_iter().map(|written| Remapped {
        old: written.old_id,
        new: RewrittenIndex {
            old_id: written.old_id,
            new_id: written.new_id,
            new_index_details: written.index_details,
            new_index_version: written.index_version,
            new_index_files: written.files,
        },
    });
    Ok(written.collect())
}

fn unmapped(table: &Table, index: &str, reason: &str) -> Error {
    Error::Unmapped {
        table: table.key.clone(),
        index: index.to_owned(),
        reason: reason.to_owned(),
        uri: table.storage.uri.clone(),
    }
}

fn low(id: u64) -> u32 {
    u32::try_from(id).unwrap_or(u32::MAX)
}
