//! Step 8 for one table: an effect is committed, at one version or not at all.
//!
//! There are three ways. The owner's first attempt goes **straight** to base+1. A **physical** effect is committed there or
//! never. A **logical** one is committed at the head, staged again where that is needed. `docs/protocol.md`, The life of a
//! logical operation, has the reasons.

use std::{ops::ControlFlow, time::Duration};

use tokio::time::sleep;

use super::{
    conclude,
    outcome::Execution,
    restage::{self, Restaged},
};
use crate::{
    error::{Error, Result, plain},
    failpoint,
    graph::{
        context::Core,
        manifest::{Ending, Manifest, TicketState},
        sidecar::{LogicalPlan, Sidecar},
    },
    table::{
        Table,
        commit::{Landing, commit_at},
        effect::Effect,
        staged::{Search, Staged, search},
    },
};

/// Maximum number of attempts to commit an effect. After that the operation stays decided, and a healer goes on.
const MAX_ATTEMPTS: u32 = 12;
/// Maximum number of failed attempts to commit a physical effect, which must not delay logical operations.
const MAX_PHYSICAL_FAILURES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What became of one effect.
pub(super) enum Applied {
    /// This version has it.
    At(u64),
    /// The operation is over, and not to be carried out further.
    Stop(Execution),
}

/// Commits one effect of a decided operation, unless a version has it already. `decided` is a manifest that was listed
/// after the decision, if the caller has one.
///
/// # Errors
/// When the store or Lance fail again and again.
pub(super) async fn apply(
    core: &Core,
    sidecar: &Sidecar,
    effect: &Effect,
    decided: Option<&Manifest>,
) -> Result<Applied> {
    let table = core.table(&effect.table, &effect.path);
    let staged = match Staged::from_effect(effect, &table) {
        Ok(staged) => staged,
        // No process can read it, now or later.
        Err(e) => {
            let ended = conclude::end_if_decided(core, sidecar, effect, &e.to_string()).await?;
            return Ok(Applied::Stop(ended));
        }
    };
    let mut application = Application {
        core,
        sidecar,
        effect,
        table,
        staged,
        has_own_files: false,
        may_have_landed: false,
        searched_to: effect.base,
        met_lasting: false,
        conflict: None,
        attempts: 0,
        failures: 0,
        pause: FIRST_PAUSE,
        last_failure: None,
    };
    if let ControlFlow::Break(applied) = application.commit_straight(decided).await? {
        return Ok(applied);
    }
    if sidecar.kind.is_physical() {
        application.commit_physical().await
    } else {
        application.commit_logical().await
    }
}

/// One effect on its way into its table.
struct Application<'a> {
    core: &'a Core,
    sidecar: &'a Sidecar,
    effect: &'a Effect,
    table: Table,
    staged: Staged,
    /// Whether what is staged has files that the sidecar does not name.
    has_own_files: bool,
    /// Whether a commit of what is staged may have landed.
    may_have_landed: bool,
    /// The version up to which the table was searched for the effect.
    searched_to: u64,
    /// Whether an attempt failed in a way that no other can change.
    met_lasting: bool,
    /// The head at which Lance found a conflict, and what it said.
    conflict: Option<(u64, String)>,
    attempts: u32,
    failures: u32,
    pause: Duration,
    last_failure: Option<Error>,
}

/// Whether another attempt is due, or this came of the effect.
type Attempted = Result<ControlFlow<Applied>>;

impl Application<'_> {
    /// The first attempt of a caller that has the manifest of the decision: at base+1, without a look at the head or the
    /// manifest. With head = base there is no version to search, the manifest was read after the decision, and a commit
    /// at exactly base+1 cannot replace another version, a fence included.
    async fn commit_straight(&mut self, decided: Option<&Manifest>) -> Attempted {
        let ticket = decided.and_then(|m| m.ticket(self.sidecar.operation));
        let is_decided = ticket.is_some_and(|t| matches!(t.state, TicketState::Decided { .. }));
        if self.effect.base == 0 || !is_decided {
            return Ok(ControlFlow::Continue(()));
        }
        self.attempts += 1;
        self.commit_once(self.effect.base).await
    }

    /// Commits a physical effect at base+1. When another version is there, the operation is discarded: it is never staged
    /// again.
    async fn commit_physical(mut self) -> Result<Applied> {
        while self.another() {
            let head = match self.find_head().await? {
                ControlFlow::Continue(head) => head,
                ControlFlow::Break(applied) => return Ok(applied),
            };
            if head > self.effect.base {
                let discarded = conclude::discard(self.core, self.sidecar).await?;
                return Ok(Applied::Stop(match discarded {
                    Execution::Ended(Ending::Discarded) => Execution::TooLate,
                    otherwise => otherwise,
                }));
            }
            if self.sidecar.plan == LogicalPlan::Index
                && let Some(why) = self.hindrance(head).await?
            {
                return self.end_if_decided(why).await;
            }
            if let Some((_, reason)) = &self.conflict {
                return self.end(reason).await;
            }
            if let Some(stop) = self.stop_reason().await? {
                return Ok(Applied::Stop(stop));
            }
            if let ControlFlow::Break(applied) = self.commit_once(head).await? {
                return Ok(applied);
            }
        }
        Err(self.contended())
    }

    /// Commits a logical effect at the head, wherever that is. Where it depends on what came after its base, or conflicts
    /// with it, it is staged again.
    ///
    /// What no attempt can change ends it: else every process would try for ever, and every later operation on the table
    /// would wait.
    async fn commit_logical(mut self) -> Result<Applied> {
        let mut ended = Ok(ControlFlow::Continue(()));
        while matches!(ended, Ok(ControlFlow::Continue(()))) && self.another() {
            ended = match self.attempt_logical().await {
                Err(e) => self.failed(e).await,
                attempted => attempted,
            };
        }
        if self.has_own_files && !self.may_have_landed {
            self.staged.delete_files(&self.table).await;
        }
        match ended? {
            ControlFlow::Break(applied) => Ok(applied),
            ControlFlow::Continue(()) => Err(self.contended()),
        }
    }

    async fn attempt_logical(&mut self) -> Attempted {
        let head = match self.find_head().await? {
            ControlFlow::Continue(head) => head,
            ControlFlow::Break(applied) => return Ok(ControlFlow::Break(applied)),
        };
        if head > self.effect.base
            && let Some(why) = self.hindrance(head).await?
        {
            return self.end_if_decided(why).await.map(ControlFlow::Break);
        }
        if let ControlFlow::Break(applied) = self.restage_if_needed(head).await? {
            return Ok(ControlFlow::Break(applied));
        }
        if let Some(stop) = self.stop_reason().await? {
            return Ok(ControlFlow::Break(Applied::Stop(stop)));
        }
        self.commit_once(head).await
    }

    /// What a failed attempt comes to: one that no attempt can change ends the operation when it is met again.
    async fn failed(&mut self, e: Error) -> Attempted {
        if !e.is_lasting() {
            return Err(e);
        }
        if std::mem::replace(&mut self.met_lasting, true) {
            return self
                .end_if_decided(&e.to_string())
                .await
                .map(ControlFlow::Break);
        }
        self.last_failure = Some(e);
        Ok(ControlFlow::Continue(()))
    }

    fn another(&mut self) -> bool {
        self.attempts += 1;
        self.attempts <= MAX_ATTEMPTS
    }

    /// Step (a): the head of the table, unless a version past the base has the effect, or the effect cannot be applied.
    async fn find_head(&mut self) -> Result<ControlFlow<Applied, u64>> {
        let base = self.effect.base;
        let head = self.table.head().await?;
        if head < base {
            let why = format!("the table ends at version {head}, before its base");
            return self.end_if_decided(&why).await.map(ControlFlow::Break);
        }
        // Versions never change: what was searched needs no second look.
        let searched = self.searched_to.max(base);
        match search(&self.table, self.sidecar.operation, searched, head).await? {
            Search::Found(version) => Ok(ControlFlow::Break(Applied::At(version))),
            Search::Missing(version) => {
                let why = format!("version {version} is missing");
                self.end_if_decided(&why).await.map(ControlFlow::Break)
            }
            Search::Absent => {
                self.searched_to = head;
                Ok(ControlFlow::Continue(head))
            }
        }
    }

    async fn hindrance(&self, head: u64) -> Result<Option<&'static str>> {
        restage::hindrance(self.core, self.sidecar, self.effect, &self.table, head).await
    }

    /// Stages the effect again at `head`, where it was staged elsewhere and depends on all rows, or where Lance found a
    /// conflict.
    async fn restage_if_needed(&mut self, head: u64) -> Attempted {
        // What conflicts with a version that came after its base conflicts at every later head.
        let stale = self.staged.transaction.read_version < head;
        let conflict = self.conflict.take_if(|_| stale);
        let is_stale = self.staged.transaction.read_version != head
            && restage::depends_on_all_rows(self.sidecar, self.effect);
        if !is_stale && conflict.is_none() {
            return Ok(ControlFlow::Continue(()));
        }
        let (core, sidecar, effect) = (self.core, self.sidecar, self.effect);
        // Boxed, because it is rare and large.
        let again = Box::pin(restage::restage(core, sidecar, effect, &self.table, head)).await;
        // The version that it was staged for has another commit: it can never be committed.
        if self.has_own_files && stale {
            self.staged.delete_files(&self.table).await;
        }
        match again.or_else(restage::or_impossible)? {
            Restaged::As(again) => {
                self.staged = *again;
                self.has_own_files = restage::writes_files(sidecar, effect);
                self.may_have_landed = false;
                Ok(ControlFlow::Continue(()))
            }
            Restaged::Impossible(why) => {
                let changed = format!("version {head} is not what it was staged for");
                let reason = conflict.as_ref().map_or(&changed, |(_, reason)| reason);
                let reason = why.as_ref().unwrap_or(reason);
                self.end(reason).await.map(ControlFlow::Break)
            }
        }
    }

    /// Step (b): why the operation is not to be carried out any more.
    async fn stop_reason(&self) -> Result<Option<Execution>> {
        conclude::stop_reason(self.core, self.sidecar, self.effect).await
    }

    /// Step (c): commits at exactly head+1, in one attempt.
    async fn commit_once(&mut self, head: u64) -> Attempted {
        failpoint::hit!(BEFORE_COMMIT);
        let attempt = commit_at(&self.table, &self.staged, head).await;
        failpoint::hit!(AFTER_COMMIT);
        // A store that says that a race is lost may mean this very commit.
        self.may_have_landed |= matches!(attempt, Landing::Lost | Landing::Unclear(_));
        match attempt {
            Landing::Landed(version) => {
                self.has_own_files = false;
                let (effect, operation) = (self.effect, self.sidecar.operation);
                if head > effect.base {
                    tracing::info!(table = %effect.table, %operation, base = effect.base, version, uri = %self.core.storage.uri, "drift that slipped in between is published along");
                }
                Ok(ControlFlow::Break(Applied::At(version)))
            }
            Landing::Taken | Landing::Lost => {
                sleep(FIRST_PAUSE).await;
                Ok(ControlFlow::Continue(()))
            }
            Landing::Conflict(reason) if self.conflict.as_ref().is_some_and(|c| c.0 == head) => {
                self.end(&reason).await.map(ControlFlow::Break)
            }
            Landing::Conflict(reason) => {
                self.conflict = Some((head, reason));
                Ok(ControlFlow::Continue(()))
            }
            Landing::Refused(e) if self.sidecar.kind.is_physical() => {
                let reason = plain(&*e);
                let ended = self.end(&reason).await?;
                Ok(ControlFlow::Break(match ended {
                    Applied::Stop(Execution::TooLate) => Applied::Stop(Execution::Refused(reason)),
                    otherwise => otherwise,
                }))
            }
            Landing::Failed(e) | Landing::Refused(e) | Landing::Unclear(e) => {
                self.failures += 1;
                if self.sidecar.kind.is_physical() && self.failures == MAX_PHYSICAL_FAILURES {
                    return self.end(&e.to_string()).await.map(ControlFlow::Break);
                }
                let failure = self.table.failed("committing to", *e);
                if !self.sidecar.kind.is_physical() && failure.is_lasting() {
                    return self.failed(failure).await;
                }
                self.last_failure = Some(failure);
                sleep(self.pause).await;
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                Ok(ControlFlow::Continue(()))
            }
        }
    }

    async fn end_if_decided(&self, why: &str) -> Result<Applied> {
        let ended = conclude::end_if_decided(self.core, self.sidecar, self.effect, why).await;
        ended.map(Applied::Stop)
    }

    async fn end(&self, why: &str) -> Result<Applied> {
        let ended = conclude::end(self.core, self.sidecar, self.effect, why).await;
        ended.map(Applied::Stop)
    }

    fn contended(self) -> Error {
        self.last_failure.unwrap_or_else(|| Error::Contended {
            table: self.effect.table.clone(),
            uri: self.core.storage.uri.clone(),
        })
    }
}
