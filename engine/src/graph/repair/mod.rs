//! Repair: what waits for an operator, and what can be done about it. A preview changes nothing.
//!
//! | file | what is in it |
//! |---|---|
//! | `finding` | the findings, and how each is acted on |
//! | `repaired` | what was done about one |
//! | `quarantine` | a quarantined operation: where its effect is, and how it is resolved |
//! | `remedy` | from what was seen of it to what is done: a pure function |
//! | `drift` | tables whose head is past the pin although no ticket explains it |
//!
//! A repair that is killed anywhere can be run again: it fences, it looks, and only then it changes the manifest, by
//! one transition.

mod drift;
mod finding;
mod quarantine;
mod remedy;
mod repaired;

pub use drift::{DriftLook, Drifted};
pub(crate) use drift::{adopt, look as look_for_drift};
pub use finding::Finding;
pub(crate) use finding::{findings, repair};
pub use quarantine::Quarantined;
pub(crate) use quarantine::give_up;
pub use remedy::{EffectState, Remedy, Word};
pub use repaired::Repaired;
