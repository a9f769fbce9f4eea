//! `squire service install` and `remove`, below another root: what is written, what is refused, what is taken away.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::site::{Ran, squire, squire_with, text};

const CONFIG: &str = "etc/squire/squire.toml";
const UNIT: &str = "etc/systemd/system/squire.service";
const DROP_IN: &str = "etc/systemd/system/squire.service.d/targets.conf";
const SYSUSERS: &str = "etc/sysusers.d/squire.conf";

/// Another root, with folders in it.
struct Root {
    dir: tempfile::TempDir,
}

impl Root {
    fn with(folders: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in folders {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Its files.
    fn files(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.dir.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(self.dir.path()).unwrap();
                    found.insert(text(name), fs::read_to_string(&path).unwrap());
                }
            }
        }
        found
    }

    fn names(&self) -> Vec<String> {
        self.files().into_keys().collect()
    }

    async fn service(&self, command: &str, more: &[&str]) -> Ran {
        let root = text(self.dir.path());
        squire(&[&["service", command, "--root", &root], more].concat()).await
    }

    async fn done(&self, command: &str, more: &[&str]) -> String {
        let ran = self.service(command, more).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.out
    }
}

fn lines<'t>(text: &'t str, key: &str) -> Vec<&'t str> {
    let key = format!("{key}=");
    text.lines().filter_map(|l| l.strip_prefix(&key)).collect()
}

#[tokio::test]
async fn a_service_for_folders_is_installed_again_and_removed_without_a_trace() {
    let root = Root::with(&["srv/lake", "srv/my \"odd\" 100% lake", "home/app/db"]);
    let folders = ["/srv/lake", "/srv/my \"odd\" 100% lake", "/home/app/db"];
    let said = root.done("install", &folders).await;
    assert!(
        said.contains("wrote /etc/systemd/system/squire.service"),
        "{said}"
    );
    assert!(said.contains("nothing was started"), "{said}");
    assert_eq!(root.names(), [CONFIG, UNIT, SYSUSERS]);

    let unit = root.read(UNIT);
    let open = ["-/srv/lake", r#""-/srv/my \"odd\" 100%% lake""#];
    assert_eq!(lines(&unit, "ReadWritePaths"), open, "{unit}");
    assert_eq!(lines(&unit, "BindPaths"), ["-/home/app/db"]);
    assert_eq!(lines(&unit, "ProtectHome"), ["tmpfs"]);
    assert_eq!(lines(&unit, "User"), ["squire"]);
    let config = text(&root.path(CONFIG));
    let checked = squire(&["check", "--config", &config]).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(
        checked
            .out
            .contains("my-odd-100-lake: /srv/my \"odd\" 100% lake"),
        "{checked:?}"
    );

    let before = root.files();
    root.done("install", &[]).await;
    assert_eq!(root.files(), before, "the second time changes nothing");
    root.done("remove", &[]).await;
    assert_eq!(root.names(), Vec::<String>::new());
    let said = root.done("remove", &[]).await;
    assert!(said.contains("there is nothing"), "{said}");
}

#[tokio::test]
async fn a_dry_run_shows_all_that_would_be_written_and_writes_nothing() {
    let root = Root::with(&["srv/lake"]);
    let said = root.done("install", &["/srv/lake", "--dry-run"]).await;
    for shown in [
        "# would write /etc/squire/squire.toml",
        "uri = \"/srv/lake\"",
        "# would write /etc/systemd/system/squire.service",
        "ReadWritePaths=-/srv/lake",
        "ProtectSystem=strict",
    ] {
        assert!(said.contains(shown), "{shown} is not in\n{said}");
    }
    assert_eq!(root.names(), Vec::<String>::new());
}

#[tokio::test]
async fn what_somebody_else_wrote_is_neither_replaced_nor_removed() {
    let root = Root::with(&["srv/lake"]);
    root.write(UNIT, "[Service]\nExecStart=/opt/mine\n");
    let before = root.files();
    let ran = root.service("install", &["/srv/lake"]).await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.err.contains("did not write it"), "{ran:?}");
    assert_eq!(root.files(), before);
    let said = root.done("remove", &[]).await;
    assert!(said.contains("squire.service stays"), "{said}");
    assert_eq!(root.files(), before);
}

#[tokio::test]
async fn a_configuration_that_was_changed_outlives_the_service() {
    let root = Root::with(&["srv/lake"]);
    root.done("install", &["/srv/lake"]).await;
    let changed = root.read(CONFIG) + "kind = \"directory\"\n";
    root.write(CONFIG, &changed);
    let said = root.done("remove", &[]).await;
    assert!(said.contains("squire.toml stays: it was changed"), "{said}");
    assert_eq!(root.names(), [CONFIG]);
    assert_eq!(root.read(CONFIG), changed);
}

#[tokio::test]
async fn the_configuration_that_is_there_says_what_the_unit_opens() {
    let root = Root::with(&["srv/lake", "srv/more", "mnt/big"]);
    let config = "[daemon]\nmemory = \"4GiB\"\nstate_dir = \"/srv/state\"\n\
                  [[target]]\nname = \"lake\"\nuri = \"file:///srv/lake\"\nfollow_links = [\"/mnt/big\"]\n\
                  allow_bases = [\"/tmp/shared\"]\n\
                  [[target]]\nname = \"bucket\"\nuri = \"s3://bucket/lake\"\n";
    root.write(CONFIG, config);
    let said = root.done("install", &[]).await;
    assert!(
        said.contains("bucket: the credentials of the store"),
        "{said}"
    );
    let unit = root.read(UNIT);
    let written = ["-/mnt/big", "-/srv/lake", "-/srv/state"];
    assert_eq!(lines(&unit, "ReadWritePaths"), written);
    assert!(
        lines(&unit, "BindReadOnlyPaths").contains(&"-/tmp/shared"),
        "{unit}"
    );
    assert_eq!(lines(&unit, "MemoryMax"), ["5120M"]);

    // A folder that it does not have is the operator's to add.
    let ran = root.service("install", &["/srv/lake", "/srv/more"]).await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let lines = "[[target]]\nname = \"more\"\nuri = \"/srv/more\"\n";
    assert!(ran.err.contains(lines), "{ran:?}");
    root.write(CONFIG, &format!("{config}{lines}"));
    root.done("install", &["/srv/lake", "/srv/more"]).await;
    assert!(root.read(UNIT).contains("\nReadWritePaths=-/srv/more\n"));
    root.done("remove", &[]).await;
    assert_eq!(root.names(), [CONFIG]);
}

#[tokio::test]
async fn a_wrong_configuration_a_folder_that_is_not_there_and_a_bad_user_are_refused_before_anything_is_written()
 {
    let root = Root::with(&["srv/lake"]);
    for (more, told) in [
        (["/srv/none", "--user=no"].as_slice(), "unexpected value"),
        (&["/srv/none"], "/srv/none is no folder"),
        (&["/srv/../srv/lake"], "goes up"),
        (&["/srv/lake", "--as", "0"], "is no name of a user"),
        (
            &["/srv/lake", "--as", "nobody-here"],
            "there is no user nobody-here",
        ),
        (&[], "name the folders to maintain"),
    ] {
        let ran = root.service("install", more).await;
        assert_eq!(ran.code, Some(2), "{more:?}: {ran:?}");
        assert!(ran.err.contains(told), "{more:?}: {ran:?}");
    }
    root.write(CONFIG, "[daemon]\ntickk = \"1s\"\n");
    let ran = root.service("install", &[]).await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert_eq!(root.names(), [CONFIG]);
}

#[tokio::test]
async fn to_the_unit_of_a_package_only_a_drop_in_is_added() {
    let root = Root::with(&["srv/lake"]);
    let packaged = squire_tests::repository::file("systemd/squire.service");
    let packaged = fs::read_to_string(packaged).unwrap();
    // As the program is where it was built.
    let here = text(&squire_tests::daemon::squire().unwrap());
    root.write(
        "usr/lib/systemd/system/squire.service",
        &packaged.replace("/usr/bin/squire", &here),
    );
    let before = root.files();
    root.done("install", &["/srv/lake"]).await;
    let drop_in = root.read(DROP_IN);
    assert_eq!(lines(&drop_in, "ReadWritePaths"), ["-/srv/lake"]);
    assert!(
        !root.path(UNIT).exists(),
        "the package's unit stays in force"
    );
    let ran = root.service("install", &["--as", "app"]).await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    root.done("remove", &[]).await;
    assert_eq!(root.files(), before);
    assert!(!root.path(DROP_IN).parent().unwrap().exists());
}

#[tokio::test]
async fn where_no_systemd_runs_it_says_what_to_run_instead_and_writes_nothing() {
    let home = Root::with(&["config", "run", "lake"]);
    let path = |name: &str| text(&home.path(name));
    let (config, run, lake) = (path("config"), path("run"), path("lake"));
    let variables = [
        ("HOME", config.as_str()),
        ("XDG_CONFIG_HOME", config.as_str()),
        ("XDG_RUNTIME_DIR", run.as_str()),
    ];
    let install = ["service", "install", "--user", &lake];
    let ran = squire_with(&install, &variables).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let instead = format!("squire run --config {config}/squire/squire.toml");
    assert!(ran.err.contains(&instead), "{ran:?}");
    assert_eq!(home.names(), Vec::<String>::new());
    // It can be looked at all the same.
    let ran = squire_with(&[&install[..], &["--dry-run"]].concat(), &variables).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let unit = Path::new(&config).join("systemd/user/squire.service");
    assert!(
        ran.out
            .contains(&format!("# would write {}", unit.display())),
        "{ran:?}"
    );
    assert!(ran.out.contains("WantedBy=default.target"), "{ran:?}");
    assert_eq!(home.names(), Vec::<String>::new());
}
