//! Several transitions in one manifest: what the calls of one process become that wait at the same time.
//!
//! A transition sees what those before it did, just as if each had made a manifest of its own; only that no
//! reader ever sees the manifests in between. So every state that readers, healers and waiters meet is one that the
//! transitions reach one by one.

use super::{Manifest, Refusal, Step};

/// What one call asks of the manifest log: a transition with all its arguments.
pub(crate) type Transition = dyn Fn(&Manifest) -> Result<Step, Refusal> + Send + Sync;

/// What becomes of one call when a manifest is composed.
#[derive(Debug, PartialEq)]
pub(super) enum Place {
    /// The next manifest holds its effect.
    Included,
    /// The manifest that it starts from holds its effect.
    Holds,
    /// The manifest that it starts from refuses it.
    Refused(Refusal),
    /// It has to see first whether what comes before it in the batch counts.
    Later,
}

/// Transitions on one manifest, and what they lead to.
pub(super) struct Batch<'a> {
    on: &'a Manifest,
    next: Option<Box<Manifest>>,
}

impl<'a> Batch<'a> {
    pub(super) fn on(manifest: &'a Manifest) -> Self {
        Self {
            on: manifest,
            next: None,
        }
    }

    /// Takes one more transition, if it can follow those before it.
    pub(super) fn take(&mut self, transition: &Transition) -> Place {
        let Some(mut before) = self.next.take() else {
            return match transition(self.on) {
                Ok(Step::Next(next)) => {
                    self.next = Some(next);
                    Place::Included
                }
                Ok(Step::Already) => Place::Holds,
                Err(refusal) => Place::Refused(refusal),
            };
        };
        // The transition makes the same number again.
        before.number = self.on.number;
        let step = transition(&before);
        before.number += 1;
        if let Ok(Step::Next(mut next)) = step {
            let own = std::mem::replace(&mut next.change, before.change);
            next.also = before.also;
            next.also.push(own);
            self.next = Some(next);
            return Place::Included;
        }
        self.next = Some(before);
        // Of what only the batch says, nothing is certain before the batch counts.
        match (step, transition(self.on)) {
            (_, Ok(Step::Already)) => Place::Holds,
            (Ok(_), _) => Place::Included,
            (Err(_), Ok(Step::Next(_))) => Place::Later,
            (Err(_), Err(refusal)) => Place::Refused(refusal),
        }
    }

    /// The manifest that includes everything taken; none when there is nothing.
    pub(super) fn into_next(self) -> Option<Box<Manifest>> {
        self.next
    }
}
