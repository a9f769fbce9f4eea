//! One run: the writers at work for a while, and what they leave.

use std::{collections::BTreeMap, ffi::OsString, path::Path, time::Duration};

use chrono::{DateTime, Utc};
use lance::Dataset;
use squire_tests::{
    folder,
    lancedb::{
        ledger::{Difference, Expected, Ledger},
        look::{self, Look},
    },
};
use tokio::time::{Instant, interval};

use super::{
    Pace, TABLE,
    maintenance::{Maintenance, Rewrites},
};
use crate::Result;

/// The writers, as `tests/python/contended.py` calls them.
const WRITERS: [&str; 3] = ["append", "upsert", "delete"];
/// Rows that are there before the writers, as `tests/python/contended.py` makes them.
const SEEDED: i64 = 20_000;
/// So often the number of fragments is looked at.
const LOOKS: Duration = Duration::from_millis(500);

/// So many of the slowest operations are told.
const TOLD: usize = 5;

/// An operation that took long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slow {
    writer: &'static str,
    at: DateTime<Utc>,
    took: Duration,
}

impl Slow {
    /// What it was, when, counted from `start`, and which of the maintainer's jobs it met.
    pub(super) fn tell(&self, start: DateTime<Utc>, rewrites: &Rewrites) -> String {
        let end = self.at + self.took;
        let since = |from: DateTime<Utc>, to: DateTime<Utc>| (to - from).as_seconds_f64();
        let met = rewrites.jobs.iter();
        let met = met.filter(|job| job.from <= end && job.until >= self.at);
        let met: Vec<_> = met
            .map(|job| {
                format!(
                    "{} from {:.2} to {:.2} s, the commit {:.3} s",
                    job.duty,
                    since(start, job.from),
                    since(start, job.until),
                    job.hold.as_secs_f64()
                )
            })
            .collect();
        format!(
            "{} from {:.2} to {:.2} s took {:.3} s; it met {}",
            self.writer,
            since(start, self.at),
            since(start, end),
            self.took.as_secs_f64(),
            if met.is_empty() {
                "no job".to_owned()
            } else {
                met.join("; ")
            }
        )
    }
}

/// What was measured.
#[derive(Debug)]
pub(super) struct Run {
    /// How many operations each writer did.
    pub(super) operations: [usize; WRITERS.len()],
    /// Of every operation of every writer, in order of size.
    pub(super) latencies: Vec<Duration>,
    /// The operations that took longest, slowest first.
    pub(super) slowest: Vec<Slow>,
    /// When the writers began.
    pub(super) start: DateTime<Utc>,
    /// What the clients were told of.
    pub(super) errors: Vec<String>,
    /// The most fragments that were seen.
    pub(super) most_fragments: usize,
    /// The table when the writers had ended.
    pub(super) end: Look,
    /// Bytes of indexes that were written meanwhile, as far as they were seen on disk: work that was lost included.
    pub(super) index_bytes: u64,
    /// Bytes on disk when the maintenance had ended, too.
    pub(super) disk: u64,
    pub(super) rewrites: Rewrites,
    /// How the table differs from what the ledgers say.
    pub(super) difference: Difference,
}

impl Run {
    /// The latency, in seconds, that this share of all operations keeps to.
    pub(super) fn latency(&self, share: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let at = (last as f64 * share).round() as usize;
        self.latencies.get(at).map_or(0.0, Duration::as_secs_f64)
    }
}

/// Lets the writers work on a copy of the seed at `place`.
pub(super) async fn run(
    interpreter: &Path,
    seed: &Path,
    place: &Path,
    kind: Maintenance,
    pace: Pace,
) -> Result<Run> {
    folder::copy(seed, place)?;
    let uri = place.join(format!("{TABLE}.lance"));
    let uri = uri
        .to_str()
        .ok_or("the temporary folder's name is not UTF-8")?;
    let mut maintainer = kind.start(interpreter, place, pace).await?;
    let (mut programs, mut ledgers) = (Vec::new(), Vec::new());
    for writer in WRITERS {
        let (program, ledger) = super::start(interpreter, writer, place, pace)?;
        programs.push(program);
        ledgers.push(ledger);
    }
    for program in &mut programs {
        program.ready().await?;
    }
    let start = Utc::now();
    maintainer.go().await?;
    for program in &mut programs {
        program.go().await?;
    }
    let Watched {
        most_fragments,
        index_bytes,
    } = watch(uri, pace.seconds).await?;
    for program in programs {
        program.end().await?;
    }
    let end = Look::at(&Dataset::open(uri).await?).await?;
    let rewrites = maintainer.end().await?;

    let ledgers = ledgers.iter().map(|ledger| Ledger::read(ledger));
    let ledgers = ledgers.collect::<std::io::Result<Vec<_>>>()?;
    let mut expected = Expected::seeded(0..SEEDED, 0);
    ledgers.iter().for_each(|ledger| expected.follow(ledger));
    let took = |ledger: &Ledger| {
        let operations = ledger.operations.iter();
        operations.filter_map(|op| op.took).collect::<Vec<_>>()
    };
    let by_writer: Vec<_> = ledgers.iter().map(took).collect();
    let mut latencies = by_writer.concat();
    latencies.sort_unstable();
    let mut slowest: Vec<_> = WRITERS
        .iter()
        .zip(&ledgers)
        .flat_map(|(writer, ledger)| ledger.operations.iter().map(move |op| (*writer, op)))
        .filter_map(|(writer, op)| {
            let (at, took) = (op.at?, op.took?);
            Some(Slow { writer, at, took })
        })
        .collect();
    slowest.sort_by_key(|slow| std::cmp::Reverse(slow.took));
    slowest.truncate(TOLD);
    Ok(Run {
        operations: std::array::from_fn(|n| by_writer.get(n).map_or(0, Vec::len)),
        latencies,
        slowest,
        start,
        errors: ledgers
            .iter()
            .flat_map(Ledger::errors)
            .map(str::to_owned)
            .collect(),
        most_fragments: most_fragments.max(end.fragments),
        end,
        index_bytes,
        disk: look::disk(Path::new(uri))?,
        rewrites,
        difference: expected.compare(&Dataset::open(uri).await?).await?,
    })
}

/// What was seen while the writers were at work.
struct Watched {
    /// The most fragments that the table had.
    most_fragments: usize,
    /// Bytes of segments of indexes that were not there in the beginning.
    index_bytes: u64,
}

async fn watch(uri: &str, seconds: Duration) -> Result<Watched> {
    let end = Instant::now() + seconds;
    let folder = Path::new(uri).join("_indices");
    let before = segments(&folder)?;
    let mut written: BTreeMap<OsString, u64> = BTreeMap::new();
    let mut looks = interval(LOOKS);
    let mut most_fragments = 0;
    while Instant::now() < end {
        looks.tick().await;
        let fragments = Dataset::open(uri).await?.manifest().fragments.len();
        most_fragments = most_fragments.max(fragments);
        for (segment, bytes) in segments(&folder)? {
            let known = written.entry(segment).or_default();
            *known = bytes.max(*known);
        }
    }
    written.retain(|segment, _| !before.contains_key(segment));
    Ok(Watched {
        most_fragments,
        index_bytes: written.into_values().sum(),
    })
}

/// The folders of segments, and the bytes in each. One that goes while it is looked at is none.
fn segments(folder: &Path) -> Result<BTreeMap<OsString, u64>> {
    let mut segments = BTreeMap::new();
    for segment in std::fs::read_dir(folder)? {
        let segment = segment?;
        if let Ok(bytes) = look::disk(&segment.path()) {
            segments.insert(segment.file_name(), bytes);
        }
    }
    Ok(segments)
}
