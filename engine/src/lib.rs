//! Squire's engine: graphs of Lance tables that change together under one manifest.
//!
//! The words. A **graph** is many Lance tables under one root. Its **manifest** is the one register: numbered,
//! immutable objects, each holding the whole state; the newest is the graph. A table's **pin** is the Lance version
//! that the manifest publishes, its **head** the newest there is, and **drift** a head past the pin that no
//! **ticket** explains. A ticket is an **operation**'s place in the manifest's queue; a **sidecar** is its redo log.
//! A **holder** is a process that has tickets. Logical operations change what the data means, physical ones how it
//! is laid out, and a physical operation never fails, blocks or delays a logical one.
//!
//! Data flows one way:
//!
//! ```text
//! graph ─► operation ─► manifest (register ─► transition)
//!   │          │    └─► sidecar
//!   │          └──────► table (staged effects, the exact-version commit, drift, statistics) ─► Lance
//!   ├─► healing ─► operation::effects
//!   │          └─► leftovers
//!   └─► repair ──► healing, drift
//! maintenance, schema and manifest::transition decide; they are pure and ask no store.
//! ```
//!
//! `docs/protocol.md` has the rules and their reasons.

mod cause;
mod collection;
mod core;
mod directory;
mod echo;
mod error;
pub mod failpoint;
#[cfg(feature = "failpoints")]
pub mod fuzz;
mod graph;
mod guard;
mod healing;
pub mod input;
mod leftovers;
mod liveness;
pub mod maintenance;
pub mod manifest;
pub mod memory;
pub mod names;
mod obstacle;
mod operation;
mod presence;
pub mod progress;
mod purge;
mod repair;
pub mod schema;
mod sidecar;
mod storage;
mod table;

pub use collection::ManifestRetention;
pub use directory::{Directory, DirectoryOptions, Kind, detect};
pub use echo::without_echo;
pub use error::{Advice, Error, ErrorKind, Result};
pub use graph::{Graph, LogEntry, Options, Snapshot};
pub use healing::{Healed, Left};
pub use leftovers::{Orphan, SidecarLook, SidecarState};
pub use names::{OperationId, TableKey};
pub use obstacle::Obstacle;
pub use operation::{
    DeleteRequest, LoadMode, LoadRequest, Receipt, Rows, SchemaRequest,
    index::{IndexReceipt, Indexed},
    waiting::Waiting,
};
pub use presence::{Other, Presence, Resident};
pub use repair::{DriftLook, Drifted, Finding, Quarantined, Remedy, Repaired, Standing};
pub use storage::{Beyond, DeletionRule, Owned, Passed, Wall, deleted, passed_over, try_to_own};
pub use table::{
    drift::{DriftPolicy, DriftVersion},
    indexing::LeftBehind,
    kept::Kept,
    loss::Loss,
    removal::{Cleaned, CleanupPreview, CleanupReceipt, Removed},
    rewrite::{CompactReceipt, Compacted, GroupFailure},
    stats::{
        FragmentStats, IndexRefusal, IndexStats, MissingIndex, RewriteRefusal, SegmentStats,
        TableStats, Unmovable, VersionInfo,
    },
    unwritable::Unwritable,
};
