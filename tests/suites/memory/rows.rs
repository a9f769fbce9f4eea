//! Rows that are large in memory, whatever they take on disk.

use std::time::Instant;

use squire_tests::{
    lancedb::look,
    process::peak_memory,
    show::{bytes, say},
};
use tokio::time::sleep;

use crate::{MIB, PATIENCE, made, seen, start};

/// A table of `tests/python/large.py`: its kind, how many rows, and how many bytes each.
type Table = (&'static str, u64, u64);

#[tokio::test(flavor = "multi_thread")]
async fn lance_9223_haiku_rag_554_rows_that_are_large_once_they_are_decoded_keep_to_the_memory() {
    // Rows of 8 MiB and more have pages of their own.
    let (memory, tables): (u64, [Table; 3]) = if std::env::var_os("SQUIRE_MEMORY_FULL").is_some() {
        let wide = ("wide", 100, 15_000_000);
        (
            512 * MIB,
            [
                ("alike", 2_400, 1_000_000),
                wide,
                ("beside", 1_400, 1_000_000),
            ],
        )
    } else {
        let wide = ("wide", 24, 9_000_000);
        (
            352 * MIB,
            [("alike", 200, 1_000_000), wide, ("beside", 150, 1_000_000)],
        )
    };
    let dir = tempfile::tempdir().unwrap();
    let (mut uris, mut before) = (Vec::new(), Vec::new());
    for (kind, rows, size) in tables {
        let args = [kind.to_owned(), rows.to_string(), size.to_string()];
        let uri = made(&dir, "large", kind, args).await;
        before.push(seen(&uri).await);
        uris.push(uri);
    }
    let daemon = start(&dir, memory).await;
    let started = Instant::now();
    let mut after = before.clone();
    while after.iter().any(|look| look.deleted > 0) && started.elapsed() < PATIENCE {
        sleep(std::time::Duration::from_millis(500)).await;
        for (uri, after) in uris.iter().zip(&mut after) {
            *after = seen(uri).await;
        }
    }
    let peak = peak_memory(daemon.id().unwrap()).unwrap();
    assert!(daemon.stop(PATIENCE).await.unwrap().success());
    for ((uri, (kind, rows, size)), after) in uris.iter().zip(tables).zip(&after) {
        say(format!(
            "{kind}: {rows} rows of {}, {} on disk; {} deleted rows are left",
            bytes(size),
            bytes(look::disk(uri).unwrap()),
            after.deleted,
        ));
    }
    say(format!(
        "{:.0} s; the daemon took {} at most, of {}",
        started.elapsed().as_secs_f64(),
        bytes(peak),
        bytes(memory),
    ));
    let log = || std::fs::read_to_string(dir.path().join("log")).unwrap();
    for (after, before) in after.iter().zip(&before) {
        assert_eq!((after.rows, after.deleted), (before.rows, 0), "{}", log());
    }
    assert!(peak <= memory, "{} of {}", bytes(peak), bytes(memory));
}
