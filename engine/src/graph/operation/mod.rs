//! Operations: what changes a graph, and the one lifecycle that all of them go through.
//!
//! | file | what is in it |
//! |---|---|
//! | `load`, `delete`, `schema_apply` | logical operations: what to stage |
//! | `load_mode`, `receipt` | how a load treats the rows that are there; what an acknowledged operation did |
//! | [`compact`], [`index`] | physical operations: what to work on, and what it needs to find unchanged |
//! | `physical` | how a physical operation enters, with its work done before |
//! | [`cleanup`] | the removal of old versions |
//! | [`removal_notice`] | the manifest says that versions go, before they do |
//! | `work`, `staging`, `prepared` | what a logical operation is, what several need to stage, and one that is staged |
//! | `lifecycle` | a logical operation from its classification to its acknowledgement (steps 1 to 10) |
//! | `ticket_guard` | a waiting ticket, taken back when its call fails |
//! | `effects` | apply, publish, clear (steps 8 to 10), for owners and healers alike |
//! | `apply` | step 8 for one table |
//! | `conclude` | how a decided operation ends: published, discarded, called off or quarantined |
//! | `outcome` | what carrying out an operation came to, and what that means to its caller |
//! | `expiry` | an operation whose staged files have expired is not decided |
//! | `restage` | staging an effect again, where other commits came in between |
//! | `queue_wait` | waiting in the manifest's queue, and healing the operations ahead |
//! | `waiting` | which operation waits for which |

mod apply;
pub(crate) mod cleanup;
pub(crate) mod compact;
mod conclude;
mod delete;
pub(crate) mod effects;
mod expiry;
pub(crate) mod index;
mod lifecycle;
mod load;
mod load_mode;
pub(crate) mod outcome;
mod physical;
mod prepared;
mod queue_wait;
mod receipt;
pub(crate) mod removal_notice;
pub(crate) mod restage;
mod schema_apply;
mod staging;
mod ticket_guard;
pub(crate) mod waiting;
mod work;

pub(crate) use delete::delete as delete_rows;
pub(crate) use load::load as load_rows;
pub(crate) use schema_apply::{apply as apply_schema, create as create_types};

pub use delete::DeleteRequest;
pub use load::{LoadRequest, Rows};
pub use load_mode::LoadMode;
pub use receipt::Receipt;
pub use schema_apply::SchemaRequest;
