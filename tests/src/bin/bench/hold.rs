//! The queue hold of a compaction, for tables of 1, 10 and 100 times the size.

use std::time::Duration;

use squire_engine::{
    CompactReceipt, Compacted, Graph, Options,
    planner::{Ask, compaction::CompactionPolicy},
};
use squire_tests::{
    flights::{day, key, schema},
    show::{bytes, count, say, seconds, table},
};
use tokio_util::sync::CancellationToken;

use super::Result;

const FRAGMENTS: i32 = 20;
const ROWS: usize = 2_000;
const TIMES: [usize; 3] = [1, 10, 100];
/// The sizes take turns, so that a busy disk does not favour one of them.
const ROUNDS: usize = 7;

#[derive(Default)]
struct Size {
    holds: Vec<Duration>,
    rewrites: Vec<Duration>,
    read: u64,
}

pub(super) async fn run() -> Result {
    let dir = tempfile::tempdir()?;
    let mut sizes: [Size; 3] = Default::default();
    for round in 0..ROUNDS {
        for (times, size) in TIMES.iter().zip(&mut sizes) {
            let uri = dir.path().join(format!("{times}-{round}"));
            let uri = uri
                .to_str()
                .ok_or("the temporary folder's name is not UTF-8")?;
            let receipt = compact_table_of(uri, ROWS * times).await?;
            size.holds.push(receipt.hold);
            size.rewrites.push(receipt.rewrite);
            size.read = receipt.bytes_read;
        }
    }
    let mut rows = Vec::new();
    let mut smallest = None;
    for (times, size) in TIMES.iter().zip(&mut sizes) {
        let (hold, rewrite) = (median(&mut size.holds), median(&mut size.rewrites));
        let first = *smallest.get_or_insert((hold, rewrite));
        rows.push(vec![
            format!("x{times}"),
            count((ROWS * times) as u64 * u64::from(FRAGMENTS.unsigned_abs())),
            bytes(size.read),
            seconds(rewrite),
            ratio(rewrite, first.1),
            seconds(hold),
            ratio(hold, first.0),
        ]);
    }
    let header = ["size", "rows", "read", "rewrite", "to x1", "hold", "to x1"];
    say(table(&header, rows));
    Ok(())
}

async fn compact_table_of(uri: &str, rows_per_fragment: usize) -> Result<CompactReceipt> {
    let graph = Graph::create(uri, schema(), Options::default()).await?;
    for n in 0..FRAGMENTS {
        graph.load(day(n, rows_per_fragment)).await?;
    }
    let compacted = graph
        .compact(
            &key("edge:Flight"),
            &CompactionPolicy::default(),
            &Ask::forced(),
            &CancellationToken::new(),
        )
        .await?;
    match compacted {
        Compacted::Done(receipt) => Ok(receipt),
        other => Err(format!("nothing was compacted: {other:?}").into()),
    }
}

pub(super) fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

pub(super) fn ratio(a: Duration, b: Duration) -> String {
    format!("{:.2}", a.as_secs_f64() / b.as_secs_f64().max(f64::EPSILON))
}
