//! `/api/v1`: the state of a running daemon as JSON, and requests to it. [`authorization`](super::access::authorization)
//! decides who may send which.
//!
//! | file | what is in it |
//! |---|---|
//! | [`router`] | the routes, and their description in OpenAPI |
//! | [`state`] | what the handlers share |
//! | [`extract`] | refusals, and how requests are read |
//! | [`overview`] | the daemon as a whole |
//! | [`targets`] | targets, tables and queues |
//! | [`jobs`] | jobs that run, those that ended, and requests for more |
//! | [`pauses`] | pauses |
//!
//! The types that cross HTTP are those of [`crate::api`]. A client that follows the daemon asks again and again with the
//! revision of the last answer: `since`.

mod extract;
mod jobs;
mod overview;
mod pauses;
mod router;
mod state;
mod targets;

pub(super) use self::router::router;
pub(in crate::service) use self::state::Api;
