//! The one voice of a process: its calls change the register together, by compare-and-set.
//!
//! While one write is on its way, further calls gather. The next write takes them all, as far as each can follow
//! those before it ([`Batch`]), so that the calls of one process never lose a race against each other, and many
//! of them cost what one costs.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use object_store::Error as StoreError;
use tokio::{sync::oneshot, time::sleep};

use super::{
    Manifest, Refusal, Register, Step,
    batch::{Batch, Place, Transition},
};
use crate::{
    error::{Error, Result},
    ids::OperationId,
};

/// So many calls share one write at most.
const MAX_CALLS: usize = 64;
/// So often calls try to write before they give up on the store.
const MAX_FAILURES: u32 = 4;
const FAILURE_PAUSE: Duration = Duration::from_millis(100);

/// How one call of [`Register::change`] ended.
pub(crate) enum Call {
    /// The manifest holds the effect. This is the newest manifest, listed afterwards.
    Holds(Arc<Manifest>),
    /// The newest manifest, listed after the call began, refuses.
    Refused(Refusal),
}

/// The calls that wait to be written.
#[derive(Default)]
pub(super) struct Voice(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    calls: Vec<Pending>,
    speaking: bool,
}

/// One call, until it is answered.
struct Pending {
    operation: OperationId,
    transition: Box<Transition>,
    open: Open,
    aboard: bool,
    reply: oneshot::Sender<Result<Call>>,
}

impl std::fmt::Debug for Voice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Voice({} waiting)", self.waiting().calls.len())
    }
}

impl Voice {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a call; says whether somebody has to begin to speak.
    fn gather(&self, call: Pending) -> bool {
        let mut waiting = self.waiting();
        waiting.calls.push(call);
        !std::mem::replace(&mut waiting.speaking, true)
    }

    /// The calls of the next write; none when nobody waits, and then nobody speaks any more.
    fn next(&self) -> Option<Vec<Pending>> {
        let mut waiting = self.waiting();
        let n = waiting.calls.len().min(MAX_CALLS);
        waiting.speaking = n > 0;
        (n > 0).then(|| waiting.calls.drain(..n).collect())
    }
}

/// Whoever writes for all. When its task ends before its time, the calls that wait are told that nobody knows, and
/// the next one finds the place free.
struct Speaker<'a> {
    voice: &'a Voice,
    /// Nobody waits any more: the place is given up already, and may be somebody else's.
    silent: bool,
}

impl Drop for Speaker<'_> {
    fn drop(&mut self) {
        if !self.silent {
            *self.voice.waiting() = Waiting::default();
        }
    }
}

impl Register {
    /// Changes the register by one transition, by compare-and-set.
    ///
    /// Uncontended it costs one create and one list: the transition is first computed on the newest manifest
    /// that this process has seen. That is safe because a create on a stale manifest fails or does not count,
    /// and a refusal counts only on a manifest that was listed after the call began. Calls that come while
    /// another write is on its way share the next one.
    ///
    /// A caller that goes away ends nothing: what is on its way is written to its end.
    ///
    /// # Errors
    /// [`Error::OutcomeUnknown`] when a refusal or a failure of the store meets an open outcome;
    /// [`Error::Store`] and [`Error::Damaged`] when nothing was written.
    pub(crate) async fn change(
        self: &Arc<Self>,
        operation: OperationId,
        transition: impl Fn(&Manifest) -> Result<Step, Refusal> + Send + Sync + 'static,
    ) -> Result<Call> {
        let (reply, answer) = oneshot::channel();
        let call = Pending {
            operation,
            transition: Box::new(transition),
            open: Open::default(),
            aboard: false,
            reply,
        };
        if self.voice.gather(call) {
            tokio::spawn(self.clone().speak());
        }
        let answered = answer.await;
        answered.unwrap_or_else(|_| Err(self.unknown(operation, None)))
    }

    async fn speak(self: Arc<Self>) {
        let mut speaker = Speaker {
            voice: &self.voice,
            silent: false,
        };
        while let Some(calls) = self.voice.next() {
            self.write(calls).await;
        }
        speaker.silent = true;
    }

    /// Writes until every call is answered.
    async fn write(&self, mut calls: Vec<Pending>) {
        let (mut manifest, mut listed) = match self.fresh() {
            Some(seen) => (seen, false),
            None => match self.newest().await {
                Ok(newest) => (newest, true),
                Err(e) => return self.give_up(calls, e),
            },
        };
        let mut failures = 0;
        let mut last_failure = None;
        while !calls.is_empty() {
            let mut batch = Batch::on(&manifest);
            let mut places = Vec::with_capacity(calls.len());
            for call in &mut calls {
                let place = batch.take(&*call.transition);
                call.aboard = place == Place::Aboard;
                places.push(place);
            }
            let settled = |place: &Place| matches!(place, Place::Holds | Place::Refused(_));
            if !listed && places.iter().any(settled) {
                manifest = match self.newest().await {
                    Ok(newest) => newest,
                    Err(e) => return self.give_up(calls, e),
                };
                listed = true;
                continue;
            }
            let next = batch.into_next();
            calls = self.answer_settled(calls, places, &manifest);
            if let Some(e) = last_failure {
                return self.give_up(calls, e);
            }
            let Some(next) = next.map(|next| Arc::new(*next)) else {
                continue;
            };

            let number = next.number;
            let mut failure = None;
            let created = match self.put(&next).await {
                Ok(()) => true,
                // A client that retries by itself may be told so of its own object.
                Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => false,
                Err(e) => {
                    let final_no = self.refuses(&e);
                    let e = Error::store("writing a manifest of", &self.uri, e);
                    if final_no {
                        calls = self.answer_never_written(calls, &e);
                    }
                    failures += 1;
                    failure = Some(e);
                    false
                }
            };
            if !calls.iter().any(|call| call.aboard) {
                continue;
            }
            for call in aboard(&mut calls) {
                call.open.begin(number);
            }
            let newest = if created {
                self.newest_after(next).await
            } else {
                self.newest().await
            };
            manifest = match newest {
                Ok(newest) => newest,
                Err(e) => return self.give_up(calls, e),
            };
            listed = true;
            if created && manifest.collected_below <= number {
                calls = answer_aboard(calls, &manifest);
                continue;
            }
            for call in aboard(&mut calls) {
                call.open.close_by(&manifest);
            }
            if !created && failure.is_none() && manifest.number < number {
                // Somebody's create of this number is on its way.
                sleep(FAILURE_PAUSE).await;
            }
            if let Some(e) = failure {
                let landed_not = self.definite && manifest.number < number;
                for call in aboard(&mut calls) {
                    if landed_not && call.open.only(number) {
                        call.open = Open::default();
                    }
                    call.open.blame(e.retold());
                }
                if failures == MAX_FAILURES {
                    // This attempt, too, may have landed: what the manifest shows is answered first.
                    last_failure = Some(e);
                    continue;
                }
                sleep(FAILURE_PAUSE * failures).await;
            }
        }
    }

    /// Answers the calls that a listed manifest settles; the others stay.
    fn answer_settled(
        &self,
        calls: Vec<Pending>,
        places: Vec<Place>,
        manifest: &Arc<Manifest>,
    ) -> Vec<Pending> {
        let mut left = Vec::new();
        for (call, place) in calls.into_iter().zip(places) {
            match place {
                Place::Aboard | Place::Later => left.push(call),
                Place::Holds => call.answer(Ok(Call::Holds(manifest.clone()))),
                Place::Refused(refusal) => {
                    let answer = match call.open.cause() {
                        None => Ok(Call::Refused(refusal)),
                        Some(cause) => Err(self.unknown(call.operation, cause)),
                    };
                    let _ = call.reply.send(answer);
                }
            }
        }
        left
    }

    /// Answers the calls of which the store's no is the first and last word.
    fn answer_never_written(&self, calls: Vec<Pending>, e: &Error) -> Vec<Pending> {
        let mut left = Vec::new();
        for call in calls {
            if call.aboard && call.open.is_closed() {
                call.answer(Err(e.retold()));
            } else {
                left.push(call);
            }
        }
        left
    }

    /// Answers all calls with a failure: of those whose creates are open, nobody knows what became of them.
    fn give_up(&self, calls: Vec<Pending>, e: Error) {
        for call in calls {
            let e = e.retold();
            let told = if call.open.is_closed() {
                e
            } else {
                self.unknown(call.operation, Some(e))
            };
            call.answer(Err(told));
        }
    }

    fn unknown(&self, operation: OperationId, source: Option<Error>) -> Error {
        Error::OutcomeUnknown {
            operation,
            uri: self.uri.clone(),
            source: source.map(Box::new),
        }
    }
}

fn aboard(calls: &mut [Pending]) -> impl Iterator<Item = &mut Pending> {
    calls.iter_mut().filter(|call| call.aboard)
}

/// Answers the calls aboard a manifest that counts.
fn answer_aboard(calls: Vec<Pending>, newest: &Arc<Manifest>) -> Vec<Pending> {
    let (there, left): (Vec<_>, Vec<_>) = calls.into_iter().partition(|call| call.aboard);
    for call in there {
        call.answer(Ok(Call::Holds(newest.clone())));
    }
    left
}

impl Pending {
    fn answer(self, answer: Result<Call>) {
        // Whoever asked may have gone away.
        let _ = self.reply.send(answer);
    }
}

/// The creates of one call whose outcome is open.
#[derive(Default)]
struct Open {
    /// The lowest open number: a manifest that closes it closes every later one, too.
    lowest: Option<u64>,
    highest: u64,
    cause: Option<Error>,
}

impl Open {
    fn begin(&mut self, number: u64) {
        self.lowest.get_or_insert(number);
        self.highest = number;
    }

    fn close_by(&mut self, newest: &Manifest) {
        let closed = |low: u64| newest.number >= self.highest && newest.collected_below <= low;
        if self.lowest.is_some_and(closed) {
            *self = Self::default();
        }
    }

    fn only(&self, number: u64) -> bool {
        self.lowest == Some(number)
    }

    fn is_closed(&self) -> bool {
        self.lowest.is_none()
    }

    fn blame(&mut self, cause: Error) {
        self.cause = Some(cause);
    }

    /// `None` when everything is closed; the store's last error, where there was one, when it is not.
    fn cause(self) -> Option<Option<Error>> {
        self.lowest.map(|_| self.cause)
    }
}
