//! Reads the planner's statistics of a table from its Lance manifest: no further request.

use std::{collections::BTreeMap, num::NonZero};

use lance::Dataset;
use lance_table::format::{Fragment, IndexMetadata};

use super::{
    coverage::{Coverage, Indexes, extended_needs},
    fragments::{covers, deleted_rows, live_rows},
    indexing::{self, details},
};
use crate::{
    memory::width,
    schema::{IndexKind, TypeDef},
};

pub(crate) use crate::planner::statistics::{
    FragmentStats, IndexRefusal, IndexStats, MissingIndex, RewriteRefusal, SegmentStats,
    TableStats, Unmovable, Unwritable, VersionInfo,
};

impl FragmentStats {
    pub(super) fn of(fragment: &Fragment, coverage: u32) -> Self {
        let sizes = fragment.files.iter().map(|f| f.file_size_bytes.get());
        let known = sizes.clone().flatten().map(NonZero::get);
        Self {
            id: fragment.id,
            rows: fragment.physical_rows.unwrap_or(0) as u64,
            deleted: deleted_rows(fragment),
            bytes: known.sum(),
            measured: 0,
            unmeasured: fragment.physical_rows.is_none() || sizes.clone().any(|s| s.is_none()),
            coverage,
            refused: None,
        }
    }
}

impl TableStats {
    /// Describes an open table by its manifest. It costs a request only when the table has indexes.
    ///
    /// # Errors
    /// Lance's, when the list of indexes cannot be read.
    pub async fn read(dataset: &Dataset) -> lance::Result<Self> {
        let all = Indexes::of(dataset).await?;
        let coverage = Coverage::of(dataset, &all).await;
        let manifest = dataset.manifest();
        let fragments = manifest.fragments.iter().zip(&coverage.of);
        Ok(Self {
            version: manifest.version,
            fragments: fragments
                .map(|(fragment, class)| FragmentStats::of(fragment, *class))
                .collect(),
            indexes: indexes(dataset, &all).await,
            segments: coverage.segments,
            coverages: coverage.classes,
            missing: Vec::new(),
            stable_row_ids: manifest.uses_stable_row_ids(),
            oldest_writer: None,
            refusals: Vec::new(),
            unwritable: Unwritable::of(manifest),
        })
    }

    /// The same, and which of the indexes that its type declares the table does not have.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) async fn read_declared(dataset: &Dataset, def: &TypeDef) -> lance::Result<Self> {
        let stats = Self::read(dataset).await?;
        Ok(Self {
            missing: indexing::missing(dataset, def, stats.rows()).await?,
            ..stats
        })
    }
}

/// The indexes that Lance can keep up, by name. One that it can only read, or that waits for rows to be trained on, is
/// not among them: nothing could be done about it.
async fn indexes(dataset: &Dataset, all: &Indexes) -> Vec<IndexStats> {
    let mut by_name: BTreeMap<&str, Vec<&IndexMetadata>> = BTreeMap::new();
    for segment in all.usable() {
        by_name.entry(&segment.name).or_default().push(segment);
    }
    let fragments = &dataset.manifest().fragments;
    let stable = dataset.manifest().uses_stable_row_ids();
    let rows = fragments.iter().map(live_rows).sum();
    by_name.retain(|_, segments| indexing::can_be_extended(segments, rows));
    let mut stats = Vec::new();
    for (name, segments) in by_name {
        let outside = |f: &&Fragment| !segments.iter().any(|s| covers(s, f));
        let unindexed = fragments.iter().filter(outside).map(live_rows);
        let fields = segments
            .iter()
            .flat_map(|s| s.keyed_fields().iter().take(1));
        let (schema, mut first) = (dataset.schema(), fields.clone());
        let of_one = first.next().and_then(|field| schema.field_by_id(*field));
        let columns = fields.filter_map(|field| schema.field_path(*field).ok());
        let (unmovable, needs) = extended_needs(dataset, &segments).await;
        stats.push(IndexStats {
            name: name.to_owned(),
            columns: columns.take(1).collect(),
            segments: segments.len(),
            unindexed_rows: unindexed.clone().sum(),
            unindexed_fragments: unindexed.count(),
            value_bytes: of_one.and_then(|field| width(&field.data_type())),
            vector: segments
                .iter()
                .any(|s| details::is_of(IndexKind::Vector, s)),
            row_ids: stable && segments.iter().any(|s| !s.results_are_row_addrs()),
            unmovable,
            needs,
            refused: None,
            merge_refused: None,
        });
    }
    stats
}

#[cfg(test)]
mod tests {
    use lance_table::format::DataFile;

    use super::*;

    #[test]
    fn a_fragment_with_a_file_of_unknown_size_or_of_unknown_rows_says_so() {
        let fragment = |sizes: &[u64]| {
            let file = |size: &u64| DataFile {
                file_size_bytes: NonZero::new(*size).into(),
                ..DataFile::new_legacy_from_fields("a.lance", vec![0], None)
            };
            let mut fragment = Fragment::new(7).with_physical_rows(10);
            fragment.files = sizes.iter().map(file).collect();
            fragment
        };
        let stats = FragmentStats::of(&fragment(&[500, 20]), 0);
        assert_eq!(
            (stats.bytes, stats.rows, stats.unmeasured),
            (520, 10, false)
        );
        assert!(FragmentStats::of(&fragment(&[500, 0]), 0).unmeasured);
        let mut countless = fragment(&[500]);
        countless.physical_rows = None;
        assert!(FragmentStats::of(&countless, 0).unmeasured);
    }
}
