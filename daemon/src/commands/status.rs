//! `squire status`.

use chrono::Utc;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use squire_engine::{
    Snapshot, TableKey, TableStats, Waiting, maintenance::compaction::CompactionPolicy,
    manifest::TicketState,
};

use super::{Done, open};
use crate::{cli::GraphArg, exit::Failure, output};

const AT_ONCE: usize = 16;

pub(super) async fn run(graph: &GraphArg, as_json: bool) -> Done {
    let graph = open(graph).await?;
    let snapshot = graph.snapshot().await?;
    let tables = {
        let _working = output::Working::on("reading tables");
        all_stats(&snapshot).await?
    };
    if as_json {
        say_json(graph.uri(), &snapshot, &tables)
    } else {
        say_table(graph.uri(), &snapshot, &tables);
        Ok(())
    }
}

async fn all_stats(snapshot: &Snapshot) -> Result<Vec<(TableKey, TableStats)>, Failure> {
    let keys: Vec<_> = snapshot.manifest().tables.keys().cloned().collect();
    let stats = stream::iter(keys).map(|key| async move {
        let stats = snapshot.stats(&key).await?;
        Ok::<_, squire_engine::Error>((key, stats))
    });
    Ok(stats.buffered(AT_ONCE).try_collect().await?)
}

fn small_fragments(stats: &TableStats) -> usize {
    let small = CompactionPolicy::default().small_bytes;
    stats
        .fragments
        .iter()
        .filter(|f| f.live_bytes() < small)
        .count()
}

fn say_table(uri: &str, snapshot: &Snapshot, tables: &[(TableKey, TableStats)]) {
    let manifest = snapshot.manifest();
    let name = manifest.schema.name.as_deref().unwrap_or("graph");
    output::say(&format!("{name} at {uri}, manifest {}\n", manifest.number));
    let rows = tables.iter().map(|(key, stats)| {
        vec![
            key.to_string(),
            output::count(stats.rows()),
            stats.fragments.len().to_string(),
            small_fragments(stats).to_string(),
            output::count(stats.deleted_rows()),
            output::bytes(stats.bytes()),
            stats.version.to_string(),
        ]
    });
    let header = [
        "table",
        "rows",
        "fragments",
        "small",
        "deleted",
        "bytes",
        "version",
    ];
    output::say(&output::table(&header, rows.collect()));
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
            (Some(waiting), _) => waiting.told(now),
            (None, TicketState::Waiting) => {
                format!("waiting in front for {}", output::duration(age))
            }
            (None, state) => format!("{} for {}", state.as_str(), output::duration(age)),
        };
        output::say(&format!(
            "  {} {} by {} on {}, {how}",
            ticket.kind,
            ticket.operation,
            ticket.actor,
            tables.join(", "),
        ));
        if let TicketState::Quarantined { reason, .. } = &ticket.state {
            output::say(&format!("    {reason}; run `squire repair`"));
        }
    }
}

fn say_json(uri: &str, snapshot: &Snapshot, tables: &[(TableKey, TableStats)]) -> Done {
    let manifest = snapshot.manifest();
    let tables = tables.iter().map(|(key, stats)| {
        let table = json!({
            "rows": stats.rows(),
            "fragments": stats.fragments.len(),
            "small_fragments": small_fragments(stats),
            "deleted_rows": stats.deleted_rows(),
            "bytes": stats.bytes(),
            "version": stats.version,
        });
        (key.to_string(), table)
    });
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
            "waiting": Waiting::of(manifest, ticket).map(|w| w.told(now)),
        })
    });
    let status = json!({
        "uri": uri,
        "name": manifest.schema.name,
        "graph": manifest.graph,
        "manifest": manifest.number,
        "tables": tables.collect::<serde_json::Map<_, _>>(),
        "queue": queue.collect::<Vec<_>>(),
    });
    output::say(&status.to_string());
    Ok(())
}
