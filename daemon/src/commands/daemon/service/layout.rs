//! Where the files of a service are, and what becomes of them there.

use std::{
    fs::Permissions,
    io::{self, ErrorKind, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Component, Path, PathBuf},
};

use super::unit::{self, CONFIG};
use crate::{cli::ServiceArg, exit::Failure};

/// The name of the unit.
pub(super) const UNIT: &str = "squire.service";
/// Where Debian's packages have their units.
const PACKAGED: [&str; 2] = ["/usr/lib/systemd/system", "/lib/systemd/system"];

/// A machine, or a user's corner of it. Its paths are those that the service sees.
#[derive(Debug)]
pub(super) struct Layout {
    /// Another root, below which everything lies.
    root: Option<PathBuf>,
    /// Of a user: where units and configurations are.
    home: Option<PathBuf>,
    config: PathBuf,
}

/// A file as it is to be.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl Layout {
    pub(super) fn of(place: &ServiceArg) -> Result<Self, Failure> {
        let home = place.user.then(home_of_configurations).transpose()?;
        let default = || {
            let home = home.as_ref().map(|home| home.join("squire/squire.toml"));
            home.unwrap_or_else(|| PathBuf::from(CONFIG))
        };
        let config = place.config.as_deref().map(absolute).transpose()?;
        let root = place.root.as_deref().map(absolute).transpose()?;
        Ok(Self {
            config: config.unwrap_or_else(default),
            root,
            home,
        })
    }

    /// Whether it is of a user.
    pub(super) fn is_of_user(&self) -> bool {
        self.home.is_some()
    }

    /// Whether it is below another root: nothing runs there.
    pub(super) fn is_below_another_root(&self) -> bool {
        self.root.is_some()
    }

    pub(super) fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// The configuration.
    pub(super) fn config(&self) -> &Path {
        &self.config
    }

    fn units(&self) -> PathBuf {
        match &self.home {
            Some(home) => home.join("systemd/user"),
            None => PathBuf::from("/etc/systemd/system"),
        }
    }

    pub(super) fn unit(&self) -> PathBuf {
        self.units().join(UNIT)
    }

    pub(super) fn drop_in(&self) -> PathBuf {
        self.units().join("squire.service.d/targets.conf")
    }

    pub(super) fn sysusers(&self) -> PathBuf {
        PathBuf::from("/etc/sysusers.d/squire.conf")
    }

    /// The unit that a package brought.
    pub(super) fn packaged(&self) -> Option<String> {
        if self.is_of_user() {
            return None;
        }
        let mut there = PACKAGED.iter().map(|folder| Path::new(folder).join(UNIT));
        there.find_map(|unit| std::fs::read_to_string(self.on_disk(&unit)).ok())
    }

    /// Where a path of the service's is for this process.
    pub(super) fn on_disk(&self, path: &Path) -> PathBuf {
        match &self.root {
            Some(root) => root.join(path.strip_prefix("/").unwrap_or(path)),
            None => path.to_owned(),
        }
    }

    /// The other way round.
    pub(super) fn as_seen(&self, path: &Path) -> PathBuf {
        let below = self
            .root
            .as_ref()
            .and_then(|root| path.strip_prefix(root).ok());
        below.map_or_else(|| path.to_owned(), |path| Path::new("/").join(path))
    }

    /// What a file holds; nothing when it is not there.
    pub(super) fn read(&self, path: &Path) -> Result<Option<String>, Failure> {
        match std::fs::read(self.on_disk(path)) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(refused("read", path, &e)),
        }
    }

    /// Refuses to replace a file that another program or user wrote.
    pub(super) fn may_be_written(&self, path: &Path) -> Result<(), Failure> {
        match self.read(path)? {
            Some(text) if !unit::is_ours(&text) => Err(Failure::Usage(format!(
                "{} is there, and `squire service install` did not write it: move it away, or keep it and lay what \
                 is lacking over it with `systemctl edit squire`",
                path.display()
            ))),
            _ => Ok(()),
        }
    }

    /// Writes a file as a whole, for everybody to read.
    pub(super) fn write(&self, file: &Written) -> Result<(), Failure> {
        let path = self.on_disk(&file.path);
        let written = whole(&path, &file.text);
        written.map_err(|e| refused("write", &file.path, &e))
    }

    /// Takes away a file that this program wrote; its folder, too, when it is one of a drop-in and nothing else is in it.
    pub(super) fn remove(&self, path: &Path) -> Result<(), Failure> {
        let there = self.on_disk(path);
        std::fs::remove_file(&there).map_err(|e| refused("remove", path, &e))?;
        if let Some(folder) = there.parent()
            && folder.extension().is_some_and(|extension| extension == "d")
            && folder.ends_with("squire.service.d")
        {
            // It stays where there is something else in it.
            let _ = std::fs::remove_dir(folder);
        }
        Ok(())
    }
}

/// A file as a whole, in folders that are made where they are not there. The service has to read both, whatever the
/// umask is.
fn whole(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let lacking: Vec<_> = folder.ancestors().take_while(|f| !f.exists()).collect();
    for folder in lacking.into_iter().rev() {
        std::fs::create_dir(folder)?;
        std::fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    }
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file()
        .set_permissions(Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

fn refused(what: &str, path: &Path, e: &io::Error) -> Failure {
    let fix = if e.kind() == ErrorKind::PermissionDenied {
        ": run this as root, or with --user for a service of your own"
    } else {
        ""
    };
    Failure::Machine(format!("cannot {what} {}: {e}{fix}", path.display()))
}

/// Where this user has configurations: `$XDG_CONFIG_HOME`, or `~/.config`.
fn home_of_configurations() -> Result<PathBuf, Failure> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let absolute = |path: &PathBuf| path.is_absolute();
    let said = folder("XDG_CONFIG_HOME").filter(absolute);
    let at_home = || {
        folder("HOME")
            .filter(absolute)
            .map(|home| home.join(".config"))
    };
    said.or_else(at_home).ok_or_else(|| {
        Failure::Usage("HOME is not set, so there is no place for a user's unit: set it".to_owned())
    })
}

/// A path that does not depend on where this runs, without `.` and `..`; links in it stay.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    let whole = std::path::absolute(path)
        .map_err(|e| Failure::Usage(format!("{} cannot be resolved: {e}", path.display())))?;
    let text = whole
        .to_str()
        .filter(|text| !text.contains(char::is_control));
    if text.is_none() || whole.components().any(|part| part == Component::ParentDir) {
        return Err(Failure::Usage(format!(
            "{} goes up, has control characters or is not UTF-8: name it by a plain path",
            path.display()
        )));
    }
    Ok(whole.components().collect())
}
