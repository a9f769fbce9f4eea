//! Cleanup of a directory's tables: the oldest versions go, as far as retention, tags, branches and clones allow.
//!
//! There is no manifest that says which reader needs what: the age alone keeps readers safe, and writers with a transaction
//! that they staged at an older version. Files that never were in a version may be another program's write that is under
//! way; they stay for seven days, which is Lance's own rule.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::{discovery, handle::Directory, inspect};
use crate::{
    error::{Error, Result},
    ids::TableKey,
    planner::{
        Ask,
        cleanup::{self, CleanupPolicy, Decision, Protected, Skip},
    },
    table::{
        Table,
        handle::guarded,
        protection::Protection,
        readers::Readers,
        removal::{Cleaned, Cleaner, CleanupPreview, Going, Removed},
        retention::kept_by_policy,
        stats::VersionInfo,
        untracked,
        unwritable::Unwritable,
        versions,
    },
};

impl Directory {
    /// Removes the versions of one table that are past retention and that no tag, no branch and no clone needs, with the
    /// files that no other version names.
    ///
    /// When `stop` is cancelled it ends at once; what is left is removed by the next one.
    ///
    /// # Errors
    /// [`Error::Cancelled`]; [`Error::TableGone`]; [`Error::TableReplaced`]; [`Error::Panicked`]; [`Error::Lance`] and
    /// [`Error::Store`].
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
            cleaned = guarded(&table, "cleaning up", clean(&table, &self.0.readers, policy, ask)) => cleaned,
        }
    }

    /// What [`Self::cleanup`] would do, and what keeps the rest. Changes nothing.
    ///
    /// # Errors
    /// [`Error::TableGone`]; [`Error::Panicked`]; [`Error::Lance`], [`Error::Store`].
    pub async fn explain_cleanup(
        &self,
        table: &TableKey,
        policy: &CleanupPolicy,
        ask: &Ask,
    ) -> Result<CleanupPreview> {
        let table = self.admitted(table).await?;
        let explaining = explain(&table, &self.0.readers, policy, ask);
        guarded(&table, "looking at the versions of", explaining).await
    }

    /// Whether a table has files that no version names and that are so old that no writer will commit them: a cleanup removes
    /// them, also where no version goes. It lists the table's files.
    ///
    /// # Errors
    /// [`Error::TableGone`]; [`Error::Panicked`]; [`Error::Lance`], [`Error::Store`].
    pub async fn has_left_over_files(&self, table: &TableKey) -> Result<bool> {
        let table = self.admitted(table).await?;
        let looking = async {
            let (permit, params) = table.storage.cleanup();
            let cleaner = Cleaner::new(inspect::open(&table, params).await?, permit);
            if Unwritable::by_features(cleaner.dataset.manifest()).is_some() {
                return Ok(false);
            }
            untracked::any(&table, &cleaner).await
        };
        guarded(&table, "looking for files of", looking).await
    }

    /// All versions of a table, in order: one list.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn versions(&self, table: &TableKey) -> Result<Vec<VersionInfo>> {
        versions::list(&self.table(table)).await
    }
}

async fn explain(
    table: &Table,
    readers: &Readers,
    policy: &CleanupPolicy,
    ask: &Ask,
) -> Result<CleanupPreview> {
    let now = table.storage.surely_past();
    let look = Look::at(table).await?;
    let protection = look.protection(table, readers, policy, now).await?;
    let decision = look.decision(table, &protection, policy, now, ask).await?;
    let goes = match &decision {
        Decision::Remove { versions, .. } => look.cleaner.explain(table, versions).await?,
        Decision::Skip(_) => Removed::default(),
    };
    let by_policy = kept_by_policy(&look.versions, policy, now);
    Ok(CleanupPreview {
        decision,
        versions: look.versions.len() as u64,
        goes,
        kept: protection.kept.into_iter().chain(by_policy).collect(),
    })
}

async fn clean(
    table: &Table,
    readers: &Readers,
    policy: &CleanupPolicy,
    ask: &Ask,
) -> Result<Cleaned> {
    let now = table.storage.surely_past();
    let look = Look::at(table).await?;
    let nothing = Protection::default();
    // Only where there is something to remove, others are asked what they need.
    if let Decision::Skip(skip) = look.decision(table, &nothing, policy, now, ask).await? {
        return Ok(Cleaned::Skipped(skip));
    }
    let protection = look.protection(table, readers, policy, now).await?;
    let (versions, reason) = match look.decision(table, &protection, policy, now, ask).await? {
        Decision::Remove { versions, reason } => (versions, reason),
        Decision::Skip(skip) => {
            if skip == Skip::Protected {
                let because: Vec<_> = protection.kept.iter().map(ToString::to_string).collect();
                let because = because.join("; ");
                tracing::info!(table = %table.key, because, uri = %table.storage.uri, "versions stay for now");
            }
            return Ok(Cleaned::Skipped(skip));
        }
    };
    let going = Going {
        versions: &versions,
        listed: &look.versions,
        references: &protection.references,
    };
    look.cleaner.clean(table, going, reason).await
}

/// A table's versions.
struct Look {
    cleaner: Cleaner,
    versions: Vec<VersionInfo>,
}

impl Look {
    async fn at(table: &Table) -> Result<Self> {
        let (permit, params) = table.storage.cleanup();
        let dataset = inspect::open(table, params).await?;
        Ok(Self {
            cleaner: Cleaner::new(dataset, permit),
            versions: versions::list(table).await?,
        })
    }

    /// What to do. Files that no version names are looked for where no version goes.
    async fn decision(
        &self,
        table: &Table,
        protection: &Protection,
        policy: &CleanupPolicy,
        now: DateTime<Utc>,
        ask: &Ask,
    ) -> Result<Decision> {
        if Unwritable::by_features(self.cleaner.dataset.manifest()).is_some() {
            return Ok(Decision::Skip(Skip::Unwritable));
        }
        let protected = &protection.protected;
        let decision = cleanup::plan(&self.versions, protected, policy, now, ask.forced);
        let nothing_goes = matches!(decision, Decision::Skip(_)) && !protection.keeps_all();
        if nothing_goes && untracked::any(table, &self.cleaner).await? {
            return Ok(decision.with_left_over_files());
        }
        Ok(decision)
    }

    /// What must stay. The table's own tags and branches are asked last, right before the removal.
    async fn protection(
        &self,
        table: &Table,
        readers: &Readers,
        policy: &CleanupPolicy,
        now: DateTime<Utc>,
    ) -> Result<Protection> {
        let nothing = Protected::default();
        let going = match cleanup::plan(&self.versions, &nothing, policy, now, true) {
            Decision::Remove { versions, .. } => versions.into_iter().collect(),
            Decision::Skip(_) => BTreeSet::new(),
        };
        let listed = self.versions.iter().map(|v| v.version).collect();
        let dataset = &self.cleaner.dataset;
        let mut of_others = Protection::default();
        let siblings = siblings(table);
        let protecting = readers.protect(table, dataset, &going, &mut of_others, siblings);
        protecting.await?;
        let own = Protection::of(table, dataset, &listed, &going).await?;
        Ok(of_others.and(own))
    }
}

/// All tables under the root of this one.
async fn siblings(table: &Table) -> Result<Vec<Table>> {
    let keys = discovery::tables(&table.storage).await?;
    let siblings = keys.into_iter().map(|key| Table {
        path: discovery::folder_of(&key),
        key,
        ..table.clone()
    });
    Ok(siblings.collect())
}
