//! Starts workers, one target after the other, and tells what they found.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Instant,
};

use serde_json::Value;
use squire_tests::show::{count, say};

use crate::{
    faults::{self, Fault},
    order::{Order, Until},
    worker::{CURRENT, REASON, REPORT, Tally},
};

/// A target whose workers die again and again is given up.
const MOST_DEATHS: u64 = 50;

/// Panics of others that are told one by one.
const SHOWN_PANICS: usize = 5;

/// Runs all targets; whether no fault was found.
pub(crate) fn run(order: &Order) -> Result<bool, String> {
    let mut is_well = true;
    for (place, name) in order.targets.iter().enumerate() {
        let begun = Instant::now();
        let seed = order.seed.wrapping_add(place as u64);
        let tally = one(order, name, seed).map_err(|e| format!("{name}: {e}"))?;
        say(format!(
            "{name}: {} kept and {} fresh inputs in {} s (seed {seed}), {} taken; {} panics of others held; {} KiB at most; {} faults",
            count(tally.replayed),
            count(tally.cases),
            begun.elapsed().as_secs(),
            count(tally.taken),
            count(tally.held_panics.values().sum()),
            count(tally.most_bytes >> 10),
            tally.faults.len()
        ));
        let mut panics: Vec<_> = tally.held_panics.iter().collect();
        panics.sort_by_key(|(_, times)| std::cmp::Reverse(**times));
        for (text, times) in panics.into_iter().take(SHOWN_PANICS) {
            say(format!("  held {times} time(s): {text}"));
        }
        for fault in tally.faults.values() {
            is_well = false;
            let file = fault.file.display();
            say(format!(
                "  {} time(s): {}\n    input: {file}\n    again: make fuzz ONLY={name} REPLAY={file}",
                fault.times, fault.text
            ));
        }
    }
    Ok(is_well)
}

/// One target, by as many workers as it takes.
fn one(order: &Order, name: &str, mut seed: u64) -> Result<Tally, String> {
    let (begun, mut tally, mut deaths) = (Instant::now(), Tally::default(), 0);
    loop {
        let rest = match order.until {
            Until::Cases(cases) => ("--cases", cases.saturating_sub(tally.cases)),
            Until::Passed(time) => ("--seconds", time.saturating_sub(begun.elapsed()).as_secs()),
        };
        if deaths > 0 && rest.1 == 0 {
            return Ok(tally);
        }
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let role = if deaths == 0 {
            "--worker"
        } else {
            "--next-worker"
        };
        let here = std::env::current_exe().map_err(|e| e.to_string())?;
        let ended = Command::new(here)
            .args([name, role])
            .arg(folder.path())
            .args([rest.0, &rest.1.to_string(), "--seed", &seed.to_string()])
            .status()
            .map_err(|e| e.to_string())?;
        take_report(folder.path(), &mut tally)?;
        if ended.success() {
            return Ok(tally);
        }
        if !folder.path().join(CURRENT).is_file() {
            return Err(format!("a worker could not begin: {ended}"));
        }
        let fault = death(name, folder.path(), ended)?;
        let known = tally
            .faults
            .entry(faults::key(&fault.text))
            .or_insert(fault);
        known.times += 1;
        deaths += 1;
        tally.cases += 1;
        if deaths >= MOST_DEATHS {
            return Ok(tally);
        }
        seed = seed.wrapping_add(1 << 32);
    }
}

/// What a worker had told when it ended.
fn take_report(folder: &Path, tally: &mut Tally) -> Result<(), String> {
    let Ok(report) = fs::read(folder.join(REPORT)) else {
        return Ok(());
    };
    let report: Value = serde_json::from_slice(&report).map_err(|e| e.to_string())?;
    let number = |name: &str| report[name].as_u64().unwrap_or_default();
    tally.replayed += number("replayed");
    tally.cases += number("cases");
    tally.taken += number("taken");
    for (text, times) in report["held_panics"].as_object().into_iter().flatten() {
        let known = tally.held_panics.entry(text.clone()).or_default();
        *known += times.as_u64().unwrap_or_default();
    }
    tally.most_bytes = tally.most_bytes.max(number("most_bytes"));
    for fault in report["faults"].as_array().into_iter().flatten() {
        let text = fault["text"].as_str().unwrap_or_default().to_owned();
        let new = Fault {
            file: PathBuf::from(fault["file"].as_str().unwrap_or_default()),
            times: 0,
            text,
        };
        let known = tally.faults.entry(faults::key(&new.text)).or_insert(new);
        known.times += fault["times"].as_u64().unwrap_or(1);
    }
    Ok(())
}

/// The fault of a worker that did not come to its end.
fn death(name: &str, folder: &Path, ended: ExitStatus) -> Result<Fault, String> {
    let input = fs::read(folder.join(CURRENT)).map_err(|e| e.to_string())?;
    let text = fs::read_to_string(folder.join(REASON)).unwrap_or_else(|_| match ended.signal() {
        Some(signal) => format!("ends its process by signal {signal}"),
        None => format!("ends its process: {ended}"),
    });
    Ok(Fault {
        text,
        file: faults::keep(name, &input).map_err(|e| e.to_string())?,
        times: 0,
    })
}
