//! Squire's settings: typed, layered and checked before the daemon starts.
//!
//! Later layers win over earlier ones, key by key:
//!
//! 1. the built-in defaults ([`Daemon::default`], [`Policies::default`]);
//! 2. the settings file, usually `squire.toml`;
//! 3. `conf.d/*.toml` beside it, in the order of their names;
//! 4. the environment: `SQUIRE__DAEMON__TICK=5s` sets `daemon.tick`;
//! 5. flags of the command line: `--set daemon.tick=5s`;
//! 6. within a target, its own policies over the defaults, and over those each `[[target.table]]` whose pattern a table's
//!    name matches, in the order of the file ([`Target::policies_of`]).
//!
//! Targets are not layered but collected: every file may add some, and no two may share a name.
//!
//! | file | what is in it |
//! |---|---|
//! | [`layers`] | what settings are loaded from |
//! | [`load`], [`check`], [`value_check`] | laying the layers over each other; keys that are wrong together; a check of the program's own |
//! | [`loaded`], [`origins`] | the settings, and where each of them is set |
//! | [`reading`] | the file that is being read |
//! | [`files`], [`source`] | reading the files; one file, its keys with their places, what is wrong with it by itself |
//! | [`environment`], [`flags`], [`assignment`] | single keys that are set from outside of the files |
//! | [`overlap`] | whether targets are separate places |
//! | [`secret`], [`secrets_check`] | secrets; secrets in the wrong place |
//! | [`raw`], [`keys`], [`introspection`] | the settings as they are written, and the tree of keys that follows from them |
//! | [`units`], [`values`], [`window`] | reading values |
//! | [`suggest`] | the name that was probably meant |
//! | [`glob`] | patterns of table names |
//! | [`error`] | what is wrong, where, and how to put it right |
//! | [`settings`] | the settings as the daemon uses them |
//! | [`show`], [`serialize`] | the other way round: settings as a file says them |
//! | [`schema`], [`reference`] | the JSON schema for editors; what the annotated file says of the keys |
//!
//! The policies of tables are the planner's: see [`squire_engine::planner::Policy`]. Their defaults are there.
//!
//! Nothing is guessed. An unknown key, a wrong type or a value that cannot work is refused with
//! its place and the way to put it right ([`Problem`]). `squire.toml` in this crate's directory
//! describes every key.

mod assignment;
mod check;
mod environment;
mod error;
mod files;
mod flags;
mod glob;
mod introspection;
mod keys;
mod layers;
mod load;
mod loaded;
mod origins;
mod overlap;
mod raw;
mod reading;
mod reference;
mod schema;
mod secret;
mod secrets_check;
mod serialize;
mod settings;
mod show;
mod source;
mod suggest;
mod units;
mod value_check;
mod values;
mod window;

pub use error::{ConfigError, Place, Problem, Refusal};
pub use layers::Layers;
pub use loaded::Loaded;
pub use reading::Reading;
pub use schema::json_schema;
pub use secret::{
    Origin, Secret, SecretError, TLS_KEY_CREDENTIAL, TOKEN_CREDENTIAL, TOKEN_VARIABLE, Unfit,
    credential,
};
pub use settings::{Daemon, LogFormat, Policies, Settings, Target, Tls};
pub use show::{Setting, Shown};
pub use value_check::ValueCheck;
