//! How one table is maintained.

use std::time::Duration;

use super::{
    cleanup::CleanupPolicy, compaction::CompactionPolicy, duty::Duty, indexing::IndexPolicy,
    pace::Pace, window::Windows,
};

/// How one table is maintained.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    /// Fragments.
    pub compaction: CompactionPolicy,
    /// Indexes.
    pub index: IndexPolicy,
    /// Versions.
    pub cleanup: CleanupPolicy,
    /// How fast.
    pub pace: Pace,
    /// When.
    pub windows: Windows,
}

/// What the policies of all duties have alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DutyPolicy {
    /// Whether it is done at all.
    pub enabled: bool,
    /// The shortest time between two runs on one table, forced or not.
    pub interval_floor: Duration,
}

impl Policy {
    /// What the policy of a duty has alike with the others.
    pub fn of(&self, duty: Duty) -> DutyPolicy {
        let (enabled, interval_floor) = match duty {
            Duty::Compaction => (self.compaction.enabled, self.compaction.interval_floor),
            Duty::Index => (self.index.enabled, self.index.interval_floor),
            Duty::Cleanup => (self.cleanup.enabled, self.cleanup.interval_floor),
        };
        DutyPolicy {
            enabled,
            interval_floor,
        }
    }

    /// Switches a duty off.
    pub fn disable(&mut self, duty: Duty) {
        let enabled = match duty {
            Duty::Compaction => &mut self.compaction.enabled,
            Duty::Index => &mut self.index.enabled,
            Duty::Cleanup => &mut self.cleanup.enabled,
        };
        *enabled = false;
    }
}
