//! The work on a table's indexes, with nothing committed: new segments are written beside the table, and one Lance
//! transaction says which they are and which old ones they replace.
//!
//! | file | what is in it |
//! |---|---|
//! | this file | tasks to segments |
//! | `segment` | what one task built, or why it built nothing |
//! | [`details`] | what segments of indexes say of themselves |
//! | `extend` | rows that are outside, put beside an index or into it |
//! | `dormant` | vector indexes whose every fragment was rewritten |
//! | `kinds` | what a declared kind of index is in Lance, how it is built, and when it cannot be |
//! | `partitions` | what a vector index takes in memory while it is worked on |
//! | [`receipt`] | what the work came to |
//! | `sources` | what has to hold for a segment to give right answers |
//! | `verify` | a new segment is asked before it is committed |

pub(crate) mod details;
mod dormant;
mod extend;
pub(crate) mod kinds;
pub(crate) mod partitions;
pub(crate) mod receipt;
mod segment;
mod sources;
mod verify;

use std::{collections::BTreeSet, fmt};

use futures::FutureExt;
use lance::{
    Dataset,
    dataset::transaction::{Operation, Transaction},
    index::{DatasetIndexExt, vector::has_vectors_to_train},
};
use lance_table::{format::IndexMetadata, system_index::is_system_index};

use self::segment::{Segment, Why, few_vectors, finish};
use super::{Table, fragments::live_rows, refusal::RefusedIndexes, stats::MissingIndex};
use crate::{
    error::{Result, cause::Cause, plain},
    failpoint,
    memory::width,
    planner::indexing::{Skip, Task},
    progress::{self, Phase},
    schema::{Index, IndexKind, TypeDef},
    table::guard::caught,
};
pub(crate) use sources::{hold as sources_hold, sources_of};

/// What tasks came to.
#[derive(Debug)]
pub(crate) enum Built {
    /// This is to be committed.
    Segments(Box<Segments>),
    /// Nothing, because of this.
    Nothing(Skip),
}

/// An index, or a column that was to have one, that stays behind, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftBehind {
    /// Its name.
    pub index: String,
    /// What was in the way.
    pub reason: String,
}

/// New segments that are written and not committed.
#[derive(Clone, Debug)]
pub(crate) struct Segments {
    /// The table as it was read.
    pub(crate) read: Dataset,
    new: Vec<IndexMetadata>,
    replaced: Vec<IndexMetadata>,
    /// Those among the new ones that a type declares.
    declared: Vec<Index>,
    /// What was done: an append that would have given wrong answers was done as a merge.
    pub(crate) tasks: Vec<Task>,
    /// Live rows that were under none of these indexes before, over all of them.
    pub(crate) rows: u64,
    /// What could not be done.
    pub(crate) left: Vec<LeftBehind>,
}

impl Segments {
    /// The segments as a transaction, read at the version that was worked on.
    pub(crate) fn transaction(&self) -> Transaction {
        let create = Operation::CreateIndex {
            new_indices: self.new.clone(),
            removed_indices: self.replaced.clone(),
        };
        Transaction::new(self.read.manifest().version, create, None)
    }

    /// Whether a file below the table's folder belongs to one of them.
    pub(crate) fn own(&self, path: &str) -> bool {
        let of = |s: &IndexMetadata| path.contains(&format!("/{}/", s.uuid));
        self.new.iter().any(of)
    }

    /// One file of each of them, below the table's folder.
    pub(crate) fn samples(&self) -> impl Iterator<Item = String> {
        self.new.iter().filter_map(|segment| {
            let file = segment.files.as_ref()?.first()?;
            Some(format!("_indices/{}/{}", segment.uuid, file.path))
        })
    }

    /// Whether what was built because a type declares it is declared still, in whatever name the column has by now.
    pub(crate) fn are_declared(&self, now: &Dataset, def: Option<&TypeDef>) -> bool {
        self.declared.iter().all(|index| {
            let field = self.read.schema().field(&index.property);
            let column = field.and_then(|f| now.schema().field_by_id(f.id));
            let same =
                |i: &Index| i.kind == index.kind && column.is_some_and(|c| c.name == i.property);
            def.is_some_and(|def| def.indexes.iter().any(same))
        })
    }
}

/// Whether Lance can extend an index with these segments: it knows what they cover and carries no values beside them.
/// One that is only a definition waits until there are rows to train it on.
pub(crate) fn can_be_extended(segments: &[&IndexMetadata], rows: u64) -> bool {
    let known = |s: &&IndexMetadata| s.fragment_bitmap.is_some() && s.covering_fields.is_empty();
    let empty = |s: &&IndexMetadata| s.fragment_bitmap.as_ref().is_some_and(|b| b.is_empty());
    segments.iter().all(known) && (rows >= kinds::MIN_VECTORS as u64 || !segments.iter().all(empty))
}

/// The indexes that a type declares and its table does not have. Whether it has one is decided by the column and the
/// kind: a column that is renamed keeps its index, whose name stays.
///
/// # Errors
/// Lance's, when the list of indexes cannot be read.
pub(crate) async fn missing(
    dataset: &Dataset,
    def: &TypeDef,
    rows: u64,
) -> lance::Result<Vec<MissingIndex>> {
    let segments = dataset.load_indices().await?;
    let declared = def
        .indexes
        .iter()
        .filter(|i| !is_there(dataset, &segments, i));
    let missing = declared.map(|index| {
        let field = dataset.schema().field(&index.property);
        MissingIndex {
            column: index.property.clone(),
            kind: index.kind.to_string(),
            value_bytes: field.and_then(|field| width(&field.data_type())),
            blocked: kinds::obstacle(index.kind, field, rows),
            refused: None,
        }
    });
    Ok(missing.collect())
}

fn is_there(dataset: &Dataset, segments: &[IndexMetadata], declared: &Index) -> bool {
    let Some(field) = dataset.schema().field(&declared.property) else {
        return false;
    };
    let is =
        |s: &IndexMetadata| s.keyed_field() == Some(field.id) && details::is_of(declared.kind, s);
    segments.iter().any(is)
}

/// Does the tasks on an open table, one after another; commits nothing. A task that fails keeps no other from being
/// done, is logged and noted as refused; what is done is to be forgotten once it is committed. `def` is the table's
/// type in a graph; without one nothing is created. Indexes that are to be `in_one` segment get no other beside it.
///
/// # Errors
/// [`crate::Error::Lance`] when the store failed, and no task came to anything.
pub(crate) async fn build(
    table: &Table,
    dataset: &Dataset,
    def: Option<&TypeDef>,
    tasks: &[Task],
    in_one: &BTreeSet<String>,
    refused: &RefusedIndexes,
) -> Result<Built> {
    failpoint::hit!(BEFORE_INDEX);
    let all = dataset.load_indices().await;
    let all = all.map_err(|e| table.failed("reading the indexes of", e))?;
    let mut segments = Segments {
        read: dataset.clone(),
        new: Vec::new(),
        replaced: Vec::new(),
        declared: Vec::new(),
        tasks: Vec::new(),
        rows: 0,
        left: Vec::new(),
    };
    let (mut skip, mut failed) = (Skip::Covered, None);
    let jobs = jobs(dataset, def, &all, tasks);
    progress::begin(Phase::Indexing, jobs.len());
    for job in jobs {
        let (task, done) = match job {
            Job::Extend(task, of_index) => {
                let one = in_one.contains(task.subject());
                let extended = extend::extend(dataset, &of_index, task, one).boxed();
                (task, caught(extended).await)
            }
            Job::Create(task, declared, name) => {
                let created = create(dataset, declared, &name, task).boxed();
                (task, caught(created).await)
            }
        };
        let done = done.unwrap_or_else(|panic| Err(Why::Panicked(panic)));
        let done = verify::sound(dataset, done).await;
        let (path, version) = (&table.path, dataset.manifest().version);
        match &done {
            Err(Why::Nothing) => refused.forget(path, std::slice::from_ref(task)),
            Ok(segment) => {
                if let Some(reason) = &segment.unmerged {
                    tracing::info!(table = %table.key, ?task, reason, uri = %table.storage.uri, "an index is extended instead of merged");
                    refused.note(path, version, task, false, reason.clone());
                }
            }
            Err(why) => {
                let reason = why.to_string();
                refused.note(path, version, task, why.may_pass(), reason.clone());
                segments.left.push(LeftBehind {
                    index: task.subject().to_owned(),
                    reason,
                });
            }
        }
        match done {
            Ok(segment) => segments.add(segment),
            Err(Why::Nothing) => {}
            Err(Why::Blocked(reason)) => {
                skip = Skip::Blocked;
                tracing::info!(table = %table.key, ?task, reason, uri = %table.storage.uri, "an index cannot be built yet");
            }
            Err(Why::TooLarge(reason)) => {
                skip = Skip::Refused;
                tracing::warn!(table = %table.key, ?task, reason, uri = %table.storage.uri, "an index is left as it is: it does not fit into memory");
            }
            Err(Why::Panicked(reason)) => {
                skip = Skip::Refused;
                tracing::error!(table = %table.key, ?task, reason, uri = %table.storage.uri, "an index is left as it is: please report this");
            }
            Err(Why::Unsound(reason)) => {
                skip = Skip::Refused;
                tracing::warn!(table = %table.key, ?task, reason, uri = %table.storage.uri, "an index is left as it is: what was built cannot be used, and was thrown away");
            }
            Err(Why::Failed(e)) => {
                tracing::warn!(table = %table.key, ?task, error = plain(&e), uri = %table.storage.uri, "an index could not be brought up to date");
                // What may pass is worth another try, whatever else is in the way.
                let passes = |e: &lance::Error| Cause::of(e).may_pass();
                failed = Some(match failed {
                    Some(before) if passes(&before) || !passes(&e) => before,
                    _ => e,
                });
            }
        }
        progress::advance(1);
    }
    failpoint::hit!(AFTER_INDEX);
    match failed {
        _ if !segments.new.is_empty() => Ok(Built::Segments(Box::new(segments))),
        Some(e) if Cause::of(&e).is_of_store() => Err(table.failed("indexing", e)),
        // It would fail again: it rests, as what does not fit does.
        Some(_) => Ok(Built::Nothing(Skip::Refused)),
        None => Ok(Built::Nothing(skip)),
    }
}

impl Why {
    /// Whether it may be another's, or none, the next time, whatever becomes of the table.
    fn may_pass(&self) -> bool {
        matches!(self, Self::Failed(e) if Cause::of(e).may_pass())
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("there is nothing to do"),
            Self::Blocked(reason)
            | Self::TooLarge(reason)
            | Self::Unsound(reason)
            | Self::Panicked(reason) => f.write_str(reason),
            Self::Failed(e) => f.write_str(&plain(e)),
        }
    }
}

/// One index to be worked on.
enum Job<'a> {
    /// With the segments that it has.
    Extend(&'a Task, Vec<&'a IndexMetadata>),
    /// Under this name.
    Create(&'a Task, &'a Index, String),
}

/// The indexes that the tasks are about, each once.
fn jobs<'a>(
    dataset: &Dataset,
    def: Option<&'a TypeDef>,
    all: &'a [IndexMetadata],
    tasks: &'a [Task],
) -> Vec<Job<'a>> {
    let mut names: BTreeSet<String> = all.iter().map(|i| i.name.clone()).collect();
    let mut at_work = BTreeSet::new();
    let mut jobs = Vec::new();
    for task in tasks {
        match task {
            Task::Append(name) | Task::Merge(name) => {
                let of_name = |i: &&IndexMetadata| i.name == *name && !is_system_index(i);
                if at_work.insert(name) {
                    jobs.push(Job::Extend(task, all.iter().filter(of_name).collect()));
                }
            }
            Task::Create(column) => {
                let declared = def.iter().flat_map(|d| &d.indexes);
                let of_column = |i: &&Index| i.property == *column && !is_there(dataset, all, i);
                for index in declared.filter(of_column) {
                    let name = free_name(&index.name, &names);
                    if names.insert(name.clone()) {
                        jobs.push(Job::Create(task, index, name));
                    }
                }
            }
        }
    }
    jobs
}

impl Segments {
    fn add(&mut self, segment: Segment) {
        self.new.push(segment.new);
        self.replaced.extend(segment.replaced);
        self.declared.extend(segment.declared);
        self.tasks.push(segment.task);
        self.rows += segment.rows;
    }
}

/// Builds a declared index over the whole table.
async fn create(
    dataset: &Dataset,
    declared: &Index,
    name: &str,
    task: &Task,
) -> Result<Segment, Why> {
    let rows = dataset.manifest().fragments.iter().map(live_rows).sum();
    let field = dataset.schema().field(&declared.property);
    if let Some(obstacle) = kinds::obstacle(declared.kind, field, rows) {
        return Err(Why::Blocked(obstacle));
    }
    let column = declared.property.as_str();
    if declared.kind == IndexKind::Vector
        && !has_vectors_to_train(dataset, column, kinds::MIN_VECTORS)
            .await
            .map_err(Why::Failed)?
    {
        return Err(few_vectors());
    }
    let recipe = kinds::recipe(declared.kind, field, rows);
    let mut target = dataset.clone();
    let segment = target
        .create_index_builder(&[column], recipe.index_type, recipe.params.as_ref())
        .name(name.to_owned())
        .execute_uncommitted()
        .boxed()
        .await
        .map_err(Why::Failed)?;
    let segment = finish(dataset, &[], task.clone(), segment, &[])?;
    Ok(Segment {
        declared: Some(declared.clone()),
        ..segment
    })
}

/// The declared name, or the next that no index has: an index that another column or kind has left behind keeps its
/// name.
fn free_name(declared: &str, taken: &BTreeSet<String>) -> String {
    let numbered = (2..).map(|n| format!("{declared}_{n}"));
    let mut names = std::iter::once(declared.to_owned()).chain(numbered);
    names
        .find(|name| !taken.contains(name))
        .unwrap_or_else(|| declared.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_another_index_has_is_numbered() {
        let taken = ["a".to_owned(), "a_2".to_owned()].into();
        assert_eq!(free_name("a", &taken), "a_3");
        assert_eq!(free_name("b", &taken), "b");
    }
}
