//! `pace`, in `[defaults]`, a target and a rule for tables.

use serde::{Deserialize, Deserializer};
use squire_engine::planner::pace::Pace;

use super::bounds::MIB;
use crate::units::{self, Bounds};

/// How much maintenance may do in a time.
#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawPace {
    #[serde(deserialize_with = "bytes_per_hour")]
    pub(crate) bytes_per_hour: Option<Option<u64>>,
    #[serde(deserialize_with = "table_bytes_per_hour")]
    table_bytes_per_hour: Option<Option<u64>>,
    #[serde(deserialize_with = "intensity")]
    intensity: Option<f64>,
}

impl RawPace {
    /// This policy, with `fallback` where it says nothing.
    pub(crate) fn or(&self, fallback: &Self) -> Self {
        Self {
            bytes_per_hour: self.bytes_per_hour.or(fallback.bytes_per_hour),
            table_bytes_per_hour: self.table_bytes_per_hour.or(fallback.table_bytes_per_hour),
            intensity: self.intensity.or(fallback.intensity),
        }
    }

    /// The pace of a table: fills what is not set from the built-in defaults.
    pub(crate) fn resolve(&self) -> Pace {
        let default = Pace::default();
        Pace {
            bytes_per_hour: self.table_bytes_per_hour.unwrap_or(default.bytes_per_hour),
            intensity: self.intensity.unwrap_or(default.intensity),
        }
    }
}

/// Of a target and of a table alike.
const BUDGET: Bounds<u64> = Bounds {
    least: MIB,
    too_small: "small fragments would pile up faster than they may be merged",
    most: 1 << 60,
    too_large: "no store is that fast; \"off\" means no limit",
};

fn bytes_per_hour<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Option<u64>>, D::Error> {
    units::size_or_off(d, &BUDGET)
}

fn table_bytes_per_hour<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Option<u64>>, D::Error> {
    units::size_or_off(d, &BUDGET)
}

fn intensity<'de, D: Deserializer<'de>>(d: D) -> Result<Option<f64>, D::Error> {
    units::fraction(
        d,
        &Bounds {
            least: 0.01,
            too_small: "a job of a minute would be followed by a rest of hours",
            most: 1.0,
            too_large: "a job takes no more than all of the time",
        },
    )
}
