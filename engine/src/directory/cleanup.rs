//! Cleanup of a directory's tables: the oldest versions go, as far as retention, tags and branches allow.
//!
//! There is no manifest that would tell who reads what: the age alone keeps readers safe, and writers with a transaction
//! that they staged at an older version. Files that never were in a version may be another program's write that is under
//! way; they stay for seven days, which is Lance's own rule.

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::{Directory, clones::Clones, look};
use crate::{
    error::{Error, Result},
    maintenance::{
        Ask,
        cleanup::{self, CleanupPolicy, Skip, Verdict},
    },
    names::TableKey,
    table::{
        Table,
        stats::VersionInfo,
        versions::{
            self, Cleaned, CleanupPreview, Kept, Limit, References, Removed, delta, kept_by_policy,
        },
    },
};

impl Directory {
    /// Removes the versions of one table that are past retention and that no tag and no branch needs, with the files
    /// that no other version names.
    ///
    /// When `stop` is cancelled it ends at once; what is left is removed by the next one.
    ///
    /// # Errors
    /// [`Error::Cancelled`]; [`Error::TableGone`]; [`Error::Lance`] and [`Error::Store`].
    pub async fn cleanup(
        &self,
        table: &TableKey,
        policy: &CleanupPolicy,
        ask: &Ask,
        stop: &CancellationToken,
    ) -> Result<Cleaned> {
        let _turn = self.turn(table, stop).await?;
        let table = self.admitted(table).await?;
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(Error::Cancelled),
            cleaned = clean(&table, &self.0.clones, policy, ask) => cleaned,
        }
    }

    /// What [`Self::cleanup`] would do, and what keeps the rest. Changes nothing.
    ///
    /// # Errors
    /// [`Error::TableGone`]; [`Error::Lance`], [`Error::Store`].
    pub async fn explain_cleanup(
        &self,
        table: &TableKey,
        policy: &CleanupPolicy,
        ask: &Ask,
    ) -> Result<CleanupPreview> {
        let table = self.admitted(table).await?;
        let now = table.storage.surely_past();
        let look = Look::at(&table).await?;
        let clones = self.0.clones.of(&table, policy.keep_for).await?;
        let verdict = match look.verdict(policy, now, ask) {
            Verdict::Remove { .. } if !clones.is_empty() => Verdict::Skip(Skip::Protected),
            verdict => verdict,
        };
        let goes = match &verdict {
            Verdict::Remove { below, .. } => {
                let limit = look.limit(*below, policy, now);
                versions::explain(&table, &look.dataset, limit).await?
            }
            Verdict::Skip(_) => Removed::default(),
        };
        let by_policy = kept_by_policy(&look.versions, policy, now);
        Ok(CleanupPreview {
            verdict,
            versions: look.versions.len() as u64,
            goes,
            kept: clones
                .into_iter()
                .map(|table| Kept::Clone { table })
                .chain(look.references.kept())
                .chain(by_policy)
                .collect(),
        })
    }

    /// All versions of a table, in order: one list.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn versions(&self, table: &TableKey) -> Result<Vec<VersionInfo>> {
        versions::list(&self.table(table)).await
    }
}

async fn clean(
    table: &Table,
    clones: &Clones,
    policy: &CleanupPolicy,
    ask: &Ask,
) -> Result<Cleaned> {
    let now = table.storage.surely_past();
    let look = Look::at(table).await?;
    let (below, reason) = match look.verdict(policy, now, ask) {
        Verdict::Remove { below, reason, .. } => (below, reason),
        Verdict::Skip(skip) => return Ok(Cleaned::Skipped(skip)),
    };
    // Lance would not spare the files that clones read: it knows of tags and branches alone.
    if !clones.of(table, policy.keep_for).await?.is_empty() {
        return Ok(Cleaned::Skipped(Skip::Protected));
    }
    let limit = look.limit(below, policy, now);
    versions::clean(table, &look.dataset, limit, reason).await
}

/// A table's versions, and what keeps them.
struct Look {
    dataset: lance::Dataset,
    versions: Vec<VersionInfo>,
    references: References,
}

impl Look {
    async fn at(table: &Table) -> Result<Self> {
        let dataset = look::open(table, table.storage.cleanup_params()).await?;
        let references = References::of(table, &dataset).await?;
        Ok(Self {
            versions: versions::list(table).await?,
            references,
            dataset,
        })
    }

    fn verdict(&self, policy: &CleanupPolicy, now: DateTime<Utc>, ask: &Ask) -> Verdict {
        let protected = self.references.protected();
        cleanup::plan(&self.versions, &protected, policy, now, ask.forced)
    }

    /// What goes was superseded before `now` by the age, so it was committed before that. Saying so keeps the versions of
    /// a table that another program has dropped and made anew since: they have the old numbers, but not the old times.
    fn limit(&self, below: u64, policy: &CleanupPolicy, now: DateTime<Utc>) -> Limit {
        Limit {
            below,
            before: now.checked_sub_signed(delta(policy.keep_for)),
        }
    }
}
