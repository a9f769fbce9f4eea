//! What a reason to leave a duty alone means for health, alerts and schedules.

/// The class of a reason to leave a duty alone. Health, alerts and what is still to be done go by it, so that no new duty
/// and no new reason compiles before each of them knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SkipClass {
    /// There is nothing to do: the duty is in order.
    Idle,
    /// The configuration says so: the duty is switched off, or files that it needs are not allowed.
    Excluded,
    /// The duty is being done, or was done a moment ago, or is about to be done: time lifts it soon.
    Busy,
    /// The duty is due, and held back until time lifts it.
    Delayed,
    /// A user has paused the table.
    Paused,
    /// What would tell is not known: the versions of the table were not listed lately.
    Unlisted,
    /// The duty is due, and cannot be done as things are.
    Blocked,
}

impl SkipClass {
    /// Whether time lifts it, so that what was forced is still to be done.
    pub const fn passes(self) -> bool {
        match self {
            Self::Busy | Self::Delayed | Self::Paused | Self::Unlisted => true,
            Self::Idle | Self::Excluded | Self::Blocked => false,
        }
    }
}
