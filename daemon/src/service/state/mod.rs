//! What the daemon keeps on its own disk, in `daemon.state_dir`.
//!
//! | room | what is in it |
//! |---|---|
//! | [`whole`] | files that are never half there |

pub(super) mod whole;
