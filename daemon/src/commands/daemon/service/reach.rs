//! What of the file system the service reaches: from the folders that it needs to the lines of its unit. Pure.

use std::path::{Path, PathBuf};

use super::words;

/// What the hardened unit hides, by `ProtectHome=` and by `PrivateTmp=`.
const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];
const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];

/// What the service has to reach beside what its unit gives it anyway.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Reach {
    /// Folders that it reads, writes and removes files in.
    pub(super) written: Vec<PathBuf>,
    /// Files and folders that it reads.
    pub(super) read: Vec<PathBuf>,
}

impl Reach {
    /// Whether a part of it lies where home directories are.
    fn is_at_home(&self) -> bool {
        let mut all = self.written.iter().chain(&self.read);
        all.any(|path| below(path, &HOMES))
    }

    /// `ProtectHome=` of the service. In `homes_are_read`, the unit of a user, homes are read-only and not hidden.
    pub(super) fn protect_home(&self, homes_are_read: bool) -> &'static str {
        match (homes_are_read, self.is_at_home()) {
            (true, _) => "read-only",
            (false, true) => "tmpfs",
            (false, false) => "yes",
        }
    }

    /// The lines that open the sandbox of the unit as far as needed, and no further.
    pub(super) fn lines(&self, homes_are_read: bool) -> Vec<String> {
        let hidden =
            |path: &&PathBuf| below(path, &TEMPORARY) || !homes_are_read && below(path, &HOMES);
        let line = |key: &str, path: &PathBuf| {
            format!("{key}={}", words::optional_path(&path.to_string_lossy()))
        };
        let written = outermost(&self.written);
        let beyond = |path: &&PathBuf| !written.iter().any(|above| path.starts_with(above));
        let read: Vec<_> = self.read.iter().filter(beyond).cloned().collect();
        let read = outermost(&read);
        let bound = written.iter().filter(hidden);
        let open = written.iter().filter(|path| !hidden(path));
        let looked_into = read.iter().filter(hidden);
        open.map(|path| line("ReadWritePaths", path))
            .chain(bound.map(|path| line("BindPaths", path)))
            .chain(looked_into.map(|path| line("BindReadOnlyPaths", path)))
            .collect()
    }
}

fn below(path: &Path, folders: &[&str]) -> bool {
    folders.iter().any(|folder| path.starts_with(folder))
}

/// The paths that are below no other of them, each once, in order.
fn outermost(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut sorted = paths.to_vec();
    sorted.sort();
    let mut kept: Vec<PathBuf> = Vec::new();
    for path in sorted {
        if !kept.iter().any(|above| path.starts_with(above)) {
            kept.push(path);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(written: &[&str], read: &[&str]) -> Reach {
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect();
        Reach {
            written: paths(written),
            read: paths(read),
        }
    }

    #[test]
    fn each_folder_is_opened_once_and_none_below_another() {
        let reach = reach(
            &["/srv/lake/inner", "/srv/lake", "/srv/lake2", "/srv/lake"],
            &["/srv/lake/base", "/etc/squire"],
        );
        assert_eq!(
            reach.lines(false),
            ["ReadWritePaths=-/srv/lake", "ReadWritePaths=-/srv/lake2"]
        );
        assert_eq!(reach.protect_home(false), "yes");
    }

    #[test]
    fn what_the_unit_hides_is_bound_in_and_nothing_else_of_there() {
        let reach = reach(
            &["/home/app/my data", "/tmp/try", "/srv/lake"],
            &["/root/bin/squire", "/opt/squire"],
        );
        assert_eq!(
            reach.lines(false),
            [
                "ReadWritePaths=-/srv/lake",
                "BindPaths=\"-/home/app/my data\"",
                "BindPaths=-/tmp/try",
                "BindReadOnlyPaths=-/root/bin/squire",
            ]
        );
        assert_eq!(reach.protect_home(false), "tmpfs");
    }

    #[test]
    fn to_the_unit_of_a_user_homes_are_read_only_and_its_targets_are_not() {
        let reach = reach(&["/home/app/lake"], &["/home/app/bin/squire"]);
        assert_eq!(reach.lines(true), ["ReadWritePaths=-/home/app/lake"]);
        assert_eq!(reach.protect_home(true), "read-only");
    }

    #[test]
    fn a_name_that_only_begins_like_a_hidden_folder_is_not_hidden() {
        let reach = reach(&["/homes/lake", "/tmp2/lake"], &[]);
        assert_eq!(
            reach.lines(false),
            ["ReadWritePaths=-/homes/lake", "ReadWritePaths=-/tmp2/lake"]
        );
    }
}
