//! Whether the wall clock can be trusted with removals, and what time it is.
//!
//! Files and versions are removed by their age, and a removal cannot be undone. The progress of the wall clock is compared
//! with that of a clock that is never set and that goes on while the machine is suspended. Where they differ by more
//! than [`watch::JUMP`], the wall clock has jumped: nothing is removed until it has been steady for [`watch::HOLD`]. A
//! clock that is slewed differs by two seconds an hour at most.
//!
//! | file | what is in it |
//! |---|---|
//! | [`watch`] | the decision, one reading after the other: pure |
//! | [`wall`] | the one watch of this process, and what time it is |
//! | [`monitor`] | reports jumps to the metrics and the schedules |

mod monitor;
mod wall;
mod watch;

pub(super) use self::{
    monitor::monitor,
    wall::{compare, distrust, jumps, not_ahead, now, steady_until},
};
