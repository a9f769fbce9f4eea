//! Collection of old manifests: the register forgets what lies far back, and its objects are deleted.
//!
//! Outcomes live as long as the manifests that recorded them, so without collection every manifest would be larger
//! than the one before.

use crate::{
    core::Core,
    error::Result,
    manifest::{Call, transition},
    names::OperationId,
};

/// Raises `collected_below` so that about `keep` manifests stay, and deletes the objects below it. It acts only when
/// a quarter more than that has gathered, so that it is rare. Returns how many objects it deleted.
///
/// # Errors
/// [`crate::Error::Store`]; after [`crate::Error::OutcomeUnknown`] nothing was deleted.
pub(crate) async fn collect(core: &Core, keep: u64) -> Result<usize> {
    let newest = core.register.newest().await?;
    let below = newest.number.saturating_sub(keep);
    if below <= newest.collected_below + keep / 4 {
        return Ok(0);
    }
    let by = core.by("");
    let collected = core
        .register
        .change(OperationId::fresh(), move |m| {
            transition::collect(m, below.max(m.collected_below), &by)
        })
        .await?;
    match collected {
        // Only now does the mark count.
        Call::Holds(manifest) => {
            let deleted = core.register.delete_below(manifest.collected_below).await?;
            tracing::info!(below = manifest.collected_below, deleted, uri = %core.storage.uri, "old manifests collected");
            Ok(deleted)
        }
        Call::Refused(_) => Ok(0),
    }
}
