//! Manifests as crashes and rotten bits leave them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// How a file is torn.
#[derive(Clone, Copy, Debug)]
pub enum Tear {
    /// It ends after twenty bytes.
    Cut,
    /// Nothing is in it.
    Empty,
    /// It is as long as it was, and full of zeros.
    Zeros,
    /// It says of its message that it is two gigabytes long.
    Length,
}

impl Tear {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Cut, Self::Empty, Self::Zeros, Self::Length];
}

/// The newest manifest of the table in a folder: their names count down.
///
/// # Errors
/// When the folder cannot be listed, or has none.
pub fn newest_manifest(table: &Path) -> io::Result<PathBuf> {
    let entries = fs::read_dir(table.join("_versions"))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let manifests = paths.filter(|path| path.extension().is_some_and(|e| e == "manifest"));
    manifests
        .min()
        .ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Tears the newest manifest of the table in a folder.
///
/// # Errors
/// When it cannot be read or written.
///
/// # Panics
/// When it is no manifest.
pub fn tear_newest_manifest(table: &Path, how: Tear) -> io::Result<()> {
    let path = newest_manifest(table)?;
    let mut bytes = fs::read(&path)?;
    match how {
        Tear::Cut => bytes.truncate(20),
        Tear::Empty => bytes.clear(),
        Tear::Zeros => bytes.fill(0),
        Tear::Length => {
            // The foot says where the message begins, with its length in front.
            let foot = bytes.len() - 16;
            let at = bytes[foot..foot + 8].try_into().map(u64::from_le_bytes);
            let at = at.ok().and_then(|at| usize::try_from(at).ok());
            let at = at.expect("a manifest fits into memory");
            bytes[at..at + 4].copy_from_slice(&0x7fff_fff0_u32.to_le_bytes());
        }
    }
    fs::write(path, bytes)
}
