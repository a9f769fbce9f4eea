//! Keys that are right by themselves and wrong together.

use bytesize::ByteSize;
use humantime::format_duration;
use squire_engine::planner::{
    cleanup::CleanupPolicy, compaction::CompactionPolicy, indexing::IndexPolicy, window::Windows,
};
use squire_engine::{DriftPolicy, Kind};

use crate::error::Refusal;
use crate::raw::RawPolicies;
use crate::settings::{Daemon, Policies};

/// Keys that cannot all hold.
pub(crate) struct Contradiction {
    /// Their paths within the section that is checked; the one to name first comes first.
    pub(crate) keys: Vec<[&'static str; 2]>,
    pub(crate) refusal: Refusal,
}

/// What complete policies hold against themselves.
pub(crate) fn policies(policies: &Policies) -> Vec<Contradiction> {
    let mut found = compaction(&policies.table.compaction);
    found.extend(index(&policies.table.index));
    found.extend(cleanup(&policies.table.cleanup));
    found.extend(pace(policies));
    found.extend(windows(&policies.table.windows));
    found
}

fn compaction(policy: &CompactionPolicy) -> Vec<Contradiction> {
    let mut found = Vec::new();
    let mut contradict = |one, other, what: String, fix: &str| {
        found.push(Contradiction {
            keys: vec![["compaction", one], ["compaction", other]],
            refusal: Refusal::new(what, fix),
        });
    };
    let target = ByteSize(policy.target_bytes);
    if policy.small_bytes >= policy.target_bytes {
        let small = ByteSize(policy.small_bytes);
        contradict(
            "small_fragment_bytes",
            "target_bytes_per_file",
            format!(
                "fragments below {small} are small but grow to {target} only: what has just \
                 been written would be rewritten for ever"
            ),
            "set small_fragment_bytes below target_bytes_per_file; half of it is the default",
        );
    }
    if policy.max_source_bytes < policy.target_bytes {
        let most = ByteSize(policy.max_source_bytes);
        contradict(
            "max_source_bytes",
            "target_bytes_per_file",
            format!("a rewrite that reads {most} at most cannot fill a file of {target}"),
            "set max_source_bytes to target_bytes_per_file or more",
        );
    }
    let at_rest = policy.small_at_rest();
    if policy.emergency_small_fragments <= at_rest {
        contradict(
            "emergency_small_fragments",
            "min_small_fragments",
            format!(
                "{} small fragments would be an emergency, but a table of which no size has {} may \
                 have {at_rest} of them at rest",
                policy.emergency_small_fragments, policy.min_small_fragments
            ),
            "set emergency_small_fragments above that, or leave it out",
        );
    }
    found
}

fn index(policy: &IndexPolicy) -> Option<Contradiction> {
    (policy.min_unindexed_rows > policy.max_unindexed_rows).then(|| Contradiction {
        keys: vec![
            ["index", "min_unindexed_rows"],
            ["index", "max_unindexed_rows"],
        ],
        refusal: Refusal::new(
            format!(
                "{} rows outside are no reason, but {} are one",
                policy.min_unindexed_rows, policy.max_unindexed_rows
            ),
            "set min_unindexed_rows to max_unindexed_rows or less",
        ),
    })
}

fn cleanup(policy: &CleanupPolicy) -> Option<Contradiction> {
    (policy.emergency_versions < policy.min_versions).then(|| Contradiction {
        keys: vec![
            ["cleanup", "emergency_versions"],
            ["cleanup", "min_versions"],
        ],
        refusal: Refusal::new(
            format!(
                "{} versions would be an emergency before {} are a reason",
                policy.emergency_versions, policy.min_versions
            ),
            "set emergency_versions to min_versions or more; many times it is usual",
        ),
    })
}

fn pace(policies: &Policies) -> Option<Contradiction> {
    let of_target = policies.target_bytes_per_hour?;
    let of_table = policies.table.pace.bytes_per_hour?;
    (of_table > of_target).then(|| Contradiction {
        keys: vec![["pace", "table_bytes_per_hour"], ["pace", "bytes_per_hour"]],
        refusal: Refusal::new(
            format!(
                "one table may have {} in an hour, but all tables together {}",
                ByteSize(of_table),
                ByteSize(of_target)
            ),
            "set table_bytes_per_hour to bytes_per_hour or less, or to \"off\"",
        ),
    })
}

fn windows(windows: &Windows) -> Option<Contradiction> {
    (!windows.leave_time()).then(|| Contradiction {
        keys: vec![["windows", "blackout"], ["windows", "allowed"]],
        refusal: Refusal::new(
            "the blackouts leave no minute of the week for what is allowed",
            "shorten a blackout; `enabled = false` switches a duty off",
        ),
    })
}

/// What a rule for single tables says that is for a whole target alone.
pub(crate) fn rule(rule: &RawPolicies) -> Vec<Contradiction> {
    let mut found = Vec::new();
    if rule.pace.bytes_per_hour.is_some() {
        found.push(Contradiction {
            keys: vec![["pace", "bytes_per_hour"]],
            refusal: Refusal::new(
                "all tables of a target share it",
                "set table_bytes_per_hour here, or move it to [target.pace]",
            ),
        });
    }
    if rule.cleanup.keep_manifests.is_some() {
        found.push(Contradiction {
            keys: vec![["cleanup", "keep_manifests"]],
            refusal: Refusal::new(
                "a graph has one manifest for all of its tables",
                "move it to [target.cleanup]",
            ),
        });
    }
    found
}

/// Whether a target's drift has nothing to be said of.
pub(crate) fn drift(kind: Option<Option<Kind>>, drift: Option<DriftPolicy>) -> Option<Refusal> {
    (kind == Some(Some(Kind::Directory)) && drift.is_some()).then(|| {
        Refusal::new(
            "the tables of a directory have no pins to drift from: other programs change them as they like",
            "remove it",
        )
    })
}

/// What the settings of the process hold against each other.
pub(crate) fn daemon(daemon: &Daemon) -> impl Iterator<Item = Contradiction> {
    let cold = (daemon.cold_tick < daemon.tick).then(|| Contradiction {
        keys: vec![["daemon", "cold_tick"], ["daemon", "tick"]],
        refusal: Refusal::new(
            format!(
                "a table that rests would be looked at every {}, more often than one that changes, every {}",
                format_duration(daemon.cold_tick),
                format_duration(daemon.tick)
            ),
            "set cold_tick to tick or more",
        ),
    });
    let contended = (daemon.hot_tick > daemon.tick).then(|| Contradiction {
        keys: vec![["daemon", "hot_tick"], ["daemon", "tick"]],
        refusal: Refusal::new(
            format!(
                "a table that is written fast would be looked at every {}, less often than any other that changes, every {}",
                format_duration(daemon.hot_tick),
                format_duration(daemon.tick)
            ),
            "set hot_tick to tick or less",
        ),
    });
    cold.into_iter().chain(contended)
}

/// What the way to the daemon has against itself. The keys are below `[daemon]`.
pub(crate) fn exposure(daemon: &Daemon) -> Option<Contradiction> {
    let refuse = |keys, what: String, fix: String| {
        Some(Contradiction {
            keys,
            refusal: Refusal::new(what, fix),
        })
    };
    let (tls, listen) = (&daemon.tls, daemon.listen);
    match (tls.certificate.is_some(), daemon.plaintext_behind_proxy) {
        (false, _) if tls.key.is_some() => refuse(
            vec![["tls", "key"]],
            "a private key without its certificate is of no use".to_owned(),
            "set certificate beside it, or remove it".to_owned(),
        ),
        (true, true) => refuse(
            vec![["", "plaintext_behind_proxy"], ["tls", "certificate"]],
            "TLS cannot end both in a proxy and here".to_owned(),
            "remove plaintext_behind_proxy, or [daemon.tls]".to_owned(),
        ),
        (false, false) if daemon.is_exposed() => refuse(
            vec![["", "listen"]],
            format!(
                "{listen} can be reached from other machines, and without TLS others on the network read everything, \
                 the token included"
            ),
            format!(
                "set certificate in [daemon.tls], or listen on \"127.0.0.1:{}\"; where a proxy in front ends TLS, set \
                 plaintext_behind_proxy = true",
                listen.port()
            ),
        ),
        _ => None,
    }
}
