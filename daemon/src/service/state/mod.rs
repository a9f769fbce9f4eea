//! What the daemon remembers over a restart, on its own disk: in `daemon.state_dir`, a file
//! `targets/NAME.json` for each target. Pauses have a file of their own, see `pauses/`.
//!
//! | file | what is in it |
//! |---|---|
//! | [`store`] | the store, in memory and on the disk |
//! | [`remembered`] | what is remembered, and what of it still counts: pure |

mod remembered;
mod store;

pub(super) use self::{
    remembered::{Clock, JobEnd, RestoredTable, WINDOW},
    store::State,
};
