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
//! | room | what is in it |
//! |---|---|
//! | [`layers`] | what settings are loaded from, and what comes of it |
//! | [`reading`] | a note of what is being read |
//! | [`files`], [`source`] | reading the files; one file, its keys with their places, what is wrong with it by itself |
//! | [`environment`], [`flags`], [`assignment`] | single keys that are set from outside of the files |
//! | [`apart`] | whether targets are apart |
//! | [`load`], [`check`] | laying the layers over each other; keys that are wrong together |
//! | [`secret`], [`misplaced`] | secrets, and secrets in the wrong place |
//! | [`raw`], [`keys`], [`asking`] | the settings as they are written, and the tree of keys that follows from them |
//! | [`units`], [`values`], [`window`] | reading values |
//! | [`settings`] | the settings as the daemon uses them |
//! | [`show`], [`origins`], [`written`] | the other way round: settings as a file would say them, and where they come from |
//! | [`schema`], [`reference`] | the JSON schema for editors; what the annotated file says of the keys |
//!
//! Nothing is guessed. An unknown key, a wrong type or a value that cannot work is refused with
//! its place and the way to put it right ([`Problem`]). `squire.toml` in this crate's directory
//! describes every key.

mod apart;
mod asking;
mod assignment;
mod check;
mod environment;
mod error;
mod files;
mod flags;
mod glob;
mod keys;
mod layers;
mod load;
mod misplaced;
mod origins;
mod raw;
mod reading;
mod reference;
mod schema;
mod secret;
mod settings;
mod show;
mod source;
mod units;
mod values;
mod window;
mod written;

pub use error::{ConfigError, Place, Problem, Refusal};
pub use layers::{Judge, Layers, Loaded};
pub use reading::Reading;
pub use schema::json_schema;
pub use secret::{
    Origin, Secret, SecretError, TLS_KEY_CREDENTIAL, TOKEN_CREDENTIAL, TOKEN_VARIABLE, Unfit,
    credential,
};
pub use settings::{
    Cleanup, Compaction, Daemon, Drift, Index, Kind, LogFormat, Pace, Policies, Settings, Target,
    Tls, Verify, Window, Windows,
};
pub use show::{Setting, Shown};
