//! Thousands of spoilt configurations: never a panic, never a hang, every refusal names a place, and what is taken is
//! sound.
//!
//! | file | what is in it |
//! |---|---|
//! | [`corpus`] | the configurations that are spoilt: the reference file, and the examples of the documents |
//! | [`spoil`] | how they are spoilt |
//! | [`sound`] | what must hold of a refusal, and of what is taken |
//!
//! `CASES=n` tries so many, `SEED=n` others than usual. A failure says how to try its case alone.
#![allow(missing_docs, clippy::unwrap_used)]

mod corpus;
mod sound;
mod spoil;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use sound::Scales;
use spoil::{Case, Spoiler};

const CASES: u64 = 5_000;
const SEED: u64 = 1;
/// A case takes milliseconds; on a machine with much else to do, seconds.
const PATIENCE: Duration = Duration::from_secs(120);

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn a_spoilt_configuration_is_refused_with_a_place_or_taken_soundly_and_never_panics_or_hangs() {
    let seed = number("SEED").unwrap_or(SEED);
    let cases = number("CASES").unwrap_or(CASES);
    let (tell, hear) = sync_channel(0);
    let work = thread::spawn(move || {
        let (spoiler, mut scales) = (Spoiler::new(corpus::all()), Scales::new());
        for seed in seed..seed + cases {
            if tell.send(seed).is_err() {
                return scales;
            }
            let case = spoiler.case(seed);
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| scales.weigh(&case))) {
                panic!("{}", failed(seed, &case, panic.as_ref()));
            }
        }
        scales
    });
    let mut at = seed;
    loop {
        match hear.recv_timeout(PATIENCE) {
            Ok(seed) => at = seed,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => panic!("SEED={at} CASES=1 hangs"),
        }
    }
    let scales = work
        .join()
        .unwrap_or_else(|panic| panic!("{}", said(panic.as_ref())));
    // Were all refused, or none, the spoiling would be of no use.
    if cases >= 1_000 {
        assert!(
            scales.taken * 20 > cases,
            "{} of {cases} taken",
            scales.taken
        );
        assert!(
            scales.refused * 4 > cases,
            "{} of {cases} refused",
            scales.refused
        );
    }
}

fn failed(seed: u64, case: &Case, panic: &(dyn Any + Send)) -> String {
    format!(
        "{}\nSEED={seed} CASES=1 tries it again:\n{case}",
        said(panic)
    )
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic")
}
