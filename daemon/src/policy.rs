//! From what the config says to what the planner is asked.

use squire_config::{Policies, Windows as ConfigWindows};
use squire_engine::planner::{
    Duty, Policy,
    cleanup::CleanupPolicy,
    clients::{Client, LanceVersion},
    compaction::{CompactionPolicy, Verify},
    indexing::IndexPolicy,
    pace::Pace,
    window::{Window, Windows},
};

/// The planner's policy of one table.
pub(crate) fn of_table(policies: &Policies) -> Policy {
    let (compaction, index, cleanup) = (&policies.compaction, &policies.index, &policies.cleanup);
    let oldest_client = oldest_client(policies);
    Policy {
        compaction: CompactionPolicy {
            enabled: compaction.enabled,
            interval_floor: compaction.interval_floor,
            target_bytes: compaction.target_bytes_per_file,
            small_bytes: compaction.small_fragment_bytes,
            min_small_fragments: compaction.min_small_fragments,
            max_deleted_fraction: compaction.max_deleted_fraction,
            max_source_bytes: compaction.max_source_bytes,
            emergency_small_fragments: compaction.emergency_small_fragments,
            oldest_client,
            verify: match compaction.verify {
                squire_config::Verify::Off => Verify::Off,
                squire_config::Verify::Ends => Verify::Ends,
                squire_config::Verify::Full => Verify::Full,
            },
        },
        index: IndexPolicy {
            enabled: index.enabled,
            interval_floor: index.interval_floor,
            max_unindexed_rows: index.max_unindexed_rows,
            max_unindexed_bytes: index.max_unindexed_bytes,
            max_unindexed_fraction: index.max_unindexed_fraction,
            min_unindexed_rows: index.min_unindexed_rows,
            max_segments: index.max_segments,
            oldest_client,
        },
        cleanup: CleanupPolicy {
            enabled: cleanup.enabled,
            interval_floor: cleanup.interval_floor,
            keep_for: cleanup.keep_for,
            keep_versions: cleanup.keep_versions,
            min_versions: cleanup.min_versions,
            emergency_versions: cleanup.emergency_versions,
        },
        pace: Pace {
            bytes_per_hour: policies.pace.table_bytes_per_hour,
            intensity: policies.pace.intensity,
        },
        windows: windows(&policies.windows),
    }
}

/// The oldest client that the config names. It has been checked there.
fn oldest_client(policies: &Policies) -> Option<LanceVersion> {
    let named = policies.index.oldest_client.as_deref()?;
    named.parse::<Client>().ok().map(|client| client.0)
}

/// The pace of a target as a whole.
pub(crate) fn of_target(policies: &Policies) -> Pace {
    Pace {
        bytes_per_hour: policies.pace.bytes_per_hour,
        intensity: policies.pace.intensity,
    }
}

/// The cron schedule of a duty.
pub(crate) fn cron(policies: &Policies, duty: Duty) -> Option<&str> {
    match duty {
        Duty::Compaction => policies.compaction.cron.as_deref(),
        Duty::Index => policies.index.cron.as_deref(),
        Duty::Cleanup => policies.cleanup.cron.as_deref(),
    }
}

/// Whether a duty is switched on.
pub(crate) fn enabled(policy: &Policy, duty: Duty) -> bool {
    match duty {
        Duty::Compaction => policy.compaction.enabled,
        Duty::Index => policy.index.enabled,
        Duty::Cleanup => policy.cleanup.enabled,
    }
}

/// The shortest time between two jobs of a duty on one table.
pub(crate) fn floor(policy: &Policy, duty: Duty) -> std::time::Duration {
    match duty {
        Duty::Compaction => policy.compaction.interval_floor,
        Duty::Index => policy.index.interval_floor,
        Duty::Cleanup => policy.cleanup.interval_floor,
    }
}

/// Switches a duty off.
pub(crate) fn leave_out(policy: &mut Policy, duty: Duty) {
    match duty {
        Duty::Compaction => policy.compaction.enabled = false,
        Duty::Index => policy.index.enabled = false,
        Duty::Cleanup => policy.cleanup.enabled = false,
    }
}

fn windows(windows: &ConfigWindows) -> Windows {
    let all = |windows: &[squire_config::Window]| {
        let one = |w: &squire_config::Window| Window {
            days: w.days,
            from: w.from,
            to: w.to,
        };
        windows.iter().map(one).collect()
    };
    Windows {
        allowed: all(&windows.allowed),
        blackout: all(&windows.blackout),
    }
}

#[cfg(test)]
mod tests {
    use squire_config::Compaction;

    use super::*;

    #[test]
    fn what_the_config_leaves_out_is_what_the_planner_does_by_itself() {
        let (policy, own) = (of_table(&Policies::default()), Policy::default());
        assert_eq!(policy, own);
        assert_eq!(of_target(&Policies::default()), Pace::default());
    }

    #[test]
    fn config_and_planner_agree_on_how_many_small_fragments_a_table_at_rest_has() {
        for min_small_fragments in [2, 3, 8, 16, 1_000] {
            for small_fragment_bytes in [1, 2, 4_095, 4_096, 8_191, 10 << 20, (128 << 20) - 1] {
                let compaction = Compaction {
                    small_fragment_bytes,
                    min_small_fragments,
                    ..Compaction::default()
                };
                let at_rest = compaction.small_at_rest();
                let policies = Policies {
                    compaction,
                    ..Policies::default()
                };
                assert_eq!(at_rest, of_table(&policies).compaction.small_at_rest());
            }
        }
    }
}
