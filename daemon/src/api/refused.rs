//! The answer to a client whose request was refused.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a request was refused, as the client reads it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Refused {
    /// What is wrong, and what to do.
    pub(crate) error: String,
}
