//! What one run of a duty is asked for.

use std::collections::BTreeSet;

/// What is asked of one run of a duty, besides the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// Thresholds are left aside; sizes and retention are not.
    pub forced: bool,
    /// Fragments to leave alone, because writers contend for them.
    pub contended: BTreeSet<u64>,
    /// The most bytes that a compaction reads: what a budget has room for.
    pub max_bytes: Option<u64>,
}

impl Ask {
    /// Thresholds are left aside.
    pub fn forced() -> Self {
        Self {
            forced: true,
            ..Self::default()
        }
    }
}
