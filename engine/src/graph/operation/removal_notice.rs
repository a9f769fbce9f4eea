//! The manifest says that versions of a table go, before they do.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::{
    error::Result,
    graph::{
        context::Core,
        manifest::{ChangeResult, Refusal, transition},
    },
    ids::{OperationId, TableKey},
};

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Says in the manifest that versions of the table at `path` before `below` go (transition `clean`). From then on, every
/// operation that enters does so after this manifest, and so at its pin or later. While an operation is decided on the
/// table, it is tried again, for `timeout` at most. `false` when the manifest refuses: then nothing may be deleted.
///
/// # Errors
/// [`crate::Error::Store`]; after [`crate::Error::OutcomeUnknown`], nothing may be deleted.
pub(crate) async fn announce(
    core: &Core,
    key: &TableKey,
    path: &str,
    below: u64,
    summary: &str,
    timeout: Duration,
) -> Result<bool> {
    let until = Instant::now() + timeout;
    let mut pause = FIRST_PAUSE;
    loop {
        let by = core.by(summary);
        let (table, at) = (key.clone(), path.to_owned());
        let call = core
            .manifests
            .change(OperationId::fresh(), move |m| {
                transition::clean(m, &table, &at, below, &by)
            })
            .await?;
        match call {
            ChangeResult::Holds(_) => return Ok(true),
            ChangeResult::Refused(Refusal::NotInFront { .. }) if Instant::now() < until => {
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            ChangeResult::Refused(refusal) => {
                tracing::info!(table = %key, below, %refusal, uri = %core.storage.uri, "versions stay for now");
                return Ok(false);
            }
        }
    }
}
