//! What to do about semantic drift.

use std::{fmt, str::FromStr};

/// What to do about a table whose meaning another program changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriftPolicy {
    /// Logical operations on it fail with [`crate::Error::Drift`], until an operator has looked.
    #[default]
    Error,
    /// The change is taken along, as long as the table still has the columns that the schema declares.
    Adopt,
}

impl fmt::Display for DriftPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Adopt => "adopt",
        })
    }
}

impl FromStr for DriftPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "error" => Ok(Self::Error),
            "adopt" => Ok(Self::Adopt),
            other => Err(format!(
                "`{other}` is no way to treat drift: use error or adopt"
            )),
        }
    }
}
