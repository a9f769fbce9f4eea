//! `squire compact`, `squire index` and `squire cleanup`: one duty, by hand, on a graph or a directory.

use chrono::Utc;
use std::collections::BTreeMap;

use squire_engine::{
    Cleaned, CleanupPreview, Compacted, Error, Indexed, TableKey, TableStats,
    planner::{
        Ask, Duty, Policy,
        cleanup::{self, Verdict as CleanupVerdict},
        compaction::{self, Verdict},
        indexing::{self, Task, Verdict as IndexVerdict},
    },
};
use tokio_util::sync::CancellationToken;

use crate::commands::{Done, opened};
use crate::{
    cli::TargetArg,
    exit::Failure,
    output, service,
    target::{Opened, Outcome},
};

/// What a person asks for.
pub(in crate::commands) struct Request<'a> {
    pub(in crate::commands) target: &'a TargetArg,
    /// The tables; none for all of them.
    pub(in crate::commands) tables: Vec<String>,
    pub(in crate::commands) duty: Duty,
    /// How each table is maintained.
    pub(in crate::commands) policy_of: &'a dyn Fn(&TableKey) -> Policy,
    /// Only say what would be done, and why.
    pub(in crate::commands) dry_run: bool,
}

pub(in crate::commands) async fn run(request: Request<'_>) -> Done {
    let opened = opened(request.target, !request.dry_run).await?;
    let done = if request.dry_run {
        foresee(&opened, &request).await
    } else {
        act(&opened, &request).await
    };
    opened.close().await;
    done
}

/// Runs the duty on one table after the other. One that fails keeps no other from its turn; the first failure is the
/// command's.
async fn act(opened: &Opened, request: &Request<'_>) -> Done {
    let stop = CancellationToken::new();
    service::cancel_on_signal(stop.clone());
    let duty = request.duty;
    let (mut rows, mut failed) = (Vec::new(), None);
    let keys = named(opened, &request.tables).await?;
    say_retention(request, &keys);
    for key in keys {
        let policy = (request.policy_of)(&key);
        let working = output::Working::on(format!("{} {key}", doing(duty)));
        let _working = match opened {
            Opened::Graph(graph) => working.following(graph),
            Opened::Directory(_) => working,
        };
        let done = async {
            let before = Layout::of(opened, &key).await?;
            // One operation reads so many bytes and no more.
            let mut parts = Vec::new();
            loop {
                let part = opened
                    .run(&key, duty, &policy, &Ask::forced(), &stop)
                    .await?;
                let (more, nothing) = (part.leaves_more(), !changed(&part));
                // That a further part found nothing to do is no news.
                if parts.is_empty() || !nothing || unfinished(&key, &part).is_some() {
                    parts.push(part);
                }
                if !more || nothing {
                    break;
                }
            }
            let after = if parts.iter().any(changed) {
                Layout::of(opened, &key).await?
            } else {
                before.clone()
            };
            let mut told: Vec<_> = parts.iter().map(did).collect();
            let behind = if duty == Duty::Index {
                left_behind(&opened.stats(&key).await?, &policy, &parts)
            } else {
                Vec::new()
            };
            told.extend(behind.iter().map(|index| format!("left: {index}")));
            let row = [vec![key.to_string(), told.join("; ")], before.then(&after)].concat();
            let unwritable = match parts.last().is_some_and(is_unwritable) {
                true => opened.stats(&key).await?.unwritable,
                false => None,
            };
            let unfinished = parts.last().and_then(|last| unfinished(&key, last));
            let unfinished = unfinished.or_else(|| {
                let why = unwritable?;
                Some(Failure::Operator(format!("{key} is left as it is: {why}")))
            });
            // Which index it is says more than that one is refused.
            let unfinished = match unfinished {
                Some(Failure::Machine(_)) | None => stays_behind(&key, &behind).or(unfinished),
                overtaken => overtaken,
            };
            let unfinished = unfinished.or_else(|| left_out(&key, &parts));
            Ok::<_, Error>((row, unfinished))
        };
        match done.await {
            Ok((row, unfinished)) => {
                rows.push(row);
                failed = failed.or(unfinished);
            }
            Err(Error::Cancelled) => {
                failed = Some(Failure::from(Error::Cancelled));
                break;
            }
            Err(Error::TableGone { .. } | Error::UnknownTable { .. }) => rows.push(gone(&key)),
            Err(e) => {
                rows.push(vec![key.to_string(), format!("failed: {e}")]);
                failed.get_or_insert(Failure::from(e));
            }
        }
    }
    let header = [
        "table",
        "did",
        "fragments",
        "deleted",
        "unindexed",
        "versions",
        "bytes",
    ];
    if !rows.is_empty() {
        output::say(&output::table(&header, rows));
    }
    failed.map_or(Ok(()), Err)
}

/// What is still to be done of what a person asked for, and whose turn it is.
fn unfinished(key: &TableKey, last: &Outcome) -> Option<Failure> {
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
fn is_unwritable(outcome: &Outcome) -> bool {
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

fn gone(key: &TableKey) -> Vec<String> {
    vec![key.to_string(), "gone: it was dropped meanwhile".to_owned()]
}

/// Says what a cleanup keeps: once for tables that are kept alike.
fn say_retention(request: &Request<'_>, keys: &[TableKey]) {
    if request.duty != Duty::Cleanup {
        return;
    }
    let mut alike: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for key in keys {
        let policy = (request.policy_of)(key).cleanup;
        let keeps = format!(
            "the {} newest versions, and what was superseded in the last {}",
            policy.keep_versions,
            humantime::format_duration(policy.keep_for)
        );
        alike.entry(keeps).or_default().push(key.to_string());
    }
    let all = alike.len() == 1;
    for (keeps, tables) in alike {
        let of = if all {
            "each table".to_owned()
        } else {
            tables.join(", ")
        };
        output::say(&format!("of {of} stay {keeps}"));
    }
    output::say("");
}

/// Says what would be done, and why. A table that cannot be read hides no other.
async fn foresee(opened: &Opened, request: &Request<'_>) -> Done {
    let (mut rows, mut failed) = (Vec::new(), None);
    let mut kept = Vec::new();
    let keys = named(opened, &request.tables).await?;
    say_retention(request, &keys);
    for key in keys {
        match would(opened, request, &key, &mut kept).await {
            Ok(cells) => rows.push([vec![key.to_string()], cells].concat()),
            Err(Error::TableGone { .. } | Error::UnknownTable { .. }) => rows.push(gone(&key)),
            Err(e) => {
                rows.push(vec![key.to_string(), format!("cannot be read: {e}")]);
                failed.get_or_insert(Failure::from(e));
            }
        }
    }
    let header: &[&str] = match request.duty {
        Duty::Compaction => &["table", "would", "fragments", "into", "reads", "because"],
        Duty::Index => &["table", "would", "rows", "because"],
        Duty::Cleanup => &["table", "would", "versions", "files", "bytes", "because"],
    };
    output::say(&output::table(header, rows));
    if !kept.is_empty() {
        output::say("");
        kept.iter().for_each(|line| output::say(line));
    }
    failed.map_or(Ok(()), Err)
}

/// What would be done to one table; `kept` takes what keeps its versions.
async fn would(
    opened: &Opened,
    request: &Request<'_>,
    key: &TableKey,
    kept: &mut Vec<String>,
) -> Result<Vec<String>, Error> {
    let (policy, ask) = ((request.policy_of)(key), Ask::forced());
    Ok(match request.duty {
        Duty::Compaction => {
            let stats = opened.stats(key).await?;
            would_compact(&compaction::plan(&stats, &policy.compaction, &ask), &stats)
        }
        Duty::Index => {
            let stats = opened.stats(key).await?;
            let verdict = indexing::plan(&stats, &policy.index, Utc::now(), true);
            would_index(&verdict, &stats)
        }
        Duty::Cleanup => {
            let preview = opened.explain_cleanup(key, &policy.cleanup, &ask).await?;
            kept.extend(preview.kept.iter().map(|why| format!("{key} keeps {why}")));
            would_remove(&preview)
        }
    })
}

/// The tables of these names; without names, all of them.
async fn named(opened: &Opened, names: &[String]) -> Result<Vec<TableKey>, Failure> {
    if names.is_empty() {
        return Ok(opened.tables().await?);
    }
    if let Opened::Graph(graph) = opened {
        let snapshot = graph.snapshot().await?;
        let keys = names.iter().map(|name| snapshot.resolve(name));
        return Ok(keys.collect::<Result<_, _>>()?);
    }
    let there = opened.tables().await?;
    let find = |name: &String| {
        let key = there.iter().find(|key| key.name() == name);
        key.cloned().ok_or_else(|| {
            Failure::Usage(format!(
                "{} has no table {name}: `squire status` lists what there is",
                opened.uri()
            ))
        })
    };
    names.iter().map(find).collect()
}

const fn doing(duty: Duty) -> &'static str {
    match duty {
        Duty::Compaction => "compacting",
        Duty::Index => "indexing",
        Duty::Cleanup => "cleaning up",
    }
}

/// Whether the table is not what it was.
fn changed(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Compacted(Compacted::Done(_))
            | Outcome::Indexed(Indexed::Done(_))
            | Outcome::Cleaned(Cleaned::Done(_))
    )
}

/// What a person sees of a table, before and after.
#[derive(Clone)]
struct Layout {
    fragments: u64,
    deleted_rows: u64,
    unindexed_rows: u64,
    versions: u64,
    bytes: u64,
}

impl Layout {
    async fn of(opened: &Opened, key: &TableKey) -> Result<Self, Error> {
        let stats = opened.stats(key).await?;
        let unindexed = stats.indexes.iter().map(|i| i.unindexed_rows).max();
        Ok(Self {
            fragments: stats.fragments.len() as u64,
            deleted_rows: stats.deleted_rows(),
            unindexed_rows: unindexed.unwrap_or(0),
            versions: opened.versions(key).await?.len() as u64,
            bytes: stats.bytes(),
        })
    }

    /// What was, and what became of it.
    fn then(&self, after: &Self) -> Vec<String> {
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

fn became(before: u64, after: u64, tell: impl Fn(u64) -> String) -> String {
    if before == after {
        tell(before)
    } else {
        format!("{} → {}", tell(before), tell(after))
    }
}

fn did(outcome: &Outcome) -> String {
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

fn would_compact(verdict: &Verdict, stats: &TableStats) -> Vec<String> {
    match verdict {
        Verdict::Compact(groups, reason) => {
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
        Verdict::Skip(skip) => skipped(3, &with_unwritable(skip.as_str(), stats)),
    }
}

/// A reason, and why the table takes nothing of this build where it does not.
fn with_unwritable(because: &str, stats: &TableStats) -> String {
    match &stats.unwritable {
        Some(why) => format!("{because} ({why})"),
        None => because.to_owned(),
    }
}

fn would_index(verdict: &IndexVerdict, stats: &TableStats) -> Vec<String> {
    match verdict {
        IndexVerdict::Index(due, reason) => {
            let rows = stats.indexes.iter().map(|i| i.unindexed_rows).max();
            vec![
                tasks(due),
                output::count(rows.unwrap_or(0)),
                with_blocked(reason.as_str(), stats),
            ]
        }
        IndexVerdict::Skip(skip @ indexing::Skip::Unwritable) => {
            skipped(1, &with_unwritable(skip.as_str(), stats))
        }
        IndexVerdict::Skip(skip) => skipped(1, &with_blocked(skip.as_str(), stats)),
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

fn would_remove(preview: &CleanupPreview) -> Vec<String> {
    match &preview.verdict {
        CleanupVerdict::Remove { reason, .. } => vec![
            "remove".to_owned(),
            format!("{} of {}", preview.goes.versions, preview.versions),
            output::count(preview.goes.files),
            output::bytes(preview.goes.bytes),
            reason.to_string(),
        ],
        CleanupVerdict::Skip(skip) => skipped(3, skip.as_str()),
    }
}

fn skipped(empty: usize, because: &str) -> Vec<String> {
    let mut cells = vec!["skip".to_owned()];
    cells.extend(std::iter::repeat_n(String::new(), empty));
    cells.push(because.to_owned());
    cells
}

fn tasks(tasks: &[Task]) -> String {
    let told = tasks.iter().map(|task| match task {
        Task::Append(index) => format!("append to {index}"),
        Task::Merge(index) => format!("merge {index}"),
        Task::Create(column) => format!("index {column}"),
    });
    told.collect::<Vec<_>>().join(", ")
}
