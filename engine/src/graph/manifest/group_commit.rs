//! Group commit: the calls of one process change the manifest together, by compare-and-set.
//!
//! While one write is under way, further calls gather. The next write includes them all, as far as each can follow
//! those before it ([`Batch`]), so that the calls of one process never lose a race against each other, and many
//! of them cost as much as one. One task, the leader, writes for all.
//!
//! A write whose outcome is unknown stays open (`pending.rs`): the newest manifest is listed, and each call is computed on
//! it again, until it shows that the write took place or cannot any more. See `docs/protocol.md`, The manifest log.

use std::{sync::Arc, time::Duration};

use object_store::Error as StoreError;
use tokio::time::sleep;

use super::{
    Manifest, Refusal, Step,
    batch::{Batch, Place},
    log::ManifestLog,
    pending::{ChangeResult, GroupCommit, Open, Pending},
};
use crate::{
    error::{Error, Result},
    ids::OperationId,
};

/// Maximum number of failed writes of one group before its calls fail.
const MAX_FAILURES: u32 = 4;
const FAILURE_PAUSE: Duration = Duration::from_millis(100);

/// The leadership of a group commit. When the leader's task ends early, the calls that wait fail with an unknown
/// outcome, and the next call starts another leader.
struct Leader<'a> {
    of: &'a GroupCommit,
    /// No call waits any more: the leadership is given up already, and another task may have it.
    resigned: bool,
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        if !self.resigned {
            self.of.reset();
        }
    }
}

impl ManifestLog {
    /// Changes the manifest by one transition, by compare-and-set.
    ///
    /// Uncontended it costs one create and one list: the transition is first computed on the newest manifest
    /// that this process has seen. That is safe because a create on a stale manifest fails or does not count,
    /// and a refusal counts only on a manifest that was listed after the call began. Calls that come while
    /// another write is under way share the next one.
    ///
    /// A cancelled caller cancels nothing: a write that has begun is finished.
    ///
    /// # Errors
    /// [`Error::OutcomeUnknown`] when a refusal or a failure of the store meets an open outcome;
    /// [`Error::Store`] and [`Error::Damaged`] when nothing was written.
    pub(crate) async fn change(
        self: &Arc<Self>,
        operation: OperationId,
        transition: impl Fn(&Manifest) -> Result<Step, Refusal> + Send + Sync + 'static,
    ) -> Result<ChangeResult> {
        let (call, answer) = Pending::new(operation, Box::new(transition));
        if self.group_commit.add(call) {
            tokio::spawn(self.clone().lead());
        }
        let answered = answer.await;
        answered.unwrap_or_else(|_| Err(self.unknown(operation, None)))
    }

    /// Writes for all calls, until none waits.
    async fn lead(self: Arc<Self>) {
        let mut leader = Leader {
            of: &self.group_commit,
            resigned: false,
        };
        while let Some(calls) = self.group_commit.next() {
            self.write(calls).await;
        }
        leader.resigned = true;
    }

    /// Writes until every call of a group is answered.
    async fn write(&self, calls: Vec<Pending>) {
        let (on, listed) = match self.fresh() {
            Some(seen) => (seen, false),
            None => match self.newest().await {
                Ok(newest) => (newest, true),
                Err(e) => return self.give_up(calls, &e),
            },
        };
        let mut group = Group {
            calls,
            on,
            listed,
            failures: 0,
            last_failure: None,
        };
        while !group.calls.is_empty() {
            if let Err(e) = self.attempt(&mut group).await {
                return self.give_up(group.calls, &e);
            }
        }
    }

    /// One attempt to write a group: compose, put once, settle.
    async fn attempt(&self, group: &mut Group) -> Result<()> {
        let Some(next) = self.compose(group).await? else {
            return Ok(());
        };
        let put = self.put_once(group, &next).await;
        if group.calls.iter().any(|call| call.included) {
            self.settle(group, next, put).await?;
        }
        Ok(())
    }

    /// The next manifest, with the effect of every call that can follow those before it. Calls that the newest manifest
    /// settles are answered. `None` when there is nothing to put, or when the newest manifest has to be listed first.
    ///
    /// # Errors
    /// The failure with which the group is given up.
    async fn compose(&self, group: &mut Group) -> Result<Option<Arc<Manifest>>> {
        let mut batch = Batch::on(&group.on);
        let mut places = Vec::with_capacity(group.calls.len());
        for call in &mut group.calls {
            let place = batch.take(&*call.transition);
            call.included = place == Place::Included;
            places.push(place);
        }
        let settled = |place: &Place| matches!(place, Place::Holds | Place::Refused(_));
        if !group.listed && places.iter().any(settled) {
            group.on = self.newest().await?;
            group.listed = true;
            return Ok(None);
        }
        let next = batch.into_next();
        self.answer_settled(group, places);
        match group.last_failure.take() {
            Some(e) => Err(e),
            None => Ok(next.map(|next| Arc::new(*next))),
        }
    }

    /// Puts a manifest, in one request. Calls for which a final refusal of the store settles all are answered.
    async fn put_once(&self, group: &mut Group, next: &Manifest) -> Put {
        match self.put(next).await {
            Ok(()) => Put::Created,
            // A client that retries by itself may say so of its own object.
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => Put::Taken,
            Err(e) => {
                let is_final = self.refuses(&e);
                let e = Error::store("writing a manifest of", &self.uri, e);
                if is_final {
                    group.answer_never_written(&e);
                }
                group.failures += 1;
                Put::Failed(e)
            }
        }
    }

    /// Finds out what became of a put: lists the newest manifest, which is the next one to compose on. When the put
    /// counts, the calls in it are answered; else their outcome is closed, as far as the listed manifest does.
    ///
    /// # Errors
    /// When the newest manifest cannot be listed or read.
    async fn settle(&self, group: &mut Group, next: Arc<Manifest>, put: Put) -> Result<()> {
        let number = next.number;
        for call in group.included() {
            call.open.begin(number);
        }
        let created = matches!(put, Put::Created);
        let newest = if created {
            self.newest_after(next).await?
        } else {
            self.newest().await?
        };
        group.on = newest.clone();
        group.listed = true;
        if created && newest.collected_below <= number {
            group.answer_included(&newest);
            return Ok(());
        }
        for call in group.included() {
            call.open.close_by(&newest);
        }
        match put {
            // Another process' create of this number is under way.
            Put::Taken if newest.number < number => sleep(FAILURE_PAUSE).await,
            Put::Created | Put::Taken => {}
            Put::Failed(e) => {
                let not_written = self.failed_put_is_final && newest.number < number;
                for call in group.included() {
                    if not_written && call.open.only(number) {
                        call.open = Open::default();
                    }
                    call.open.blame(e.retold());
                }
                if group.failures == MAX_FAILURES {
                    // This put, too, may have been carried out: what the manifest shows is answered first.
                    group.last_failure = Some(e);
                } else {
                    sleep(FAILURE_PAUSE * group.failures).await;
                }
            }
        }
        Ok(())
    }

    /// Answers the calls that a listed manifest settles; the others stay.
    fn answer_settled(&self, group: &mut Group, places: Vec<Place>) {
        let calls = std::mem::take(&mut group.calls);
        for (mut call, place) in calls.into_iter().zip(places) {
            match place {
                Place::Included | Place::Later => group.calls.push(call),
                Place::Holds => call.answer(Ok(ChangeResult::Holds(group.on.clone()))),
                Place::Refused(refusal) => {
                    let answer = match call.open.cause() {
                        None => Ok(ChangeResult::Refused(refusal)),
                        Some(cause) => Err(self.unknown(call.operation, cause)),
                    };
                    call.answer(answer);
                }
            }
        }
    }

    /// Answers all calls with a failure: the outcome of those with open creates is unknown.
    fn give_up(&self, calls: Vec<Pending>, e: &Error) {
        for call in calls {
            let e = e.retold();
            let failure = if call.open.is_closed() {
                e
            } else {
                self.unknown(call.operation, Some(e))
            };
            call.answer(Err(failure));
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

/// The calls of one write, until all are answered.
struct Group {
    calls: Vec<Pending>,
    /// The manifest that the next one is composed on.
    on: Arc<Manifest>,
    /// Whether it was listed after the calls began.
    listed: bool,
    failures: u32,
    /// The failure after which the group is given up.
    last_failure: Option<Error>,
}

/// What the store said to a put.
enum Put {
    Created,
    /// There is an object of this number.
    Taken,
    Failed(Error),
}

impl Group {
    /// The calls whose effect the composed manifest includes.
    fn included(&mut self) -> impl Iterator<Item = &mut Pending> {
        self.calls.iter_mut().filter(|call| call.included)
    }

    /// Answers the included calls with the manifest that counts.
    fn answer_included(&mut self, newest: &Arc<Manifest>) {
        for call in self.calls.extract_if(.., |call| call.included) {
            call.answer(Ok(ChangeResult::Holds(newest.clone())));
        }
    }

    /// Answers the included calls that have no open create: a final refusal of the store says that nothing was written.
    fn answer_never_written(&mut self, e: &Error) {
        let never = |call: &mut Pending| call.included && call.open.is_closed();
        for call in self.calls.extract_if(.., never) {
            call.answer(Err(e.retold()));
        }
    }
}
