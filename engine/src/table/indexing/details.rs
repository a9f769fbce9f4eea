//! What segments of indexes say of themselves.

use lance_table::format::IndexMetadata;

use crate::schema::IndexKind;

/// Whether a segment is of this kind, by what it says of itself.
pub(crate) fn is_of(kind: IndexKind, segment: &IndexMetadata) -> bool {
    let details = match kind {
        IndexKind::Btree => ".BTreeIndexDetails",
        IndexKind::Bitmap => ".BitmapIndexDetails",
        IndexKind::LabelList => ".LabelListIndexDetails",
        IndexKind::Inverted => ".InvertedIndexDetails",
        IndexKind::Vector => ".VectorIndexDetails",
    };
    let says = segment.index_details.as_ref();
    says.is_some_and(|says| says.type_url.ends_with(details))
}
