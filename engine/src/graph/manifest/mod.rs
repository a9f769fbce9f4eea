//! The manifest: a graph's whole state, in numbered, immutable objects.
//!
//! | file | what is in it |
//! |---|---|
//! | `state` | the state that one manifest object holds |
//! | `ticket` | the operations in the queue, and how they end |
//! | [`transition`] | the pure functions from one manifest to the next |
//! | `structure` | what a schema apply changes besides pins |
//! | `restructure` | how that comes from its steps, and what it does to a manifest |
//! | `unknown` | fields that a newer build wrote |
//! | `removal` | transitions that let something go |
//! | `refusal` | why a manifest refuses a transition |
//! | `codec` | a manifest as bytes |
//! | `log` | the numbered objects: the only place that reads and writes manifests |
//! | `group_commit` | compare-and-set: how the calls of a process change the manifest |
//! | `pending` | calls that wait for the next write |
//! | `batch` | several transitions in one manifest |

mod batch;
mod codec;
mod group_commit;
mod log;
mod pending;
mod refusal;
mod removal;
mod restructure;
mod state;
mod structure;
mod ticket;
pub mod transition;
mod unknown;

pub use crate::ids::{OperationKind, Touched};
#[cfg(feature = "failpoints")]
pub(crate) use codec::again;
pub(crate) use log::ManifestLog;
pub(crate) use pending::ChangeResult;
pub use refusal::Refusal;
pub use state::{Change, FORMAT, Manifest, Outcome, Purge, TableEntry};
pub use structure::Structure;
pub use ticket::{Contested, Ending, Ticket, TicketState};
pub use transition::Step;
pub use unknown::UnknownFields;
