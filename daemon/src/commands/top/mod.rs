//! `squire top`: the status page in a terminal.
//!
//! | file | what is in it |
//! |---|---|
//! | [`app`] | the program: polls, draws, acts |
//! | [`poll`] | polls the daemon, and sends it requests |
//! | [`snapshot`] | all that the daemon reported |
//! | [`panes`], [`columns`] | from a snapshot to rows of cells |
//! | [`view`], [`keys`] | the user's view: focus, filter, dialogs; keys |
//! | [`draw`] | from all of this to the screen |
//! | [`terminal`] | the terminal itself |
//!
//! `snapshot`, `panes`, `columns`, `view`, `keys` and `draw` are pure: they are tested without a terminal and without a
//! daemon.

mod app;
mod columns;
mod draw;
mod keys;
mod panes;
mod poll;
mod snapshot;
mod terminal;
#[cfg(test)]
mod tests;
mod view;

pub(super) use self::app::run;
