//! Commands that run a duty by hand, or tell what is due and why.

pub(super) mod explain;
pub(super) mod run;
pub(super) mod status;
