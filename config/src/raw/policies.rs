//! `[defaults]`, and the policies of a target and of a rule for tables.

use serde::Deserialize;
use squire_engine::planner::{Duty, Policy, compaction::CompactionPolicy, indexing::IndexPolicy};

use super::cleanup::RawCleanup;
use super::compaction::RawCompaction;
use super::index::RawIndex;
use super::pace::RawPace;
use super::windows::RawWindows;
use crate::settings::Policies;
use crate::values;

/// `[defaults]`: one section per policy.
#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawPolicies {
    pub(crate) compaction: RawCompaction,
    pub(crate) index: RawIndex,
    pub(crate) cleanup: RawCleanup,
    pub(crate) pace: RawPace,
    pub(crate) windows: RawWindows,
}

impl RawPolicies {
    /// These policies, with `fallback` where they say nothing.
    pub(crate) fn or(&self, fallback: &Self) -> Self {
        Self {
            compaction: self.compaction.or(&fallback.compaction),
            index: self.index.or(&fallback.index),
            cleanup: self.cleanup.or(&fallback.cleanup),
            pace: self.pace.or(&fallback.pace),
            windows: self.windows.or(&fallback.windows),
        }
    }

    /// Fills what is not set from the built-in defaults.
    pub(crate) fn resolve(&self) -> Policies {
        let default = Policies::default();
        let oldest_client = self.index.oldest_client.clone().flatten();
        let version = oldest_client.as_deref().and_then(values::lance_of);
        let cron_of = |duty| match duty {
            Duty::Compaction => &self.compaction.cron,
            Duty::Index => &self.index.cron,
            Duty::Cleanup => &self.cleanup.cron,
        };
        let crons = Duty::ALL.into_iter();
        let crons = crons.filter_map(|duty| Some((duty, cron_of(duty).clone()??)));
        Policies {
            table: Policy {
                compaction: CompactionPolicy {
                    oldest_client: version,
                    ..self.compaction.resolve()
                },
                index: IndexPolicy {
                    oldest_client: version,
                    ..self.index.resolve()
                },
                cleanup: self.cleanup.resolve(),
                pace: self.pace.resolve(),
                windows: self.windows.resolve(),
            },
            crons: crons.collect(),
            oldest_client,
            keep_manifests: self
                .cleanup
                .keep_manifests
                .map_or(default.keep_manifests, |kept| kept as u64),
            target_bytes_per_hour: self
                .pace
                .bytes_per_hour
                .unwrap_or(default.target_bytes_per_hour),
        }
    }
}
