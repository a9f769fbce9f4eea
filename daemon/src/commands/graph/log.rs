//! `squire log`.

use std::pin::pin;

use futures::TryStreamExt;
use squire_engine::LogEntry;

use crate::commands::open::open;
use crate::{cli::GraphArg, exit::Done, output};

pub(in crate::commands) async fn run(
    graph: &GraphArg,
    limit: usize,
    all: bool,
    as_json: bool,
) -> Done {
    let graph = open(graph).await?;
    let mut entries = pin!(graph.log());
    let mut shown = 0;
    while shown < limit {
        let Some(entry) = entries.try_next().await? else {
            break;
        };
        if all || changes_tables(&entry) {
            shown += 1;
            output::say(&if as_json { json(&entry) } else { line(&entry) });
        }
    }
    if shown == 0 && !as_json {
        output::say("nothing was changed yet");
    }
    Ok(())
}

/// Whether the entry is one that a user asks for: it changed what readers see, or ended badly.
fn changes_tables(entry: &LogEntry) -> bool {
    matches!(
        entry.change.transition.as_str(),
        "create" | "publish" | "adopt" | "quarantine" | "resolve"
    )
}

fn line(entry: &LogEntry) -> String {
    let change = &entry.change;
    let kind = change.kind.map_or("", |kind| kind.as_str());
    let what = match change.transition.as_str() {
        "publish" => kind.to_owned(),
        other => format!("{other} {kind}"),
    };
    let tables: Vec<_> = change.tables.iter().map(ToString::to_string).collect();
    let tables = match tables.len() {
        0..=4 => tables.join(", "),
        n => format!("{}, and {} more", tables[..3].join(", "), n - 3),
    };
    let operation = change
        .operation
        .map(|id| id.to_string())
        .unwrap_or_default();
    let line = format!(
        "{:>6}  {}  {:<12} {:<20} {:<28} {:<36} {operation}",
        entry.number,
        change.at.format("%Y-%m-%d %H:%M:%SZ"),
        what.trim(),
        change.actor,
        change.summary,
        tables,
    );
    line.trim_end().to_owned()
}

fn json(entry: &LogEntry) -> String {
    serde_json::json!({ "number": entry.number, "change": entry.change }).to_string()
}
