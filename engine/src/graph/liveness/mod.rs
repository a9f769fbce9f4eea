//! Liveness: whether the holders of tickets are alive.
//!
//! A holder with a ticket rewrites its heartbeat object every third of a lease. It is dead when the heartbeat is
//! older than the lease by the store's own clock *and* has not changed for a beat on the observer's monotonic
//! clock; a holder without a heartbeat, when none has appeared for a lease. Either way the ticket in question must
//! have been watched for a lease: what a holder did before that says nothing. Safety does not depend on it: a wrong
//! judgement costs one aborted operation, which is retried.
//!
//! | file | what is in it |
//! |---|---|
//! | `heartbeat` | this process's own heartbeat, and the objects of heartbeats |
//! | `failure_detector` | which other holders are dead |
//! | `store_clock` | the store's own clock |

mod failure_detector;
mod heartbeat;
mod store_clock;

pub(crate) use failure_detector::FailureDetector;
pub(crate) use heartbeat::{Alive, Heartbeat};
