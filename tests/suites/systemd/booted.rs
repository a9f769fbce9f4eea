use std::process::Stdio;

use squire_tests::daemon;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use squire_tests::{patience::until, repository};

const CONFIG: &str = "[daemon]\nlisten = \"127.0.0.1:0\"\ntick = \"100ms\"\n[[target]]\nname = \"lake\"\nuri = \"/srv/lake\"\nkind = \"directory\"\n";
/// What an operator adds for a local target, and what makes this test short. A systemd within namespaces has no devices to
/// keep to itself.
const DROP_IN: &str = "[Service]\nPrivateDevices=no\nReadWritePaths=/srv/lake\nWatchdogSec=5s\nWatchdogSignal=SIGKILL\nRestartSec=100ms\n";

/// A machine of this test's own, with a systemd that runs.
pub(crate) struct Machine {
    dir: TempDir,
    boot: Child,
    /// Process 1, as this machine numbers it.
    init: String,
}

impl Machine {
    /// With the unit as it is shipped, a configuration and a drop-in for it. Nothing, where this user or this machine
    /// cannot have one; it says so.
    async fn boot() -> Option<Self> {
        let unit = std::fs::read_to_string(repository::file("systemd/squire.service")).unwrap();
        let files = [
            ("etc/squire/squire.toml", CONFIG),
            ("etc/systemd/system/squire.service.d/local.conf", DROP_IN),
            ("etc/systemd/system/squire.service", &unit),
        ];
        Self::boot_with(&files).await
    }

    /// The same, with these files over the root.
    pub(crate) async fn boot_with(files_over_root: &[(&str, &str)]) -> Option<Self> {
        let user = Command::new("id").arg("-u").output().await.unwrap();
        if user.stdout.trim_ascii() != b"0" {
            eprintln!("a systemd of one's own needs root: the unit is not run by one");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let files = dir.path().join("files");
        for (path, text) in files_over_root {
            let path = files.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        std::fs::create_dir_all(files.join("srv/lake")).unwrap();
        let log = std::fs::File::create(dir.path().join("boot.log")).unwrap();
        let mut boot = Command::new(repository::file("tests/systemd/boot"))
            .arg(dir.path())
            .arg(daemon::squire().unwrap())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut init = None;
        let outside = boot.id().unwrap().to_string();
        until("systemd is up, or cannot be", async || {
            if boot.try_wait().unwrap().is_some() {
                return true;
            }
            let child = Command::new("pgrep")
                .args(["-P", &outside])
                .output()
                .await
                .unwrap();
            let child = String::from_utf8(child.stdout).unwrap().trim().to_owned();
            if child.is_empty() {
                return false;
            }
            let (up, _) = inside(&child, &["systemctl", "is-active", "basic.target"]).await;
            init = up.then_some(child);
            up
        })
        .await;
        let Some(init) = init else {
            let said = std::fs::read_to_string(dir.path().join("boot.log")).unwrap();
            eprintln!(
                "this machine cannot boot a systemd of its own: the unit is not run by one: {said}"
            );
            return None;
        };
        Some(Self { dir, boot, init })
    }

    /// Runs a program in it; whether it went well, and what it said.
    pub(crate) async fn run(&self, program: &[&str]) -> (bool, String) {
        inside(&self.init, program).await
    }

    pub(crate) async fn done(&self, program: &[&str]) -> String {
        let (well, said) = self.run(program).await;
        if !well {
            let (_, log) = self
                .run(&["journalctl", "-u", "squire", "--no-pager", "-n", "50"])
                .await;
            panic!("{program:?}: {said}\n{log}");
        }
        said
    }

    pub(crate) async fn property(&self, name: &str) -> String {
        let said = self
            .done(&["systemctl", "show", "squire", "--value", "-p", name])
            .await;
        said.trim().to_owned()
    }

    async fn configure(&self, text: &str) {
        let file = self.dir.path().join("wanted");
        std::fs::write(&file, text).unwrap();
        let write = format!("cat > /etc/squire/squire.toml <<'EOF'\n{text}\nEOF");
        self.done(&["sh", "-c", &write]).await;
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.boot.start_kill();
    }
}

async fn inside(init: &str, program: &[&str]) -> (bool, String) {
    let ran = Command::new("nsenter")
        .args(["-t", init, "--all", "--root", "--wdns=/"])
        .args(program)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let said = [ran.stdout, ran.stderr].concat();
    (
        ran.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_starts_it_reloads_it_restarts_it_when_it_hangs_and_stops_it_in_order() {
    let Some(machine) = Machine::boot().await else {
        return;
    };
    // With nothing to maintain yet, it is passed over, and nothing has failed.
    machine.configure("").await;
    machine.done(&["systemctl", "start", "squire"]).await;
    assert_eq!(machine.property("ActiveState").await, "inactive");
    // What is wrong is not passed over.
    machine.configure(&CONFIG.replace("tick", "tickk")).await;
    let (well, said) = machine.run(&["systemctl", "start", "squire"]).await;
    assert!(!well, "{said}");
    // It is not tried again by itself from here on.
    machine.done(&["systemctl", "stop", "squire"]).await;
    machine.configure(CONFIG).await;
    machine.done(&["systemctl", "start", "squire"]).await;
    assert_eq!(machine.property("ActiveState").await, "active");
    until("the status tells how it is", async || {
        machine.property("StatusText").await == "1 target, 0 tables; nothing to do"
    })
    .await;
    let pid = machine.property("MainPID").await;

    // A configuration that is wrong fails the reload visibly, and the one before holds.
    machine.configure(&CONFIG.replace("tick", "tickk")).await;
    let (well, said) = machine.run(&["systemctl", "reload", "squire"]).await;
    assert!(!well, "{said}");
    let log = machine
        .done(&["journalctl", "-u", "squire", "--no-pager"])
        .await;
    assert!(
        log.contains("squire.toml:3") && log.contains("did you mean"),
        "{log}"
    );
    assert_eq!(machine.property("ActiveState").await, "active");
    assert!(machine.property("StatusText").await.contains("was refused"));

    let two =
        format!("{CONFIG}[[target]]\nname = \"more\"\nuri = \"/srv/more\"\nkind = \"directory\"\n");
    machine.configure(&two).await;
    machine.done(&["systemctl", "reload", "squire"]).await;
    until("it keeps two", async || {
        machine.property("StatusText").await.contains("2 targets")
    })
    .await;
    assert_eq!(
        machine.property("MainPID").await,
        pid,
        "it is the same process"
    );

    // A process that hangs is not fed to the watchdog any more.
    machine
        .done(&[
            "systemctl",
            "kill",
            "--kill-who=main",
            "--signal=STOP",
            "squire",
        ])
        .await;
    until("another process takes its place", async || {
        let now = machine.property("MainPID").await;
        now != pid && now != "0" && machine.property("ActiveState").await == "active"
    })
    .await;

    machine.done(&["systemctl", "stop", "squire"]).await;
    assert_eq!(machine.property("ActiveState").await, "inactive");
    assert_eq!(machine.property("Result").await, "success");
    let log = machine
        .done(&["journalctl", "-u", "squire", "--no-pager"])
        .await;
    assert!(log.contains("\"message\":\"stopped\""), "{log}");
}
