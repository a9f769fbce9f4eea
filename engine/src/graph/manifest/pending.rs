//! Calls that wait for the next write of the manifest, and what is known of the writes that included them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::{Manifest, Refusal, batch::Transition};
use crate::{
    error::{Error, Result},
    ids::OperationId,
};

/// Maximum number of calls that share one write.
const MAX_CALLS: usize = 64;

/// How one call of `ManifestLog::change` ended.
pub(crate) enum ChangeResult {
    /// The manifest holds the effect. This is the newest manifest, listed afterwards.
    Holds(Arc<Manifest>),
    /// The newest manifest, listed after the call began, refuses.
    Refused(Refusal),
}

/// The calls of this process that wait to be written, and whether a leader writes for all.
#[derive(Default)]
pub(super) struct GroupCommit(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    calls: Vec<Pending>,
    has_leader: bool,
}

impl std::fmt::Debug for GroupCommit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GroupCommit({} waiting)", self.waiting().calls.len())
    }
}

impl GroupCommit {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a call; says whether the caller has to start a leader.
    pub(super) fn add(&self, call: Pending) -> bool {
        let mut waiting = self.waiting();
        waiting.calls.push(call);
        !std::mem::replace(&mut waiting.has_leader, true)
    }

    /// The calls of the next write; `None` when none wait, and then there is no leader any more.
    pub(super) fn next(&self) -> Option<Vec<Pending>> {
        let mut waiting = self.waiting();
        let n = waiting.calls.len().min(MAX_CALLS);
        waiting.has_leader = n > 0;
        (n > 0).then(|| waiting.calls.drain(..n).collect())
    }

    /// Drops all waiting calls, whose outcome is unknown then, and the leadership.
    pub(super) fn reset(&self) {
        *self.waiting() = Waiting::default();
    }
}

/// One call, until it is answered.
pub(super) struct Pending {
    pub(super) operation: OperationId,
    pub(super) transition: Box<Transition>,
    pub(super) open: Open,
    /// Whether the manifest that is being written includes its effect.
    pub(super) included: bool,
    reply: oneshot::Sender<Result<ChangeResult>>,
}

impl Pending {
    /// A call, and where its answer comes.
    pub(super) fn new(
        operation: OperationId,
        transition: Box<Transition>,
    ) -> (Self, oneshot::Receiver<Result<ChangeResult>>) {
        let (reply, answer) = oneshot::channel();
        let call = Self {
            operation,
            transition,
            open: Open::default(),
            included: false,
            reply,
        };
        (call, answer)
    }

    pub(super) fn answer(self, answer: Result<ChangeResult>) {
        // The caller may have been cancelled.
        let _ = self.reply.send(answer);
    }
}

/// The creates of one call whose outcome is open: the store may have carried them out, or may yet.
#[derive(Default)]
pub(super) struct Open {
    /// The lowest open number: a manifest that closes it closes every later one, too.
    lowest: Option<u64>,
    highest: u64,
    cause: Option<Error>,
}

impl Open {
    /// A create of this number begins.
    pub(super) fn begin(&mut self, number: u64) {
        self.lowest.get_or_insert(number);
        self.highest = number;
    }

    /// Closes everything, if a manifest that was listed afterwards is past all open numbers and has collected none.
    pub(super) fn close_by(&mut self, newest: &Manifest) {
        let closed = |low: u64| newest.number >= self.highest && newest.collected_below <= low;
        if self.lowest.is_some_and(closed) {
            *self = Self::default();
        }
    }

    /// Whether no create before this number is open.
    pub(super) fn only(&self, number: u64) -> bool {
        self.lowest == Some(number)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lowest.is_none()
    }

    /// Notes the store's last error.
    pub(super) fn blame(&mut self, cause: Error) {
        self.cause = Some(cause);
    }

    /// `None` when everything is closed; the store's last error, if there was one, when something is open.
    pub(super) fn cause(&mut self) -> Option<Option<Error>> {
        self.lowest.map(|_| self.cause.take())
    }
}
