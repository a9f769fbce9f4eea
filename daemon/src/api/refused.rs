//! What a client is told whose request was refused.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a request was refused, as whoever asked is told.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Refused {
    /// What is wrong, and what to do.
    pub(crate) error: String,
}
