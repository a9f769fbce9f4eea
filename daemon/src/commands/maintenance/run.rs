//! `squire compact`, `squire index` and `squire cleanup`: one duty, by hand, on a graph or a directory.
//!
//! Unlike the daemon's jobs, it does not wait for windows, paces, back-off, interval floors or a job slot, does the
//! duty below its thresholds and where it is disabled, does not spare fragments that writers change, and takes the
//! clock as it is. A compaction goes on until nothing is left. The policy is that of the configuration that names the
//! place (`configured.rs`); pauses hold unless `--ignore-pauses`.

use std::collections::BTreeMap;

use chrono::Utc;
use squire_engine::{
    Error, TableKey, TableStats,
    planner::{Ask, Duty, Policy, compaction, indexing},
};
use tokio_util::sync::CancellationToken;

use super::{
    configured::Configured,
    report::{
        Layout, Report, changed, doing, gone, is_unwritable, unfinished, would_compact,
        would_index, would_remove,
    },
};
use crate::{
    cli::TargetArg,
    commands::{open::opened, signals},
    exit::{Done, Failure},
    output,
    target::{Opened, Outcome},
};

/// What a user requests.
pub(in crate::commands) struct Request<'a> {
    pub(in crate::commands) target: &'a TargetArg,
    /// The tables; none for all of them.
    pub(in crate::commands) tables: Vec<String>,
    pub(in crate::commands) duty: Duty,
    /// What a configuration says of the target.
    pub(in crate::commands) configured: &'a Configured,
    /// How each table is maintained.
    pub(in crate::commands) policy_of: &'a dyn Fn(&TableKey) -> Policy,
    /// Work on tables that are paused, too.
    pub(in crate::commands) ignore_pauses: bool,
    /// Only say what would be done, and why.
    pub(in crate::commands) dry_run: bool,
}

/// Runs a duty by hand.
///
/// # Errors
/// The first that a table had; all others have had their turn.
pub(in crate::commands) async fn run(request: Request<'_>) -> Done {
    let opened = opened(request.target, !request.dry_run).await?;
    let done = work(&opened, &request).await;
    opened.close().await;
    done
}

async fn work(opened: &Opened, request: &Request<'_>) -> Done {
    let named = named(opened, &request.tables).await?;
    let any = !named.is_empty();
    let keys = unpaused(named, request).await;
    let done = if any && keys.is_empty() {
        Ok(())
    } else if request.dry_run {
        foresee(opened, request, &keys).await
    } else {
        act(opened, request, &keys).await
    };
    output::say(request.configured.source());
    done
}

/// The tables that are not paused; says which are left alone.
async fn unpaused(keys: Vec<TableKey>, request: &Request<'_>) -> Vec<TableKey> {
    if request.ignore_pauses {
        return keys;
    }
    let pauses = request.configured.pauses().await;
    if let Some(unknown) = &pauses.unknown {
        output::say(unknown);
    }
    let now = Utc::now();
    let is_unpaused = |key: &TableKey| match pauses.of(key, now) {
        Some(why) => {
            output::say(&format!(
                "{key} is {why} and left alone; --ignore-pauses works on it all the same"
            ));
            false
        }
        None => true,
    };
    keys.into_iter().filter(is_unpaused).collect()
}

/// Runs the duty on one table after the other, and prints what came of it. A failure on one does not keep the others from
/// their turn; the first is the command's.
async fn act(opened: &Opened, request: &Request<'_>, keys: &[TableKey]) -> Done {
    let stop = CancellationToken::new();
    signals::cancel_on_signal(stop.clone());
    say_retention(request, keys);
    let (mut rows, mut failed) = (Vec::new(), None);
    for key in keys {
        match maintain(opened, request, key, &stop).await {
            Ok(report) => {
                rows.push(report.row);
                failed = failed.or(report.unfinished);
            }
            Err(Error::Cancelled) => {
                failed = Some(Failure::from(Error::Cancelled));
                break;
            }
            Err(Error::TableGone { .. } | Error::UnknownTable { .. }) => rows.push(gone(key)),
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

/// Runs the duty on one table, in as many parts as it takes.
async fn maintain(
    opened: &Opened,
    request: &Request<'_>,
    key: &TableKey,
    stop: &CancellationToken,
) -> Result<Report, Error> {
    let (duty, policy) = (request.duty, (request.policy_of)(key));
    let working = output::Working::on(format!("{} {key}", doing(duty)));
    let _working = match opened {
        Opened::Graph(graph) => working.following(graph),
        Opened::Directory(_) => working,
    };
    let before = layout(opened, key).await?;
    let parts = run_parts(opened, key, duty, &policy, stop).await?;
    let after = if parts.iter().any(changed) {
        layout(opened, key).await?
    } else {
        before.clone()
    };
    let says_more = duty == Duty::Index || parts.last().is_some_and(is_unwritable);
    let stats = if says_more {
        opened.stats(key).await?
    } else {
        TableStats::default()
    };
    let layouts = (&before, &after);
    Ok(Report::of(key, duty, &policy, &parts, layouts, &stats))
}

/// One operation reads a limited number of bytes: a table may take several.
async fn run_parts(
    opened: &Opened,
    key: &TableKey,
    duty: Duty,
    policy: &Policy,
    stop: &CancellationToken,
) -> Result<Vec<Outcome>, Error> {
    let mut parts = Vec::new();
    loop {
        let part = opened.run(key, duty, policy, &Ask::forced(), stop).await?;
        let (more, nothing) = (part.leaves_more(), !changed(&part));
        // That a further part found nothing to do is no news.
        if parts.is_empty() || !nothing || unfinished(key, &part).is_some() {
            parts.push(part);
        }
        if !more || nothing {
            return Ok(parts);
        }
    }
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
async fn foresee(opened: &Opened, request: &Request<'_>, keys: &[TableKey]) -> Done {
    let (mut rows, mut failed) = (Vec::new(), None);
    let mut kept = Vec::new();
    say_retention(request, keys);
    for key in keys {
        match would(opened, request, key, &mut kept).await {
            Ok(cells) => rows.push([vec![key.to_string()], cells].concat()),
            Err(Error::TableGone { .. } | Error::UnknownTable { .. }) => rows.push(gone(key)),
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
            let decision = indexing::plan(&stats, &policy.index, Utc::now(), true);
            would_index(&decision, &stats)
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

/// The layout of a table.
async fn layout(opened: &Opened, key: &TableKey) -> Result<Layout, Error> {
    let stats = opened.stats(key).await?;
    let unindexed = stats.indexes.iter().map(|i| i.unindexed_rows).max();
    Ok(Layout {
        fragments: stats.fragments.len() as u64,
        deleted_rows: stats.deleted_rows(),
        unindexed_rows: unindexed.unwrap_or(0),
        versions: opened.versions(key).await?.len() as u64,
        bytes: stats.bytes(),
    })
}
