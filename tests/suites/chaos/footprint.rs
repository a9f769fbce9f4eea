//! What the process takes of the machine.

use std::{fmt, fs};

/// An open file, or thread, more or less is nothing; a leak grows with every seed.
const SLACK: u64 = 48;

/// What a process takes of the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Footprint {
    resident_kib: u64,
    files: u64,
    threads: u64,
}

impl Footprint {
    pub(crate) fn of(id: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let word = line.and_then(|line| line.split_whitespace().next());
            word.and_then(|word| word.parse().ok()).unwrap_or(0)
        };
        Self {
            resident_kib: field("VmRSS:"),
            files: fs::read_dir(format!("/proc/{id}/fd")).map_or(0, |files| files.count() as u64),
            threads: field("Threads:"),
        }
    }

    /// The least of both.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            resident_kib: self.resident_kib.min(other.resident_kib),
            files: self.files.min(other.files),
            threads: self.threads.min(other.threads),
        }
    }

    /// Nothing has grown beyond what comes and goes.
    pub(crate) fn is_no_larger_than(&self, before: &Self) {
        assert!(self.files <= before.files + SLACK, "{before}, then {self}");
        assert!(
            self.threads <= before.threads + SLACK,
            "{before}, then {self}"
        );
        assert!(
            self.resident_kib <= 2 * before.resident_kib + (128 << 10),
            "{before}, then {self}"
        );
    }
}

impl fmt::Display for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} MiB, {} open files, {} threads",
            self.resident_kib >> 10,
            self.files,
            self.threads
        )
    }
}
