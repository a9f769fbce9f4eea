//! The name of this machine.

use squire_engine::Options;

/// This machine's name.
pub(super) fn host() -> String {
    Options::default()
        .actor
        .rsplit_once('@')
        .map_or_else(|| "unknown".to_owned(), |(_, host)| host.to_owned())
}
