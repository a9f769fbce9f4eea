//! Squire's settings: typed, layered and checked before the daemon starts.
//!
//! Later layers win over earlier ones, key by key:
//!
//! 1. the built-in defaults ([`Daemon::default`], [`Compaction::default`]);
//! 2. the settings file, usually `squire.toml`;
//! 3. `conf.d/*.toml` beside it, in the order of their names;
//! 4. the environment: `SQUIRE__DAEMON__TICK=5s` sets `daemon.tick`.
//!
//! Targets are not layered but collected: every file may add some, and no two may share a name.
//!
//! Nothing is guessed. An unknown key, a wrong type or a value that cannot work is refused with
//! its place and the way to put it right ([`Problem`]). `squire.toml` in this crate's directory
//! describes every key.

mod check;
mod environment;
mod error;
mod keys;
mod load;
mod raw;
mod settings;
mod source;
mod units;
mod values;

pub use error::{ConfigError, Place, Problem};
pub use settings::{Compaction, Daemon, Drift, LogFormat, Settings, Target};
