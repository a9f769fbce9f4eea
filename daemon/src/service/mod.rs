//! The daemon: `squire run`.
//!
//! | module | what is in it |
//! |---|---|
//! | [`run`] | start, serve, stop |
//! | [`keeper`] | one per target: polls, decides, runs jobs; heals and adopts drift beside that |
//! | [`supervisor`] | starts, updates, restarts and stops the keepers |
//! | [`schedule`] | cron schedules, and other triggers of a duty |
//! | [`job_slots`] | how many jobs run at once |
//! | [`pauses`] | targets and tables that users pause, over a restart |
//! | [`state`] | budgets, back-off, requests and last successes, over a restart |
//! | [`status`] | what keepers know and do: keepers write, the API reads |
//! | [`health`], [`liveness`] | the health of the daemon; whether each keeper makes progress |
//! | [`metrics`] | the Prometheus metrics |
//! | [`http`] | `/metrics`, the probes, `/api/v1` and the status page |
//! | [`reload`] | applies another configuration, or rejects it |
//! | [`systemd`] | readiness, watchdog, status line, signals |
//! | [`presence`] | other daemons on the same targets |
//! | [`clock`] | whether the wall clock can be trusted with removals |
//! | [`atomic_file`], [`flush_loop`], [`folders`], [`host`] | files, folders and the name of this machine |
//!
//! The dependencies run one way: `run` → `reload` → `supervisor` → `keeper`; `run` → `http`; all of these → `metrics`,
//! `status`, `state`, `pauses`, `schedule`; none of those points back.

mod atomic_file;
mod clock;
mod flush_loop;
pub(crate) mod folders;
mod health;
mod host;
pub(crate) mod http;
mod job_slots;
mod keeper;
mod liveness;
mod metrics;
pub(crate) mod pauses;
mod presence;
pub(crate) mod reload;
mod run;
pub(crate) mod schedule;
mod state;
mod status;
mod supervisor;
pub(crate) mod systemd;

pub(crate) use self::run::run;
