//! The files that settings are read from.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Place, Problem, Refusal};
use crate::reading::Reading;

/// The right of those who are neither the owner of a file nor in its group to write it.
const WRITTEN_BY_OTHERS: u32 = 0o002;

/// All files in the order of their layers.
pub(crate) fn read(path: &Path, reading: &Reading) -> (Vec<(PathBuf, String)>, Vec<Problem>) {
    let mut paths = vec![path.to_owned()];
    let mut problems = Vec::new();
    let fragments = path.parent().unwrap_or(Path::new("")).join("conf.d");
    reading.begin(&fragments.display());
    match fragments_in(&fragments) {
        Ok(found) => paths.extend(found),
        Err(problem) => problems.push(problem),
    }
    let mut files = Vec::new();
    for path in paths {
        reading.begin(&path.display());
        match read_one(&path) {
            Ok(text) => files.push((path, text)),
            Err(problem) => problems.push(problem),
        }
    }
    (files, problems)
}

/// The text of one file, unless every user may change it: it says what is deleted. A pipe would never end.
fn read_one(path: &Path) -> Result<String, Problem> {
    let failed = |fault: io::Error| unreadable(path, &fault);
    let meta = fs::metadata(path).map_err(failed)?;
    if !meta.is_file() {
        let refusal = Refusal::new("no regular file", "give the path of a file");
        return Err(Problem::new(Place::Path(path.to_owned()), None, refusal));
    }
    refuse_if_of_all(path, &meta)?;
    decode(path, fs::read(path).map_err(failed)?)
}

/// Refuses what users may change that are neither its owner nor in its group.
fn refuse_if_of_all(path: &Path, meta: &fs::Metadata) -> Result<(), Problem> {
    let mode = meta.permissions().mode();
    if mode & WRITTEN_BY_OTHERS == 0 {
        return Ok(());
    }
    let refusal = Refusal::new(
        format!(
            "every user of this machine may change it (mode {:03o}), and so what is deleted",
            mode & 0o777
        ),
        format!("take that right away: chmod o-w {}", path.display()),
    );
    Err(Problem::new(Place::Path(path.to_owned()), None, refusal))
}

/// The files of `conf.d` in the order of their names; hidden ones are an editor's.
fn fragments_in(directory: &Path) -> Result<Vec<PathBuf>, Problem> {
    let failed = |fault: io::Error| unreadable(directory, &fault);
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(fault) => return Err(failed(fault)),
    };
    refuse_if_of_all(directory, &fs::metadata(directory).map_err(failed)?)?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
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
        Problem::new(Place::of_byte(path, &text, valid), None, refusal)
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
