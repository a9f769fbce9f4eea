//! What the seed chooses for each life of a process: when it is stopped, for how long, and then killed. Each process
//! has a sequence of its own, so that a seed chooses the same however fast the others are.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::store::Moment;

/// A life that ends at a write has at most so many writes before.
const MOST_WRITES: usize = 80;
/// A daemon's life that ends at a line of its log has at most so many lines before.
const MOST_LINES: usize = 40;
/// The odds that a process is paused before it is killed.
const PAUSED: f64 = 0.2;
/// The lengths of pauses, in milliseconds: past everybody's lease, mostly.
const PAUSES: std::ops::Range<u64> = 500..2_000;

/// The write of a process at which it freezes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freeze {
    /// So many writes pass before.
    pub passing: usize,
    /// Before the write, or once the store has carried it out.
    pub moment: Moment,
}

/// When a process is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Exactly at a write: for writers.
    At(Freeze),
    /// At a line of the log: for daemons.
    AtLine(usize),
    /// After a while.
    After(Duration),
}

/// One life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// When it is stopped.
    pub when: When,
    /// How long it sleeps then, to go on afterwards for a moment.
    pub pause: Option<(Duration, Duration)>,
    /// What it chooses by, if it is a writer.
    pub seed: u64,
}

/// The lives of one process, one after another.
#[derive(Debug)]
pub struct Fates {
    rng: StdRng,
    is_writer: bool,
}

impl Fates {
    /// Those of the process with this number, in a soak with this seed.
    pub fn of(seed: u64, process: usize, is_writer: bool) -> Self {
        let own = (process as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self {
            rng: StdRng::seed_from_u64(seed ^ own),
            is_writer,
        }
    }

    /// The next life.
    pub fn draw(&mut self) -> Fate {
        let rng = &mut self.rng;
        let at_a_point = rng.random_bool(0.7);
        let when = match (at_a_point, self.is_writer) {
            (true, true) => When::At(Freeze {
                passing: rng.random_range(0..MOST_WRITES),
                moment: if rng.random() {
                    Moment::Before
                } else {
                    Moment::After
                },
            }),
            (true, false) => When::AtLine(rng.random_range(0..MOST_LINES)),
            (false, _) => When::After(Duration::from_millis(rng.random_range(0..1_500))),
        };
        let millis = |ms| Duration::from_millis(ms);
        let pause = rng.random_bool(PAUSED).then(|| {
            (
                millis(rng.random_range(PAUSES)),
                millis(rng.random_range(0..500)),
            )
        });
        let seed = rng.random();
        Fate { when, pause, seed }
    }
}
