//! What has to hold for a segment of an index to give right answers.

use std::collections::BTreeSet;

use lance::{
    Dataset,
    dataset::transaction::{Operation, Transaction},
    index::DatasetIndexExt,
};
use lance_core::datatypes::{Field, Schema};
use lance_table::{
    format::{Fragment, IndexMetadata, Manifest},
    system_index::frag_reuse::FRAG_REUSE_INDEX_NAME,
};
use uuid::Uuid;

use crate::table::fragments::covers;

/// Whether a new segment over the fragments `outside` can stand beside these: whether no row is in both.
///
/// Lance asks all segments of an index and believes each. Where rows keep their ids when they are updated, a row that
/// was updated is in an old segment under its old value still; that is hidden only as long as the fragment it lives in
/// now is in no segment. Were it put into one of its own, the row would be found by both values. A merge leaves such
/// entries out. So only rows that never were anywhere else are put beside: they were not updated since they were
/// written, and nothing that was covered is gone.
///
/// An index of row addresses has no such trouble: an updated row has another address.
pub(super) fn append_is_exact<'f>(
    manifest: &Manifest,
    segments: &[&IndexMetadata],
    outside: impl IntoIterator<Item = &'f Fragment>,
) -> bool {
    if !manifest.uses_stable_row_ids() || segments.iter().all(|s| s.results_are_row_addrs()) {
        return true;
    }
    let live: BTreeSet<u64> = manifest.fragments.iter().map(|f| f.id).collect();
    let bitmaps = segments.iter().filter_map(|s| s.fragment_bitmap.as_ref());
    let mut covered = bitmaps.flat_map(|b| b.iter().map(u64::from));
    let as_written = |f: &Fragment| {
        f.created_at_version_meta.is_some()
            && f.created_at_version_meta == f.last_updated_at_version_meta
    };
    covered.all(|id| live.contains(&id)) && outside.into_iter().all(as_written)
}

/// Whether segments that were made from one version of a table are right for another, later one.
///
/// The indexes they belong to did not change; their columns are there, of the same type; and of the fragments that they
/// cover, those that are there have these columns in the same files, and one at least is there. Deleted rows do not
/// matter, nor do fragments that are gone: had the segments been committed first, they would be in the same state, and
/// Lance leaves out what is not there. A fragment whose files are others would be answered for with values that it no
/// longer has. Where rewrites leave a note for indexes to follow them (`__lance_frag_reuse`), what is not there is not left
/// out, but looked for under other addresses: then every fragment must be there. As no file is used twice, one fragment with its own files proves that the table was not overwritten, and
/// that the ids of fragments mean what they meant.
///
/// # Errors
/// Lance's, when a list of indexes cannot be read.
pub(crate) async fn hold(
    read: &Dataset,
    now: &Dataset,
    transaction: &Transaction,
) -> lance::Result<bool> {
    let Operation::CreateIndex {
        new_indices,
        removed_indices,
    } = &transaction.operation
    else {
        return Ok(false);
    };
    let (before, after) = (read.load_indices().await?, now.load_indices().await?);
    let names = new_indices.iter().chain(removed_indices).map(|i| &i.name);
    for name in names.collect::<BTreeSet<_>>() {
        if named(&before, name) != named(&after, name) {
            return Ok(false);
        }
    }
    let follows = after.iter().any(|i| i.name == FRAG_REUSE_INDEX_NAME);
    Ok(new_indices.iter().all(|segment| {
        covers_the_same(read, now, segment) && !(follows && has_lost_a_fragment(now, segment))
    }))
}

/// The version of the table that a transaction's segments were made from, if there is one still.
///
/// # Errors
/// Lance's, when it is unknown.
pub(crate) async fn sources_of(
    now: &Dataset,
    transaction: &Transaction,
) -> lance::Result<Option<Dataset>> {
    match now.checkout_version(transaction.read_version).await {
        Ok(read) => Ok(Some(read)),
        Err(lance::Error::DatasetNotFound { .. } | lance::Error::NotFound { .. }) => Ok(None),
        Err(e) => Err(e),
    }
}

fn named(indexes: &[IndexMetadata], name: &str) -> BTreeSet<Uuid> {
    let of_name = indexes.iter().filter(|i| i.name == *name);
    of_name.map(|i| i.uuid).collect()
}

fn covers_the_same(read: &Dataset, now: &Dataset, segment: &IndexMetadata) -> bool {
    let mut fields = BTreeSet::new();
    for &id in &segment.fields {
        let (then, now) = (read.schema(), now.schema());
        match (then.field_by_id(id), now.field_by_id(id)) {
            (Some(then), Some(now)) if then.data_type() == now.data_type() => {}
            _ => return false,
        }
        fields.extend(with_relatives(now, id));
    }
    let mut there = 0;
    for fragment in now.manifest().fragments.iter() {
        let covered = covers(segment, fragment);
        let then = read
            .manifest()
            .fragments
            .iter()
            .find(|f| f.id == fragment.id);
        match then.filter(|_| covered) {
            None if covered => return false,
            None => {}
            Some(then) if files(then, &fields) == files(fragment, &fields) => there += 1,
            Some(_) => return false,
        }
    }
    there > 0
}

/// Whether a segment covers a fragment that is gone.
fn has_lost_a_fragment(now: &Dataset, segment: &IndexMetadata) -> bool {
    let covered = segment.fragment_bitmap.as_ref();
    covered.is_some_and(|covered| !covered.is_subset(now.fragment_bitmap()))
}

/// A field, those that it is in, and those that are in it.
fn with_relatives(schema: &Schema, id: i32) -> BTreeSet<i32> {
    fn below(field: &Field, ids: &mut BTreeSet<i32>) {
        ids.insert(field.id);
        field.children.iter().for_each(|child| below(child, ids));
    }
    let mut ids = BTreeSet::new();
    if let Some(ancestry) = schema.field_ancestry_by_id(id) {
        ids.extend(ancestry.iter().map(|f| f.id));
    }
    if let Some(field) = schema.field_by_id(id) {
        below(field, &mut ids);
    }
    ids
}

/// The files of a fragment that hold any of these fields.
fn files<'f>(fragment: &'f Fragment, fields: &BTreeSet<i32>) -> Vec<(&'f str, Option<u32>)> {
    let holds = |f: &&lance_table::format::DataFile| f.fields.iter().any(|id| fields.contains(id));
    let files = fragment.files.iter().filter(holds);
    files.map(|f| (f.path.as_str(), f.base_id)).collect()
}
