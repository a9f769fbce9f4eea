//! Before and after, and whether every row is there.

use std::collections::BTreeMap;

use squire_engine::{Graph, TableKey};
use squire_tests::{
    layout::Layout,
    show::{bytes, count, say, seconds, table},
};

use crate::{Result, ledger::Ledger};

/// The layouts side by side.
pub(crate) fn compare(
    before: &BTreeMap<TableKey, Layout>,
    after: &BTreeMap<TableKey, Layout>,
) -> String {
    let mut rows = Vec::new();
    for (key, after) in after {
        let before = before.get(key).cloned().unwrap_or_default();
        let mut row = |when: &str, layout: &Layout| {
            rows.push(vec![
                format!("{key} {when}"),
                count(layout.rows),
                layout.fragments.to_string(),
                layout.files.to_string(),
                bytes(layout.bytes),
                count(layout.deleted),
                layout.versions.to_string(),
                seconds(layout.scan),
            ]);
        };
        row("before", &before);
        row("after", after);
    }
    let header = [
        "table",
        "rows",
        "fragments",
        "files",
        "bytes",
        "deleted",
        "versions",
        "scan",
    ];
    table(&header, rows)
}

/// Every loaded row is there, as it was loaded, and nothing else.
pub(crate) async fn check(
    graph: &Graph,
    ledger: &Ledger,
    after: &BTreeMap<TableKey, Layout>,
) -> Result {
    let expected = ledger.expected(&graph.snapshot().await?).await?;
    for (key, expected) in &expected {
        let found = after
            .get(key)
            .map(|layout| layout.fingerprint)
            .unwrap_or_default();
        if found != *expected {
            return Err(format!(
                "{key} holds {} rows that differ from the {} expected ones",
                found.rows, expected.rows
            )
            .into());
        }
    }
    let total: u64 = after.values().map(|layout| layout.rows).sum();
    say(format!(
        "\n   All {} rows are there as they were loaded, those of the dead as well, compared by a hash over all columns.\n   The versions behind them are kept for their readers; cleanup removes old ones after seven days.",
        count(total)
    ));
    Ok(())
}
