//! Files that are never half there, whenever the machine loses its power: written beside, synced, and renamed.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Replaces a file, for this user alone. Makes its folder where that is not there.
///
/// # Errors
/// When the disk refuses: the file is as it was, or as it was to be.
pub(in crate::service) fn write(file: &Path, content: &[u8]) -> io::Result<()> {
    let folder = folder(file)?;
    fs::create_dir_all(folder)?;
    let fresh = beside(file, "new");
    // What a crash left goes; what another process puts there instead is neither followed nor written to.
    match fs::remove_file(&fresh) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(0o600);
    let mut written = options.open(&fresh)?;
    written.write_all(content)?;
    written.sync_all()?;
    fs::rename(&fresh, file)?;
    sync(folder)
}

/// Puts a file aside that cannot be read, in the place of one that was put aside before: `NAME.unreadable`. One that is not
/// there need not be.
///
/// # Errors
/// When the disk refuses.
pub(in crate::service) fn set_aside(file: &Path) -> io::Result<PathBuf> {
    let aside = beside(file, "unreadable");
    match fs::rename(file, &aside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => sync(folder(file)?).map(|()| aside),
    }
}

/// Removes a file that is not needed.
///
/// # Errors
/// When the disk refuses.
pub(in crate::service) fn remove(file: &Path) -> io::Result<()> {
    fs::remove_file(file)
}

/// What a file's name is with another part after it.
fn beside(file: &Path, more: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(more);
    name.into()
}

/// That a file has another name is on the disk only when its folder is.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn folder(file: &Path) -> io::Result<&Path> {
    file.parent()
        .ok_or_else(|| io::Error::other("it stands in no folder"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_nobody_else_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("made/here/state.json");
        write(&file, b"one").unwrap();
        write(&file, b"two").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"two");
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let beside: Vec<_> = fs::read_dir(file.parent().unwrap()).unwrap().collect();
        assert_eq!(beside.len(), 1, "nothing stays beside it: {beside:?}");
    }

    #[test]
    fn what_is_put_where_it_is_written_first_is_not_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let (file, precious) = (dir.path().join("state.json"), dir.path().join("precious"));
        fs::write(&precious, "rows").unwrap();
        symlink(&precious, dir.path().join("state.json.new")).unwrap();
        write(&file, b"one").unwrap();
        assert_eq!(fs::read(&precious).unwrap(), b"rows");
        assert!(file.symlink_metadata().unwrap().is_file());
    }

    #[test]
    fn what_is_set_aside_is_kept_and_what_is_not_there_need_not_be() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state.json");
        set_aside(&file).unwrap();
        for content in ["one", "two"] {
            fs::write(&file, content).unwrap();
            let aside = set_aside(&file).unwrap();
            assert_eq!(fs::read_to_string(aside).unwrap(), content);
            assert!(!file.exists());
        }
    }
}
