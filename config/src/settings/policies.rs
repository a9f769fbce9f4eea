//! The policies: what is done for tables, when, and how much of it at once.

use std::time::Duration;

use serde::Serialize;

use crate::written;

/// The policies of one table.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Policies {
    /// When and how it is compacted.
    pub compaction: Compaction,
    /// When and how its indexes are kept up.
    pub index: Index,
    /// Which of its old versions go, and when.
    pub cleanup: Cleanup,
    /// How much is done in a time.
    pub pace: Pace,
    /// When anything is done.
    pub windows: Windows,
}

/// When and how the tables are compacted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compaction {
    /// Whether they are compacted at all.
    pub enabled: bool,
    /// What a fragment should grow to, in bytes.
    #[serde(serialize_with = "written::size")]
    pub target_bytes_per_file: u64,
    /// A fragment with fewer bytes than this is small. Always below `target_bytes_per_file`; half
    /// of it unless set, so that two small fragments fit into one.
    #[serde(serialize_with = "written::size")]
    pub small_fragment_bytes: u64,
    /// This many small fragments make a table a candidate; at least 2.
    pub min_small_fragments: usize,
    /// So many small fragments are an emergency: windows and paces are left aside. Always more than
    /// [`Self::small_at_rest`].
    pub emergency_small_fragments: usize,
    /// A fragment with a greater part of its rows deleted is a candidate; above 0, and never met
    /// at 1.
    pub max_deleted_fraction: f64,
    /// Most bytes one rewrite reads; at least `target_bytes_per_file`.
    #[serde(serialize_with = "written::size")]
    pub max_source_bytes: u64,
    /// Shortest time between two compactions of one table.
    #[serde(serialize_with = "written::duration")]
    pub interval_floor: Duration,
    /// When to compact whatever the thresholds say: second, minute, hour, day of month, month,
    /// day of week, and perhaps year. Only its form has been checked.
    #[serde(serialize_with = "written::cron")]
    pub cron: Option<String>,
    /// How much of what a rewrite wrote is read back before it is committed.
    pub verify: Verify,
}

/// How much of what a rewrite wrote is read back before it is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verify {
    /// Nothing.
    Off,
    /// The first and the last rows of each new file.
    #[default]
    Ends,
    /// Every row.
    Full,
}

impl Default for Compaction {
    fn default() -> Self {
        const MIB: u64 = 1024 * 1024;
        Self {
            enabled: true,
            target_bytes_per_file: 256 * MIB,
            small_fragment_bytes: 128 * MIB,
            min_small_fragments: 8,
            emergency_small_fragments: 1_000,
            max_deleted_fraction: 0.1,
            max_source_bytes: 4096 * MIB,
            interval_floor: Duration::from_secs(1),
            cron: None,
            verify: Verify::default(),
        }
    }
}

impl Compaction {
    /// So many small fragments may stay on a table that needs nothing, as the planner counts them: one short of
    /// `min_small_fragments` in each tier of sizes.
    pub fn small_at_rest(&self) -> usize {
        const DEPTH: u64 = 4096;
        const WIDEST: u64 = 16;
        let least = self.min_small_fragments.max(2);
        let lowest = (self.small_fragment_bytes / DEPTH).max(1);
        let width = u64::try_from(least).unwrap_or(WIDEST).min(WIDEST);
        let above = (self.small_fragment_bytes.saturating_sub(1) / lowest).checked_ilog(width);
        let tiers = above.map_or(1, |n| n + 2);
        (least - 1).saturating_mul(usize::try_from(tiers).unwrap_or(usize::MAX))
    }
}

/// When and how the indexes of tables are kept up.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Index {
    /// Whether they are kept up at all.
    pub enabled: bool,
    /// So many rows outside an index make it due; at least 1.
    pub max_unindexed_rows: u64,
    /// So many bytes outside an index make it due.
    #[serde(serialize_with = "written::size")]
    pub max_unindexed_bytes: u64,
    /// A greater part of the rows outside an index makes it due; above 0, and never met at 1.
    pub max_unindexed_fraction: f64,
    /// Fewer rows outside an index than this are never a reason by their part alone; never above `max_unindexed_rows`.
    pub min_unindexed_rows: u64,
    /// With more segments than this, an index is merged into one; at least 1.
    pub max_segments: usize,
    /// The oldest client of the table, as package and version: nothing is written that it does not read. When it is not
    /// named, it is found from who writes the table.
    #[serde(serialize_with = "written::client")]
    pub oldest_client: Option<String>,
    /// Shortest time between two runs of index work on one table.
    #[serde(serialize_with = "written::duration")]
    pub interval_floor: Duration,
    /// When to bring indexes up to date whatever the thresholds say; as [`Compaction::cron`].
    #[serde(serialize_with = "written::cron")]
    pub cron: Option<String>,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            enabled: true,
            max_unindexed_rows: 100_000,
            max_unindexed_bytes: 256 * 1024 * 1024,
            max_unindexed_fraction: 0.1,
            min_unindexed_rows: 1_000,
            max_segments: 8,
            oldest_client: None,
            interval_floor: Duration::from_secs(30),
            cron: None,
        }
    }
}

/// Which old versions of tables go, and when.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cleanup {
    /// Whether any go.
    pub enabled: bool,
    /// A version stays for so long after another took its place.
    #[serde(serialize_with = "written::duration")]
    pub keep_for: Duration,
    /// So many of the newest versions stay, however old; at least 1.
    pub keep_versions: usize,
    /// Fewer removable versions than this are no reason, until one of them could have gone a day ago; at least 1.
    pub min_versions: usize,
    /// So many removable versions are an emergency: windows and paces are left aside. At least `min_versions`.
    pub emergency_versions: usize,
    /// So many manifests of a graph stay, and with them its log. Of a target, never of a table.
    pub keep_manifests: u64,
    /// Shortest time between two cleanups of one table.
    #[serde(serialize_with = "written::duration")]
    pub interval_floor: Duration,
    /// When to clean up however few versions can go; as [`Compaction::cron`].
    #[serde(serialize_with = "written::cron")]
    pub cron: Option<String>,
}

impl Default for Cleanup {
    fn default() -> Self {
        Self {
            enabled: true,
            keep_for: Duration::from_secs(7 * 24 * 60 * 60),
            keep_versions: 10,
            min_versions: 20,
            emergency_versions: 1_000,
            keep_manifests: 250,
            interval_floor: Duration::from_secs(10 * 60),
            cron: None,
        }
    }
}

/// How much is done in a time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pace {
    /// Most bytes that are read for one target in an hour. Of a target, never of a table.
    #[serde(serialize_with = "written::size_or_off")]
    pub bytes_per_hour: Option<u64>,
    /// Most bytes that are read for one table in an hour; never more than `bytes_per_hour`.
    #[serde(serialize_with = "written::size_or_off")]
    pub table_bytes_per_hour: Option<u64>,
    /// The share of the time that jobs on one table take, above 0 to 1: after a job comes a rest.
    pub intensity: f64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            bytes_per_hour: None,
            table_bytes_per_hour: None,
            intensity: 1.0,
        }
    }
}

/// When anything is done, in the local time of the machine.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Windows {
    /// Only then; empty, always.
    #[serde(serialize_with = "written::windows")]
    pub allowed: Vec<Window>,
    /// Never then, whatever is allowed.
    #[serde(serialize_with = "written::windows")]
    pub blackout: Vec<Window>,
}

/// A span of time on some days of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The days on which it begins: bit 0 is Monday, bit 6 Sunday. Never 0.
    pub days: u8,
    /// The minute of the day at which it begins, 0 to 1439.
    pub from: u16,
    /// The minute at which it ends, 0 to 1440; not after `from`, it is one of the next day.
    pub to: u16,
}

/// Minutes of a day.
const DAY: usize = 24 * 60;

impl Window {
    /// Whether it holds a minute of the week, counted from the beginning of Monday.
    fn holds(&self, minute: usize) -> bool {
        let (day, of_day) = (minute / DAY, minute % DAY);
        let begins = |day: usize| self.days & (1 << (day % 7)) != 0;
        let (from, to) = (usize::from(self.from), usize::from(self.to));
        if from < to {
            begins(day) && (from..to).contains(&of_day)
        } else {
            (begins(day) && of_day >= from) || (begins(day + 6) && of_day < to)
        }
    }
}

impl Windows {
    /// Whether there is a minute of the week at which something may be done.
    pub(crate) fn leave_time(&self) -> bool {
        let within = |windows: &[Window], minute| windows.iter().any(|w| w.holds(minute));
        (0..7 * DAY).any(|minute| {
            let allowed = self.allowed.is_empty() || within(&self.allowed, minute);
            allowed && !within(&self.blackout, minute)
        })
    }
}
