//! `squire service install` and `squire service remove`: Squire as a service of systemd.
//!
//! | file | what is in it |
//! |---|---|
//! | [`run`] | the steps of both commands |
//! | [`words`] | paths and arguments as systemd reads them: pure |
//! | [`reach`] | the folders that the service must reach: pure |
//! | [`unit`] | the unit, made of the hardened one: pure |
//! | [`settings`] | a small configuration: pure |
//! | [`account`] | as whom it runs: pure |
//! | [`layout`] | where the files are; reading, writing, removing them |
//! | [`manager`] | the programs of systemd |

mod account;
mod layout;
mod manager;
mod reach;
mod run;
mod settings;
mod unit;
mod words;

pub(in crate::commands) use self::run::run;
