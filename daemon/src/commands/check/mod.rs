//! `squire check`: what is wrong with a configuration, with its targets, and with this machine; it changes
//! nothing.
//!
//! | file | what is in it |
//! |---|---|
//! | [`run`] | what is checked, and what is printed |
//! | [`finding`] | what was found, how bad it is, the exit code: pure |
//! | [`targets`] | opens the targets, to read only |
//! | [`readable`] | whether the application could read what the daemon writes |
//! | [`schedules`] | when each cron schedule comes next |
//! | [`machine`] | the port, the memory, the state folder |

mod finding;
mod machine;
mod readable;
mod run;
mod schedules;
mod targets;

pub(super) use self::run::run;
