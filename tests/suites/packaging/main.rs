//! The Debian package: what is in it, and its whole life in a fresh Debian: installed, configured, upgraded, removed,
//! purged.
//!
//! | file | what is in it |
//! |---|---|
//! | [`package`] | the package, made of the binary that was built with this program |
//! | [`fresh`] | a fresh Debian in a folder |
#![allow(missing_docs)]

mod fresh;
mod package;

use std::{collections::BTreeSet, fs};

use fresh::Fresh;
use package::Package;

const CONFIG: &str = "/etc/squire/squire.toml";
const TARGET: &str = "\n[[target]]\nname = \"lake\"\nuri = \"/srv/lake\"\nkind = \"directory\"\n";

#[test]
fn the_package_holds_what_an_operator_looks_for() {
    let package = Package::made();
    let contents = package.contents();
    for path in [
        "./usr/bin/squire",
        "./etc/squire/squire.toml",
        "./usr/lib/systemd/system/squire.service",
        "./usr/lib/systemd/system/squire@.service",
        "./usr/share/doc/squire/examples/squire.toml",
        "./usr/share/doc/squire/operations.md",
        "./usr/share/doc/squire/copyright",
        "./usr/share/squire/squire.schema.json",
        "./usr/share/squire/prometheus/",
        "./usr/share/squire/grafana/",
        "./usr/share/man/man1/squire.1.gz",
        "./usr/share/man/man1/squire-run.1.gz",
    ] {
        assert!(contents.contains(path), "{path} is missing in\n{contents}");
    }
    let strangers: Vec<_> = contents
        .lines()
        .filter(|l| !l.contains(" 0/0 ") && !l.contains(" root/root "))
        .collect();
    assert!(strangers.is_empty(), "all of it is root's: {strangers:?}");
    let control = package.control();
    assert!(control.contains("libc6"), "{control}");
    assert!(control.contains("adduser"), "{control}");
}

#[test]
fn beside_the_package_lies_a_bill_of_what_it_is_made_of_and_of_nothing_else() {
    let text = Package::made().bill();
    let bill: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(bill["bomFormat"], "CycloneDX");
    assert_eq!(bill["metadata"]["component"]["name"], "squire");
    let lock = fs::read_to_string(squire_tests::repository::file("Cargo.lock")).unwrap();
    let lock: toml::Table = toml::from_str(&lock).unwrap();
    let locked: BTreeSet<_> = lock["package"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| {
            let of = |key: &str| {
                package
                    .get(key)
                    .and_then(|v| v.as_str())
                    .unwrap_or_default()
            };
            (
                of("name").to_owned(),
                of("version").to_owned(),
                of("checksum").to_owned(),
            )
        })
        .collect();
    let components = bill["components"].as_array().unwrap();
    let mut names = BTreeSet::new();
    for component in components {
        let of = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let hash = of(&component["hashes"][0]["content"]);
        let (name, version) = (of(&component["name"]), of(&component["version"]));
        assert!(
            component["licenses"][0].is_object(),
            "{name} has no license"
        );
        assert!(
            locked.contains(&(name.clone(), version, hash)),
            "{name} is not what is locked"
        );
        names.insert(name);
    }
    for within in ["lance", "tokio", "aws-lc-sys", "squire-engine"] {
        assert!(names.contains(within), "{within}");
    }
    for of_tests in ["squire-tests", "proptest", "fantoccini", "stateright"] {
        assert!(!names.contains(of_tests), "{of_tests} is of the tests");
    }
    let here = squire_tests::repository::file("").canonicalize().unwrap();
    assert!(
        !text.contains(here.to_str().unwrap()),
        "where it was made is nobody's concern"
    );
}

#[test]
fn the_package_is_installed_configured_upgraded_removed_and_purged_without_a_trace() {
    let Some(root) = Fresh::new() else {
        return;
    };
    let package = Package::made();
    let before = root.everything();

    // Installed, with nothing to maintain: it says so, and it is no failure.
    let said = root.install(package.path());
    assert!(said.contains("add a [[target]]"), "{said}");
    let version = root.done(&["squire", "--version"]);
    assert_eq!(
        version.trim(),
        concat!("squire ", env!("CARGO_PKG_VERSION"))
    );
    assert!(
        root.done(&["getent", "passwd", "squire"])
            .contains("/var/lib/squire")
    );
    let (code, said) = root.run(&["squire", "check"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("/etc/squire/squire.toml: there is no target"),
        "{said}"
    );
    let enabled = "etc/systemd/system/multi-user.target.wants/squire.service";
    assert!(root.has(enabled), "it starts when the machine does");

    // Configured, as the user whom the package made.
    let config = fs::read_to_string(root.path(CONFIG)).unwrap() + TARGET;
    fs::write(root.path(CONFIG), &config).unwrap();
    let more = "[daemon]\nlog = \"warn\"\n";
    fs::write(root.path("/etc/squire/conf.d/log.toml"), more).unwrap();
    root.done(&[
        "install",
        "-d",
        "-o",
        "squire",
        "/srv/lake",
        "/var/lib/squire",
    ]);
    let as_squire = [
        "runuser", "-u", "squire", "--", "squire", "check", "--probe", "--show",
    ];
    let shown = root.done(&as_squire);
    assert!(
        shown.contains("log = \"warn\"  # /etc/squire/conf.d/log.toml:2:1"),
        "{shown}"
    );
    fs::write(root.path("/var/lib/squire/pauses.json"), "[]").unwrap();

    // Upgraded: what the operator wrote stays.
    let said = root.install(package.newer().path());
    assert!(!said.contains("add a [[target]]"), "{said}");
    assert_eq!(fs::read_to_string(root.path(CONFIG)).unwrap(), config);
    assert!(root.has("var/lib/squire/pauses.json"));
    assert!(
        root.done(&["dpkg-query", "-W", "squire"])
            .contains("99.0.0")
    );

    // Removed: only the program goes.
    root.done(&["dpkg", "--remove", "squire"]);
    assert!(!root.has("usr/bin/squire"));
    assert!(root.has("etc/squire/conf.d/log.toml") && root.has("var/lib/squire/pauses.json"));

    // Purged: all of it goes, but for the tables, which are not Squire's.
    root.done(&["dpkg", "--purge", "squire"]);
    assert_eq!(
        root.run(&["getent", "passwd", "squire"]).0,
        Some(2),
        "the user is gone"
    );
    assert_eq!(
        root.run(&["getent", "group", "squire"]).0,
        Some(2),
        "the group is gone"
    );
    fs::remove_dir(root.path("/srv/lake")).unwrap();
    let left: Vec<_> = root.everything().difference(&before).cloned().collect();
    assert_eq!(left, Vec::<String>::new(), "left behind");
    let lost: Vec<_> = before.difference(&root.everything()).cloned().collect();
    assert_eq!(lost, Vec::<String>::new(), "taken away");
}
