//! The queue hold of a compaction, for tables of 1, 10 and 100 times the size.

use std::time::Duration;

use squire_engine::{Compacted, Graph, Options, maintenance::compaction::CompactionPolicy};
use squire_tests::{
    flights::{day, key, schema},
    show::{bytes, count, say, seconds, table},
};
use tokio_util::sync::CancellationToken;

use super::Result;

const FRAGMENTS: i32 = 20;
const ROWS: usize = 2_000;
const ROUNDS: usize = 5;

pub(super) async fn run() -> Result {
    let dir = tempfile::tempdir()?;
    let mut rows = Vec::new();
    let mut smallest = None;
    for times in [1, 10, 100] {
        let mut holds = Vec::new();
        let mut rewrites = Vec::new();
        let mut read = 0;
        for round in 0..ROUNDS {
            let uri = dir.path().join(format!("{times}-{round}"));
            let uri = uri
                .to_str()
                .ok_or("the temporary folder's name is not UTF-8")?;
            let graph = Graph::create(uri, schema(), Options::default()).await?;
            for n in 0..FRAGMENTS {
                graph.load(day(n, ROWS * times)).await?;
            }
            let compacted = graph
                .compact(
                    &key("edge:Flight"),
                    &CompactionPolicy::default(),
                    true,
                    &CancellationToken::new(),
                )
                .await?;
            let Compacted::Done(receipt) = compacted else {
                return Err(format!("nothing was compacted: {compacted:?}").into());
            };
            holds.push(receipt.hold);
            rewrites.push(receipt.rewrite);
            read = receipt.bytes_read;
        }
        let (hold, rewrite) = (median(&mut holds), median(&mut rewrites));
        let first = *smallest.get_or_insert((hold, rewrite));
        rows.push(vec![
            format!("x{times}"),
            count(20 * (ROWS * times) as u64),
            bytes(read),
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

pub(super) fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

pub(super) fn ratio(a: Duration, b: Duration) -> String {
    format!("{:.2}", a.as_secs_f64() / b.as_secs_f64().max(f64::EPSILON))
}
