//! The service manager, and the other programs of systemd that are asked.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::layout::UNIT;
use crate::exit::Failure;

/// The service manager of the machine, or of a user's session.
#[derive(Debug)]
pub(super) struct Manager {
    of_user: bool,
}

impl Manager {
    /// The one that runs here; `instead` is what to run where there is none.
    pub(super) fn running(of_user: bool, instead: &str) -> Result<Self, Failure> {
        let there = if of_user {
            let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
            runtime.is_some_and(|folder| folder.join("systemd").is_dir())
        } else {
            Path::new("/run/systemd/system").is_dir()
        };
        if there {
            return Ok(Self { of_user });
        }
        let lacking = if of_user {
            "this session has no systemd of its own (no systemd in XDG_RUNTIME_DIR)"
        } else {
            "no systemd runs this machine (there is no /run/systemd/system)"
        };
        Err(Failure::Machine(format!(
            "{lacking}, so there is nothing to install a service into, and nothing was written. Have what starts programs \
             here run\n  {instead}\nIt stays in the foreground, logs to standard error, reads its configuration again at \
             SIGHUP and ends in order at SIGTERM. `--dry-run` shows the unit, for another machine"
        )))
    }

    /// Tells it something, which it does before this returns.
    pub(super) fn tell(&self, words: &[&str]) -> Result<(), Failure> {
        done(self.control().args(words))
    }

    /// Whether the service runs.
    pub(super) fn is_active(&self) -> bool {
        let asked = self.control().args(["is-active", UNIT]).output();
        asked.is_ok_and(|asked| asked.status.success())
    }

    fn control(&self) -> Command {
        let mut control = Command::new("systemctl");
        if self.of_user {
            control.arg("--user");
        }
        control
    }
}

/// The commands that [`Manager::tell`] runs, as a user would type them.
pub(super) fn typed(of_user: bool, words: &[&str]) -> String {
    let user = if of_user { " --user" } else { "" };
    format!("systemctl{user} {}", words.join(" "))
}

/// Makes the users that a file of `sysusers.d` asks for.
pub(super) fn make_users(file: &Path) -> Result<(), Failure> {
    done(Command::new("systemd-sysusers").arg(file))
}

fn done(command: &mut Command) -> Result<(), Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    let words = command.get_args().map(|word| word.to_string_lossy());
    let typed = words.fold(name, |typed, word| typed + " " + &word);
    let ran = command.output();
    let ran = ran.map_err(|e| Failure::Machine(format!("`{typed}` cannot be run: {e}")))?;
    if ran.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ran.stderr);
    Err(Failure::Machine(format!(
        "`{typed}` failed: {}",
        said.trim()
    )))
}

/// Whether systemd reads every line of a unit, and of its drop-in; `None` where it cannot be asked.
pub(super) fn verified(
    unit: &str,
    drop_in: Option<&str>,
    of_user: bool,
) -> Option<Result<(), Failure>> {
    let folder = tempfile::tempdir().ok()?;
    let file = folder.path().join(UNIT);
    std::fs::write(&file, unit).ok()?;
    if let Some(drop_in) = drop_in {
        let folder = folder.path().join("squire.service.d");
        std::fs::create_dir(&folder).ok()?;
        std::fs::write(folder.join("targets.conf"), drop_in).ok()?;
    }
    let mut analyze = Command::new("systemd-analyze");
    if of_user {
        analyze.arg("--user");
    }
    let ran = analyze
        .args(["verify", "--recursive-errors=no", "--man=no"])
        .arg(&file)
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&ran.stderr);
    // Others are read along, and are not this unit's fault.
    let about: Vec<_> = said
        .lines()
        .filter(|line| line.contains("squire.service"))
        .collect();
    if about.is_empty() {
        return ran.status.success().then_some(Ok(()));
    }
    Some(Err(Failure::Machine(format!(
        "systemd refuses the unit, and nothing was written:\n{}",
        about.join("\n")
    ))))
}

/// The name of a user or group by its number, or the other way round, as `id` says it; `None` where there is none.
pub(super) fn id(options: &[&str], whose: &str) -> Option<String> {
    let ran = Command::new("id")
        .args(options)
        .arg("--")
        .arg(whose)
        .output()
        .ok()?;
    let said = String::from_utf8(ran.stdout).ok()?;
    let said = said.trim();
    (ran.status.success() && !said.is_empty()).then(|| said.to_owned())
}
