//! The rewriting itself, for graphs and directories alike: fragments are read and written anew, with nothing held and
//! nothing committed.

use std::time::Duration;

use futures::FutureExt;
use lance::{
    Dataset,
    dataset::{
        optimize::{CompactionOptions, CompactionTask, RewriteResult, TaskData},
        transaction::{Operation, RewriteGroup, Transaction},
    },
};
use lance_table::format::Fragment;

use super::{
    Table,
    discard::Loss,
    fragments::{fragments_by_id, same_files},
    guard::caught_by_lance,
    pieces,
    refusal::RefusedFragments,
    remap::Remap,
    row_sizes::RowSizes,
    verify,
};
use crate::{
    error::{Error, Result},
    failpoint,
    ids::OperationId,
    memory,
    planner::compaction::{CompactionPolicy, Group, Reason, Skip},
    progress,
};

/// What a compaction came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Compacted {
    /// The table was left alone, because of this.
    Skipped(Skip),
    /// The table was rewritten, or a part of it.
    Done(CompactReceipt),
    /// It was rewritten for nothing, because of this, and is planned anew.
    Lost(Loss),
}

/// What an acknowledged compaction did.
#[derive(Clone, Debug, PartialEq)]
pub struct CompactReceipt {
    /// The operation's id; of a table in a directory, whose groups are committed one by one, the last one's.
    pub operation: OperationId,
    /// The first manifest that shows it; for a table of a directory, the version that does.
    pub manifest: u64,
    /// Why the table was due.
    pub reason: Reason,
    /// Groups of fragments that became one each, as a rule: what is larger than four times the target size became
    /// several.
    pub groups: usize,
    /// Why the rewrites of further groups were thrown away, one each.
    pub lost: Vec<Loss>,
    /// Groups whose rewrite failed. Their fragments are as they were, and are left alone from now on.
    pub failed: Vec<GroupFailure>,
    /// Fragments that were read.
    pub fragments_before: usize,
    /// Fragments that were written.
    pub fragments_after: usize,
    /// Bytes that were read.
    pub bytes_read: u64,
    /// Bytes that were written.
    pub bytes_written: u64,
    /// Bytes of the segments of indexes that were written anew with it, for the rows' new places.
    pub index_bytes: u64,
    /// Rows that writers deleted or updated while they were being rewritten, and that are deleted in the new fragments.
    pub carried: u64,
    /// The same request would find more to do, and a caller who wants it done asks again: one operation reads a number
    /// of bytes at most.
    pub more: bool,
    /// How long the rewrite took, with nothing held.
    pub rewrite: Duration,
    /// How long the tables were held for the commit; for a table of a directory, where nothing is held, how long the
    /// commits took.
    pub hold: Duration,
}

/// A group of fragments whose rewrite failed, beside others that were rewritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupFailure {
    /// The ids of the fragments.
    pub fragments: Vec<u64>,
    /// When what was written could not be read back: the full path of the column, `*` when it is no single one.
    pub unreadable: Option<String>,
    /// What was in the way, and what to do.
    pub reason: String,
}

impl GroupFailure {
    /// What this error means for the group that it befell.
    pub(crate) fn of(group: &Group, error: &Error) -> Self {
        Self {
            fragments: group.fragments.clone(),
            unreadable: match error {
                Error::Unreadable { column, .. } => Some(column.clone()),
                _ => None,
            },
            reason: error.to_string(),
        }
    }
}

/// Groups whose rewrite failed, of one job.
#[derive(Debug, Default)]
pub(crate) struct Failed {
    pub(crate) groups: Vec<GroupFailure>,
    /// The error of the first of them.
    pub(crate) first: Option<Error>,
}

impl Failed {
    pub(crate) fn add(&mut self, group: &Group, error: Error) {
        self.add_all(std::slice::from_ref(group), error);
    }

    /// Groups that fail together.
    pub(crate) fn add_all(&mut self, groups: &[Group], error: Error) {
        let failures = groups.iter().map(|group| GroupFailure::of(group, &error));
        self.groups.extend(failures);
        self.first.get_or_insert(error);
    }
}

impl CompactReceipt {
    /// What these rewrites did, as one operation.
    pub(crate) fn of(
        results: &[RewriteResult],
        operation: OperationId,
        manifest: u64,
        reason: Reason,
    ) -> Self {
        let (fragments_before, bytes_read) = sizes(results, |r| &r.original_fragments);
        let (fragments_after, bytes_written) = sizes(results, |r| &r.new_fragments);
        Self {
            operation,
            manifest,
            reason,
            groups: results.len(),
            lost: Vec::new(),
            failed: Vec::new(),
            fragments_before,
            fragments_after,
            bytes_read,
            bytes_written,
            index_bytes: 0,
            carried: 0,
            more: false,
            rewrite: Duration::ZERO,
            hold: Duration::ZERO,
        }
    }

    /// Both together; the later one names them.
    #[must_use]
    pub(crate) fn then(self, later: Self) -> Self {
        Self {
            groups: self.groups + later.groups,
            lost: [self.lost, later.lost].concat(),
            failed: [self.failed, later.failed].concat(),
            fragments_before: self.fragments_before + later.fragments_before,
            fragments_after: self.fragments_after + later.fragments_after,
            bytes_read: self.bytes_read + later.bytes_read,
            bytes_written: self.bytes_written + later.bytes_written,
            index_bytes: self.index_bytes + later.index_bytes,
            carried: self.carried + later.carried,
            rewrite: self.rewrite + later.rewrite,
            hold: self.hold + later.hold,
            ..later
        }
    }
}

/// Writes the new fragments, group after group, and reads them back as the policy says; commits nothing.
///
/// # Errors
/// [`Error::Unreadable`], [`Error::RowTooLarge`], [`Error::Lance`].
pub(crate) async fn rewrite(
    table: &Table,
    dataset: &Dataset,
    groups: &[Group],
    policy: &CompactionPolicy,
) -> Result<Vec<RewriteResult>> {
    failpoint::hit!(BEFORE_REWRITE);
    let by_id = fragments_by_id(dataset);
    let memory = memory::limits();
    let mut results = Vec::new();
    for group in groups {
        let fragments = group.fragments.iter().filter_map(|id| by_id.get(id));
        let fragments: Vec<_> = fragments.map(|f| (*f).clone()).collect();
        let sizes = RowSizes::of(table, dataset, &fragments).boxed().await?;
        sizes.fit(table, dataset)?;
        let task = CompactionTask {
            task: TaskData { fragments },
            read_version: dataset.manifest().version,
            options: CompactionOptions {
                // One fragment per group, as a rule: the groups are sized by bytes already.
                target_rows_per_fragment: usize::try_from(group.rows).unwrap_or(usize::MAX).max(1),
                max_bytes_per_file: usize::try_from(policy.target_bytes.saturating_mul(4)).ok(),
                batch_size: Some(sizes.batch()),
                io_buffer_size: Some(memory.io_buffer()),
                num_threads: Some(1),
                ..CompactionOptions::default()
            },
        };
        // Boxed, because Lance's futures are large.
        let rewriting = if sizes.in_pieces() {
            pieces::rewrite(dataset, task.task.fragments.clone(), &sizes, &task.options).boxed()
        } else {
            task.execute(dataset).boxed()
        };
        let result = caught_by_lance(rewriting).await;
        let result = result.map_err(|e| table.failed("rewriting", e))?;
        let written = std::slice::from_ref(&result);
        let verified = verify::rewritten(table, dataset, written, policy.verify, &sizes).boxed();
        let verified = verified.await?;
        verified.map_err(|fault| table.unreadable(fault))?;
        results.push(result);
        progress::advance(group.fragments.len());
    }
    failpoint::hit!(AFTER_REWRITE);
    Ok(results)
}

/// The same; a group that fails keeps no other from its turn, and its fragments are left out from now on. Files of its own
/// may be left, see [`is_part`].
///
/// # Errors
/// Those of [`rewrite`], when the error says nothing of the group.
pub(crate) async fn each(
    table: &Table,
    dataset: &Dataset,
    groups: &[Group],
    policy: &CompactionPolicy,
    refused: &RefusedFragments,
) -> Result<(Vec<RewriteResult>, Failed)> {
    let (mut results, mut failed) = (Vec::new(), Failed::default());
    for group in groups {
        let written = rewrite(table, dataset, std::slice::from_ref(group), policy);
        match written.boxed().await {
            Ok(written) => results.extend(written),
            Err(e) if refused.note(&table.path, dataset, &to_blame(group, &e), &e) => {
                failed.add(group, e);
            }
            Err(e) => return Err(e),
        }
    }
    Ok((results, failed))
}

/// The fragments of a group that an error is about.
fn to_blame(group: &Group, error: &Error) -> Group {
    let fragments = match error {
        Error::RowTooLarge { fragment, .. } => vec![*fragment],
        _ => group.fragments.clone(),
    };
    Group {
        fragments,
        ..group.clone()
    }
}

/// Whether a file that was written is a part of what these rewrites are, as far as its name tells: whatever is no data is.
pub(crate) fn is_part(results: &[RewriteResult], path: &str) -> bool {
    let fragments = results.iter().flat_map(|r| &r.new_fragments);
    let names = fragments.flat_map(|f| &f.files).map(|file| &file.path);
    // Large values lie beside a data file, in a folder of its name.
    let mut stems = names.map(|name| name.trim_end_matches(".lance"));
    !path.contains("/data/") || stems.any(|stem| path.contains(stem))
}

/// Whether every source fragment is there as it was read: the same files and the same deletions.
pub(crate) fn sources_unchanged(dataset: &Dataset, results: &[RewriteResult]) -> bool {
    let by_id = fragments_by_id(dataset);
    let same = |source: &Fragment| {
        by_id
            .get(&source.id)
            .is_some_and(|now| same_files(source, now) && now.deletion_file == source.deletion_file)
    };
    results.iter().flat_map(|r| &r.original_fragments).all(same)
}

/// The rewrite as a transaction, read at the version that was rewritten, with the segments of indexes that were written
/// anew for it.
pub(crate) fn transaction(results: &[RewriteResult], remap: Option<&Remap>) -> Transaction {
    let groups = results.iter().map(|result| RewriteGroup {
        old_fragments: result.original_fragments.clone(),
        new_fragments: result.new_fragments.clone(),
    });
    let rewrite = Operation::Rewrite {
        groups: groups.collect(),
        rewritten_indices: remap.map(Remap::rewritten).unwrap_or_default(),
        frag_reuse_index: None,
    };
    let read = results.iter().map(|r| r.read_version).min().unwrap_or(0);
    Transaction::new(read, rewrite, None)
}

/// How many fragments, and how many bytes in their data files.
pub(crate) fn sizes(
    results: &[RewriteResult],
    of: fn(&RewriteResult) -> &[Fragment],
) -> (usize, u64) {
    let fragments = results.iter().flat_map(of);
    let files = fragments.clone().flat_map(|f| &f.files);
    let bytes = files.filter_map(|file| file.file_size_bytes.get());
    (fragments.count(), bytes.map(std::num::NonZero::get).sum())
}
