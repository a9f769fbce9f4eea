//! What a case is doing: how long it takes, how much memory, and who panics in it.

use std::{
    panic,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::MEMORY;

/// A case takes milliseconds; on a machine with much else to do, seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// More than this no case may have at any moment, or the machine would suffer.
const MOST_MEMORY: usize = 2 << 30;

/// How long a case may take. The test of the fuzzer has less.
pub(crate) fn patience() -> Duration {
    let given = std::env::var("SQUIRE_FUZZ_PATIENCE").ok();
    let given = given.and_then(|seconds| seconds.parse().ok());
    given.map_or(PATIENCE, Duration::from_secs)
}

/// The case that is tried.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    begun: Mutex<Option<(Instant, usize)>>,
}

/// What a case took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    pub(crate) bytes: usize,
}

impl Watch {
    pub(crate) fn begins(&self) {
        MEMORY.reset_peak_usage();
        *lock(&self.begun) = Some((Instant::now(), MEMORY.current_usage()));
    }

    pub(crate) fn ends(&self) -> Took {
        let before = lock(&self.begun).take().map_or(0, |(_, before)| before);
        Took {
            bytes: MEMORY.peak_usage().saturating_sub(before),
        }
    }

    /// Why the case has to be ended with its process.
    pub(crate) fn complaint(&self, patience: Duration) -> Option<String> {
        let (begun, before) = (*lock(&self.begun))?;
        let has = MEMORY.current_usage().saturating_sub(before);
        if has > MOST_MEMORY {
            return Some(format!("takes more than {} MiB", MOST_MEMORY >> 20));
        }
        let hangs = begun.elapsed() > patience;
        hangs.then(|| format!("hangs: not done after {} s", patience.as_secs()))
    }
}

/// A panic.
#[derive(Clone, Debug)]
pub(crate) struct Panic {
    /// The file whose code panicked.
    file: String,
    text: String,
}

impl Panic {
    /// Whether it is Squire's own code: files of dependencies have absolute paths.
    pub(crate) fn is_own(&self) -> bool {
        ["engine/", "config/", "daemon/"]
            .iter()
            .any(|own| self.file.starts_with(own))
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

static PANICS: Mutex<Vec<Panic>> = Mutex::new(Vec::new());

/// Notes panics in place of printing them.
pub(crate) fn note_panics() {
    panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        let place = panic.location();
        let file = place.map_or("", |place| place.file()).to_owned();
        let line = place.map_or(0, |place| place.line());
        let text = format!("panics: {message} ({file}:{line})");
        lock(&PANICS).push(Panic { file, text });
    }));
}

/// The panics since the last call.
pub(crate) fn take_panics() -> Vec<Panic> {
    std::mem::take(&mut *lock(&PANICS))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
