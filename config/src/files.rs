//! The files that settings are read from.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Place, Problem, Refusal};
use crate::source;

/// All files in the order of their layers.
pub(crate) fn read(path: &Path) -> (Vec<(PathBuf, String)>, Vec<Problem>) {
    let mut paths = vec![path.to_owned()];
    let mut problems = Vec::new();
    let fragments = path.parent().unwrap_or(Path::new("")).join("conf.d");
    match fragments_in(&fragments) {
        Ok(found) => paths.extend(found),
        Err(fault) => problems.push(unreadable(&fragments, &fault)),
    }
    let mut files = Vec::new();
    for path in paths {
        match fs::read(&path) {
            Ok(bytes) => match decode(&path, bytes) {
                Ok(text) => files.push((path, text)),
                Err(problem) => problems.push(problem),
            },
            Err(fault) => problems.push(unreadable(&path, &fault)),
        }
    }
    (files, problems)
}

/// The files of `conf.d` in the order of their names; hidden ones are an editor's.
fn fragments_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(fault) => return Err(fault),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let hidden = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".");
        let is_toml = path
            .extension()
            .is_some_and(|extension| extension == "toml");
        if is_toml && !path.file_name().is_some_and(hidden) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn decode(path: &Path, bytes: Vec<u8>) -> Result<String, Problem> {
    let text = String::from_utf8(bytes).map_err(|fault| {
        let valid = fault.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(fault.as_bytes());
        let refusal = Refusal::new("not UTF-8", "save the file as UTF-8");
        Problem::new(source::place(path, &text, valid), None, refusal)
    })?;
    Ok(text
        .strip_prefix('\u{feff}')
        .map(str::to_owned)
        .unwrap_or(text))
}

fn unreadable(path: &Path, fault: &io::Error) -> Problem {
    let refusal = Refusal::new(
        format!("cannot be read: {fault}"),
        "check that it exists and that this user may read it",
    );
    Problem::new(Place::Path(path.to_owned()), None, refusal)
}
