//! Squire's engine: maintenance of Lance tables, in directories whose writers know nothing of Squire, and in graphs, which
//! change together under one manifest. `docs/architecture.md` has the folders and which may use which.
//!
//! The words. A **graph** is many Lance tables under one root. Its **manifest** is the whole state, as a
//! numbered, immutable object; the newest is the graph. A table's **pin** is the Lance version
//! that the manifest publishes, its **head** the newest there is, and **drift** a head past the pin that no
//! **ticket** explains. A ticket is an **operation**'s place in the manifest's queue; a **sidecar** is its redo log.
//! A **holder** is a process that has tickets. Logical operations change what the data means, physical ones how it
//! is laid out, and a physical operation never fails, blocks or delays a logical one.
//!
//! In a graph, data flows one way:
//!
//! ```text
//! graph ─► operation ─► manifest (log ─► transition)
//!   │          │    └─► sidecar
//!   │          └──────► table (staged effects, the exact-version commit, drift, statistics) ─► Lance
//!   ├─► healing ─► operation
//!   └─► repair ──► healing, drift
//! planner, schema and graph::manifest::transition decide; they are pure and ask no store.
//! ```
//!
//! `docs/protocol.md` has the rules and their reasons.
//!
//! | file | what is in it |
//! |---|---|
//! | `graph` | many tables that change together under one manifest |
//! | `directory` | plain Lance tables under one root |
//! | `table` | one Lance table, for both |
//! | `planner` | what to do with the layout of a table, and when |
//! | `schema` | the schema of a graph |
//! | `storage` | where a target lives: one root on one store |
//! | `error` | the error of the engine |
//! | `ids` | names of tables, operations and holders |
//! | `memory` | one figure for the memory of the process, and its parts |
//! | `progress` | how far a job has come |
//! | `redact` | hides what a store repeats of a request |
//! | `failpoint` | named moments at which a test stops or ends a process |
//! | `fuzz` | what reads bytes of others, for fuzzing |

mod directory;
mod error;
pub mod failpoint;
#[cfg(feature = "failpoints")]
pub mod fuzz;
mod graph;
pub mod ids;
pub mod memory;
pub mod planner;
pub mod progress;
mod redact;
pub mod schema;
mod storage;
mod table;

pub use graph::{input, manifest};

pub use directory::{Directory, DirectoryOptions, Kind, detect};
pub use error::obstacle::Obstacle;
pub use error::{Advice, Error, ErrorKind, Result};
pub use graph::healing::{Healed, Left};
pub use graph::healing::{
    orphans::Orphan,
    sidecars::{SidecarLook, SidecarState},
};
pub use graph::manifest_retention::ManifestRetention;
pub use graph::operation::{
    DeleteRequest, LoadMode, LoadRequest, Receipt, Rows, SchemaRequest, waiting::Waiting,
};
pub use graph::repair::{
    DriftLook, Drifted, EffectState, Finding, Quarantined, Remedy, Repaired, Word,
};
pub use graph::{Graph, LogEntry, Options, Snapshot};
pub use ids::{OperationId, TableKey};
pub use planner::statistics::{
    FragmentStats, IndexRefusal, IndexStats, MissingIndex, RewriteRefusal, SegmentStats,
    TableStats, Unmovable, Unwritable, VersionInfo,
};
pub use redact::without_echo;
pub use storage::presence::{Other, Presence, Resident};
pub use storage::uri;
pub use storage::{
    AccessDenied, Beyond, DeletionRule, Owned, Passed, deleted, passed_over, try_to_own,
};
pub use table::{
    discard::Loss,
    drift::{DriftPolicy, DriftVersion},
    indexing::{
        LeftBehind,
        receipt::{IndexReceipt, Indexed},
    },
    removal::{Cleaned, CleanupPreview, CleanupReceipt, Removed},
    retention::Kept,
    rewrite::{CompactReceipt, Compacted, GroupFailure},
};
