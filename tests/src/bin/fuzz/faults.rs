//! Faults: told apart, made small, and written down.

use std::{
    collections::BTreeMap,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

/// So long a fault's input is made smaller.
const SHRINKING: Duration = Duration::from_secs(10);

/// A fault with an input that shows it.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) text: String,
    pub(crate) file: PathBuf,
    pub(crate) times: u64,
}

/// Faults by what they are.
pub(crate) type Faults = BTreeMap<String, Fault>;

/// What tells a fault from others: its text without numbers and names.
pub(crate) fn key(text: &str) -> String {
    let mut key = String::new();
    for c in text.chars().take(240) {
        if c.is_ascii_digit() {
            if !key.ends_with('0') {
                key.push('0');
            }
        } else if c.is_ascii() {
            key.push(c);
        }
    }
    key
}

/// Writes an input down; where.
pub(crate) fn keep(target: &str, input: &[u8]) -> io::Result<PathBuf> {
    let folder = folder()?.join(target);
    fs::create_dir_all(&folder)?;
    let mut hash = DefaultHasher::new();
    input.hash(&mut hash);
    let file = folder.join(format!("{:016x}", hash.finish()));
    fs::write(&file, input)?;
    Ok(file)
}

/// Where inputs are written down: beside the build output.
pub(crate) fn folder() -> io::Result<PathBuf> {
    let here = std::env::current_exe()?;
    let output = here.ancestors().nth(2).unwrap_or(&here);
    Ok(output.join("tmp/fuzz"))
}

/// The input with parts taken out as long as the fault stays the same.
pub(crate) fn shrink(input: &[u8], mut is_same: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    let (mut small, begun) = (input.to_vec(), Instant::now());
    let mut part = small.len().div_ceil(2);
    while part > 0 {
        let mut at = 0;
        while at < small.len() {
            if begun.elapsed() > SHRINKING {
                return small;
            }
            let end = (at + part).min(small.len());
            let without = [&small[..at], &small[end..]].concat();
            if is_same(&without) {
                small = without;
            } else {
                at = end;
            }
        }
        part = if part == 1 { 0 } else { part.div_ceil(2) };
    }
    small
}
