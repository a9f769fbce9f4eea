//! What indexes cover, and what becomes of that when fragments are rewritten.
//!
//! By **all** indexes of a version, those included that this build cannot read: what cannot be restored must not be
//! taken away.

use std::{
    collections::{HashMap, HashSet},
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use lance::{
    Dataset,
    index::{DatasetIndexExt, DatasetIndexInternalExt, vector::ivf::IVFIndex as LegacyIndex},
};
use lance_index::{
    IndexType,
    metrics::NoOpMetricsCollector,
    pb::{VectorIndexDetails, vector_index_details::Compression},
};
use lance_table::{
    format::{Fragment, IndexMetadata},
    io::manifest::read_manifest_indexes,
    system_index::{frag_reuse::FRAG_REUSE_INDEX_NAME, is_system_index},
};
use object_store::ObjectStoreExt;
use prost::Message;
use uuid::Uuid;

use super::{
    fragments::{covers, live_rows},
    indexing::details,
    refusal::segments,
    stats::{SegmentStats, Unmovable},
};
use crate::{
    error::{cause::Cause, plain},
    memory::width,
    planner::clients::{
        KEEPS_EXTENDED, KEEPS_REMAPPED, LanceVersion, READS_BTREE_ADDRESSES, READS_CODEBOOK_BUFFER,
        READS_LABEL_LISTS, READS_TEXT_PARTITIONS,
    },
    schema::IndexKind,
    table::guard::caught,
};

/// What an index notes of a row beside its value.
const ROW_ID_BYTES: u64 = 8;
/// Maximum number of segments that are remembered by what they are; a process that has seen more begins anew.
const REMEMBERED: usize = 65_536;

/// The indexes of one version.
pub(crate) struct Indexes {
    /// All segments, but those of Lance's own.
    pub(crate) segments: Vec<Segment>,
    /// Whether Lance keeps a history of fragments by which it follows rows to where they are: it would follow those of a
    /// segment that is written anew once more.
    follows_history: bool,
}

/// One segment.
pub(crate) struct Segment {
    pub(crate) metadata: IndexMetadata,
    /// Whether this build can read its kind and its version.
    pub(crate) usable: bool,
}

/// What a rewrite of a fragment under a segment does to the segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Follows {
    /// Nothing: it holds ids of rows, which stay.
    ByItself,
    /// It holds addresses of rows, and is written anew with others.
    Remapped,
    /// It would lose the rows.
    Not(Unmovable),
}

impl Indexes {
    /// Reads them. It costs requests only when there are any.
    ///
    /// # Errors
    /// Lance's, when the list of indexes cannot be read.
    pub(crate) async fn of(dataset: &Dataset) -> lance::Result<Self> {
        let manifest = dataset.manifest();
        if manifest.index_section.is_none() {
            return Ok(Self {
                segments: Vec::new(),
                follows_history: false,
            });
        }
        let store = dataset.object_store(None).await?;
        let all = read_manifest_indexes(&store, dataset.manifest_location(), manifest).await?;
        let usable = dataset.load_indices().await?;
        // Where Lance follows fragments, it knows better than the manifest what is covered.
        let mut usable: HashMap<Uuid, &IndexMetadata> =
            usable.iter().map(|index| (index.uuid, index)).collect();
        let follows_history = all.iter().any(|i| i.name == FRAG_REUSE_INDEX_NAME);
        let segments = all.into_iter().filter(|index| !is_system_index(index));
        let segments = segments.map(|stored| match usable.remove(&stored.uuid) {
            Some(known) => Segment {
                metadata: known.clone(),
                usable: true,
            },
            None => Segment {
                metadata: stored,
                usable: false,
            },
        });
        Ok(Self {
            segments: segments.collect(),
            follows_history,
        })
    }

    /// The segments that this build can read.
    pub(crate) fn usable(&self) -> impl Iterator<Item = &IndexMetadata> {
        let usable = self.segments.iter().filter(|segment| segment.usable);
        usable.map(|segment| &segment.metadata)
    }

    /// What a rewrite of fragments under a segment does to it, as far as the manifest tells.
    pub(crate) fn follows(&self, segment: &Segment, stable_row_ids: bool) -> Follows {
        let metadata = &segment.metadata;
        let says = metadata.index_details.as_ref();
        let is = |kind: &str| says.is_some_and(|details| details.type_url.ends_with(kind));
        if !segment.usable {
            return Follows::Not(Unmovable::Unreadable);
        }
        if stable_row_ids && !metadata.results_are_row_addrs() {
            return Follows::ByItself;
        }
        let several = metadata.keyed_field().is_none() || !metadata.covering_fields.is_empty();
        let elsewhere = metadata.base_id.is_some();
        if self.follows_history
            || several
            || elsewhere
            || metadata.fragment_bitmap.is_none()
            || NOT_REMAPPED.into_iter().any(is)
        {
            return Follows::Not(Unmovable::Unsupported);
        }
        match segments::reason(metadata.uuid) {
            Some(reason) => Follows::Not(Unmovable::Failed(reason)),
            None => Follows::Remapped,
        }
    }
}

impl Segment {
    /// Whether it answers for a fragment, or may: one that does not say what it covers may cover all.
    pub(crate) fn may_cover(&self, fragment: &Fragment) -> bool {
        self.metadata.fragment_bitmap.is_none() || covers(&self.metadata, fragment)
    }
}

/// Kinds that Lance does not write for other addresses, by how their details are called.
const NOT_REMAPPED: [&str; 4] = [
    "ZoneMapIndexDetails",
    "BloomFilterIndexDetails",
    "FMIndexDetails",
    "RTreeIndexDetails",
];

/// What a planner gets of coverage: segments that a rewrite has to do with, and of each fragment which cover it, as a
/// number that fragments covered alike share.
pub(crate) struct Coverage {
    pub(crate) segments: Vec<SegmentStats>,
    pub(crate) classes: Vec<Vec<u32>>,
    /// Of each fragment, in the table's order.
    pub(crate) of: Vec<u32>,
}

impl Coverage {
    /// Reads the segments of the newest version. A segment is opened at most once in a process, and only where its
    /// format is of an age that the manifest does not tell enough of.
    pub(crate) async fn of(dataset: &Dataset, indexes: &Indexes) -> Self {
        let fragments = &dataset.manifest().fragments;
        let stable = dataset.manifest().uses_stable_row_ids();
        let mut segments = Vec::new();
        // Of each segment of the table, its place among those that a rewrite has to do with.
        let mut places = Vec::new();
        for segment in &indexes.segments {
            let covers_some = fragments.iter().any(|f| segment.may_cover(f));
            let unmovable = match indexes.follows(segment, stable) {
                Follows::ByItself => {
                    places.push(None);
                    continue;
                }
                Follows::Remapped => None,
                Follows::Not(unmovable) => Some(unmovable),
            };
            let (unmovable, needs) = match unmovable {
                None if covers_some => match format_of(dataset, &segment.metadata).await {
                    // Lance would make it anew with the rows' old addresses.
                    (None, Some(READS_TEXT_PARTITIONS)) => (Some(Unmovable::Unsupported), None),
                    (None, needs) if is_scalar(&segment.metadata) => {
                        (None, needs.max(Some(KEEPS_REMAPPED)))
                    }
                    format => format,
                },
                unmovable => (unmovable, None),
            };
            places.push(Some(u32::try_from(segments.len()).unwrap_or(u32::MAX)));
            segments.push(SegmentStats {
                index: segment.metadata.name.clone(),
                bytes: bytes(dataset, segment),
                unmovable,
                needs,
            });
        }
        let mut known: HashMap<Vec<bool>, u32> = HashMap::new();
        let none = vec![false; indexes.segments.len()];
        let mut classes = vec![Vec::new()];
        known.insert(none, 0);
        let of = fragments.iter().map(|fragment| {
            let covered: Vec<_> = indexes
                .segments
                .iter()
                .map(|s| s.may_cover(fragment))
                .collect();
            if let Some(class) = known.get(&covered) {
                return *class;
            }
            let class = u32::try_from(classes.len()).unwrap_or(u32::MAX);
            let concerned = covered.iter().zip(&places);
            let concerned = concerned.filter_map(|(covers, place)| place.filter(|_| *covers));
            classes.push(concerned.collect());
            known.insert(covered, class);
            class
        });
        let of = of.collect();
        Self {
            segments,
            classes,
            of,
        }
    }
}

fn is_scalar(segment: &IndexMetadata) -> bool {
    let scalar = [IndexKind::Btree, IndexKind::Bitmap, IndexKind::LabelList];
    scalar.into_iter().any(|kind| details::is_of(kind, segment))
}

/// Bytes of a segment's files. Where the manifest does not have them, about as many as its rows take in it.
fn bytes(dataset: &Dataset, segment: &Segment) -> u64 {
    let metadata = &segment.metadata;
    if let Some(bytes) = metadata.total_size_bytes() {
        return bytes;
    }
    let fragments = dataset.manifest().fragments.iter();
    let covered = fragments.filter(|f| segment.may_cover(f));
    let field = metadata
        .keyed_field()
        .and_then(|id| dataset.schema().field_by_id(id));
    match field.and_then(|field| width(&field.data_type())) {
        Some(value) => {
            let rows: u64 = covered.map(live_rows).sum();
            rows.saturating_mul(value.saturating_add(ROW_ID_BYTES))
        }
        None => {
            let files = covered.flat_map(|f| &f.files);
            let sizes = files.filter_map(|file| file.file_size_bytes.get());
            sizes.map(std::num::NonZero::get).sum()
        }
    }
}

/// What a segment's format means for writing it anew: whether that cannot be done at all, and the oldest Lance that reads
/// the result, where older ones read it as it is.
async fn format_of(
    dataset: &Dataset,
    segment: &IndexMetadata,
) -> (Option<Unmovable>, Option<LanceVersion>) {
    if let Some(known) = lock(&FORMATS).get(&segment.uuid) {
        return known.clone();
    }
    let found = match look_at(dataset, segment).await {
        Ok(found) => found,
        // The store did not answer: it is looked at again.
        Err(_) => return (None, Some(READS_CODEBOOK_BUFFER)),
    };
    let mut formats = lock(&FORMATS);
    if formats.len() >= REMEMBERED {
        formats.clear();
    }
    formats.insert(segment.uuid, found.clone());
    found
}

type Format = (Option<Unmovable>, Option<LanceVersion>);

static FORMATS: LazyLock<Mutex<HashMap<Uuid, Format>>> = LazyLock::new(Mutex::default);

async fn look_at(dataset: &Dataset, segment: &IndexMetadata) -> lance::Result<Format> {
    if details::is_of(IndexKind::Inverted, segment) {
        let partitioned = is_partitioned(dataset, segment).await?;
        return Ok((None, (!partitioned).then_some(READS_TEXT_PARTITIONS)));
    }
    let is_vector = details::is_of(IndexKind::Vector, segment) || segment.index_details.is_none();
    let is_of_today = segment.index_version == IndexType::Vector.version();
    if !is_vector || is_of_today && !is_rabit(segment) {
        return Ok((None, None));
    }
    let Some(column) = column(dataset, segment) else {
        return Ok((Some(Unmovable::Unsupported), None));
    };
    let opened = dataset.open_generic_index(&column, &segment.uuid, &NoOpMetricsCollector);
    let index = match caught(opened).await {
        Ok(Ok(index)) => index,
        Ok(Err(e)) if Cause::of(&e).is_of_store() => return Err(e),
        Ok(Err(e)) => return Ok((Some(Unmovable::Failed(plain(&e))), None)),
        Err(panic) => return Ok((Some(Unmovable::Failed(panic)), None)),
    };
    if index.index_type() == IndexType::Inverted {
        let partitioned = is_partitioned(dataset, segment).await?;
        return Ok((None, (!partitioned).then_some(READS_TEXT_PARTITIONS)));
    }
    if index.as_any().is::<LegacyIndex>() {
        return Ok((Some(Unmovable::Unsupported), None));
    }
    if index.index_type() == IndexType::IvfRq {
        return Ok((obstacle_to_searches(dataset, &column, segment).await?, None));
    }
    let quantized = matches!(index.index_type(), IndexType::IvfPq | IndexType::IvfHnswPq);
    let old = segment.index_version == 0;
    Ok((None, (old && quantized).then_some(READS_CODEBOOK_BUFFER)))
}

/// Whether the details of a vector index say that its vectors are quantized by RaBitQ.
fn is_rabit(segment: &IndexMetadata) -> bool {
    let details = segment.index_details.as_ref();
    let details = details.and_then(|any| VectorIndexDetails::decode(any.value.as_slice()).ok());
    let compression = details.and_then(|details| details.compression);
    matches!(compression, Some(Compression::Rq(_)))
}

/// Why this build cannot search a vector index that it can open, if it cannot: that shows when a partition is read.
async fn obstacle_to_searches(
    dataset: &Dataset,
    column: &str,
    segment: &IndexMetadata,
) -> lance::Result<Option<Unmovable>> {
    let opening = dataset.open_vector_index(column, &segment.uuid, &NoOpMetricsCollector);
    let index = opening.await?;
    let partitions = 0..index.ivf_model().num_partitions();
    let mut with_rows = partitions.filter(|partition| index.partition_size(*partition) > 0);
    let Some(partition) = with_rows.next() else {
        return Ok(None);
    };
    let reading = index.partition_reader(partition, false, &NoOpMetricsCollector);
    Ok(match caught(reading).await {
        Ok(Ok(_)) => None,
        Ok(Err(e)) if Cause::of(&e).is_of_store() => return Err(e),
        Ok(Err(e)) => Some(Unmovable::Failed(plain(&e))),
        Err(panic) => Some(Unmovable::Failed(panic)),
    })
}

/// The path of the column that a segment is about.
pub(super) fn column(dataset: &Dataset, segment: &IndexMetadata) -> Option<String> {
    dataset.schema().field_path(segment.keyed_field()?).ok()
}

/// Whether a full-text index is in partitions, as they are written since Lance 0.29.
pub(super) async fn is_partitioned(
    dataset: &Dataset,
    segment: &IndexMetadata,
) -> lance::Result<bool> {
    const METADATA: &str = "metadata.lance";
    if let Some(files) = &segment.files {
        return Ok(files.iter().any(|file| file.path.ends_with(METADATA)));
    }
    let store = dataset.object_store(segment.base_id).await?;
    let folder = dataset.indices_dir().join(segment.uuid.to_string());
    match store.inner.head(&folder.join(METADATA)).await {
        Ok(_) => Ok(true),
        Err(object_store::Error::NotFound { .. }) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// The oldest Lance that reads an index once it was extended or merged by this build, where older ones read it as it is;
/// or why it cannot be extended.
pub(crate) async fn extended_needs(
    dataset: &Dataset,
    segments: &[&IndexMetadata],
) -> (Option<Unmovable>, Option<LanceVersion>) {
    let (mut unmovable, mut needs) = (None, None);
    let stable_row_ids = dataset.manifest().uses_stable_row_ids();
    for segment in segments {
        let (cannot, wants) = format_of(dataset, segment).await;
        unmovable = unmovable.or(cannot);
        let newer = newer_version(segment, stable_row_ids);
        needs = needs.max(wants).max(Some(newer));
    }
    (unmovable, needs)
}

/// The oldest Lance that can do with a segment's index, once this build has extended it, what it can do now.
fn newer_version(segment: &IndexMetadata, stable_row_ids: bool) -> LanceVersion {
    let is = |kind| segment.index_version == 0 && details::is_of(kind, segment);
    if is(IndexKind::Btree) && stable_row_ids {
        READS_BTREE_ADDRESSES
    } else if is(IndexKind::LabelList) {
        READS_LABEL_LISTS
    } else {
        KEEPS_EXTENDED
    }
}

fn lock<T>(memory: &Mutex<T>) -> MutexGuard<'_, T> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Fragments by id, to find what a segment covers of them.
pub(super) fn covers_any(segment: &IndexMetadata, fragments: &HashSet<u32>) -> bool {
    let covered = segment.fragment_bitmap.as_ref();
    covered.is_none_or(|covered| fragments.iter().any(|id| covered.contains(*id)))
}
