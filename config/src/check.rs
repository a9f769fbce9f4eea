//! Keys that are right by themselves and wrong together.

use crate::error::Refusal;
use crate::settings::Compaction;
use bytesize::ByteSize;

/// Two keys of one section that cannot both hold.
pub(crate) struct Contradiction {
    /// The keys; the one to name first comes first.
    pub(crate) keys: [&'static str; 2],
    pub(crate) refusal: Refusal,
}

/// What a complete compaction policy holds against itself.
pub(crate) fn compaction(policy: &Compaction) -> Vec<Contradiction> {
    let mut found = Vec::new();
    let target = ByteSize(policy.target_bytes_per_file);
    if policy.small_fragment_bytes >= policy.target_bytes_per_file {
        let small = ByteSize(policy.small_fragment_bytes);
        found.push(Contradiction {
            keys: ["small_fragment_bytes", "target_bytes_per_file"],
            refusal: Refusal::new(
                format!(
                    "fragments below {small} are small but grow to {target} only: what has just \
                     been written would be rewritten for ever"
                ),
                "set small_fragment_bytes below target_bytes_per_file; half of it is the default",
            ),
        });
    }
    if policy.max_source_bytes < policy.target_bytes_per_file {
        let most = ByteSize(policy.max_source_bytes);
        found.push(Contradiction {
            keys: ["max_source_bytes", "target_bytes_per_file"],
            refusal: Refusal::new(
                format!("a rewrite that reads {most} at most cannot fill a file of {target}"),
                "set max_source_bytes to target_bytes_per_file or more",
            ),
        });
    }
    found
}
