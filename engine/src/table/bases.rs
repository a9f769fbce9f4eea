//! Files of a table that lie beyond its target, such as those of the table that a shallow clone was made of.
//!
//! A user who can write a table can have its manifest name any place, and Squire may be able to read what they cannot.
//! What Squire reads there it would write into the table. So such files are left alone, unless the target allows the
//! place.

use std::collections::BTreeSet;

use lance::{Dataset, index::DatasetIndexExt};
use lance_table::format::Fragment;

use super::{
    Table,
    fragments::covers,
    stats::{RewriteRefusal, TableStats, Unmovable},
};

/// Tells in a table's statistics which of its fragments and indexes have files beyond the target.
///
/// # Errors
/// Lance's, when the list of indexes cannot be read.
pub(crate) async fn mark(
    table: &Table,
    dataset: &Dataset,
    stats: &mut TableStats,
) -> lance::Result<()> {
    let manifest = dataset.manifest();
    if manifest.base_paths.is_empty() {
        return Ok(());
    }
    let outside = outside(table, dataset).await;
    let is_outside = |id: Option<u32>| id.is_some_and(|id| outside.contains(&id));
    let leads_out = |fragment: &Fragment| {
        let mut files = fragment.referenced_lance_files();
        let deletions = fragment.deletion_file.as_ref();
        files.any(|file| is_outside(file.base_id))
            || deletions.is_some_and(|file| is_outside(file.base_id))
    };
    let all: Vec<_> = manifest.fragments.iter().filter(|f| leads_out(f)).collect();
    let indexes = dataset.load_indices().await?;
    if outside.is_empty() || (all.is_empty() && !indexes.iter().any(|i| is_outside(i.base_id))) {
        return Ok(());
    }
    let ids: BTreeSet<u64> = all.iter().map(|f| f.id).collect();
    for fragment in &mut stats.fragments {
        if ids.contains(&fragment.id) {
            fragment.refused = Some(RewriteRefusal::Outside);
        }
    }
    for index in &mut stats.indexes {
        let segments = || indexes.iter().filter(|segment| segment.name == index.name);
        let read = |fragment: &&&Fragment| !segments().any(|segment| covers(segment, fragment));
        if segments().any(|segment| is_outside(segment.base_id)) || all.iter().any(|f| read(&f)) {
            index.unmovable = Some(Unmovable::Outside);
        }
    }
    for segment in &mut stats.segments {
        let mut named = indexes.iter().filter(|index| index.name == segment.index);
        if named.any(|index| is_outside(index.base_id)) {
            segment.unmovable = Some(Unmovable::Outside);
        }
    }
    let places = outside.iter().filter_map(|id| manifest.base_paths.get(id));
    let places: BTreeSet<_> = places.map(|base| base.path.as_str()).collect();
    let places: Vec<_> = places.into_iter().collect();
    let reason = format!(
        "files of the table lie in {}, outside of {}: they are left alone unless allow_bases in the target names the place",
        places.join(", "),
        table.storage.uri
    );
    if !all.is_empty() {
        for missing in &mut stats.missing {
            missing.blocked.get_or_insert_with(|| reason.clone());
        }
    }
    stats.refusals.push(reason);
    Ok(())
}

/// The bases of a table that its target does not allow.
async fn outside(table: &Table, dataset: &Dataset) -> BTreeSet<u32> {
    let bases = dataset.manifest().base_paths.clone();
    let storage = table.storage.clone();
    // It asks the disk where links lead.
    let judged = tokio::task::spawn_blocking(move || {
        let outside = bases.iter().filter(|(_, base)| !storage.allows(&base.path));
        outside.map(|(id, _)| *id).collect()
    });
    match judged.await {
        Ok(outside) => outside,
        Err(_) => dataset.manifest().base_paths.keys().copied().collect(),
    }
}
