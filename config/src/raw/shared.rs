//! Keys that several sections have.

use serde::Deserializer;

use crate::units;
use crate::values;

/// `oldest_client`.
pub(super) fn client<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Option<String>>, D::Error> {
    let form = "a client such as \"lancedb 0.30.2\", or \"auto\"";
    units::text(d, form, values::client)
}

/// `cron` of each duty.
pub(super) fn cron<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Option<String>>, D::Error> {
    let form = "a schedule such as \"0 */5 * * * *\", or \"off\"";
    units::text(d, form, values::cron)
}
