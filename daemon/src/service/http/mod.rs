//! What the daemon answers over HTTP: `/metrics` for Prometheus, `/healthz`, `/livez` and `/readyz` for probes, and [`api`]
//! for users.
//!
//! | module | what is in it |
//! |---|---|
//! | [`server`] | serves all of it; metrics and probes |
//! | [`access`] | token, certificate, limits, and who may request what |
//! | [`api`] | `/api/v1` |
//! | [`page`] | the status page |

pub(crate) mod access;
pub(super) mod api;
mod page;
mod server;

pub(super) use self::server::serve;
