//! Folders that the configuration or the service manager names.

use std::path::PathBuf;

/// Where a service manager made a folder for as long as this daemon runs.
pub(crate) fn runtime_dir() -> Option<PathBuf> {
    first_folder("RUNTIME_DIRECTORY")
}

/// Where this daemon keeps what must survive a restart: where the config says, or where systemd made a folder.
pub(crate) fn state_dir(daemon: &squire_config::Daemon) -> Option<PathBuf> {
    let said = daemon.state_dir.clone();
    said.or_else(|| first_folder("STATE_DIRECTORY"))
}

/// The first of the folders that systemd made and lists in a variable, with colons.
fn first_folder(variable: &str) -> Option<PathBuf> {
    let folders = std::env::var_os(variable)?;
    std::env::split_paths(&folders).find(|folder| folder.is_absolute())
}
