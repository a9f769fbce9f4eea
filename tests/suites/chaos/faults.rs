//! What happens, and how it shows.

use std::fmt;

/// Where a target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// A disk with room.
    Disk,
    /// A disk with little room.
    SmallDisk,
    /// S3, behind a proxy.
    S3,
}

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
    /// Its disk has no room for what a rewrite writes.
    DiskFull(usize),
    /// Its object store takes requests and answers none.
    StoreHangs(usize),
    /// Its object store answers each request late.
    StoreIsSlow(usize),
    /// Its object store answers each request with 503.
    StoreOverloaded(usize),
    /// Its object store resets connections.
    StoreResets(usize),
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
    /// It is asked to end, and started again.
    Terminated,
    /// It is started again where the file of its pauses cannot be read.
    StateUnreadable,
    /// It is started again, and the first jobs panic.
    JobsPanic,
}

impl Fault {
    /// Everything that can happen, where it is of a target to this one, which is of this kind.
    pub(crate) fn all(target: usize, kind: Store) -> Vec<Self> {
        let mut all = match kind {
            Store::Disk => vec![
                Self::DiskHangs(target),
                Self::TableHangs(target),
                Self::VolumeVanishes(target),
                Self::TableTorn(target),
                Self::TableRemade(target),
            ],
            // Most of what is drawn is of disks: there are more of them.
            Store::SmallDisk => vec![Self::DiskFull(target); 8],
            Store::S3 => vec![
                Self::StoreHangs(target),
                Self::StoreIsSlow(target),
                Self::StoreOverloaded(target),
                Self::StoreResets(target),
            ],
        };
        all.extend([
            Self::BadReload,
            Self::GoodReload,
            Self::ClockJumps,
            Self::Stopped,
            Self::Killed,
            Self::Terminated,
            Self::StateUnreadable,
            Self::JobsPanic,
        ]);
        all
    }

    /// The target that it happens to.
    pub(crate) fn target(&self) -> Option<usize> {
        match self {
            Self::DiskHangs(target)
            | Self::TableHangs(target)
            | Self::VolumeVanishes(target)
            | Self::TableTorn(target)
            | Self::TableRemade(target)
            | Self::DiskFull(target)
            | Self::StoreHangs(target)
            | Self::StoreIsSlow(target)
            | Self::StoreOverloaded(target)
            | Self::StoreResets(target) => Some(*target),
            _ => None,
        }
    }

    /// Whether it happens to the process, not to a target.
    pub(crate) fn is_of_the_process(&self) -> bool {
        self.target().is_none()
    }

    /// Whether it shows only in what becomes of a job.
    pub(crate) fn needs_jobs(&self) -> bool {
        matches!(self, Self::DiskFull(_))
    }

    /// Its kind.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::DiskHangs(_) => "a disk hangs",
            Self::TableHangs(_) => "a table hangs",
            Self::VolumeVanishes(_) => "a volume vanishes",
            Self::TableTorn(_) => "a table is torn",
            Self::TableRemade(_) => "a table is made anew",
            Self::DiskFull(_) => "a disk is full",
            Self::StoreHangs(_) => "a store hangs",
            Self::StoreIsSlow(_) => "a store is slow",
            Self::StoreOverloaded(_) => "a store answers 503",
            Self::StoreResets(_) => "a store resets connections",
            Self::BadReload => "a bad configuration",
            Self::GoodReload => "another rhythm",
            Self::ClockJumps => "the clock jumps",
            Self::Stopped => "SIGSTOP for a while",
            Self::Killed => "SIGKILL and a start",
            Self::Terminated => "SIGTERM and a start",
            Self::StateUnreadable => "a start without the state",
            Self::JobsPanic => "jobs panic after a start",
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
