//! What the keeper knows of one table.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use chrono::{DateTime, Utc};
use squire_config::Policies;
use squire_engine::{
    TableKey, TableStats,
    manifest::TableEntry,
    planner::{
        Decision, Duty, History, Policy, Skip, cleanup, compaction,
        contention::Contention,
        indexing,
        poll_schedule::{Change, PollPolicy, PollSchedule},
    },
    schema::{Index, TypeDef},
};

use super::{faults::Repeated, left_over::LeftOver, listing::Listing};
use crate::service::state::RestoredTable;

/// One table, as far as it is known.
pub(super) struct TableState {
    pub(super) policy: Policy,
    pub(super) crons: BTreeMap<Duty, String>,
    pub(super) stats: TableStats,
    pub(super) history: History,
    pub(super) contention: Contention,
    /// Its versions, when they were listed.
    pub(super) listing: Option<Listing>,
    /// Files that no version names.
    pub(super) left_over: LeftOver,
    /// When a table of a directory is looked at; a graph tells of all of its tables at once.
    pub(super) poll_schedule: PollSchedule,
    /// The last decisions, so that only changes are logged.
    pub(super) decisions: BTreeMap<Duty, Decision>,
    /// What was logged of indexes that cannot be built.
    pub(super) refusals_reported: Vec<String>,
    pub(super) forced: BTreeSet<Duty>,
    /// Duties that began, looked closer and found nothing to do, such as versions that pins protect, with the reason;
    /// until the table changes.
    pub(super) unneeded: BTreeMap<Duty, Unneeded>,
    /// Why the last look failed.
    pub(super) trouble: Repeated,
    /// It is being read, or a read of it hangs.
    pub(super) being_read: bool,
    /// When the last read of it began.
    pub(super) read_at: Duration,
    /// A job of ours ended then, and it was not read since: nothing is decided by what was known before.
    pub(super) stale: Option<Duration>,
    /// When its versions were listed last.
    pub(super) listed_at: Duration,
    /// When a cleanup of ours ended last.
    pub(super) cleaned: Duration,
    /// Its versions could not be listed.
    pub(super) unlisted: Option<Unlisted>,
    /// Its folder is listed and there is no table in it, as when a writer was killed or has just begun.
    pub(super) gone: bool,
    /// What a graph's manifest said of it when its statistics were read.
    pub(super) pinned: Option<PinnedTable>,
    /// A look went well that nothing was made of yet.
    pub(super) polled_well: bool,
    pub(super) successes: Successes,
    /// Manifests below this are collected: what they pinned is protected no more.
    collected_below: u64,
}

/// What a graph's manifest says of a table.
#[derive(Debug)]
pub(super) struct PinnedTable {
    entry: TableEntry,
    /// Statistics have what is declared and not there.
    indexes: Vec<Index>,
}

/// Versions that could not be listed.
pub(super) struct Unlisted {
    /// When it is tried again.
    pub(super) again: Duration,
}

/// What an executor said that found nothing to do.
#[derive(Clone, Copy)]
pub(super) struct Unneeded {
    pub(super) skip: Skip,
    /// Until then no new request is needed, as long as the table does not change.
    pub(super) until: Duration,
}

/// When each duty of a table was last in order.
#[derive(Debug)]
pub(super) struct Successes {
    /// Of a duty that never was, this counts: when the table was found.
    pub(super) found: DateTime<Utc>,
    pub(super) last: BTreeMap<Duty, DateTime<Utc>>,
}

impl PinnedTable {
    pub(super) fn new(entry: &TableEntry, def: Option<&TypeDef>) -> Self {
        Self {
            entry: entry.clone(),
            indexes: def.map_or_else(Vec::new, |def| def.indexes.clone()),
        }
    }

    /// Whether it still holds.
    pub(super) fn is_as(&self, entry: &TableEntry, def: Option<&TypeDef>) -> bool {
        let indexes = def.map_or(&[][..], |def| &def.indexes);
        self.entry == *entry && self.indexes == indexes
    }

    /// Whether another table has the key now.
    pub(super) fn is_of_another(&self, now: &TableEntry) -> bool {
        (&self.entry.path, self.entry.since) != (&now.path, now.since)
    }
}

/// The schedules of a table.
fn crons(policies: &Policies) -> BTreeMap<Duty, String> {
    let crons = Duty::ALL.into_iter().filter_map(|duty| {
        let cron = policies.cron(duty)?;
        Some((duty, cron.to_owned()))
    });
    crons.collect()
}

impl TableState {
    /// Goes by other policies from now on.
    pub(super) fn apply_config(&mut self, policies: &Policies) {
        self.policy = policies.table.clone();
        self.crons = crons(policies);
        // By others, there may be something to do after all, and more to tell.
        self.unneeded.clear();
        self.listing = None;
        self.pinned = None;
    }

    pub(super) fn new(
        table: &TableKey,
        policies: &Policies,
        looks: &PollPolicy,
        now: Duration,
    ) -> Self {
        let mut seed = DefaultHasher::new();
        table.hash(&mut seed);
        let seed = seed.finish();
        Self {
            policy: policies.table.clone(),
            crons: crons(policies),
            stats: TableStats::default(),
            history: History {
                found: now,
                ..History::default()
            },
            contention: Contention::default(),
            listing: None,
            left_over: LeftOver::after(now, seed),
            poll_schedule: PollSchedule::at_once(looks, now, seed),
            decisions: BTreeMap::new(),
            refusals_reported: Vec::new(),
            forced: BTreeSet::new(),
            unneeded: BTreeMap::new(),
            trouble: Repeated::default(),
            being_read: false,
            read_at: Duration::ZERO,
            stale: None,
            listed_at: Duration::ZERO,
            cleaned: Duration::ZERO,
            unlisted: None,
            gone: false,
            pinned: None,
            polled_well: false,
            successes: Successes {
                found: Utc::now(),
                last: BTreeMap::new(),
            },
            collected_below: 0,
        }
    }

    /// Goes on with what an earlier keeper knew.
    pub(super) fn remember(&mut self, was: RestoredTable) {
        self.history = History {
            found: self.history.found,
            ..was.history(&self.policy.pace)
        };
        self.forced = was.forced;
        self.successes.found = was.found.unwrap_or(self.successes.found);
        self.successes.last = was.last_success;
    }

    /// Takes in a look; says what it brought.
    pub(super) fn take_in(&mut self, stats: TableStats, now: Duration) -> Change {
        let news = Change::between(&self.stats, &stats, &self.policy.compaction);
        self.polled_well = true;
        if std::mem::take(&mut self.gone) {
            self.successes.found = Utc::now();
        }
        // A table that was dropped and made again is another one.
        if stats.version < self.stats.version {
            self.contention = Contention::default();
            self.listing = None;
        }
        if news != Change::Nothing {
            self.unneeded.clear();
        }
        self.contention.observe(&stats, now);
        self.stats = stats;
        news
    }

    /// There is no table any more, but for its folder, which is looked at less and less.
    pub(super) fn mark_missing(&mut self) {
        self.gone = true;
        self.stats = TableStats::default();
        self.contention = Contention::default();
        self.listing = None;
        self.left_over.found = false;
        self.decisions.clear();
        self.refusals_reported.clear();
        self.unneeded.clear();
        self.trouble.over();
        self.stale = None;
        self.unlisted = None;
        self.pinned = None;
        self.polled_well = false;
        self.successes.last.clear();
    }

    /// Whether it is there and can be read.
    pub(super) fn is_well(&self) -> bool {
        !self.gone && self.trouble.text().is_none()
    }

    /// Which indexes could not be built or extended, and why.
    pub(super) fn refusals(&self) -> Vec<String> {
        let extended = self.stats.indexes.iter().map(|i| (&i.name, &i.refused));
        let built = self.stats.missing.iter().map(|m| (&m.column, &m.refused));
        let refused = extended.chain(built).filter_map(|(what, refused)| {
            let why = &refused.as_ref()?.reason;
            Some(format!("{what}: {why}"))
        });
        let merged = self.stats.indexes.iter().filter_map(|index| {
            let why = &index.merge_refused.as_ref()?.reason;
            Some(format!("{} cannot be merged: {why}", index.name))
        });
        refused.chain(merged).collect()
    }

    /// More of why a duty is left alone.
    pub(super) fn details(&self, decision: Decision) -> Vec<String> {
        match decision {
            Decision::Skip(Skip::Index(indexing::Skip::Refused)) => self.refusals(),
            Decision::Skip(Skip::Index(
                indexing::Skip::ClientTooOld | indexing::Skip::IndexUnreadable,
            )) => {
                let left = indexing::left_behind(&self.stats, &self.policy.index);
                left.map(|(index, skip)| format!("{}: {skip}", index.name))
                    .collect()
            }
            Decision::Skip(Skip::Compaction(
                compaction::Skip::Unreadable
                | compaction::Skip::Refused
                | compaction::Skip::Failed
                | compaction::Skip::RowTooLarge,
            )) => self.stats.refusals.clone(),
            Decision::Skip(
                Skip::Compaction(compaction::Skip::Unwritable)
                | Skip::Index(indexing::Skip::Unwritable)
                | Skip::Cleanup(cleanup::Skip::Unwritable),
            ) => {
                let why = self.stats.unwritable.iter();
                why.map(ToString::to_string).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Reads of it that are under way are given up.
    pub(super) fn read_no_more(&mut self) {
        (self.being_read, self.stale) = (false, None);
    }

    /// After a look: when the next is due. What cannot be read is tried again by `retries`; and what a job of one's own
    /// does meanwhile is no news.
    pub(super) fn schedule_poll(
        &mut self,
        news: Change,
        looks: &PollPolicy,
        retries: &PollPolicy,
        now: Duration,
    ) {
        if self.trouble.text().is_some() {
            self.poll_schedule.polled(news, retries, now);
        } else if self.history.running.is_some() {
            self.poll_schedule.job_ended(looks, now, Duration::ZERO);
        } else {
            self.poll_schedule.polled(news, looks, now);
        }
    }

    /// Until then, no compaction is due, because of the last one.
    pub(super) fn rested(&self) -> Duration {
        let last = self.history.of(Duty::Compaction);
        let floor = self.policy.compaction.interval_floor.max(last.last_ran);
        last.last_end.map_or(Duration::ZERO, |end| end + floor)
    }

    /// Manifests below this number are collected. What was found to be protected may be so no more.
    pub(super) fn protection_is_of(&mut self, collected_below: u64) {
        if self.collected_below != collected_below {
            self.collected_below = collected_below;
            self.unneeded.remove(&Duty::Cleanup);
        }
    }

    /// The policy that the planner is given: a duty is left out that looked closer a while ago and found nothing to do.
    pub(super) fn policy_at(&self, now: Duration) -> Policy {
        let mut policy = self.policy.clone();
        for duty in Duty::ALL {
            if self.unneeded_at(duty, now).is_some() {
                policy.disable(duty);
            }
        }
        policy
    }

    /// Why a duty need not be done, as it found itself a while ago.
    pub(super) fn unneeded_at(&self, duty: Duty, now: Duration) -> Option<Skip> {
        let unneeded = self.unneeded.get(&duty)?;
        (now < unneeded.until).then_some(unneeded.skip)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::service::keeper::faults::Trouble;

    const LOOKS: PollPolicy = PollPolicy {
        tick: Duration::from_secs(10),
        hot_tick: Duration::from_secs(1),
        cold_tick: Duration::from_secs(600),
    };

    pub(in crate::service::keeper) fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(seconds)
    }

    pub(in crate::service::keeper) fn kept() -> TableState {
        let table = TableKey::of_directory("docs");
        let mut kept = TableState::new(&table, &Policies::default(), &LOOKS, Duration::ZERO);
        kept.successes.found = at(1);
        kept
    }

    pub(in crate::service::keeper) fn seen(
        kept: &mut TableState,
        version: u64,
        decision: Decision,
    ) {
        let stats = TableStats {
            version,
            ..TableStats::default()
        };
        kept.take_in(stats, Duration::ZERO);
        kept.decisions.insert(Duty::Compaction, decision);
    }

    pub(in crate::service::keeper) const TIDY: Decision =
        Decision::Skip(Skip::Compaction(compaction::Skip::Tidy));
    pub(in crate::service::keeper) const PAUSED: Decision = Decision::Skip(Skip::Paused);

    #[test]
    fn what_cannot_be_read_is_tried_again_soon_however_cold_the_table_was() {
        let mut kept = kept();
        let retries = PollPolicy {
            cold_tick: LOOKS.tick * 6,
            ..LOOKS
        };
        for n in 0..8 {
            kept.schedule_poll(Change::Nothing, &LOOKS, &retries, Duration::from_secs(n));
        }
        assert_eq!(kept.poll_schedule.interval(), LOOKS.cold_tick);
        kept.trouble.met(&Trouble::Panicked, Duration::ZERO);
        kept.schedule_poll(Change::Some, &LOOKS, &retries, Duration::from_secs(9));
        assert_eq!(kept.poll_schedule.interval(), LOOKS.tick);
        for n in 10..20 {
            kept.schedule_poll(Change::Nothing, &LOOKS, &retries, Duration::from_secs(n));
        }
        assert_eq!(kept.poll_schedule.interval(), retries.cold_tick);
    }

    #[test]
    fn what_found_nothing_to_do_is_not_asked_for_again_until_the_table_or_its_protection_changes() {
        let mut kept = kept();
        let protected = Skip::Cleanup(cleanup::Skip::Protected);
        let unneeded = Unneeded {
            skip: protected,
            until: Duration::from_secs(100),
        };
        let now = Duration::from_secs(50);
        let found = |kept: &mut TableState| kept.unneeded.insert(Duty::Cleanup, unneeded);
        found(&mut kept);
        assert!(!kept.policy_at(now).cleanup.enabled);
        assert!(kept.policy_at(now).compaction.enabled);
        assert_eq!(kept.unneeded_at(Duty::Cleanup, now), Some(protected));
        assert!(kept.policy_at(unneeded.until).cleanup.enabled);
        kept.protection_is_of(7);
        assert!(kept.policy_at(now).cleanup.enabled, "manifests went");
        found(&mut kept);
        seen(&mut kept, 1, TIDY);
        assert!(kept.policy_at(now).cleanup.enabled, "the table changed");
    }

    #[test]
    fn a_table_is_read_again_when_its_pin_its_folder_or_what_is_declared_on_it_moves() {
        let entry = TableEntry::new("Flight.lance", 3, 1);
        let index = Index {
            name: "day".to_owned(),
            property: "day".to_owned(),
            kind: squire_engine::schema::IndexKind::Btree,
        };
        let declared = TypeDef {
            indexes: vec![index],
            ..TypeDef::default()
        };
        let pinned = PinnedTable::new(&entry, None);
        assert!(pinned.is_as(&entry, None) && pinned.is_as(&entry, Some(&TypeDef::default())));
        assert!(
            !pinned.is_as(&entry, Some(&declared)),
            "an index is declared"
        );
        assert!(!PinnedTable::new(&entry, Some(&declared)).is_as(&entry, None));
        let again = TableEntry {
            since: 9,
            ..entry.clone()
        };
        assert!(!pinned.is_as(&again, None), "the same pin of another table");
        assert!(pinned.is_of_another(&again));
        let moved = TableEntry { pin: 4, ..entry };
        assert!(!pinned.is_as(&moved, None) && !pinned.is_of_another(&moved));
    }
}
