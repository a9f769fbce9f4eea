//! Vector indexes of whose fragments none is left, because every one was rewritten.
//!
//! Lance trains such an index anew, with memory that no option bounds. Where a job has no room for that, the rows are
//! encoded after the model that is there still, partition by partition.

use lance::{
    Dataset,
    index::{
        DatasetIndexExt, DatasetIndexInternalExt,
        optimize::{OptimizeIndexMerge, OptimizeIndexTask, OptimizeIndicesPlan},
        vector::ivf::IVFIndex as LegacyIndex,
    },
};
use lance_index::metrics::NoOpMetricsCollector;
use lance_table::{format::IndexMetadata, system_index::frag_reuse::FRAG_REUSE_INDEX_NAME};
use uuid::Uuid;

use super::{super::fragments::live_rows, details, partitions};
use crate::{memory::width, schema::IndexKind};

/// A plan by which one new segment over all fragments, encoded after the newest one's model, takes the place of all
/// segments of an index. Nothing where they are not dormant; where there is room to train them anew; or where only Lance
/// knows what to do: those of an old format, and those that follow fragments to where they were rewritten.
///
/// # Errors
/// Lance's, when the indexes cannot be read.
pub(super) async fn plan(
    dataset: &Dataset,
    segments: &[&IndexMetadata],
) -> lance::Result<Option<OptimizeIndicesPlan>> {
    let Some(last) = segments.last().filter(|_| is_dormant(dataset, segments)) else {
        return Ok(None);
    };
    let all = dataset.load_indices().await?;
    if all.iter().any(|index| index.name == FRAG_REUSE_INDEX_NAME) {
        return Ok(None);
    }
    let Some(field) = last.keyed_field() else {
        return Ok(None);
    };
    let column = dataset.schema().field_path(field)?;
    let model = dataset.open_vector_index(&column, &last.uuid, &NoOpMetricsCollector);
    let model = model.await?;
    let rows = dataset.manifest().fragments.iter().map(live_rows).sum();
    let vector = dataset.schema().field_by_id(field);
    let vector = vector.and_then(|field| width(&field.data_type()));
    let fits = partitions::obstacle_to_making_anew(&*model, rows, vector.unwrap_or(0)).is_none();
    if fits || model.as_any().is::<LegacyIndex>() {
        return Ok(None);
    }
    let (plan_id, read_version) = (Uuid::new_v4(), dataset.manifest().version);
    let task = OptimizeIndexTask {
        plan_id,
        read_version,
        group: 0,
        fragments: dataset.fragment_bitmap().iter().collect(),
        reference: (*last).clone(),
        old_segments: Vec::new(),
        num_indices_to_merge: Some(0),
        enable_partition_rebalancing: false,
        retrain: false,
    };
    let merge = OptimizeIndexMerge {
        plan_id,
        read_version,
        group: 0,
        old_segments: Vec::new(),
        replaces: segments.iter().map(|segment| segment.uuid).collect(),
    };
    Ok(Some(OptimizeIndicesPlan {
        plan_id,
        read_version,
        tasks: vec![task],
        merges: vec![merge],
    }))
}

/// Whether these segments of a vector index have rows, and all of those are in fragments that are gone.
fn is_dormant(dataset: &Dataset, segments: &[&IndexMetadata]) -> bool {
    let live = dataset.fragment_bitmap();
    segments.iter().all(|segment| {
        let covered = segment.fragment_bitmap.as_ref();
        details::is_of(IndexKind::Vector, segment)
            && covered.is_some_and(|covered| !covered.is_empty() && covered.is_disjoint(live))
    })
}
