//! Whether who writes a table could read what this process writes into it.
//!
//! Whose new files are is tried, not reckoned: by the umask, by groups, by setgid folders and by what a file system makes of
//! all that. Who writes the table is taken from its files.

use std::{
    fs::Metadata,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use squire_engine::{Owned, try_to_own};

/// Where a table has its files. An application reads the first of them at each open.
const FOLDERS: [&str; 4] = ["_versions", "data", "_indices", "_deletions"];

/// What to change, where the owner of a table's files could not read a new one in a folder of it.
pub(super) fn lost(table: &Path) -> Option<String> {
    let folders = FOLDERS.map(|folder| table.join(folder));
    let mut there = folders.iter().filter(|folder| is_folder(folder)).peekable();
    let own = try_to_own(there.peek()?).ok()?;
    let mut written = folders.iter().flat_map(|folder| files(folder));
    // What this user wrote says nothing of others.
    let (file, theirs) = written.find(|(_, found)| found.uid() != own.user)?;
    there.find_map(|folder| {
        let own = try_to_own(folder).ok()?;
        let found = folder.symlink_metadata().ok()?;
        (!own.is_readable_by(theirs.uid(), theirs.gid()))
            .then(|| describe(folder, own, &found, &file, &theirs))
    })
}

fn describe(folder: &Path, own: Owned, found: &Metadata, file: &Path, theirs: &Metadata) -> String {
    let (user, group) = (theirs.uid(), theirs.gid());
    let fix = if found.gid() != group {
        format!(
            "give the folder to group {group} (chgrp -R {group} on the table's folder) with the right to read and write (chmod g+rwX)"
        )
    } else if own.group != found.gid() {
        format!(
            "run as a user who is in group {group}: in the unit, SupplementaryGroups={group} or Group={group}"
        )
    } else {
        "give the group the right to read and write the table's folders (chmod -R g+rwX)".to_owned()
    };
    format!(
        "what this user writes in {} is of user {}, group {}, mode {:04o}: user {user} (group {group}), whose {} is, could not read it; {fix}",
        folder.display(),
        own.user,
        own.group,
        own.mode,
        file.display(),
    )
}

fn is_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_dir())
}

/// Some files of a folder; none where it is a link.
fn files(folder: &Path) -> Vec<(PathBuf, Metadata)> {
    const MOST: usize = 1_000;
    if !is_folder(folder) {
        return Vec::new();
    }
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let found = entries.take(MOST).filter_map(|entry| {
        let found = entry.path().symlink_metadata().ok()?;
        found.is_file().then(|| (entry.path(), found))
    });
    found.collect()
}
