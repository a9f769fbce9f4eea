//! `squire compact`.

use bytesize::ByteSize;
use squire_engine::{
    Compacted,
    maintenance::compaction::{self, CompactionPolicy, Verdict},
};
use tokio_util::sync::CancellationToken;

use super::{Done, open_to_write};
use crate::{cli::GraphArg, output, service};

pub(super) async fn run(
    graph: &GraphArg,
    tables: Vec<String>,
    target: ByteSize,
    dry_run: bool,
) -> Done {
    let graph = open_to_write(graph).await?;
    let snapshot = graph.snapshot().await?;
    let keys = if tables.is_empty() {
        snapshot.manifest().tables.keys().cloned().collect()
    } else {
        let named = tables.iter().map(|t| snapshot.resolve(t));
        named.collect::<Result<Vec<_>, _>>()?
    };
    let policy = CompactionPolicy {
        target_bytes: target.as_u64(),
        small_bytes: target.as_u64() / 2,
        ..CompactionPolicy::default()
    };
    let stop = CancellationToken::new();
    service::cancel_on_signal(stop.clone());
    let mut rows = Vec::new();
    for key in keys {
        let told = if dry_run {
            would(&compaction::plan(
                &snapshot.stats(&key).await?,
                &policy,
                true,
            ))
        } else {
            let _working = output::Working::on(format!("compacting {key}"));
            did(&graph.compact(&key, &policy, true, &stop).await?)
        };
        rows.push([vec![key.to_string()], told].concat());
    }
    let header: &[&str] = if dry_run {
        &["table", "would", "fragments", "into", "reads", "because"]
    } else {
        &["table", "did", "fragments", "into", "read", "wrote", "held"]
    };
    output::say(&output::table(header, rows));
    graph.close().await;
    Ok(())
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
