//! The state: what is on the store, where everybody stands, and what an omniscient observer remembers.
//!
//! It is small and copied freely. Manifests are interned (see [`super::manifests`]); what nobody can ask for any
//! more is forgotten by [`World::forget`], so that states which differ in nothing else are one.

use std::hash::{Hash, Hasher};

use super::{actor::Actor, fingerprint::fingerprint, manifests::ManifestId};

pub(crate) const TABLES: usize = 2;
pub(crate) const OPERATIONS: usize = 3;
pub(crate) const HELPERS: usize = 2;
pub(crate) const VERSIONS: usize = 10;

/// Who made a version: an operation is its index + 1.
pub(crate) type Maker = u8;
pub(crate) const NOBODY: Maker = 0;
/// An empty version that keeps a number taken.
pub(crate) const FENCE: Maker = 20;
/// A client reorganised the table.
pub(crate) const BENIGN: Maker = 21;
/// A client changed what the table means.
pub(crate) const SEMANTIC: Maker = 22;
/// The file of the version is deleted.
const DELETED: Maker = 30;

pub(crate) const fn maker(operation: usize) -> Maker {
    operation as Maker + 1
}

/// The versions of a Lance table, from 1 on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct History {
    head: u8,
    /// What the table's history is made of.
    made_by: [Maker; VERSIONS],
    /// What a reader of the version's file finds. It differs where a file was deleted, or created again by a late
    /// writer.
    file: [Maker; VERSIONS],
}

impl History {
    pub(crate) fn head(&self) -> u8 {
        self.head
    }

    pub(crate) fn push(&mut self, by: Maker) {
        self.head += 1;
        self.made_by[self.head as usize] = by;
        self.file[self.head as usize] = by;
    }

    /// Create if absent; `None` for a version that leaves a gap.
    pub(crate) fn create(&mut self, version: u8, by: Maker) -> Option<bool> {
        match version {
            v if v == self.head + 1 => self.push(by),
            v if v > self.head => return None,
            v if self.file[v as usize] != DELETED => return Some(false),
            v => self.file[v as usize] = by,
        }
        Some(true)
    }

    pub(crate) fn delete(&mut self, version: u8) {
        self.file[version as usize] = DELETED;
    }

    pub(crate) fn is_there(&self, version: u8) -> bool {
        version > 0 && version <= self.head && self.file[version as usize] != DELETED
    }

    /// Whether the version can be read and is what it was.
    pub(crate) fn is_whole(&self, version: u8) -> bool {
        version == 0
            || version <= self.head && self.file[version as usize] == self.made_by[version as usize]
    }

    /// Who made the versions of `(after, to]`.
    pub(crate) fn makers(&self, after: u8, to: u8) -> &[Maker] {
        let to = to.min(self.head);
        &self.made_by[after.min(to) as usize + 1..=to as usize]
    }

    /// What a reader finds in `(after, to]`: the version made by `by`, or whether one is missing.
    pub(crate) fn search(&self, after: u8, to: u8, by: Maker) -> Found {
        let versions = after + 1..=to;
        if let Some(at) = versions.clone().find(|v| self.file[*v as usize] == by) {
            return Found::At(at);
        }
        if versions.clone().any(|v| self.file[v as usize] == DELETED) {
            return Found::Missing;
        }
        Found::Absent
    }

    pub(crate) fn times(&self, by: Maker, to: u8) -> usize {
        self.makers(0, to).iter().filter(|m| **m == by).count()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    At(u8),
    Absent,
    Missing,
}

/// What an operation was staged on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Plan {
    pub(crate) expected: [u8; TABLES],
    pub(crate) bases: [u8; TABLES],
    /// The number of the manifest that it was staged on.
    pub(crate) staged_on: u8,
    /// Of a physical operation: the pin when it began, and the version that it rewrote.
    pub(crate) began_at: u8,
    pub(crate) read: u8,
}

/// A put that was sent and not answered: it lands some day, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Put {
    Manifest(ManifestId),
    Version { table: u8, version: u8, by: Maker },
    Sidecar(u8),
}

/// What its caller was told of an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    #[default]
    None,
    Acknowledged,
    Failed,
    Unknown,
}

/// How often each fault, and each thing that need not happen, may happen yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    /// Puts that land and report an error.
    pub(crate) errors: u8,
    /// Puts that report an error and land later, or never.
    pub(crate) late: u8,
    /// Puts that report an error and never land.
    pub(crate) failures: u8,
    pub(crate) crashes: u8,
    /// Callers that go away before the decision.
    pub(crate) cancels: u8,
    pub(crate) benign: u8,
    pub(crate) semantic: u8,
    pub(crate) lost_sidecars: u8,
    /// Versions that a foreign cleanup takes out of the middle.
    pub(crate) lost_versions: u8,
    pub(crate) collections: u8,
    pub(crate) cleanups: u8,
    /// Passes of cleanup over unreferenced files.
    pub(crate) sweeps: u8,
    pub(crate) adoptions: u8,
    pub(crate) resolutions: u8,
}

/// What the observer has seen go wrong at the moment when it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Wrong {
    PinWentBack,
    /// An effect landed over a version of another operation that is past its base.
    Interleaved,
    /// An effect landed before the one of a ticket ahead, or without a decided ticket.
    OutOfOrder,
    /// A rewrite landed over a delete that it has not seen.
    DeleteUndone,
    LogicalRefused,
    /// A table that an operation reads moved before it was decided.
    ReadMoved,
    DecidedAgain,
    QuarantinedForNothing,
    /// A version of an operation landed after its files were deleted, or they were deleted after it landed.
    FilesMissing,
    NewestDeleted,
    /// A number was left out.
    Gap,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    // The store.
    pub(crate) newest: ManifestId,
    /// Manifests below the newest that are deleted, by number; only those that somebody may still create.
    pub(crate) deleted: u32,
    /// A deleted manifest that a late writer has created again.
    pub(crate) recreated: ManifestId,
    /// The mark of a collection that counts.
    pub(crate) deletable: u8,
    /// The pins of the oldest manifest that is kept.
    pub(crate) kept_pins: [u8; TABLES],
    pub(crate) tables: [History; TABLES],
    /// Operations that have a sidecar.
    pub(crate) sidecars: u8,
    pub(crate) in_flight: [Option<Put>; 2],
    // Everybody.
    pub(crate) plans: [Plan; OPERATIONS],
    pub(crate) owners: [Actor; OPERATIONS],
    pub(crate) helpers: [Actor; HELPERS],
    /// Below which version a cleanup deletes, by what it has read; 0 for no cleanup.
    pub(crate) cleaning: [u8; TABLES],
    pub(crate) left: Budget,
    // The observer.
    pub(crate) answers: [Answer; OPERATIONS],
    /// Operations that a counting manifest has shown as published.
    pub(crate) published: u8,
    /// Operations whose staged files are deleted.
    pub(crate) files_deleted: u8,
    pub(crate) wrong: u16,
}

impl World {
    pub(crate) fn note(&mut self, wrong: Wrong) {
        self.wrong |= 1 << wrong as u16;
    }

    pub(crate) fn noted(&self, wrong: Wrong) -> bool {
        self.wrong >> wrong as u16 & 1 == 1
    }

    pub(crate) fn has_sidecar(&self, operation: usize) -> bool {
        self.sidecars >> operation & 1 == 1
    }

    pub(crate) fn is_deleted(&self, number: u8) -> bool {
        self.deleted >> number & 1 == 1
    }

    /// Deletes what was staged for an operation, sidecar first.
    pub(crate) fn undo(&mut self, operation: usize) {
        self.sidecars &= !(1 << operation);
        self.delete_files(operation);
    }

    pub(crate) fn delete_files(&mut self, operation: usize) {
        self.files_deleted |= 1 << operation;
        let by = maker(operation);
        if self.tables.iter().any(|t| t.times(by, t.head()) > 0) {
            self.note(Wrong::FilesMissing);
        }
    }

    pub(crate) fn send(&mut self, put: Put) -> bool {
        match self.in_flight.iter_mut().find(|slot| slot.is_none()) {
            Some(slot) => *slot = Some(put),
            None => return false,
        }
        self.in_flight.sort_unstable();
        true
    }
}

/// A world that does not change any more. It is hashed once, and told from others by its fingerprint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct State {
    world: World,
    fingerprint: u64,
}

impl State {
    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

impl From<World> for State {
    fn from(world: World) -> Self {
        let fingerprint = fingerprint(&world);
        Self { world, fingerprint }
    }
}

impl std::ops::Deref for State {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.fingerprint);
    }
}
