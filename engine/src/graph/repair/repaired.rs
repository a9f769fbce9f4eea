//! What was done about a finding.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::TableKey;

/// What was done about a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Repaired {
    /// The operation is published: readers see all of it.
    Published {
        /// The first manifest that shows it.
        manifest: u64,
        /// The new pins.
        pins: BTreeMap<TableKey, u64>,
    },
    /// The operation is published without its effect on some tables, as the operator asked.
    PublishedInPart {
        /// The first manifest that shows it.
        manifest: u64,
        /// The tables that its effect is missing in, or may be.
        without: BTreeSet<TableKey>,
    },
    /// The operation is discarded: it took place nowhere.
    Discarded,
    /// The head of the table is the pin now.
    Adopted {
        /// The new pin.
        pin: u64,
    },
    /// The operation is quarantined: a repair can resolve it.
    GivenUp,
    /// The sidecar is removed.
    Removed,
    /// Nothing was done, because of this.
    Left(String),
}
