//! `squire status`.

use chrono::Utc;
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use squire_engine::{
    Error, Snapshot, TableKey, TableStats, Waiting,
    manifest::TicketState,
    planner::{
        Ask, Policy,
        compaction::{self, Decision},
        indexing::{self, Decision as IndexDecision},
    },
};

use super::configured::Configured;
use crate::{
    cli::TargetArg,
    commands::open::opened,
    exit::{Done, Failure},
    output,
    target::Opened,
};

const AT_ONCE: usize = 16;

/// A table, as far as it could be read.
type Read = (TableKey, Result<TableStats, Error>);

/// Prints the tables of a target, their layout and what is due by the policies that hold for it.
///
/// # Errors
/// When the target or one of its tables cannot be read.
pub(in crate::commands) async fn run(
    target: &TargetArg,
    configured: &Configured,
    as_json: bool,
) -> Done {
    let opened = opened(target, false).await?;
    let (snapshot, tables) = {
        let _working = output::Working::on("reading tables");
        let snapshot = match &opened {
            Opened::Graph(graph) => Some(graph.snapshot().await?),
            Opened::Directory(_) => None,
        };
        let tables = all_stats(&opened, snapshot.as_ref(), configured).await?;
        (snapshot, tables)
    };
    if as_json {
        say_json(opened.uri(), snapshot.as_ref(), &tables, configured);
    } else {
        say_heading(opened.uri(), snapshot.as_ref(), tables.len());
        say_tables(&tables, configured);
        output::say(configured.source());
        if let Some(snapshot) = &snapshot {
            say_queue(snapshot);
        }
    }
    // One table that cannot be read hides no other; it is the command's failure all the same.
    let failed = tables.into_iter().find_map(|(_, stats)| stats.err());
    failed.map_or(Ok(()), |e| Err(Failure::from(e)))
}

/// Every table, those with something due first.
async fn all_stats(
    opened: &Opened,
    snapshot: Option<&Snapshot>,
    configured: &Configured,
) -> Result<Vec<Read>, Error> {
    let keys: Vec<_> = match snapshot {
        Some(snapshot) => snapshot.manifest().tables.keys().cloned().collect(),
        None => opened.tables().await?,
    };
    let stats = stream::iter(keys).map(async |key| {
        let stats = match snapshot {
            Some(snapshot) => snapshot.stats(&key).await,
            None => opened.stats(&key).await,
        };
        (key, stats)
    });
    let mut tables: Vec<Read> = stats.buffered(AT_ONCE).collect().await;
    // A table that was dropped meanwhile is left out.
    tables.retain(|(_, stats)| !matches!(stats, Err(Error::TableGone { .. })));
    tables.sort_by_key(|(key, stats)| {
        let policy = configured.policy(key);
        stats
            .as_ref()
            .is_ok_and(|stats| due(stats, &policy).is_empty())
    });
    Ok(tables)
}

/// What is due by a policy, as reasons.
fn due(stats: &TableStats, policy: &Policy) -> Vec<&'static str> {
    let mut due = Vec::new();
    let decision = compaction::plan(stats, &policy.compaction, &Ask::default());
    if let Decision::Compact(_, reason) = decision {
        due.push(reason.as_str());
    }
    let decision = indexing::plan(stats, &policy.index, Utc::now(), false);
    if let IndexDecision::Index(_, reason) = decision {
        due.push(reason.as_str());
    }
    due
}

fn small_fragments(stats: &TableStats, policy: &Policy) -> usize {
    let small = policy.compaction.small_bytes;
    stats
        .fragments
        .iter()
        .filter(|f| f.live_bytes() < small)
        .count()
}

fn unindexed_rows(stats: &TableStats) -> u64 {
    let of_index = stats.indexes.iter().map(|i| i.unindexed_rows);
    of_index.max().unwrap_or(0)
}

fn say_heading(uri: &str, snapshot: Option<&Snapshot>, tables: usize) {
    let heading = match snapshot.map(Snapshot::manifest) {
        Some(manifest) => {
            let name = manifest.schema.name.as_deref().unwrap_or("graph");
            format!("{name} at {uri}, manifest {}\n", manifest.number)
        }
        None => format!("directory at {uri}, {tables} tables\n"),
    };
    output::say(&heading);
}

fn say_tables(tables: &[Read], configured: &Configured) {
    let read = || {
        let read = tables.iter();
        read.filter_map(|(key, stats)| Some((key, stats.as_ref().ok()?)))
    };
    let rows = read().map(|(key, stats)| {
        let policy = configured.policy(key);
        vec![
            key.to_string(),
            output::count(stats.rows()),
            stats.fragments.len().to_string(),
            small_fragments(stats, &policy).to_string(),
            output::count(stats.deleted_rows()),
            output::count(unindexed_rows(stats)),
            output::bytes(stats.bytes()),
            stats.version.to_string(),
            due(stats, &policy).join(", "),
        ]
    });
    let header = [
        "table",
        "rows",
        "fragments",
        "small",
        "deleted",
        "unindexed",
        "bytes",
        "version",
        "due",
    ];
    output::say(&output::table(&header, rows.collect()));
    for line in read().flat_map(|(key, stats)| left(key, stats, &configured.policy(key))) {
        output::say(&line);
    }
    // Below the table: in a cell, an error would make all others as wide as itself.
    for (key, stats) in tables {
        if let Err(e) = stats {
            output::say(&format!("{key} cannot be read: {e}"));
        }
    }
}

/// What stays as it is of a table, whatever is done, and why.
fn left(key: &TableKey, stats: &TableStats, policy: &Policy) -> Vec<String> {
    let behind = indexing::left_behind(stats, &policy.index)
        .map(|(index, skip)| format!("{key}: index {} stays as it is ({skip})", index.name));
    let unwritable = stats.unwritable.iter();
    let unwritable = unwritable.map(|why| format!("{key} is left as it is: {why}"));
    unwritable.chain(behind).collect()
}

fn say_queue(snapshot: &Snapshot) {
    let manifest = snapshot.manifest();
    if manifest.queue.is_empty() {
        output::say("\nqueue: empty");
        return;
    }
    output::say("\nqueue:");
    let now = Utc::now();
    for ticket in &manifest.queue {
        let tables: Vec<_> = ticket.touched.all().map(ToString::to_string).collect();
        let age = (now - ticket.at).to_std().unwrap_or_default();
        let how = match (Waiting::of(manifest, ticket), &ticket.state) {
            (Some(waiting), _) => waiting.describe(now),
            (None, TicketState::Waiting) => {
                format!("waiting in front for {}", output::duration(age))
            }
            (None, state) => format!("{} for {}", state.as_str(), output::duration(age)),
        };
        output::say(&format!(
            "  {} {} by {} (process {}) on {}, {how}",
            ticket.kind,
            ticket.operation,
            ticket.actor,
            ticket.holder,
            tables.join(", "),
        ));
        if let TicketState::Quarantined { reason, .. } = &ticket.state {
            output::say(&format!("    {reason}; run `squire repair`"));
        }
    }
}

fn say_json(uri: &str, snapshot: Option<&Snapshot>, tables: &[Read], configured: &Configured) {
    let tables = tables.iter().map(|(key, stats)| {
        let policy = configured.policy(key);
        let table = match stats {
            Ok(stats) => json!({
                "rows": stats.rows(),
                "fragments": stats.fragments.len(),
                "small_fragments": small_fragments(stats, &policy),
                "deleted_rows": stats.deleted_rows(),
                "unindexed_rows": unindexed_rows(stats),
                "indexes": stats.indexes,
                "missing_indexes": stats.missing,
                "unwritable": stats.unwritable,
                "bytes": stats.bytes(),
                "version": stats.version,
                "due": due(stats, &policy),
            }),
            Err(e) => json!({ "error": e.to_string() }),
        };
        (key.to_string(), table)
    });
    let tables: serde_json::Map<_, _> = tables.collect();
    let status = match snapshot {
        Some(snapshot) => json_of_graph(uri, snapshot, tables.into()),
        None => json!({ "uri": uri, "kind": "directory", "tables": tables }),
    };
    output::say(&status.to_string());
}

fn json_of_graph(uri: &str, snapshot: &Snapshot, tables: Value) -> Value {
    let manifest = snapshot.manifest();
    let now = Utc::now();
    let queue = manifest.queue.iter().map(|ticket| {
        json!({
            "operation": ticket.operation,
            "kind": ticket.kind,
            "actor": ticket.actor,
            "holder": ticket.holder,
            "tables": ticket.touched.all().collect::<Vec<_>>(),
            "state": ticket.state.as_str(),
            "at": ticket.at,
            "behind": manifest.ahead(ticket).map(|t| t.operation).collect::<Vec<_>>(),
            "waiting": Waiting::of(manifest, ticket).map(|w| w.describe(now)),
        })
    });
    json!({
        "uri": uri,
        "kind": "graph",
        "name": manifest.schema.name,
        "graph": manifest.graph,
        "manifest": manifest.number,
        "tables": tables,
        "queue": queue.collect::<Vec<_>>(),
    })
}
