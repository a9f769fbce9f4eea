//! What Prometheus sees of a daemon, and what it makes of it: names and units, rules, alerts, the dashboard, the runbook.
//! Prometheus's own tools judge, and a real server scrapes a real daemon.
#![allow(missing_docs)]

mod aging;
mod exported;
mod guarded;
mod names;
mod rules;
mod scene;
mod server;
mod shipped;
