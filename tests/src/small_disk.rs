//! A small disk in memory, in a mount namespace of its own: it goes with the process that holds it.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::{daemon, show::say};

/// A small disk.
#[derive(Debug)]
pub struct SmallDisk {
    /// Its mounts end with it.
    holder: Child,
    /// Where the disk is for programs that have its mounts.
    pub folder: PathBuf,
}

impl SmallDisk {
    /// A disk of so many MiB, mounted on the folder `disk` below `dir`; nothing where this machine does not let us mount.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub async fn new(dir: &Path, mib: u32) -> io::Result<Option<Self>> {
        let folder = dir.join("disk");
        fs::create_dir(&folder)?;
        let script =
            "mount -t tmpfs -o size=\"$1\"m squire \"$2\" && echo ready && exec sleep infinity";
        let mut holder = Command::new("unshare")
            .args(["--mount", "sh", "-c", script, "sh"])
            .arg(mib.to_string())
            .arg(&folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let mut is_ready = false;
        if let Some(stdout) = holder.stdout.take() {
            let line = BufReader::new(stdout).lines().next_line().await?;
            is_ready = line.as_deref() == Some("ready");
        }
        if !is_ready {
            say("skipped: a small disk cannot be mounted here; it takes root, and leave to mount");
        }
        Ok(is_ready.then_some(Self { holder, folder }))
    }

    /// The disk as this process reaches it.
    pub fn outside(&self) -> PathBuf {
        let folder = self.folder.display();
        PathBuf::from(format!("/proc/{}/root{folder}", self.id()))
    }

    /// `squire`, with the disk's mounts.
    ///
    /// # Errors
    /// When the binary is not there.
    pub fn squire(&self) -> io::Result<Command> {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target", &self.id(), "--"]);
        command.arg(daemon::squire()?);
        Ok(command)
    }

    /// Takes all the room that there is, but for so many bytes.
    ///
    /// # Errors
    /// When the disk cannot be written for another reason than that it is full.
    pub fn fill_but(&self, left: u64) -> io::Result<()> {
        let ballast = self.ballast();
        let mut file = fs::File::options()
            .create(true)
            .append(true)
            .open(ballast)?;
        for part in [64 << 10, 4 << 10] {
            loop {
                match file.write_all(&vec![0; part]) {
                    Ok(()) => {}
                    Err(e) if e.kind() == io::ErrorKind::StorageFull => break,
                    Err(e) => return Err(e),
                }
            }
        }
        let len = file.metadata()?.len();
        file.set_len(len.saturating_sub(left))
    }

    /// Gives the room back.
    ///
    /// # Errors
    /// When it was not taken.
    pub fn empty(&self) -> io::Result<()> {
        fs::remove_file(self.ballast())
    }

    fn ballast(&self) -> PathBuf {
        self.outside().join("ballast")
    }

    fn id(&self) -> String {
        self.holder
            .id()
            .map(|id| id.to_string())
            .unwrap_or_default()
    }
}
