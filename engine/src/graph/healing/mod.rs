//! Healing: what crashed, stalled or suspended writers left behind is carried to its end, in any process.
//!
//! It is steps 8 to 10 for a decided ticket, `abort` for a waiting one, and the removal of what no manifest names any
//! more. Any number of healers may work at once and beside a live owner; they take no lock. Healing only rolls
//! forward. `docs/protocol.md`, Healing, has the rules.
//!
//! | file | what is in it |
//! |---|---|
//! | `round` | one round over the queue and over what is left over |
//! | `ticket` | healing one ticket |
//! | `report` | what a round did, and what it left |
//! | `sidecars` | which sidecars there are |
//! | `orphans` | sidecars that no manifest names |
//! | `sweep`, `sweep_schedule` | old heartbeats and half-written files |
//! | `in_progress` | which operations this process heals at the moment |

pub(crate) mod in_progress;
pub(crate) mod orphans;
mod report;
mod round;
pub(crate) mod sidecars;
mod sweep;
pub(crate) mod sweep_schedule;
mod ticket;

pub use report::{Healed, Left};
pub(crate) use round::{Leftovers, round};
pub(crate) use ticket::{Heal, heal_ticket};
