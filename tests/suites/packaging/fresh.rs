use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::package::{done, script};

/// What Debian itself writes as packages come and go: its logs, and the copies of its books.
const ITS_OWN: [&str; 7] = [
    "var/log/",
    "var/cache/",
    "var/lib/dpkg/",
    "var/lib/systemd/deb-systemd-helper-",
    "proc/",
    "etc/.pwd.lock",
    "run/adduser",
];
const COPIES: [&str; 5] = [
    "etc/passwd-",
    "etc/group-",
    "etc/shadow-",
    "etc/gshadow-",
    "etc/subuid-",
];

/// A fresh Debian in a folder, with namespaces of its own to run programs in.
pub(crate) struct Fresh {
    dir: TempDir,
}

impl Fresh {
    /// Nothing, where this user may not make one; it says so.
    pub(crate) fn new() -> Option<Self> {
        let id = done(Command::new("id").arg("-u"));
        if id.trim() != "0" {
            eprintln!("a fresh Debian needs root: the life of the package is not tested");
            return None;
        }
        let archive = done(&mut script("clean-root"));
        let dir = tempfile::tempdir().expect("there is a temporary folder");
        done(
            Command::new("tar")
                .arg("-C")
                .arg(dir.path())
                .args(["-xpf", archive.trim()]),
        );
        Some(Self { dir })
    }

    /// A path of it, as this program has it.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path.trim_start_matches('/'))
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        fs::symlink_metadata(self.path(path)).is_ok()
    }

    /// Installs a package, or upgrades to it; what was said.
    pub(crate) fn install(&self, package: PathBuf) -> String {
        let inside = self.path("/tmp/squire.deb");
        fs::copy(package, &inside).expect("there is room for it");
        let said = self.done(&["dpkg", "--install", "/tmp/squire.deb"]);
        fs::remove_file(inside).expect("it is there");
        said
    }

    /// Runs a program in it; its exit code, and what it said.
    pub(crate) fn run(&self, program: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child"]);
        command.arg(format!("--mount-proc={}", self.path("proc").display()));
        command.arg("chroot").arg(self.dir.path()).args([
            "env",
            "-i",
            "DEBIAN_FRONTEND=noninteractive",
        ]);
        command
            .arg("PATH=/usr/sbin:/usr/bin:/sbin:/bin")
            .args(program);
        let ran = command
            .output()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let said = [ran.stdout, ran.stderr].concat();
        (
            ran.status.code(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    }

    /// The same for a program that must do what it is told.
    #[track_caller]
    pub(crate) fn done(&self, program: &[&str]) -> String {
        let (code, said) = self.run(program);
        assert_eq!(code, Some(0), "{program:?}: {said}");
        said
    }

    /// Every file and folder that is not Debian's own bookkeeping.
    pub(crate) fn everything(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        self.collect(self.dir.path(), &mut all);
        all
    }

    fn collect(&self, folder: &Path, all: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).expect("a folder can be read") {
            let entry = entry.expect("it can be read");
            let path = entry.path();
            let within = path
                .strip_prefix(self.dir.path())
                .expect("it is below")
                .display()
                .to_string();
            let of_package = within.starts_with("var/lib/dpkg/info/");
            let its_own = ITS_OWN.iter().any(|own| within.starts_with(own)) && !of_package;
            if !its_own && !COPIES.contains(&within.as_str()) {
                all.insert(within);
            }
            if entry.file_type().expect("it has a type").is_dir() {
                self.collect(&path, all);
            }
        }
    }
}
