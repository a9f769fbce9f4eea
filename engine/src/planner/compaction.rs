//! Which fragments to rewrite together, by bytes.
//!
//! A fragment is **small** below a number of bytes, and **riddled** when too many of its rows are deleted. Small
//! fragments fall into **tiers** by their size. When there are enough in one tier they become one fragment, which
//! belongs to a higher tier: so a row is rewritten about once for each tier, however long the table grows, and a large
//! fragment is not rewritten for the sake of a few tiny ones. A riddled fragment is rewritten at once, alone or with
//! others. The plan is a fixed point: what was just compacted is no candidate, whatever the width of its rows.
//!
//! Where a table's rows lie does not matter much to Lance. What indexes cover does: fragments that are covered
//! differently never become one. And where an index holds addresses of rows, a rewrite writes the index anew as well:
//! what no index covers is merged first, and the rest when there is enough of it to pay for that, see [`super::remaps`].

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use super::statistics::{FragmentStats, RewriteRefusal, TableStats};
use super::{
    Ask,
    clients::LanceVersion,
    remaps::{self, Hindrance},
    tiers,
};

/// A fragment that writers touch just now is rewritten all the same when more of it is deleted than this: by then, its
/// readers and its writers carry more dead rows than live ones.
pub const HOT_DELETED_FRACTION: f64 = 0.5;
/// What one file fewer is worth to each reader of a table: what it could read in the time of opening one.
pub const FILE_BYTES: u64 = 1 << 20;
/// So few deleted rows are no reason, unless they are many bytes.
const FEW_DELETED: u64 = 20;
/// Deleted rows of so many bytes are a reason, however few.
const MUCH_DELETED: u64 = 1 << 20;

/// How much of what a rewrite wrote is read back before it is committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Verify {
    /// Nothing.
    Off,
    /// The first and the last rows of each new file, and the same rows of the sources.
    #[default]
    Ends,
    /// Every row of both.
    Full,
}

/// When and how a table is compacted.
#[derive(Clone, Debug, PartialEq)]
pub struct CompactionPolicy {
    /// Whether tables are compacted at all.
    pub enabled: bool,
    /// Never again on one table before this has passed, forced or not, nor before as much time as the last one took.
    pub interval_floor: Duration,
    /// What a fragment should grow to, in bytes of data files.
    pub target_bytes: u64,
    /// Below this many bytes a fragment is small.
    pub small_bytes: u64,
    /// So many small fragments of one tier make a table due. Sizes in one tier differ by this factor (2 to 16).
    pub min_small_fragments: usize,
    /// A fragment with a larger share of deleted rows, 0 to 1, makes a table due; a handful of small rows does not.
    pub max_deleted_fraction: f64,
    /// One operation reads at most this many bytes; a single fragment may be larger when a large share of it is deleted.
    pub max_source_bytes: u64,
    /// From so many small fragments on, windows and paces do not hold the table back; a pause does.
    pub emergency_small_fragments: usize,
    /// The oldest client of the table; nothing when it is to be found from who writes it.
    pub oldest_client: Option<LanceVersion>,
    /// How much of what was written is read back before it is committed.
    pub verify: Verify,
}

impl Default for CompactionPolicy {
    fn default() -> Self {
        let target_bytes = 256 << 20;
        Self {
            enabled: true,
            interval_floor: Duration::from_secs(1),
            target_bytes,
            small_bytes: target_bytes / 2,
            min_small_fragments: 8,
            max_deleted_fraction: 0.1,
            max_source_bytes: 4 << 30,
            emergency_small_fragments: 1_000,
            oldest_client: None,
            verify: Verify::default(),
        }
    }
}

impl CompactionPolicy {
    /// Whether a fragment is known to be small.
    pub fn is_small(&self, fragment: &FragmentStats) -> bool {
        !fragment.unmeasured && fragment.live_bytes() < self.small_bytes
    }

    /// Whether too large a share of a fragment's rows is deleted.
    pub fn is_thinned(&self, fragment: &FragmentStats) -> bool {
        fragment.deleted_fraction() > self.max_deleted_fraction
    }

    /// Whether a fragment is thinned, and by so much that it makes a table due.
    pub fn is_riddled(&self, fragment: &FragmentStats) -> bool {
        let dead = fragment.bytes - fragment.live_bytes();
        self.is_thinned(fragment) && (fragment.deleted >= FEW_DELETED || dead >= MUCH_DELETED)
    }

    /// So many small fragments at most a table at rest has, for each way in which indexes cover them.
    pub fn small_at_rest(&self) -> usize {
        tiers::count(self) * (tiers::least(self) - 1)
    }
}

/// Fragments that become one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Their ids, in the table's order.
    pub fragments: Vec<u64>,
    /// Live rows that the rewrite keeps.
    pub rows: u64,
    /// Bytes that the rewrite reads.
    pub bytes: u64,
    /// Bytes that it is expected to leave.
    pub live_bytes: u64,
    /// What covers its fragments, see [`FragmentStats::coverage`].
    pub coverage: u32,
}

impl Group {
    /// What the rewrite spares every later reader, in bytes: files that it need not open, dead rows that it need not
    /// read.
    pub fn saved(&self) -> u64 {
        let fewer = self.fragments.len().saturating_sub(1) as u64;
        let dead = self.bytes.saturating_sub(self.live_bytes);
        FILE_BYTES.saturating_mul(fewer).saturating_add(dead)
    }
}

/// What the planner says of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Rewrite these groups, because of this. They do not depend on each other, and come best first: who commits one
    /// after the other has most of the benefit early.
    Compact(Vec<Group>, Reason),
    /// Leave it alone, because of this.
    Skip(Skip),
}

/// Why a table is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It has at least the threshold of small fragments.
    SmallFragments,
    /// A fragment has more deleted rows than allowed.
    DeletedRows,
    /// It has so many small fragments that windows and paces do not hold it back.
    Emergency,
    /// Somebody said so, or the cron did: thresholds do not count.
    Forced,
}

impl Reason {
    /// The reason as logs, metrics and the status spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Emergency => "emergency",
            Self::SmallFragments => "small_fragments",
            Self::DeletedRows => "deleted_rows",
            Self::Forced => "forced",
        }
    }
}

/// Why a table is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Skip {
    /// Nothing about its layout could be better.
    Tidy,
    /// Fewer small fragments of one size than the threshold, and few deleted rows.
    BelowThreshold,
    /// Every candidate is larger than one operation may read, and little of it is deleted.
    TooLarge,
    /// The writer of every candidate left no record of its rows, or its bytes are not known yet. A budget could not count
    /// them.
    Unmeasured,
    /// It is due, but each group by now reads more than the job was given. It is planned anew.
    Outgrown,
    /// It would be due, but for fragments that writers touch just now.
    Hot,
    /// It would be due, but an index over its fragments would be written in a format that the table's oldest client does
    /// not read.
    ClientTooOld,
    /// It would be due, but an index over its fragments would lose their rows: Lance cannot follow them with it.
    IndexCannotFollow,
    /// It would be due, but this build does not know the kind or the version of an index over its fragments.
    IndexUnreadable,
    /// It would be due, but the indexes over its fragments are so large that writing them anew is not worth it yet.
    IndexTooLarge,
    /// It would be due, but for fragments or indexes whose files lie outside of the target, where it allows nothing.
    BaseOutside,
    /// It would be due, but for fragments whose rewrite could not be read back.
    Unreadable,
    /// It would be due, but for fragments whose rewrite Lance or the store would not take.
    Refused,
    /// It would be due, but for fragments whose rewrite failed, more than once or for good.
    Failed,
    /// Lance or the store would refuse every commit of this build: the statistics tell why.
    Unwritable,
    /// It would be due, but for fragments with a row that is too large for the memory that a job has.
    RowTooLarge,
}

impl Skip {
    /// The reason as logs, metrics and the status spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tidy => "tidy",
            Self::BelowThreshold => "below_threshold",
            Self::TooLarge => "too_large",
            Self::Unmeasured => "unmeasured",
            Self::Outgrown => "outgrown",
            Self::Hot => "hot",
            Self::ClientTooOld => "client_too_old",
            Self::IndexCannotFollow => "index_cannot_follow",
            Self::IndexUnreadable => "index_unreadable",
            Self::IndexTooLarge => "index_too_large",
            Self::BaseOutside => "base_outside",
            Self::Unreadable => "unreadable_rewrite",
            Self::Refused => "rewrite_refused",
            Self::Failed => "rewrite_failed",
            Self::Unwritable => "unwritable",
            Self::RowTooLarge => "row_too_large",
        }
    }
}

impl From<Hindrance> for Skip {
    fn from(hindrance: Hindrance) -> Self {
        match hindrance {
            Hindrance::ClientTooOld => Self::ClientTooOld,
            Hindrance::CannotFollow => Self::IndexCannotFollow,
            Hindrance::Unreadable => Self::IndexUnreadable,
            Hindrance::Outside => Self::BaseOutside,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Plans the compaction of one table.
pub fn plan(stats: &TableStats, policy: &CompactionPolicy, ask: &Ask) -> Verdict {
    if stats.unwritable.is_some() {
        return Verdict::Skip(Skip::Unwritable);
    }
    let due = |stats: &TableStats, hot| {
        // What is left alone in any case is no reason to hurry.
        let free = |f: &FragmentStats| {
            remaps::hindrance(stats, f.coverage, policy.oldest_client).is_none()
        };
        let small = stats
            .fragments
            .iter()
            .filter(|f| policy.is_small(f) && free(f));
        let emergency = small.count() >= policy.emergency_small_fragments;
        due(stats, hot, policy, ask, emergency)
    };
    let refusal = worst_refusal(stats);
    let willing = refusal.map(|_| willing(stats));
    let able = willing.as_ref().unwrap_or(stats);
    let skip = match due(able, &ask.hot) {
        Ok((groups, reason)) => return Verdict::Compact(groups, reason),
        Err(skip) => skip,
    };
    let none = BTreeSet::new();
    let held_back = !ask.hot.is_empty() && due(able, &none).is_ok();
    Verdict::Skip(match refusal {
        _ if held_back => Skip::Hot,
        Some(refusal) if due(stats, &none).is_ok() => refusal.into(),
        _ => skip,
    })
}

/// The worst reason for which fragments of a table are left out.
fn worst_refusal(stats: &TableStats) -> Option<RewriteRefusal> {
    stats.fragments.iter().filter_map(|f| f.refused).min()
}

/// The table without the fragments that are left out.
fn willing(stats: &TableStats) -> TableStats {
    let fragments = stats.fragments.iter().filter(|f| f.refused.is_none());
    TableStats {
        version: stats.version,
        fragments: fragments.copied().collect(),
        segments: stats.segments.clone(),
        coverages: stats.coverages.clone(),
        stable_row_ids: stats.stable_row_ids,
        oldest_writer: stats.oldest_writer,
        ..TableStats::default()
    }
}

impl From<RewriteRefusal> for Skip {
    fn from(refusal: RewriteRefusal) -> Self {
        match refusal {
            RewriteRefusal::Outside => Self::BaseOutside,
            RewriteRefusal::Unreadable => Self::Unreadable,
            RewriteRefusal::Refused => Self::Refused,
            RewriteRefusal::Failed => Self::Failed,
            RewriteRefusal::RowTooLarge => Self::RowTooLarge,
        }
    }
}

/// Whether the same ask would find more to do once these groups are rewritten, as far as that can be foreseen: one
/// operation reads so many bytes only, and what it leaves may fill further tiers.
pub(crate) fn leaves_more(
    stats: &TableStats,
    groups: &[Group],
    policy: &CompactionPolicy,
    ask: &Ask,
) -> bool {
    let next = Ask {
        max_bytes: None,
        ..ask.clone()
    };
    matches!(
        plan(&after(stats, groups), policy, &next),
        Verdict::Compact(..)
    )
}

/// What a table looks like once the groups are rewritten, if its indexes follow.
pub(super) fn after(stats: &TableStats, groups: &[Group]) -> TableStats {
    let sources: BTreeSet<_> = groups.iter().flat_map(|g| &g.fragments).collect();
    let (read, mut fragments): (Vec<FragmentStats>, Vec<_>) = stats
        .fragments
        .iter()
        .partition(|f| sources.contains(&f.id));
    let coverages: BTreeMap<_, _> = read.iter().map(|f| (f.id, f.coverage)).collect();
    let next = stats.fragments.iter().map(|f| f.id + 1).max().unwrap_or(0);
    let groups = groups.iter().filter(|group| group.rows > 0);
    fragments.extend((next..).zip(groups).map(|(id, group)| {
        FragmentStats {
            id,
            rows: group.rows,
            deleted: 0,
            bytes: group.live_bytes,
            measured: 0,
            unmeasured: false,
            coverage: group
                .fragments
                .first()
                .and_then(|id| coverages.get(id).copied())
                .unwrap_or(0),
            refused: None,
        }
    }));
    TableStats {
        fragments,
        ..stats.clone()
    }
}

fn due(
    stats: &TableStats,
    hot: &BTreeSet<u64>,
    policy: &CompactionPolicy,
    ask: &Ask,
    emergency: bool,
) -> Result<(Vec<Group>, Reason), Skip> {
    let left_to_writers =
        |f: &&FragmentStats| hot.contains(&f.id) && f.deleted_fraction() <= HOT_DELETED_FRACTION;
    let (unmeasured, measured): (Vec<&FragmentStats>, Vec<&FragmentStats>) = stats
        .fragments
        .iter()
        .filter(|f| !left_to_writers(f))
        .partition(|f| f.unmeasured);
    let candidates = measured
        .into_iter()
        .filter(|f| policy.is_small(f) || policy.is_thinned(f));
    let (candidates, left): (Vec<_>, Vec<_>) = candidates
        .partition(|f| remaps::hindrance(stats, f.coverage, policy.oldest_client).is_none());
    // The rewrite of a single one streams, however large it is; and nothing else takes its deleted rows down.
    let fits = |f: &&FragmentStats| f.bytes <= policy.max_source_bytes || policy.is_thinned(f);
    let (readable, too_large): (Vec<_>, Vec<_>) = candidates.into_iter().partition(fits);
    let groups_of = |readable: &[&FragmentStats]| {
        let tidied = tiers::as_few_as_possible(readable, policy);
        let groups = if ask.forced {
            tidied.clone()
        } else {
            tiers::by_size(readable, policy)
        };
        if emergency && groups.is_empty() {
            (tidied.clone(), tidied)
        } else {
            (groups, tidied)
        }
    };
    let (mut groups, tidied) = groups_of(&readable);
    if groups.is_empty() {
        let hindered = || {
            let (hindered, _) = groups_of(&left);
            let first = hindered.first().map(|group| group.coverage);
            first.and_then(|coverage| remaps::hindrance(stats, coverage, policy.oldest_client))
        };
        return Err(if let Some(hindrance) = hindered() {
            hindrance.into()
        } else if readable.is_empty() && !too_large.is_empty() {
            Skip::TooLarge
        } else if readable.is_empty() && !unmeasured.is_empty() {
            Skip::Unmeasured
        } else if tidied.is_empty() {
            Skip::Tidy
        } else {
            Skip::BelowThreshold
        });
    }
    best(&mut groups, stats, policy.max_source_bytes);
    remaps::keep_what_pays(&mut groups, stats, ask.forced || emergency);
    if groups.is_empty() {
        return Err(Skip::IndexTooLarge);
    }
    if let Some(most) = ask.max_bytes {
        fitting(&mut groups, stats, most);
        if groups.is_empty() {
            return Err(Skip::Outgrown);
        }
    }
    let reason = if emergency {
        Reason::Emergency
    } else if ask.forced {
        Reason::Forced
    } else if readable.iter().any(|f| policy.is_riddled(f)) {
        Reason::DeletedRows
    } else {
        Reason::SmallFragments
    };
    Ok((groups, reason))
}

/// Puts the groups that save most for what they cost first, those under no index before the others, and leaves as many as
/// one operation may read, and one in any case. The others follow in the next ones.
fn best(groups: &mut Vec<Group>, stats: &TableStats, most: u64) {
    let gain = |g: &Group| (u128::from(g.saved()) << 20) / (u128::from(g.bytes) + 1);
    groups.sort_by_cached_key(|g| {
        let first = g.fragments.first().copied();
        (
            remaps::concerns(stats, g),
            std::cmp::Reverse(gain(g)),
            first,
        )
    });
    // What the indexes take comes on top: they are written anew once, however many groups there are.
    let mut read = 0_u64;
    let first = groups.first().cloned();
    groups.retain(|group| {
        let fits = read.saturating_add(group.bytes) <= most;
        read += if fits { group.bytes } else { 0 };
        fits
    });
    if groups.is_empty() {
        groups.extend(first);
    }
}

/// Leaves as many groups as so many bytes allow, indexes that are written anew included; when none is so small, the first
/// alone.
pub(super) fn fitting_or_first(groups: &mut Vec<Group>, stats: &TableStats, most: u64) {
    let first = groups.first().cloned();
    fitting(groups, stats, most);
    if groups.is_empty() {
        groups.extend(first);
    }
}

/// Leaves as many groups as so many bytes allow, indexes that are written anew included.
fn fitting(groups: &mut Vec<Group>, stats: &TableStats, most: u64) {
    let mut taken: Vec<Group> = Vec::new();
    for group in groups.drain(..) {
        taken.push(group);
        if cost(&taken, stats) > most {
            taken.pop();
        }
    }
    // What is left of them has to be worth the indexes still.
    remaps::keep_what_pays(&mut taken, stats, true);
    *groups = taken;
}

/// Bytes that are read to rewrite groups: their own, and those of the indexes that are written anew.
pub(super) fn cost(groups: &[Group], stats: &TableStats) -> u64 {
    let own = groups
        .iter()
        .fold(0_u64, |sum, group| sum.saturating_add(group.bytes));
    own.saturating_add(remaps::bytes(groups, stats))
}

#[cfg(test)]
#[path = "compaction_tests.rs"]
mod tests;
