//! The commands that users run, by what they are for.
//!
//! | module | what is in it |
//! |---|---|
//! | [`dispatch`] | from the command line to the command |
//! | [`open`], [`signals`] | opens what a command works on; stops it on a signal |
//! | [`graph`] | make, change, load and repair a graph |
//! | [`maintenance`] | run a duty by hand, or ask what is due and why |
//! | [`daemon`] | control a running daemon; install it as a service |
//! | [`check`] | what is wrong with a configuration, its targets and this machine |
//! | [`top`] | the status page in a terminal |
//! | [`man`] | manual pages, made of what `--help` says |

mod check;
mod daemon;
mod dispatch;
mod graph;
mod maintenance;
mod man;
mod open;
mod signals;
mod top;

pub(crate) use self::dispatch::dispatch;
