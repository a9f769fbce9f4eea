//! `[daemon.tls]`: who may listen in on the way.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer};

use crate::settings::Tls;
use crate::units;
use crate::values;

/// `[daemon.tls]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawTls {
    #[serde(deserialize_with = "certificate")]
    certificate: Option<Option<PathBuf>>,
    #[serde(deserialize_with = "key")]
    key: Option<Option<PathBuf>>,
}

impl RawTls {
    /// Fills what is not set: both files are off.
    pub(crate) fn resolve(self) -> Tls {
        Tls {
            certificate: self.certificate.flatten(),
            key: self.key.flatten(),
        }
    }
}

fn certificate<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Option<PathBuf>>, D::Error> {
    let form = "the absolute path of a PEM file, or \"off\"";
    units::text(d, form, |text| values::path(text, "/etc/squire/tls.pem"))
}

fn key<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Option<PathBuf>>, D::Error> {
    let form = "the absolute path of a PEM file, or \"off\"";
    units::text(d, form, |text| values::path(text, "/etc/squire/tls.key"))
}
