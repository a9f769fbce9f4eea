//! Lists of a table's versions, and searches for files that no version names: when they are due, and what is made of
//! them.

use std::time::Duration;

use squire_engine::{Error, TableKey, VersionInfo, planner::Duty};

use super::{
    listing::{self, Listing},
    read_results::Due,
    reads::Read,
    state::Keeper,
    table_state::Unlisted,
};
use crate::service::clock;

impl Keeper {
    /// Finds tables whose versions are to be listed, as a cleanup could be due for them, and those in which files that no
    /// version names were not looked for for a day.
    pub(super) fn schedule_lists(&mut self) {
        if !self.within_reach {
            return;
        }
        let (now, monotonic) = (clock::now(), self.now());
        self.due.retain(|due| matches!(due.read, Read::Table(_)));
        let mut lists = Vec::new();
        for (table, kept) in &self.tables {
            if kept.history.running.is_some() {
                continue;
            }
            let (listing, policy) = (kept.listing.as_ref(), &kept.policy.cleanup);
            let forced = kept.forced.contains(&Duty::Cleanup);
            let rests = kept.unlisted.as_ref().is_some_and(|u| monotonic < u.again);
            let mut due = |read| lists.push((kept.listed_at, Due { read, pinned: None }));
            if !rests && listing::is_due(listing, kept.stats.version, policy, now, forced) {
                due(Read::Versions(table.clone()));
            }
            if policy.enabled && kept.is_well() && kept.left_over.is_due(monotonic) {
                due(Read::LeftOver(table.clone()));
            }
        }
        // Those that were listed longest ago first: one that hangs, or is listed again and again, is behind all others.
        lists.sort_by_key(|(listed_at, _)| *listed_at);
        self.due.extend(lists.into_iter().map(|(_, due)| due));
    }

    pub(super) fn take_in_versions(
        &mut self,
        table: &TableKey,
        versions: Result<Vec<VersionInfo>, Error>,
        began: Duration,
    ) {
        let now = clock::now();
        let Some(kept) = self.tables.get_mut(table) else {
            return;
        };
        kept.listed_at = began;
        // What was listed before a cleanup of ours ended is not what there is: it is listed again.
        if began < kept.cleaned {
            return;
        }
        match versions {
            Ok(versions) => {
                let (name, n) = (&self.target.name, versions.len());
                let metrics = &self.shared.metrics;
                metrics
                    .tables
                    .versions(name, &table.to_string(), n, &kept.policy);
                let text = table.to_string();
                self.shared.status.versions(name, &text, n);
                if kept.unlisted.take().is_some() {
                    self.shared.status.unlisted(name, &text, None);
                }
                kept.listing = Some(Listing::new(versions, &kept.policy.cleanup, now));
            }
            Err(Error::TableGone { .. } | Error::UnknownTable { .. }) => self.missed(table),
            Err(e) => self.cannot_list(table, e.to_string()),
        }
    }

    pub(super) fn cannot_list(&mut self, table: &TableKey, why: String) {
        let again = self.now() + self.retries().cold_tick;
        tracing::debug!(target_name = %self.target.name, %table, error = why, "the versions could not be listed");
        let Some(kept) = self.tables.get_mut(table) else {
            return;
        };
        kept.listed_at = again;
        let (name, text) = (&self.target.name, table.to_string());
        self.shared.status.unlisted(name, &text, Some(&why));
        kept.unlisted = Some(Unlisted { again });
    }
}
