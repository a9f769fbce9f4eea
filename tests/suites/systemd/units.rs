use std::{path::Path, process::Command};

use squire_tests::{daemon, repository};

/// What the exposure may be at most, in tenths: the issue of a hardened service, not of a perfect one.
const MOST_EXPOSED: &str = "20";

/// The unit that `squire service install` makes for these folders, with these words besides.
fn installed(dir: &Path, folders: &[&str], more: &[&str]) -> std::path::PathBuf {
    let root = dir.join("root");
    let mut install = Command::new(daemon::squire().unwrap());
    install.args(["service", "install", "--root"]).arg(&root);
    for folder in folders {
        std::fs::create_dir_all(root.join(&folder[1..])).unwrap();
        install.arg(folder);
    }
    let config = dir.join("config");
    let ran = install
        .args(more)
        .env("XDG_CONFIG_HOME", &config)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{ran:?}");
    let of_machine = root.join("etc/systemd/system/squire.service");
    let of_user = root
        .join(&config.to_str().unwrap()[1..])
        .join("systemd/user/squire.service");
    if of_machine.exists() {
        of_machine
    } else {
        of_user
    }
}

/// The units, with the program where this machine has it.
fn units() -> (tempfile::TempDir, [std::path::PathBuf; 2]) {
    let dir = tempfile::tempdir().unwrap();
    let squire = daemon::squire().unwrap();
    let names = ["squire.service", "squire@.service"];
    let units = names.map(|name| {
        let text = std::fs::read_to_string(repository::file("systemd").join(name)).unwrap();
        let text = text.replace("/usr/bin/squire", squire.to_str().unwrap());
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        file
    });
    (dir, units)
}

/// What systemd complains of in a unit and its drop-ins.
fn complaints(unit: &Path) -> Vec<String> {
    let read = Command::new("systemd-analyze")
        .args(["verify", "--recursive-errors=no", "--man=no"])
        .arg(unit)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&read.stderr);
    let about = said.lines().filter(|line| line.contains("squire"));
    let about: Vec<_> = about.map(str::to_owned).collect();
    assert!(read.status.success() || !about.is_empty(), "{said}");
    about
}

#[test]
fn systemd_reads_every_line_of_the_units_and_complains_of_none() {
    let (_dir, units) = units();
    for unit in units {
        // Of a template, one instance is read.
        let instance = unit.with_file_name("squire@one.service");
        let unit = if unit.ends_with("squire@.service") {
            std::fs::copy(&unit, &instance).unwrap();
            instance
        } else {
            unit
        };
        assert_eq!(complaints(&unit), Vec::<String>::new());
    }
}

#[test]
fn systemd_reads_every_line_of_an_installed_unit_whatever_the_folders_are_called() {
    let folders = [
        "/srv/my lake",
        "/srv/a\"b'c",
        "/srv/a\\b",
        "/srv/100%h",
        "/srv/a:b",
        "/srv/$HOME",
        "/srv/größe",
        "/home/app/my lake",
        "/home/app/a:b",
    ];
    for more in [[].as_slice(), &["--user"]] {
        let dir = tempfile::tempdir().unwrap();
        let unit = installed(dir.path(), &folders, more);
        assert_eq!(complaints(&unit), Vec::<String>::new(), "{more:?}");
    }
}

#[test]
fn every_drop_in_that_the_documents_recommend_is_understood() {
    let (_dir, [unit, _]) = units();
    let folder = unit.with_file_name("squire.service.d");
    let text = std::fs::read_to_string(repository::file("systemd/README.md")).unwrap();
    let blocks = text.split("```ini\n").skip(1);
    let drop_ins: Vec<_> = blocks
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(drop_ins.len() > 2);
    for drop_in in drop_ins {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("local.conf"), drop_in).unwrap();
        assert_eq!(complaints(&unit), Vec::<String>::new(), "{drop_in}");
    }
}

#[test]
fn a_unit_exposes_less_than_two_of_ten() {
    let (dir, units) = units();
    let installed = installed(dir.path(), &["/srv/lake", "/home/app/lake"], &[]);
    for unit in units.into_iter().chain([installed]) {
        let judged = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager"])
            .arg(format!("--threshold={MOST_EXPOSED}"))
            .arg(&unit)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&judged.stdout);
        let all = said.lines().last().unwrap_or_default();
        assert!(judged.status.success(), "{all}");
        println!("{all}");
    }
}
