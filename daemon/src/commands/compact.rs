//! `squire compact`.

use bytesize::ByteSize;
use squire_engine::{
    Compacted, Error, Graph, Snapshot, TableKey,
    maintenance::compaction::{self, CompactionPolicy, Verdict},
};
use tokio_util::sync::CancellationToken;

use super::{Done, changing, working};
use crate::{cli::GraphArg, output, service};

pub(super) async fn run(
    graph: &GraphArg,
    tables: Vec<String>,
    target: ByteSize,
    dry_run: bool,
) -> Done {
    let policy = CompactionPolicy {
        target_bytes: target.as_u64(),
        small_bytes: target.as_u64() / 2,
        ..CompactionPolicy::default()
    };
    if dry_run {
        return working(graph, async |graph| foresee(graph, &tables, &policy).await).await;
    }
    changing(graph, async |graph| {
        let stop = CancellationToken::new();
        service::cancel_on_signal(stop.clone());
        let mut rows = Vec::new();
        for key in named(&graph.snapshot().await?, &tables)? {
            let _working = output::Working::on(format!("compacting {key}")).following(graph);
            let compacted = graph.compact(&key, &policy, true, &stop).await?;
            rows.push([vec![key.to_string()], did(&compacted)].concat());
        }
        let header = ["table", "did", "fragments", "into", "read", "wrote", "held"];
        output::say(&output::table(&header, rows));
        Ok(())
    })
    .await
}

/// Says what would be done.
async fn foresee(graph: &Graph, tables: &[String], policy: &CompactionPolicy) -> Done {
    let snapshot = graph.snapshot().await?;
    let mut rows = Vec::new();
    for key in named(&snapshot, tables)? {
        let verdict = compaction::plan(&snapshot.stats(&key).await?, policy, true);
        rows.push([vec![key.to_string()], would(&verdict)].concat());
    }
    let header = ["table", "would", "fragments", "into", "reads", "because"];
    output::say(&output::table(&header, rows));
    Ok(())
}

/// The tables of these names; without names, all of them.
fn named(snapshot: &Snapshot, tables: &[String]) -> Result<Vec<TableKey>, Error> {
    if tables.is_empty() {
        return Ok(snapshot.manifest().tables.keys().cloned().collect());
    }
    tables.iter().map(|t| snapshot.resolve(t)).collect()
}

fn would(verdict: &Verdict) -> Vec<String> {
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
        Verdict::Skip(skip) => vec![
            "skip".to_owned(),
            String::new(),
            String::new(),
            String::new(),
            skip.to_string(),
        ],
    }
}

fn did(compacted: &Compacted) -> Vec<String> {
    match compacted {
        Compacted::Done(receipt) => vec![
            "rewritten".to_owned(),
            receipt.fragments_before.to_string(),
            receipt.fragments_after.to_string(),
            output::bytes(receipt.bytes_read),
            output::bytes(receipt.bytes_written),
            output::duration(receipt.hold),
        ],
        Compacted::Skipped(skip) => vec![format!("skipped: {skip}")],
        Compacted::Lost => vec!["lost to a writer; run it again".to_owned()],
    }
}
