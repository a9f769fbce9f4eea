//! A directory of a thousand tables of which five are written: how often the others are looked at, as it settles.
//!
//! Three figures: what the schedule foretells for the default intervals; the looks that a running daemon counts, with
//! both intervals forty times shorter, beside what the schedule foretells for those; and the requests of one look at a
//! table that did not change, counted at the store.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use squire_engine::{Directory, DirectoryOptions, planner::poll_schedule::PollPolicy};
use squire_tests::{
    cold::{counted, foretold},
    daemon::Daemon,
    plain,
    show::{count, say, table},
    store::Watch,
};
use tokio::time::{Instant, sleep, sleep_until};

use super::Result;

const TABLES: u64 = 1_000;
const WRITTEN: u64 = 5;
/// The defaults of `daemon.tick`, `daemon.hot_tick` and `daemon.cold_tick`.
const DEFAULT: PollPolicy = PollPolicy {
    tick: Duration::from_secs(10),
    hot_tick: Duration::from_secs(1),
    cold_tick: Duration::from_secs(600),
};
const FASTER: u32 = 40;
/// So many of the longest intervals are watched.
const SPANS: u32 = 6;

pub(super) async fn run() -> Result {
    let dir = tempfile::tempdir()?;
    let root = dir.path().join("tables");
    for n in 0..TABLES {
        plain::append(&root, &name(n), plain::rows(0, 10)).await?;
    }
    let each = requests_of_a_look(&root).await?;
    say(format!(
        "a look at a table that did not change: {each} request"
    ));
    let quick = PollPolicy {
        tick: DEFAULT.tick / FASTER,
        hot_tick: DEFAULT.tick / FASTER,
        cold_tick: DEFAULT.cold_tick / FASTER,
    };
    let real = watch_a_daemon(&root, &quick).await?;
    let (by_default, by_quick) = (
        foretold(&DEFAULT, TABLES - WRITTEN, SPANS),
        foretold(&quick, TABLES - WRITTEN, SPANS),
    );
    let minutes = DEFAULT.cold_tick.as_secs_f64() / 60.0;
    let mut rows = Vec::new();
    for (span, foretold) in by_default.iter().enumerate() {
        let per_minute = |looks: u64| {
            let rate = (looks * each) as f64 / (TABLES - WRITTEN) as f64 / minutes;
            format!("{rate:.3}")
        };
        let (from, to) = (minutes * span as f64, minutes * (span + 1) as f64);
        rows.push(vec![
            format!("{from:.0} to {to:.0} min"),
            count(*foretold),
            per_minute(*foretold),
            count(by_quick[span]),
            count(real[span]),
            per_minute(real[span]),
        ]);
    }
    let header = [
        "after the start",
        "foretold looks",
        "requests/min/table",
        "foretold, quick",
        "counted, quick",
        "requests/min/table",
    ];
    say(table(&header, rows));
    let ticks = DEFAULT.tick.as_secs();
    say(format!(
        "looks at {} tables that nobody writes; beside them, {WRITTEN} that are written have one each {ticks} s, and the root is listed once in {ticks} s. Quick is {FASTER} times faster, told in the time of the defaults; what is counted there includes looks at the written tables between two writes",
        count(TABLES - WRITTEN)
    ));
    Ok(())
}

fn name(n: u64) -> String {
    format!("t{n:04}")
}

/// Requests of the second look at a table, when nothing has come since the first.
async fn requests_of_a_look(root: &Path) -> Result<u64> {
    let watch = Watch::new();
    let wrapper = watch.wrapper();
    let uri = root.display().to_string();
    let options = DirectoryOptions {
        wrapper,
        ..DirectoryOptions::default()
    };
    let directory = Directory::open(&uri, options).await?;
    let tables = directory.tables().await?;
    let table = tables.first().ok_or("there are tables")?;
    directory.stats(table).await?;
    watch.take();
    directory.stats(table).await?;
    Ok(watch.take().len() as u64)
}

/// The looks in each span at tables that nobody writes, as a daemon counts them.
async fn watch_a_daemon(root: &Path, looks: &PollPolicy) -> Result<Vec<u64>> {
    let site = root.parent().ok_or("it is in a folder")?;
    let config = site.join("squire.toml");
    let text = format!(
        "[daemon]\nlisten = \"127.0.0.1:0\"\nlog_format = \"json\"\ntick = \"{}ms\"\ncold_tick = \"{}ms\"\n\
         [[target]]\nname = \"cold\"\nuri = \"{}\"\n",
        looks.tick.as_millis(),
        looks.cold_tick.as_millis(),
        root.display()
    );
    std::fs::write(&config, text)?;
    let daemon = Daemon::start(&config, &site.join("log")).await?;
    let enough = AtomicBool::new(false);
    let write = async {
        let mut from = 10;
        while !enough.load(Ordering::Relaxed) {
            for n in 0..WRITTEN {
                plain::append(root, &name(n), plain::rows(from, 10)).await?;
            }
            from += 10;
            sleep(looks.tick).await;
        }
        Ok::<_, lance::Error>(())
    };
    let watch = async {
        // The first look reads every table, which takes a while: from then on, intervals count.
        let unchanged = async || -> Result<u64> {
            let samples = daemon.metric("squire_table_looks_total").await?;
            Ok(counted(&samples, "cold")
                .get("unchanged")
                .copied()
                .unwrap_or(0))
        };
        let started = Instant::now();
        let (mut spans, mut before) = (Vec::new(), 0);
        for span in 1..=SPANS {
            sleep_until(started + looks.cold_tick * span).await;
            let now = unchanged().await?;
            // Of the first span, the look that found each table is no look at an unchanged one.
            let first = if span == 1 { TABLES - WRITTEN } else { 0 };
            spans.push(now - before + first);
            before = now;
        }
        enough.store(true, Ordering::Relaxed);
        Ok::<_, Box<dyn std::error::Error>>(spans)
    };
    let (wrote, spans) = tokio::join!(write, watch);
    daemon.stop(Duration::from_secs(30)).await?;
    wrote?;
    spans
}
