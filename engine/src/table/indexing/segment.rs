//! What one task built, or why it built nothing.

use lance::Dataset;
use lance_index::scalar::inverted::builder::is_staged_path;
use lance_table::format::IndexMetadata;

use super::{
    super::fragments::{covers, live_rows},
    kinds,
};
use crate::{planner::indexing::Task, schema::Index};

/// Why a task came to nothing.
#[derive(Debug)]
pub(super) enum Why {
    /// There was nothing to do: another process has done it, or the index is gone.
    Nothing,
    /// It cannot be done yet.
    Blocked(String),
    /// It does not fit into memory.
    TooLarge(String),
    /// What was built cannot be read, or has lost rows.
    Unsound(String),
    /// Lance failed.
    Failed(lance::Error),
    /// Lance panicked.
    Panicked(String),
}

/// One task's share.
pub(super) struct Segment {
    pub(super) task: Task,
    pub(super) new: IndexMetadata,
    pub(super) replaced: Vec<IndexMetadata>,
    pub(super) declared: Option<Index>,
    pub(super) rows: u64,
    /// Why it stands beside the others, although all were to become one.
    pub(super) unmerged: Option<String>,
}

/// A segment that Lance built, as it is to be committed.
pub(super) fn finish(
    dataset: &Dataset,
    before: &[&IndexMetadata],
    task: Task,
    mut segment: IndexMetadata,
    replaces: &[uuid::Uuid],
) -> Result<Segment, Why> {
    if segment
        .fragment_bitmap
        .as_ref()
        .is_none_or(|b| b.is_empty())
    {
        return Err(few_vectors());
    }
    if let Some(files) = &mut segment.files {
        files.retain(|file| !is_staged_path(&file.path));
    }
    let new = |f: &&_| covers(&segment, f) && !before.iter().any(|s| covers(s, f));
    let rows = dataset.manifest().fragments.iter().filter(new);
    let replaced = before.iter().filter(|s| replaces.contains(&s.uuid));
    Ok(Segment {
        rows: rows.map(live_rows).sum(),
        replaced: replaced.map(|s| (*s).clone()).collect(),
        declared: None,
        unmerged: None,
        new: segment,
        task,
    })
}

pub(super) fn few_vectors() -> Why {
    let least = kinds::MIN_VECTORS;
    Why::Blocked(format!(
        "fewer than {least} rows have a vector to train it on"
    ))
}
