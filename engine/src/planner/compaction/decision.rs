//! What is decided about the fragments of a table, and why.

use std::fmt;

use super::{group::Group, remaps::Hindrance};
use crate::planner::{skip_class::SkipClass, statistics::RewriteRefusal};

/// What the planner says of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Rewrite these groups, because of this. They do not depend on each other, and come best first: committed
    /// one after the other, they bring most of the benefit early.
    Compact(Vec<Group>, Reason),
    /// Leave it alone, because of this.
    Skip(Skip),
}

/// Why a table is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It has at least the threshold of small fragments.
    SmallFragments,
    /// A fragment has more deleted rows than allowed.
    DeletedRows,
    /// It has so many small fragments that windows and paces do not hold it back.
    Emergency,
    /// A user or the cron asked for it: thresholds do not count.
    Forced,
}

impl Reason {
    /// The reason as logs, metrics and the status spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Emergency => "emergency",
            Self::SmallFragments => "small_fragments",
            Self::DeletedRows => "deleted_rows",
            Self::Forced => "forced",
        }
    }
}

/// Why a table is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Skip {
    /// Nothing about its layout could be better.
    Tidy,
    /// Fewer small fragments of one size than the threshold, and few deleted rows.
    BelowThreshold,
    /// Every candidate is larger than one operation may read, and little of it is deleted.
    TooLarge,
    /// The writer of every candidate left no record of its rows, or its bytes are not known yet. A budget could not count
    /// them.
    Unmeasured,
    /// It is due, but each group by now reads more than the job was given. It is planned anew.
    Outgrown,
    /// It would be due, but for fragments that writers touch just now.
    Contended,
    /// It would be due, but an index over its fragments would be written in a format that the table's oldest client does
    /// not read.
    ClientTooOld,
    /// It would be due, but an index over its fragments would lose their rows: Lance cannot follow them with it.
    IndexCannotFollow,
    /// It would be due, but this build does not know the kind or the version of an index over its fragments.
    IndexUnreadable,
    /// It would be due, but the indexes over its fragments are so large that writing them anew is not worth it yet.
    IndexTooLarge,
    /// It would be due, but for fragments or indexes whose files lie outside of the target, where it allows nothing.
    BaseOutside,
    /// It would be due, but for fragments whose rewrite could not be read back.
    Unreadable,
    /// It would be due, but for fragments whose rewrite Lance or the store would not take.
    Refused,
    /// It would be due, but for fragments whose rewrite failed, more than once or for good.
    Failed,
    /// Lance or the store would refuse every commit of this build: the statistics tell why.
    Unwritable,
    /// It would be due, but for fragments with a row that is too large for the memory that a job has.
    RowTooLarge,
}

impl Skip {
    /// The reason as logs, metrics and the status spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tidy => "tidy",
            Self::BelowThreshold => "below_threshold",
            Self::TooLarge => "too_large",
            Self::Unmeasured => "unmeasured",
            Self::Outgrown => "outgrown",
            Self::Contended => "hot",
            Self::ClientTooOld => "client_too_old",
            Self::IndexCannotFollow => "index_cannot_follow",
            Self::IndexUnreadable => "index_unreadable",
            Self::IndexTooLarge => "index_too_large",
            Self::BaseOutside => "base_outside",
            Self::Unreadable => "unreadable_rewrite",
            Self::Refused => "rewrite_refused",
            Self::Failed => "rewrite_failed",
            Self::Unwritable => "unwritable",
            Self::RowTooLarge => "row_too_large",
        }
    }

    /// What it means for health, alerts and schedules.
    pub(in crate::planner) const fn class(self) -> SkipClass {
        match self {
            Self::Tidy | Self::BelowThreshold | Self::IndexTooLarge => SkipClass::Idle,
            Self::Contended => SkipClass::Busy,
            Self::Outgrown => SkipClass::Delayed,
            Self::BaseOutside => SkipClass::Excluded,
            Self::TooLarge
            | Self::Unmeasured
            | Self::ClientTooOld
            | Self::IndexCannotFollow
            | Self::IndexUnreadable
            | Self::Unreadable
            | Self::Refused
            | Self::Failed
            | Self::Unwritable
            | Self::RowTooLarge => SkipClass::Blocked,
        }
    }
}

impl From<Hindrance> for Skip {
    fn from(hindrance: Hindrance) -> Self {
        match hindrance {
            Hindrance::ClientTooOld => Self::ClientTooOld,
            Hindrance::CannotFollow => Self::IndexCannotFollow,
            Hindrance::Unreadable => Self::IndexUnreadable,
            Hindrance::Outside => Self::BaseOutside,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<RewriteRefusal> for Skip {
    fn from(refusal: RewriteRefusal) -> Self {
        match refusal {
            RewriteRefusal::Outside => Self::BaseOutside,
            RewriteRefusal::Unreadable => Self::Unreadable,
            RewriteRefusal::Refused => Self::Refused,
            RewriteRefusal::Failed => Self::Failed,
            RewriteRefusal::RowTooLarge => Self::RowTooLarge,
        }
    }
}
