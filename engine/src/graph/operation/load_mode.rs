//! How a load treats the rows that a table has.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What happens to the rows that a table has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LoadMode {
    /// They stay; every new row is added.
    Append,
    /// Those with the key of a new row are replaced by it; other new rows are added.
    Upsert,
    /// They go; the table holds the new rows alone.
    Overwrite,
}

impl fmt::Display for LoadMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Append => "append",
            Self::Upsert => "upsert",
            Self::Overwrite => "overwrite",
        })
    }
}

impl FromStr for LoadMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "append" => Ok(Self::Append),
            "upsert" => Ok(Self::Upsert),
            "overwrite" => Ok(Self::Overwrite),
            other => Err(format!(
                "`{other}` is not a mode: use append, upsert or overwrite"
            )),
        }
    }
}
