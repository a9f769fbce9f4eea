//! Inputs that are kept in the repository: a file each, in a folder for each target.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use squire_tests::repository;

/// An input with its name.
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    pub(crate) input: Vec<u8>,
}

/// What is kept for a target, in the order of names. It need not have any.
pub(crate) fn of(target: &str) -> io::Result<Vec<Entry>> {
    let folder = folder(target);
    let mut entries = Vec::new();
    for path in files(&folder)? {
        let input = fs::read(&path)?;
        entries.push(Entry { path, input });
    }
    Ok(entries)
}

/// The folder of a name among the data for fuzzing.
pub(crate) fn folder(name: &str) -> PathBuf {
    repository::file("tests/data/fuzz").join(name)
}

/// Every file below a folder, in the order of names; none where there is no folder.
pub(crate) fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        if !folder.is_dir() {
            continue;
        }
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}
