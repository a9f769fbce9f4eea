//! An operation whose staged files have expired is not decided any more.
//!
//! Staged files are named by no version yet, and cleanup removes such files once they are seven days old by the
//! store's clock. A process that was suspended for that long must not wake up and decide: its files may be gone. So the
//! transition that decides is refused from the third day on, by the clock of the process itself. Cleanup changes the
//! manifest before it deletes: a transition that was computed earlier finds its number taken, and is computed again.

use chrono::{DateTime, Utc};

use crate::{
    graph::manifest::{Manifest, Refusal, Step},
    table::expiry::is_expired,
};

/// The transition that decides an operation whose staging began at `began`, refused with [`Refusal::Outdated`] once the
/// staged files have expired. What is decided already stays decided.
pub(super) fn unless_expired(
    began: DateTime<Utc>,
    transition: impl Fn(&Manifest) -> Result<Step, Refusal> + Send + Sync + 'static,
) -> impl Fn(&Manifest) -> Result<Step, Refusal> + Send + Sync + 'static {
    move |m| match transition(m)? {
        Step::Next(_) if is_expired(began) => Err(Refusal::Outdated),
        step => Ok(step),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_was_staged_days_ago_is_not_decided_any_more_and_what_is_decided_stays_so() {
        let manifest = Manifest::first(Uuid::nil(), "ada", DateTime::UNIX_EPOCH);
        let next = |m: &Manifest| Ok(Step::Next(Box::new(m.clone())));
        let already = |_: &Manifest| Ok(Step::Already);
        let now = Utc::now();
        let long_ago = now - TimeDelta::days(4);
        assert!(unless_expired(now, next)(&manifest).is_ok());
        assert_eq!(
            unless_expired(long_ago, next)(&manifest),
            Err(Refusal::Outdated)
        );
        assert_eq!(
            unless_expired(long_ago, already)(&manifest),
            Ok(Step::Already)
        );
    }
}
