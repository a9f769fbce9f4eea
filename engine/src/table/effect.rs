//! An effect as bytes: what a sidecar keeps of an uncommitted Lance transaction.
//!
//! These types are written to the store as a part of a sidecar: the names of their fields are the format.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::TableKey;

/// One table's share of an operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Effect {
    pub(crate) table: TableKey,
    pub(crate) path: String,
    /// The version it was staged at; 0 for a new table.
    pub(crate) base: u64,
    /// The Lance transaction, as protobuf.
    pub(crate) transaction: Blob,
    /// The rows that it deletes or updates, as Lance serialises them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) affected_rows: Option<Blob>,
}

/// Bytes that stand as base64 in JSON.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Blob(pub(crate) Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        BASE64
            .decode(text.as_bytes())
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}
