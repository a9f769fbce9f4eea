//! Commands that control a running daemon, and install it.

pub(super) mod client;
pub(super) mod pause;
pub(super) mod reload;
pub(super) mod service;
