//! Suggests a table for a name that no table has.

use super::manifest::Manifest;
use crate::ids::TableKey;

/// Names that are less alike than this, by Jaro and Winkler, are not suggested.
const MIN_SIMILARITY: f64 = 0.8;

/// The table whose name is most like the one that was asked for; `None` when none is alike.
pub(super) fn table(manifest: &Manifest, asked: &str) -> Option<TableKey> {
    let name = asked.split_once(':').map_or(asked, |(_, name)| name);
    let nearest = manifest
        .tables
        .keys()
        .map(|key| (strsim::jaro_winkler(name, key.name()), key))
        .filter(|(similarity, _)| *similarity > MIN_SIMILARITY)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    nearest.map(|(_, key)| key.clone())
}
