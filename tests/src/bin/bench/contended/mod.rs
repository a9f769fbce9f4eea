//! The contended table: three programs that append, upsert and delete rows of one table through the `lancedb` package,
//! without maintenance, beside `table.optimize()` every second, and beside Squire; one after the other, from equal
//! copies of the table.
//!
//! | file | what is in it |
//! |---|---|
//! | this file | the command line, the rounds |
//! | [`maintenance`] | who maintains the table meanwhile, and how many rewrites were for nothing |
//! | [`run`] | the writers, and what they leave |
//! | [`figures`] | the table that is printed |

mod figures;
mod maintenance;
mod run;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use squire_tests::{
    lancedb::python::{self, Program},
    show::say,
};

use super::Result;
use maintenance::Maintenance;

/// The table's name, as `tests/python/contended.py` has it.
const TABLE: &str = "contended";
const DEFAULT_SECONDS: u64 = 30;
const DEFAULT_REST: Duration = Duration::from_millis(50);

/// How long the writers work, and how long each rests between two operations.
#[derive(Clone, Copy, Debug)]
struct Pace {
    seconds: Duration,
    rest: Duration,
}

impl Pace {
    /// As `tests/python/contended.py` takes it.
    fn to_args(self) -> [String; 2] {
        [self.seconds, self.rest].map(|time| time.as_secs_f64().to_string())
    }
}

/// Starts a program of `tests/python/contended.py` on the table at `place`; gives its ledger, too, which lies beside it.
fn start(interpreter: &Path, what: &str, place: &Path, pace: Pace) -> Result<(Program, PathBuf)> {
    let ledger = place.with_extension(what);
    let [seconds, rest] = pace.to_args();
    let args = [
        what.as_ref(),
        place.as_os_str(),
        ledger.as_os_str(),
        seconds.as_ref(),
        rest.as_ref(),
    ];
    let program = Program::start(interpreter, "contended", args)?;
    Ok((program, ledger))
}

/// What to measure.
#[derive(Debug)]
struct Order {
    pace: Pace,
    rounds: usize,
    kinds: Vec<Maintenance>,
}

impl Order {
    /// Reads the command line.
    fn parse(args: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut order = Self {
            pace: Pace {
                seconds: Duration::from_secs(DEFAULT_SECONDS),
                rest: DEFAULT_REST,
            },
            rounds: 1,
            kinds: Maintenance::ALL.to_vec(),
        };
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let value = args.next().ok_or_else(|| format!("{arg} needs a value"))?;
            match arg.as_str() {
                "--seconds" => order.pace.seconds = Duration::from_secs(value.parse()?),
                "--rest" => order.pace.rest = Duration::from_millis(value.parse()?),
                "--rounds" => order.rounds = value.parse::<usize>()?.max(1),
                "--with" => {
                    let named = |name| {
                        let known = Maintenance::ALL
                            .into_iter()
                            .find(|kind| kind.as_str() == name);
                        known.ok_or_else(|| {
                            format!("--with takes none, optimize and squire, not {name}")
                        })
                    };
                    order.kinds = value.split(',').map(named).collect::<Result<_, _>>()?;
                }
                _ => {
                    return Err(format!(
                        "{arg} is not known; there are --seconds, --rest (ms), --rounds and --with"
                    )
                    .into());
                }
            }
        }
        Ok(order)
    }
}

pub(super) async fn run(args: impl IntoIterator<Item = String>) -> Result {
    let order = Order::parse(args)?;
    let interpreter = python::interpreter().await?;
    let dir = tempfile::Builder::new()
        .prefix("squire-contended-")
        .tempdir()?;
    let seed = dir.path().join("seed");
    Program::start(
        &interpreter,
        "contended",
        ["seed".as_ref(), seed.as_os_str()],
    )?
    .end()
    .await?;
    let mut runs: Vec<_> = order.kinds.iter().map(|kind| (*kind, Vec::new())).collect();
    for round in 1..=order.rounds {
        for (kind, runs) in &mut runs {
            let place = dir.path().join(format!("{}-{round}", kind.as_str()));
            let run = run::run(&interpreter, &seed, &place, *kind, order.pace).await?;
            say(format!(
                "  round {round}, maintenance {}: {} operations, {} errors, rows {}",
                kind.as_str(),
                run.latencies.len(),
                run.errors.len(),
                run.difference,
            ));
            for error in run.errors.iter().take(3) {
                say(format!("    {error}"));
            }
            for slow in &run.slowest {
                say(format!("    {}", slow.tell(run.start, &run.rewrites)));
            }
            runs.push(run);
        }
    }
    say(figures::table(&runs));
    Ok(())
}
