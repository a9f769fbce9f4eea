//! How long after it was staged an operation may still come in.
//!
//! What is staged is named by no version yet, and cleanup takes such files for left over once they are seven days old
//! by the store's clock. A process that slept for so long must not wake up and decide: its files may be gone. So the
//! transition that decides is refused from the third day on, by the clock of the process itself, and cleanup moves the
//! register before it deletes: whoever computed the transition earlier finds its number taken, and computes it again.

use chrono::{DateTime, TimeDelta, Utc};

use crate::graph::manifest::{Manifest, Refusal, Step};

/// So long after staging began, an operation may come in. The rest of the seven days is for clocks that differ.
const STAGED_FOR: TimeDelta = TimeDelta::days(3);

/// The transition that decides an operation whose staging began then, as long as it is in time. What is decided already
/// stays decided.
pub(crate) fn in_time(
    began: DateTime<Utc>,
    transition: impl Fn(&Manifest) -> Result<Step, Refusal> + Send + Sync + 'static,
) -> impl Fn(&Manifest) -> Result<Step, Refusal> + Send + Sync + 'static {
    move |m| match transition(m)? {
        Step::Next(_) if !is_in_time(began) => Err(Refusal::Outdated),
        step => Ok(step),
    }
}

/// Whether what was staged from then on may still be committed.
pub(crate) fn is_in_time(began: DateTime<Utc>) -> bool {
    Utc::now() - began <= STAGED_FOR
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_was_staged_days_ago_is_not_decided_any_more_and_what_is_decided_stays_so() {
        let manifest = Manifest::first(Uuid::nil(), "ada", DateTime::UNIX_EPOCH);
        let next = |m: &Manifest| Ok(Step::Next(Box::new(m.clone())));
        let already = |_: &Manifest| Ok(Step::Already);
        let now = Utc::now();
        let long_ago = now - TimeDelta::days(4);
        assert!(in_time(now, next)(&manifest).is_ok());
        assert_eq!(in_time(long_ago, next)(&manifest), Err(Refusal::Outdated));
        assert_eq!(in_time(long_ago, already)(&manifest), Ok(Step::Already));
    }
}
