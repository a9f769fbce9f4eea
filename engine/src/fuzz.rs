//! What reads bytes and texts of others and has no public face: for fuzzing, in builds with the feature `failpoints`.

use crate::{
    error::{Error, Result},
    graph::{manifest, sidecar::Sidecar},
    storage::{self, Beyond},
};

/// What the objects are called in errors.
pub const OBJECT: &str = "the-object";
const URI: &str = "memory://fuzz/graph";

/// Reads the manifest of this number, and writes it again.
///
/// # Errors
/// [`Error::Damaged`], [`Error::NewerFormat`].
pub fn manifest_again(bytes: &[u8], number: u64) -> Result<Vec<u8>> {
    manifest::again(bytes, number, OBJECT, URI)
}

/// Reads a sidecar, and writes it again.
///
/// # Errors
/// As [`manifest_again`].
pub fn sidecar_again(bytes: &[u8]) -> Result<Vec<u8>> {
    let failed = |e| Error::store("writing", OBJECT, e);
    Sidecar::decode(bytes, OBJECT, URI)?
        .encode()
        .map_err(failed)
}

/// The root that a URI names, as it is shown. No store is asked.
///
/// # Errors
/// [`Error::BadUri`].
pub fn shown_uri(uri: &str) -> Result<String> {
    storage::shown(uri, &Beyond::default())
}
