//! What happens, and how it shows.

use std::fmt;

/// Something that happens to a target, by its number, or to the whole process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Whatever is read of it hangs.
    DiskHangs(usize),
    /// Whatever is read of one of its tables hangs.
    TableHangs(usize),
    /// Its folder is not there, as where a volume is not mounted.
    VolumeVanishes(usize),
    /// The newest manifest of a table was cut off by a crash.
    TableTorn(usize),
    /// A table is dropped, and another is made under its name.
    TableRemade(usize),
    /// A configuration that is wrong is to be loaded.
    BadReload,
    /// One that is right, with another rhythm.
    GoodReload,
    /// The wall clock jumps ahead by a month.
    ClockJumps,
    /// The process stands still for a while.
    Stopped,
    /// It is killed, and started again.
    Killed,
}

impl Fault {
    /// Everything that can happen, where it is of a target to this one.
    pub(crate) fn all(target: usize) -> Vec<Self> {
        vec![
            Self::DiskHangs(target),
            Self::TableHangs(target),
            Self::VolumeVanishes(target),
            Self::TableTorn(target),
            Self::TableRemade(target),
            Self::BadReload,
            Self::GoodReload,
            Self::ClockJumps,
            Self::Stopped,
            Self::Killed,
        ]
    }

    /// The target that it happens to.
    pub(crate) fn target(&self) -> Option<usize> {
        match self {
            Self::DiskHangs(target)
            | Self::TableHangs(target)
            | Self::VolumeVanishes(target)
            | Self::TableTorn(target)
            | Self::TableRemade(target) => Some(*target),
            _ => None,
        }
    }

    /// Whether it happens to the process, not to a target.
    pub(crate) fn is_of_the_process(&self) -> bool {
        self.target().is_none()
    }

    /// Its kind.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::DiskHangs(_) => "a disk hangs",
            Self::TableHangs(_) => "a table hangs",
            Self::VolumeVanishes(_) => "a volume vanishes",
            Self::TableTorn(_) => "a table is torn",
            Self::TableRemade(_) => "a table is made anew",
            Self::BadReload => "a bad configuration",
            Self::GoodReload => "another rhythm",
            Self::ClockJumps => "the clock jumps",
            Self::Stopped => "SIGSTOP for a while",
            Self::Killed => "SIGKILL and a start",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.target() {
            Some(target) => write!(f, "{} (t{target})", self.name()),
            None => f.write_str(self.name()),
        }
    }
}
