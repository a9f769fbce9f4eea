//! Programs that were built beside this one, and signals to them.

use std::{io, path::PathBuf};

use tokio::process::Command;

/// A binary of this workspace that was built with this program.
///
/// # Errors
/// When it is not there: build the workspace first.
pub fn built(name: &str) -> io::Result<PathBuf> {
    let here = std::env::current_exe()?;
    // A test stands in `deps/`, a program beside the others.
    let mut beside = here.ancestors().skip(1).take(2).map(|dir| dir.join(name));
    beside.find(|path| path.is_file()).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("the binary {name} is not built: run `cargo build --workspace` first"),
        )
    })
}

/// Sends a process a signal: `TERM`, `KILL`, `STOP`, `CONT`.
///
/// # Errors
/// When there is no such process.
pub async fn signal(id: u32, name: &str) -> io::Result<()> {
    let sent = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(id.to_string())
        .status()
        .await?;
    if sent.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("process {id} took no SIG{name}")))
    }
}

/// The most memory that a process had so far, in bytes.
///
/// # Errors
/// When there is no such process.
pub fn peak_memory(id: u32) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let mut lines = status.lines();
    let peak = lines.find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.map(|kib| kib * 1024)
        .ok_or_else(|| io::Error::other(format!("process {id} says nothing of its memory")))
}
