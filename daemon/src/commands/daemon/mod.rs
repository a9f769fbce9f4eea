//! Commands that control a running daemon, and install it.
//!
//! | file | what is in it |
//! |---|---|
//! | [`client`] | requests to the running daemon over HTTP |
//! | [`pause`] | `squire pause`, `squire resume` and `squire pauses` |
//! | [`reload`] | `squire reload` |
//! | [`service`] | `squire service install` and `squire service remove` |

pub(super) mod client;
pub(super) mod pause;
pub(super) mod reload;
pub(super) mod service;
