//! Whose a new file is: who could read the table before must be able to read what Squire wrote.
//!
//! A new file or folder takes the group of the folder that it lies in, and its owner where the process may give things
//! away (root). Its mode is that of the folder:
//!
//! - a folder takes it as it is, setgid included;
//! - a file takes the rights to read, and that to write for owner and group: Lance's files are never written again, so
//!   strangers need not;
//! - where the group could not be taken, the file's group is one of strangers to the folder, and has their rights.
//!
//! So a file is never more open than its folder, and the umask does not matter. File systems without owners and modes
//! refuse, and that is left at that.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Gid, Mode, Stat, Uid, fchmod, fchown, fstat};

/// Bits of a mode that are of the group.
const GROUP: u32 = 0o070;
/// What a file takes of its folder's mode.
const OF_FILE: u32 = 0o664;
/// What a folder takes: all but setuid, which means nothing there.
const OF_FOLDER: u32 = 0o3777;

/// Whose something is, and who may do what with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owned {
    /// The user.
    pub user: u32,
    /// The group.
    pub group: u32,
    /// The mode, without the kind.
    pub mode: u32,
}

impl From<&Stat> for Owned {
    fn from(stat: &Stat) -> Self {
        Self {
            user: stat.st_uid,
            group: stat.st_gid,
            mode: stat.st_mode & 0o7777,
        }
    }
}

impl Owned {
    /// Whether a user can read it who is in a group.
    pub fn is_readable_by(&self, user: u32, group: u32) -> bool {
        let right = match () {
            () if user == self.user => 0o400,
            () if group == self.group => 0o040,
            () => 0o004,
        };
        user == 0 || self.mode & right != 0
    }
}

/// What is made in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum New {
    File,
    Folder,
}

/// Gives something new, which this process has made, to whom the folder belongs that it lies in. Best effort.
pub(super) fn hand_over(made: impl AsFd, folder: &OwnedFd, what: New) {
    let made = made.as_fd();
    let (Ok(above), Ok(mut own)) = (fstat(folder), fstat(made)) else {
        return;
    };
    if (own.st_uid, own.st_gid) != (above.st_uid, above.st_gid) {
        let (owner, group) = (Uid::from_raw(above.st_uid), Gid::from_raw(above.st_gid));
        // Only root gives files away; a group that one is in can be given by everybody.
        let given = (own.st_uid != above.st_uid && fchown(made, Some(owner), Some(group)).is_ok())
            || (own.st_gid != above.st_gid && fchown(made, None, Some(group)).is_ok());
        if given && let Ok(now) = fstat(made) {
            own = now;
        }
    }
    let wanted = mode(&above, own.st_gid == above.st_gid, what);
    if own.st_mode & 0o7777 != wanted {
        // A service manager may forbid setgid (`RestrictSUIDSGID=`): the group is given all the same.
        if fchmod(made, Mode::from_raw_mode(wanted)).is_err() {
            let _ = fchmod(made, Mode::from_raw_mode(wanted & 0o1777));
        }
    }
}

/// The mode of something new in a folder. Its owner can always use it.
fn mode(folder: &Stat, is_of_its_group: bool, what: New) -> u32 {
    let mut mode = folder.st_mode & OF_FOLDER;
    if !is_of_its_group {
        let strangers = (mode & 0o007) << 3;
        mode = (mode & !GROUP) | strangers;
    }
    match what {
        New::File => (mode & OF_FILE) | 0o600,
        New::Folder => mode | 0o700,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(folder: u32, is_of_its_group: bool) -> (u32, u32) {
        let dir = tempfile::tempdir().unwrap();
        let mut stat = rustix::fs::stat(dir.path()).unwrap();
        stat.st_mode = (stat.st_mode & !0o7777) | folder;
        (
            mode(&stat, is_of_its_group, New::File),
            mode(&stat, is_of_its_group, New::Folder),
        )
    }

    #[test]
    fn a_file_is_as_open_as_its_folder_and_no_more() {
        assert_eq!(of(0o755, true), (0o644, 0o755));
        assert_eq!(of(0o770, true), (0o660, 0o770));
        assert_eq!(of(0o2770, true), (0o660, 0o2770));
        assert_eq!(of(0o750, true), (0o640, 0o750));
        assert_eq!(of(0o700, true), (0o600, 0o700));
        assert_eq!(of(0o1777, true), (0o664, 0o1777));
    }

    #[test]
    fn a_group_of_strangers_has_the_rights_of_strangers() {
        assert_eq!(of(0o770, false), (0o600, 0o700));
        assert_eq!(of(0o775, false), (0o644, 0o755));
    }
}
