//! What a duty by hand did, or would do, in words. Pure.

use squire_engine::{
    Cleaned, CleanupPreview, Compacted, Indexed, TableKey, TableStats,
    planner::{
        Duty, Policy,
        cleanup::{self, Decision as CleanupDecision},
        compaction::{self, Decision},
        indexing::{self, Decision as IndexDecision, Task},
    },
};

use crate::{exit::Failure, output, target::Outcome};

pub(super) const fn doing(duty: Duty) -> &'static str {
    match duty {
        Duty::Compaction => "compacting",
        Duty::Index => "indexing",
        Duty::Cleanup => "cleaning up",
    }
}

/// Whether the table is not what it was.
pub(super) fn changed(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Compacted(Compacted::Done(_))
            | Outcome::Indexed(Indexed::Done(_))
            | Outcome::Cleaned(Cleaned::Done(_))
    )
}

/// The layout of a table, before and after.
#[derive(Clone)]
pub(super) struct Layout {
    pub(super) fragments: u64,
    pub(super) deleted_rows: u64,
    pub(super) unindexed_rows: u64,
    pub(super) versions: u64,
    pub(super) bytes: u64,
}

impl Layout {
    /// What was, and what became of it.
    pub(super) fn then(&self, after: &Self) -> Vec<String> {
        let count = |n| output::count(n);
        vec![
            became(self.fragments, after.fragments, count),
            became(self.deleted_rows, after.deleted_rows, count),
            became(self.unindexed_rows, after.unindexed_rows, count),
            became(self.versions, after.versions, count),
            became(self.bytes, after.bytes, output::bytes),
        ]
    }
}

/// What was requested and is still to be done, and by whom.
pub(super) fn unfinished(key: &TableKey, last: &Outcome) -> Option<Failure> {
    match last {
        Outcome::Compacted(Compacted::Lost(loss)) | Outcome::Indexed(Indexed::Lost(loss)) => Some(
            Failure::Overtaken(format!("{key}: others went first ({loss}); run it again")),
        ),
        Outcome::Indexed(Indexed::Skipped(
            skip @ (indexing::Skip::Blocked | indexing::Skip::Refused),
        )) => Some(Failure::Machine(format!(
            "{key}: an index cannot be built or extended ({skip}); `squire index --dry-run` says what is known of it"
        ))),
        _ => None,
    }
}

/// Whether the table takes nothing of this build.
pub(super) fn is_unwritable(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Compacted(Compacted::Skipped(compaction::Skip::Unwritable))
            | Outcome::Indexed(Indexed::Skipped(indexing::Skip::Unwritable))
            | Outcome::Cleaned(Cleaned::Skipped(cleanup::Skip::Unwritable))
    )
}

/// The indexes that have rows outside still, and why.
fn left_behind(stats: &TableStats, policy: &Policy, parts: &[Outcome]) -> Vec<String> {
    let by_format = indexing::left_behind(stats, &policy.index);
    let by_format = by_format.map(|(index, skip)| format!("{} ({skip})", index.name));
    let refused = Indexed::Skipped(indexing::Skip::Refused);
    let is_refused = |part: &Outcome| matches!(part, Outcome::Indexed(i) if *i == refused);
    let nothing_done = parts.iter().any(is_refused);
    let extended = stats.indexes.iter().filter_map(|index| {
        let refusal = index.refused.as_ref().or(index.merge_refused.as_ref())?;
        Some((&index.name, &refusal.reason))
    });
    let made = stats.missing.iter();
    let made = made.filter_map(|index| Some((&index.column, &index.refused.as_ref()?.reason)));
    let refused = extended
        .chain(made)
        .filter(|_| nothing_done)
        .map(|(what, reason)| format!("{what} ({reason})"));
    let failed = parts.iter().filter_map(|part| match part {
        Outcome::Indexed(Indexed::Done(receipt)) => Some(&receipt.left),
        _ => None,
    });
    let failed = failed
        .flatten()
        .map(|left| format!("{} ({})", left.index, left.reason));
    failed.chain(refused).chain(by_format).collect()
}

fn stays_behind(key: &TableKey, behind: &[String]) -> Option<Failure> {
    (!behind.is_empty()).then(|| {
        Failure::Machine(format!(
            "{key}: an index stays as it is, and rows outside it are searched one by one: {}; see docs/indexes.md for what to do",
            behind.join(", ")
        ))
    })
}

/// The groups that could not be rewritten while others were.
fn left_out(key: &TableKey, parts: &[Outcome]) -> Option<Failure> {
    let failed = parts.iter().find_map(|part| match part {
        Outcome::Compacted(Compacted::Done(receipt)) => receipt.failed.first(),
        _ => None,
    })?;
    let fragments = failed.fragments.len();
    Some(Failure::Machine(format!(
        "{key}: {fragments} fragments are as they were: {}",
        failed.reason
    )))
}

pub(super) fn gone(key: &TableKey) -> Vec<String> {
    vec![key.to_string(), "gone: it was dropped meanwhile".to_owned()]
}

fn became(before: u64, after: u64, tell: impl Fn(u64) -> String) -> String {
    if before == after {
        tell(before)
    } else {
        format!("{} → {}", tell(before), tell(after))
    }
}

pub(super) fn did(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Compacted(Compacted::Done(receipt)) => {
            let held = output::duration(receipt.hold);
            match receipt.failed.len() {
                0 => format!("rewritten, held {held}"),
                groups => format!("rewritten but for {groups} groups, held {held}"),
            }
        }
        Outcome::Compacted(Compacted::Skipped(skip)) => format!("skipped: {skip}"),
        Outcome::Indexed(Indexed::Done(receipt)) => {
            format!(
                "{} ({} rows)",
                tasks(&receipt.tasks),
                output::count(receipt.rows)
            )
        }
        Outcome::Indexed(Indexed::Skipped(skip)) => format!("skipped: {skip}"),
        Outcome::Compacted(Compacted::Lost(loss)) | Outcome::Indexed(Indexed::Lost(loss)) => {
            format!("lost ({loss}); run it again")
        }
        Outcome::Cleaned(Cleaned::Done(receipt)) => format!(
            "removed {} versions, {}",
            output::count(receipt.versions),
            output::bytes(receipt.bytes)
        ),
        Outcome::Cleaned(Cleaned::Skipped(skip)) => format!("skipped: {skip}"),
    }
}

pub(super) fn would_compact(decision: &Decision, stats: &TableStats) -> Vec<String> {
    match decision {
        Decision::Compact(groups, reason) => {
            let fragments: usize = groups.iter().map(|g| g.fragments.len()).sum();
            let bytes = groups.iter().map(|g| g.bytes).sum();
            vec![
                "rewrite".to_owned(),
                fragments.to_string(),
                groups.len().to_string(),
                output::bytes(bytes),
                reason.to_string(),
            ]
        }
        Decision::Skip(skip) => skipped(3, &with_unwritable(skip.as_str(), stats)),
    }
}

/// A reason, and why the table takes nothing of this build where it does not.
fn with_unwritable(because: &str, stats: &TableStats) -> String {
    match &stats.unwritable {
        Some(why) => format!("{because} ({why})"),
        None => because.to_owned(),
    }
}

pub(super) fn would_index(decision: &IndexDecision, stats: &TableStats) -> Vec<String> {
    match decision {
        IndexDecision::Index(due, reason) => {
            let rows = stats.indexes.iter().map(|i| i.unindexed_rows).max();
            vec![
                tasks(due),
                output::count(rows.unwrap_or(0)),
                with_blocked(reason.as_str(), stats),
            ]
        }
        IndexDecision::Skip(skip @ indexing::Skip::Unwritable) => {
            skipped(1, &with_unwritable(skip.as_str(), stats))
        }
        IndexDecision::Skip(skip) => skipped(1, &with_blocked(skip.as_str(), stats)),
    }
}

/// A reason, and which declared indexes cannot be built, whatever else is due.
fn with_blocked(because: &str, stats: &TableStats) -> String {
    let blocked = stats.missing.iter().filter_map(|index| {
        let why = index.blocked.as_ref()?;
        Some(format!("{}: {why}", index.column))
    });
    let blocked: Vec<_> = blocked.collect();
    if blocked.is_empty() {
        because.to_owned()
    } else {
        format!("{because} ({})", blocked.join("; "))
    }
}

pub(super) fn would_remove(preview: &CleanupPreview) -> Vec<String> {
    match &preview.decision {
        CleanupDecision::Remove { reason, .. } => vec![
            "remove".to_owned(),
            format!("{} of {}", preview.goes.versions, preview.versions),
            output::count(preview.goes.files),
            output::bytes(preview.goes.bytes),
            reason.to_string(),
        ],
        CleanupDecision::Skip(skip) => skipped(3, skip.as_str()),
    }
}

fn skipped(empty: usize, because: &str) -> Vec<String> {
    let mut cells = vec!["skip".to_owned()];
    cells.extend(std::iter::repeat_n(String::new(), empty));
    cells.push(because.to_owned());
    cells
}

fn tasks(tasks: &[Task]) -> String {
    let texts = tasks.iter().map(|task| match task {
        Task::Append(index) => format!("append to {index}"),
        Task::Merge(index) => format!("merge {index}"),
        Task::Create(column) => format!("index {column}"),
    });
    texts.collect::<Vec<_>>().join(", ")
}

/// What was done to one table, in all parts of it.
pub(super) struct Report {
    /// The cells of its row.
    pub(super) row: Vec<String>,
    /// What is still to be done, if anything is.
    pub(super) unfinished: Option<Failure>,
}

impl Report {
    /// Of the parts that were run on a table; `stats` say why indexes stay behind and why a table takes
    /// nothing; they may be empty for other duties.
    pub(super) fn of(
        key: &TableKey,
        duty: Duty,
        policy: &Policy,
        parts: &[Outcome],
        layouts: (&Layout, &Layout),
        stats: &TableStats,
    ) -> Self {
        let behind = if duty == Duty::Index {
            left_behind(stats, policy, parts)
        } else {
            Vec::new()
        };
        let mut done: Vec<_> = parts.iter().map(did).collect();
        done.extend(behind.iter().map(|index| format!("left: {index}")));
        let cells = vec![key.to_string(), done.join("; ")];
        Self {
            row: [cells, layouts.0.then(layouts.1)].concat(),
            unfinished: whole_unfinished(key, parts, &behind, stats),
        }
    }
}

/// What is still to be done after all parts.
fn whole_unfinished(
    key: &TableKey,
    parts: &[Outcome],
    behind: &[String],
    stats: &TableStats,
) -> Option<Failure> {
    let last = parts.last();
    let by_last = last.and_then(|last| unfinished(key, last)).or_else(|| {
        last.filter(|last| is_unwritable(last))?;
        let why = stats.unwritable.as_ref()?;
        Some(Failure::Operator(format!("{key} is left as it is: {why}")))
    });
    // Which index it is says more than that one is refused.
    let by_index = match by_last {
        Some(Failure::Machine(_)) | None => stays_behind(key, behind).or(by_last),
        overtaken => overtaken,
    };
    by_index.or_else(|| left_out(key, parts))
}
