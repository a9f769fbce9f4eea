//! Commands that run a duty by hand, or show what is due and why.
//!
//! | file | what is in it |
//! |---|---|
//! | [`run`] | `squire compact`, `squire index` and `squire cleanup` |
//! | [`report`] | what these did, or would do, in words: pure |
//! | [`configured`] | the policies and pauses that hold for the target of a command |
//! | [`status`] | `squire status` |
//! | [`explain`] | `squire explain` |

mod configured;
mod explain;
mod report;
mod run;
mod status;

pub(super) use self::{
    configured::Configured,
    explain::run as explain,
    run::{Request, run},
    status::run as status,
};
