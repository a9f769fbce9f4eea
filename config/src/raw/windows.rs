//! `windows`, in `[defaults]`, a target and a rule for tables.

use serde::{Deserialize, Deserializer};
use squire_engine::planner::window::{Window, Windows};

use crate::units;
use crate::window;

/// When maintenance may run.
#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawWindows {
    #[serde(deserialize_with = "allowed")]
    allowed: Option<Vec<Window>>,
    #[serde(deserialize_with = "blackout")]
    blackout: Option<Vec<Window>>,
}

impl RawWindows {
    /// This policy, with `fallback` where it says nothing.
    pub(crate) fn or(&self, fallback: &Self) -> Self {
        Self {
            allowed: self.allowed.clone().or_else(|| fallback.allowed.clone()),
            blackout: self.blackout.clone().or_else(|| fallback.blackout.clone()),
        }
    }

    /// Fills what is not set from the built-in defaults.
    pub(crate) fn resolve(&self) -> Windows {
        let default = Windows::default();
        Windows {
            allowed: self.allowed.clone().unwrap_or(default.allowed),
            blackout: self.blackout.clone().unwrap_or(default.blackout),
        }
    }
}

const FORM: &str = "a list of times such as [\"Mon-Fri 22:00-06:00\", \"Sat,Sun 00:00-24:00\"]";

fn allowed<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Vec<Window>>, D::Error> {
    units::texts(d, FORM, window::window)
}

fn blackout<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Vec<Window>>, D::Error> {
    units::texts(d, FORM, window::window)
}
