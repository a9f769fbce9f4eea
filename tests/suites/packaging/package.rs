use std::{fs, path::PathBuf, process::Command, sync::OnceLock};

use squire_tests::{daemon, repository};
use tempfile::TempDir;

/// A Debian package in a folder of its own.
pub(crate) struct Package {
    dir: TempDir,
}

static MADE: OnceLock<Package> = OnceLock::new();

/// What a program printed that did what it was told.
#[track_caller]
pub(crate) fn done(command: &mut Command) -> String {
    let ran = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    let complained = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{command:?}:\n{said}{complained}");
    said
}

/// A script of the repository.
pub(crate) fn script(name: &str) -> Command {
    // Where the binary of this build is, is where the script looks for it.
    let squire = daemon::squire().expect("squire is built");
    let target = squire.ancestors().nth(2).expect("it is in a target folder");
    let mut command = Command::new(repository::file(".ci").join(name));
    command.env("CARGO_TARGET_DIR", target);
    command
}

impl Package {
    /// The package of the `squire` that was built with this program; made once.
    pub(crate) fn made() -> &'static Self {
        MADE.get_or_init(|| {
            let package = Self {
                dir: tempfile::tempdir().expect("there is a temporary folder"),
            };
            done(script("deb").arg("debug").arg(package.dir.path()));
            package
        })
    }

    /// The same with a version of its own, as an upgrade.
    pub(crate) fn newer(&self) -> Self {
        let newer = Self {
            dir: tempfile::tempdir().expect("there is a temporary folder"),
        };
        let unpacked = newer.dir.path().join("unpacked");
        done(
            Command::new("dpkg-deb")
                .arg("--raw-extract")
                .arg(self.path())
                .arg(&unpacked),
        );
        let control = unpacked.join("DEBIAN/control");
        let text = fs::read_to_string(&control).expect("there is a control file");
        let lines = text
            .lines()
            .map(|line| match line.strip_prefix("Version: ") {
                Some(_) => "Version: 99.0.0",
                None => line,
            });
        let text = lines.collect::<Vec<_>>().join("\n") + "\n";
        fs::write(&control, text).expect("it can be written");
        let mut build = Command::new("dpkg-deb");
        build
            .args(["-Znone", "--root-owner-group", "--build"])
            .arg(&unpacked);
        done(build.arg(newer.dir.path().join("squire.deb")));
        newer
    }

    pub(crate) fn path(&self) -> PathBuf {
        let files = fs::read_dir(self.dir.path()).expect("the folder can be read");
        let mut files = files.map(|entry| entry.expect("it can be read").path());
        let deb = files.find(|path| path.extension().is_some_and(|e| e == "deb"));
        deb.expect("there is a package")
    }

    /// Its bill of materials, which lies beside it.
    pub(crate) fn bill(&self) -> String {
        let bill = self.path().with_extension("cdx.json");
        fs::read_to_string(&bill).unwrap_or_else(|e| panic!("{}: {e}", bill.display()))
    }

    /// Its files, with their modes and owners.
    pub(crate) fn contents(&self) -> String {
        done(Command::new("dpkg-deb").arg("--contents").arg(self.path()))
    }

    /// What it says of itself.
    pub(crate) fn control(&self) -> String {
        done(Command::new("dpkg-deb").arg("--info").arg(self.path()))
    }
}
