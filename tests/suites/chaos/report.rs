//! How long it took to notice and to recover. It is printed and asserted by nobody: machines differ.

use std::{collections::BTreeMap, time::Duration};

use squire_tests::show;

use crate::{faults::Fault, footprint::Footprint};

/// What was measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    seeds: usize,
    faults: BTreeMap<&'static str, Times>,
    kept: Vec<Duration>,
}

#[derive(Debug, Default)]
struct Times {
    noticed: Vec<Duration>,
    recovered: Vec<Duration>,
}

impl Report {
    /// A seed begins. What it draws is said at once: a test that fails later names it.
    pub(crate) fn seed(&mut self, seed: u64, faults: &[Fault]) {
        self.seeds += 1;
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        show::say(format!("seed {seed}: {}", faults.join(", ")));
    }

    pub(crate) fn noticed(&mut self, fault: Fault, took: Duration) {
        self.faults
            .entry(fault.name())
            .or_default()
            .noticed
            .push(took);
    }

    pub(crate) fn recovered(&mut self, fault: Fault, took: Duration) {
        let times = self.faults.entry(fault.name()).or_default();
        times.recovered.push(took);
    }

    /// A target that nothing happened to was maintained.
    pub(crate) fn kept(&mut self, took: Duration) {
        self.kept.push(took);
    }

    pub(crate) fn show(&self, before: &Footprint, after: &Footprint) {
        let row = |name: &str, n: usize, noticed: &[Duration], recovered: &[Duration]| {
            let mut row = vec![name.to_owned(), n.to_string()];
            for times in [noticed, recovered] {
                row.extend([at(times, 50), at(times, 99)]);
            }
            row
        };
        let mut rows: Vec<_> = self
            .faults
            .iter()
            .map(|(name, times)| row(name, times.noticed.len(), &times.noticed, &times.recovered))
            .collect();
        rows.push(row(
            "a table of others is due",
            self.kept.len(),
            &[],
            &self.kept,
        ));
        let head = [
            "what happens",
            "times",
            "noticed p50",
            "p99",
            "kept again p50",
            "p99",
        ];
        show::say(show::table(&head, rows));
        let seeds = self.seeds;
        show::say(format!("{seeds} seeds; before: {before}; after: {after}"));
    }
}

/// The time by which so many percent were done.
fn at(times: &[Duration], percent: usize) -> String {
    let mut times = times.to_vec();
    times.sort();
    let n = (times.len() * percent).div_ceil(100).max(1) - 1;
    match times.get(n) {
        Some(time) => format!("{:.2} s", time.as_secs_f64()),
        None => String::new(),
    }
}
