//! All that the daemon reported, as far as it is shown.

use std::collections::BTreeMap;

use crate::api::{JobInfo, Pause, RunInfo, TableInfo, TargetInfo, TicketInfo};

/// Everything that is shown. Texts are as the daemon sent them: they are made safe for a terminal where they are drawn.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    /// Jobs that can run at once.
    pub(super) places: u64,
    /// Why the last configuration was rejected, if it was.
    pub(super) refused: Option<String>,
    pub(super) targets: Vec<TargetInfo>,
    /// By target and key.
    pub(super) tables: BTreeMap<(String, String), TableInfo>,
    pub(super) running: Vec<JobInfo>,
    /// With the targets' names.
    pub(super) queue: Vec<(String, TicketInfo)>,
    /// The last first.
    pub(super) history: Vec<RunInfo>,
    pub(super) pauses: Vec<Pause>,
    /// Why everything is paused, if it is.
    pub(super) pauses_unreadable: Option<String>,
}

impl Snapshot {
    /// Whether a user has paused exactly this.
    pub(super) fn is_paused(&self, target: &str, table: Option<&str>) -> bool {
        let mut pauses = self.pauses.iter();
        pauses.any(|pause| pause.target == target && pause.table.as_deref() == table)
    }
}
