//! How often tables are looked at that nobody writes: foretold by the schedule alone, and counted at a running daemon.

use std::{collections::BTreeMap, time::Duration};

use squire_engine::planner::poll_schedule::{Change, PollPolicy, PollSchedule};

/// Looks in each of `spans` spans of the longest interval, at tables that do not change, as the schedule foretells. A
/// keeper looks on ticks alone.
pub fn foretold(policy: &PollPolicy, tables: u64, spans: u32) -> Vec<u64> {
    let mut counts = vec![0; spans as usize];
    let ticks = (policy.cold_tick * spans).as_nanos() / policy.tick.as_nanos().max(1);
    let ticks = u32::try_from(ticks).unwrap_or(u32::MAX);
    for table in 0..tables {
        let mut looks = PollSchedule::at_once(policy, Duration::ZERO, table);
        for tick in 0..ticks {
            let now = policy.tick * tick;
            if looks.due(now) {
                // To whoever finds it, a table is news.
                let news = if tick == 0 {
                    Change::Some
                } else {
                    Change::Nothing
                };
                looks.polled(news, policy, now);
                let span = now.as_nanos() / policy.cold_tick.as_nanos().max(1);
                counts[usize::try_from(span).unwrap_or(0)] += 1;
            }
        }
    }
    counts
}

/// Looks that a daemon has counted, from the samples of `squire_table_looks_total` of one target, by what was found.
pub fn counted(samples: &BTreeMap<String, f64>, target: &str) -> BTreeMap<String, u64> {
    let mut counted = BTreeMap::new();
    for (labels, n) in samples {
        let label = |name: &str| {
            labels.split(',').find_map(|label| {
                let value = label.strip_prefix(name)?.strip_prefix("=\"")?;
                value.strip_suffix('"')
            })
        };
        if label("target") == Some(target)
            && let Some(found) = label("found")
        {
            counted.insert(found.to_owned(), *n as u64);
        }
    }
    counted
}
