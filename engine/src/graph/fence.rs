//! Fencing: a table is moved on by an empty version, so that no late commit can take its place.

use lance::dataset::transaction::{Operation, Transaction};

use super::context::Core;
use crate::{
    error::{Error, Result},
    failpoint,
    ids::OperationId,
    table::{
        Table,
        commit::{Landing, commit_at},
        staged::Staged,
    },
};

/// Maximum number of attempts to commit a fence at the head.
const MAX_FENCES: usize = 20;

impl Core {
    /// Fences a table at its head. Every version up to the returned one is there for good, and a commit at exactly the
    /// version after any of them fails from now on. 0 when there is no table.
    ///
    /// # Errors
    /// [`Error::Contended`] when other writers commit so fast that no fence is committed.
    pub(crate) async fn fence_head(&self, table: &Table) -> Result<u64> {
        for _ in 0..MAX_FENCES {
            let head = table.head().await?;
            if head == 0 {
                return Ok(0);
            }
            match commit_fence(table, head).await {
                Landing::Landed(version) => {
                    tracing::info!(table = %table.key, version, uri = %self.storage.uri, "fenced");
                    return Ok(version);
                }
                Landing::Taken | Landing::Lost | Landing::Conflict(_) => {}
                Landing::Failed(e) | Landing::Refused(e) | Landing::Unclear(e) => {
                    return Err(table.failed("fencing", *e));
                }
            }
        }
        Err(Error::Contended {
            table: table.key.clone(),
            uri: self.storage.uri.clone(),
        })
    }

    /// Fences a table at one version: commits an empty, content-preserving version at exactly base+1, so that no late
    /// commit can take that place. A version that another process committed there does as well. So does a table that ends
    /// before the base, because another program dropped it: what is committed after a base that is gone is no table.
    ///
    /// # Errors
    /// When it is not certain that base+1 is taken.
    pub(crate) async fn fence(&self, table: &Table, base: u64) -> Result<()> {
        match commit_fence(table, base).await {
            Landing::Landed(_) | Landing::Taken => {
                tracing::info!(table = %table.key, version = base + 1, uri = %self.storage.uri, "fenced");
                Ok(())
            }
            Landing::Lost
            | Landing::Conflict(_)
            | Landing::Failed(_)
            | Landing::Refused(_)
            | Landing::Unclear(_)
                if table.head().await? != base =>
            {
                Ok(())
            }
            Landing::Lost => Err(Error::Contended {
                table: table.key.clone(),
                uri: self.storage.uri.clone(),
            }),
            Landing::Conflict(reason) => Err(Error::Damaged {
                object: format!("version {} of {}", base + 1, table.key),
                reason,
                uri: self.storage.uri.clone(),
            }),
            Landing::Failed(e) | Landing::Refused(e) | Landing::Unclear(e) => {
                Err(table.failed("fencing", *e))
            }
        }
    }
}

/// Commits an empty, content-preserving version at exactly `base` + 1.
async fn commit_fence(table: &Table, base: u64) -> Landing {
    let nothing = Transaction::new(base, Operation::ReserveFragments { num_fragments: 0 }, None);
    let fence = Staged::new(nothing, None, OperationId::fresh());
    failpoint::hit!(BEFORE_FENCE);
    let committed = commit_at(table, &fence, base).await;
    failpoint::hit!(AFTER_FENCE);
    committed
}
