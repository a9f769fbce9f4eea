//! Rows that are outside of an index, put beside it as one more segment or into it.

use futures::FutureExt;
use lance::{
    Dataset,
    index::{
        DatasetIndexInternalExt,
        optimize::{IndexSegmentResult, OptimizeIndicesPlan, plan_optimize_indices},
    },
};
use lance_index::{metrics::NoOpMetricsCollector, optimize::OptimizeOptions};
use lance_table::format::IndexMetadata;

use super::{
    super::{
        coverage::column,
        fragments::{covers, live_rows},
    },
    details, dormant, partitions,
    segment::{Segment, Why, finish},
    sources,
};
use crate::{planner::indexing::Task, schema::IndexKind, table::guard::caught};

/// Indexes what is outside of one index, beside its segments or together with them. Of one that has to have `one` segment,
/// together with them or not at all.
pub(super) async fn extend(
    dataset: &Dataset,
    segments: &[&IndexMetadata],
    task: &Task,
    one: bool,
) -> Result<Segment, Why> {
    let Some(last) = segments.last() else {
        return Err(Why::Nothing);
    };
    let fragments = &dataset.manifest().fragments;
    let outside = || {
        let uncovered = |f: &&_| !segments.iter().any(|s| covers(s, f));
        fragments.iter().filter(uncovered)
    };
    let exact = sources::append_is_exact(dataset.manifest(), segments, outside());
    let appendable = exact && !one && can_stand_beside(dataset, segments);
    let mut merges = matches!(task, Task::Merge(_)) || !appendable;
    if outside().next().is_none() && (!merges || segments.len() == 1) {
        return Err(Why::Nothing);
    }
    let rows = outside().map(live_rows).sum();
    let anew = match outside().next() {
        Some(_) => dormant::plan(dataset, segments)
            .await
            .map_err(Why::Failed)?,
        None => None,
    };
    let obstacle = async |merges: bool| {
        // What is dormant is put aside as it is.
        let merged = merges && anew.is_none();
        let obstacle = partitions::obstacle(dataset, segments, merged, rows).await;
        obstacle.map_err(Why::Failed)
    };
    let mut in_the_way = obstacle(merges).await?;
    let mut unmerged = None;
    if in_the_way.is_some() && merges && appendable && rows > 0 {
        // One more segment is better than rows outside for ever.
        merges = false;
        unmerged = std::mem::replace(&mut in_the_way, obstacle(merges).await?);
    }
    if let Some(obstacle) = in_the_way {
        return Err(Why::TooLarge(obstacle));
    }
    let plan = match anew {
        Some(plan) => Ok(plan),
        None => {
            let mut options = if merges {
                OptimizeOptions::merge(segments.len())
            } else {
                OptimizeOptions::append()
            };
            options.index_names = Some(vec![last.name.clone()]);
            // Boxed, because Lance's futures are large.
            plan_optimize_indices(dataset, &options).boxed().await
        }
    };
    let result = carry_out(&plan.map_err(Why::Failed)?, dataset).await;
    let result = result.map_err(Why::Failed)?;
    let Some(IndexSegmentResult {
        mut segment,
        replaces,
        ..
    }) = result
    else {
        return Err(if rows == 0 {
            Why::Nothing
        } else {
            left_alone(dataset, segments).await
        });
    };
    if dataset.manifest().uses_stable_row_ids()
        && let Some(bitmap) = &mut segment.fragment_bitmap
    {
        // A merge has left out the rows of fragments that are gone: the next append need not think of them.
        *bitmap &= dataset.fragment_bitmap().as_ref();
    }
    let task = if replaces.is_empty() {
        Task::Append(last.name.clone())
    } else {
        Task::Merge(last.name.clone())
    };
    // What has no row any more only costs every search.
    let dead = segments.iter().filter(|s| is_dead(dataset, s));
    let replaces = [replaces, dead.map(|s| s.uuid).collect()].concat();
    let segment = finish(dataset, segments, task, segment, &replaces)?;
    Ok(Segment {
        unmerged,
        ..segment
    })
}

/// Why Lance has left an index alone that has rows outside: what it cannot open it passes over, with a line in its log.
async fn left_alone(dataset: &Dataset, segments: &[&IndexMetadata]) -> Why {
    for segment in segments {
        let Some(column) = column(dataset, segment) else {
            return Why::Unsound("the table has no such column".to_owned());
        };
        let opened = dataset.open_generic_index(&column, &segment.uuid, &NoOpMetricsCollector);
        match caught(opened.boxed()).await {
            Ok(Ok(_)) => {}
            Ok(Err(e)) => return Why::Failed(e),
            Err(panic) => return Why::Panicked(panic),
        }
    }
    Why::Unsound("Lance takes no rows into it, and does not say why".to_owned())
}

/// Whether a new segment can stand beside these, for Lance: it is of the same format, and of a column that Lance can extend
/// an index on by a segment. It cannot for scalar indexes on a field of a struct, and those of old formats. And where rows
/// keep their ids, indexes of ids other than vectors find updated rows by their old values once a client's own `optimize()` has
/// merged several segments.
fn can_stand_beside(dataset: &Dataset, segments: &[&IndexMetadata]) -> bool {
    let current = |s: &&IndexMetadata| {
        let details = s.index_details.as_ref();
        details.is_some_and(|details| details.type_url.starts_with(DETAILS))
    };
    let top_level = |s: &&IndexMetadata| {
        let fields = dataset.schema().fields.iter();
        let keyed = s.keyed_field();
        fields.map(|field| Some(field.id)).any(|id| id == keyed)
    };
    let vector = |s: &&IndexMetadata| details::is_of(IndexKind::Vector, s);
    let stable_row_ids = dataset.manifest().uses_stable_row_ids();
    let of_ids = |s: &&IndexMetadata| stable_row_ids && !s.results_are_row_addrs();
    let scalar = |s: &&IndexMetadata| current(s) && top_level(s) && s.files.is_some() && !of_ids(s);
    segments.iter().all(vector) || segments.iter().all(scalar)
}

/// How the details of indexes that are no vector indexes are called. Those of some versions before Lance 0.39 are called
/// otherwise, and Lance fails where segments of both stand beside one another.
const DETAILS: &str = "/lance.table.";

/// Whether a segment has rows, and all of them in fragments that are gone.
fn is_dead(dataset: &Dataset, segment: &IndexMetadata) -> bool {
    let covered = segment.fragment_bitmap.as_ref();
    covered.is_some_and(|covered| {
        !covered.is_empty() && covered.is_disjoint(dataset.fragment_bitmap())
    })
}

/// What Lance makes of one index.
async fn carry_out(
    plan: &OptimizeIndicesPlan,
    dataset: &Dataset,
) -> lance::Result<Option<IndexSegmentResult>> {
    let mut built = Vec::new();
    for task in &plan.tasks {
        built.extend(task.execute(dataset).boxed().await?);
    }
    // Without bounds on rows it is one segment.
    match plan.merges.as_slice() {
        [merge] => merge.execute(dataset, &built).boxed().await,
        _ => Ok(None),
    }
}
