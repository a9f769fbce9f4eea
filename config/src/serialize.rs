//! Values as a settings file says them.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Serialize, Serializer};
use squire_engine::planner::window::Window;

use crate::window;

/// `1h 30m`.
pub(crate) fn duration<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
    humantime::format_duration(*value).to_string().serialize(to)
}

/// `256MiB`, in the largest unit that tells it exactly.
pub(crate) fn size<S: Serializer>(value: &u64, to: S) -> Result<S::Ok, S::Error> {
    size_text(*value).serialize(to)
}

/// A size, or `off`.
pub(crate) fn size_or_off<S: Serializer>(value: &Option<u64>, to: S) -> Result<S::Ok, S::Error> {
    value
        .map_or_else(|| OFF.to_owned(), size_text)
        .serialize(to)
}

/// A schedule, or `off`.
pub(crate) fn cron<S: Serializer>(value: &Option<&str>, to: S) -> Result<S::Ok, S::Error> {
    value.unwrap_or(OFF).serialize(to)
}

/// A client, or `auto`.
pub(crate) fn client<S: Serializer>(value: &Option<&str>, to: S) -> Result<S::Ok, S::Error> {
    value.unwrap_or("auto").serialize(to)
}

/// A file or a folder, or `off`.
pub(crate) fn path<S: Serializer>(value: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
    let path = value
        .as_ref()
        .map(|path| path.to_string_lossy().into_owned());
    path.unwrap_or_else(|| OFF.to_owned()).serialize(to)
}

/// `["Mon,Tue 22:00-06:00"]`.
pub(crate) fn windows<S: Serializer>(value: &[Window], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(value.iter().map(window::text_of))
}

/// Of a key that takes it, for nothing.
const OFF: &str = "off";

fn size_text(bytes: u64) -> String {
    const UNITS: [(&str, u32); 6] = [
        ("EiB", 60),
        ("PiB", 50),
        ("TiB", 40),
        ("GiB", 30),
        ("MiB", 20),
        ("KiB", 10),
    ];
    let whole = |(_, shift): &&(&str, u32)| bytes > 0 && bytes.trailing_zeros() >= *shift;
    match UNITS.iter().find(whole) {
        Some((unit, shift)) => format!("{}{unit}", bytes >> shift),
        None => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_in_the_largest_unit_that_is_exact() {
        for (bytes, text) in [
            (1, "1B"),
            (1000, "1000B"),
            (1024, "1KiB"),
            (1536, "1536B"),
            (3 << 20, "3MiB"),
            (1 << 60, "1EiB"),
        ] {
            assert_eq!(size_text(bytes), text);
        }
    }
}
