//! What is read of a target, and what is made of it: tables and their statistics.
//!
//! An unchanged graph costs one request a tick: statistics are kept by pin and declared indexes, and only tables for
//! which those moved are read again. A directory costs one list of its root a tick, and one list for each table that is
//! due for a look: a table that does not change is looked at less and less.
//!
//! A few are read at once, the longest overdue first, and each is taken in as it comes: the first of thousands of tables
//! are worked on before the last was seen, and however many are written, one that rests has its turn.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use squire_config::Target;
use squire_engine::{Directory, Kind, Snapshot, TableKey, detect, planner::poll_schedule::Change};

use super::{
    faults::{Report, Trouble},
    read_results::{Due, PollOutcome, ReadOutcome, TableRead, TargetState},
    reads::{Ended, Read, ReadEnd},
    state::Keeper,
    table_state::TableState,
};
use crate::{
    exit::Failure,
    target::{Opened, beyond, is_a_graph},
};

/// A directory that had tables and has none is taken for empty after this, where the configuration says that it is one.
const VANISHED_FOR: Duration = Duration::from_secs(3600);

impl Keeper {
    /// Begins to look at the target; what of it is due for a look follows. One look at a time is enough.
    pub(super) fn poll(&mut self, opened: &Opened) {
        if !self.reads.has_room_for(&Read::Root) {
            return;
        }
        let now = self.now();
        match opened {
            Opened::Graph(graph) => {
                let graph = graph.clone();
                let poll = async move {
                    let snapshot = graph.snapshot().await;
                    ReadOutcome::Target(snapshot.map(TargetState::Graph).map_err(Failure::from))
                };
                self.reads.begin(Read::Root, now, poll);
            }
            Opened::Directory(directory) => {
                let known = match &self.whole {
                    Some(TargetState::Directory(known)) => Some(known.clone()),
                    _ => None,
                };
                let poll = poll_directory(directory.clone(), self.target.clone(), known);
                self.reads.begin(Read::Root, now, poll);
            }
        }
    }

    /// Polls the tables of a directory that are written so fast that they must not wait for the next tick.
    pub(super) fn poll_between_ticks(&mut self, opened: &Opened) {
        if let Opened::Directory(_) = opened {
            self.schedule_tables();
        }
    }

    /// Polls what a job of ours left: a whole graph, as its one request tells of all, and one table of a
    /// directory. Nothing is decided about the table before.
    pub(super) fn poll_own_work(&mut self, opened: &Opened, table: &TableKey) {
        let now = self.now();
        let Some(kept) = self.tables.get_mut(table) else {
            return;
        };
        kept.stale = Some(now);
        match opened {
            Opened::Graph(_) if self.reads.has(&Read::Root) => self.read_again = true,
            Opened::Graph(_) => self.poll(opened),
            Opened::Directory(_) if kept.being_read => {}
            Opened::Directory(_) => self.due.push_front(Due::of_table(table)),
        }
    }

    /// Begins what is due to be read, as far as there is room.
    pub(super) fn read_due(&mut self, opened: &Opened) {
        let now = self.now();
        let mut left = VecDeque::new();
        // Each kind has its own.
        let (mut tables, mut versions, mut left_over) = (true, true, true);
        while (tables || versions || left_over)
            && let Some(due) = self.due.pop_front()
        {
            let room = match due.read {
                Read::Root | Read::Table(_) => &mut tables,
                Read::Versions(_) => &mut versions,
                Read::LeftOver(_) => &mut left_over,
            };
            if !*room || !self.reads.has_room_for(&due.read) {
                // One that is under way already needs no other.
                if !self.reads.has(&due.read) {
                    *room = false;
                    left.push_back(due);
                }
                continue;
            }
            self.begin_read(opened, due, now);
        }
        left.append(&mut self.due);
        self.due = left;
    }

    fn begin_read(&mut self, opened: &Opened, due: Due, now: Duration) {
        let Due { read, pinned } = due;
        let Some(kept) = read.table().and_then(|table| self.tables.get_mut(table)) else {
            return;
        };
        let opened = opened.clone();
        match read.clone() {
            Read::Root => {}
            Read::Table(table) => {
                kept.being_read = true;
                let (snapshot, as_of) = match &self.whole {
                    Some(TargetState::Graph(snapshot)) => (Some(snapshot.clone()), self.whole_at),
                    _ => (None, now),
                };
                self.reads.begin(read, now, async move {
                    let stats = match (&snapshot, &opened) {
                        (Some(snapshot), _) => snapshot.stats(&table).await,
                        (None, opened) => opened.stats(&table).await,
                    };
                    let written = match &opened {
                        Opened::Directory(directory) => directory.last_written(&table),
                        Opened::Graph(_) => None,
                    };
                    ReadOutcome::Table {
                        stats,
                        pinned,
                        written,
                        as_of,
                    }
                });
            }
            Read::Versions(table) => {
                self.reads.begin(read, now, async move {
                    ReadOutcome::Versions(opened.versions(&table).await)
                });
            }
            Read::LeftOver(table) => {
                self.reads.begin(read, now, async move {
                    ReadOutcome::LeftOver(opened.has_left_over_files(&table).await)
                });
            }
        }
    }

    /// Takes in a read that has ended.
    pub(super) fn take_in(&mut self, opened: &Opened, ended: Ended<ReadOutcome>) -> PollOutcome {
        let Ended { read, began, how } = ended;
        self.taken += 1;
        let came = match how {
            ReadEnd::Read(came) => came,
            ReadEnd::GivenUp => {
                self.trouble_with(&read, Trouble::NoAnswer(self.shared.daemon.look_timeout));
                return PollOutcome::Polled;
            }
            ReadEnd::Panicked => {
                self.trouble_with(&read, Trouble::Panicked);
                return PollOutcome::Polled;
            }
        };
        match (read, came) {
            (_, ReadOutcome::BecameGraph) => return PollOutcome::BecameGraph,
            (_, ReadOutcome::Target(whole)) => self.take_in_whole(opened, whole, began),
            (
                Read::Table(table),
                ReadOutcome::Table {
                    stats,
                    pinned,
                    written,
                    as_of,
                },
            ) => {
                let read = TableRead {
                    stats,
                    pinned,
                    written,
                    as_of,
                    began,
                };
                self.take_in_table(opened, &table, read);
            }
            (Read::Versions(table), ReadOutcome::Versions(versions)) => {
                self.take_in_versions(&table, versions, began);
            }
            (Read::LeftOver(table), ReadOutcome::LeftOver(found)) => {
                if let Err(e) = &found {
                    tracing::debug!(target_name = %self.target.name, %table, error = %e, "files that no version names could not be looked for");
                }
                let now = self.now();
                if let Some(kept) = self.tables.get_mut(&table) {
                    // What was found before a cleanup of ours ended may be gone.
                    let found = found.unwrap_or(false) && began >= kept.cleaned;
                    kept.left_over.looked(found, now);
                }
            }
            _ => {}
        }
        PollOutcome::Polled
    }

    /// What could not be read.
    fn trouble_with(&mut self, read: &Read, trouble: Trouble) {
        let now = self.now();
        match read {
            Read::Root => {
                self.within_reach = false;
                self.polled(Err(trouble));
            }
            Read::Table(table) => {
                self.fails(table, &trouble);
                let (looks, retries) = (self.poll_policy, self.retries());
                if let Some(kept) = self.tables.get_mut(table) {
                    (kept.being_read, kept.stale, kept.read_at) = (false, None, now);
                    // The longer it goes on, the less it takes the place of others.
                    kept.schedule_poll(Change::Nothing, &looks, &retries, now);
                }
            }
            Read::Versions(table) => self.cannot_list(table, trouble.to_string()),
            Read::LeftOver(table) => {
                if let Some(kept) = self.tables.get_mut(table) {
                    kept.left_over.looked(false, now);
                }
            }
        }
    }

    /// Gives up reads that do not answer. One of a local disk goes on: its thread waits for the disk.
    pub(super) fn give_up_reads(&mut self, opened: &Opened) {
        let patience = self.shared.daemon.look_timeout;
        for read in self.reads.give_up(self.now(), patience) {
            let trouble = Trouble::NoAnswer(patience);
            self.taken += 1;
            match &read {
                Read::Root => {
                    self.within_reach = false;
                    self.polled(Err(trouble));
                }
                // It is looked at again when this read has ended.
                Read::Table(table) => {
                    self.fails(table, &trouble);
                }
                Read::Versions(table) => self.cannot_list(table, trouble.to_string()),
                Read::LeftOver(_) => {}
            }
        }
        self.shared
            .liveness
            .answers(&self.target.name, self.reads.answer());
        let metrics = &self.shared.metrics;
        metrics.targets.passed_over(&self.target.name, opened.uri());
    }

    /// Notes how a look went.
    pub(super) fn polled(&mut self, poll: Result<(), Trouble>) {
        let now = self.now();
        let name = &self.target.name;
        self.shared.metrics.targets.polled(name, poll.is_ok());
        match &poll {
            Ok(()) => {
                if self.trouble.over() {
                    tracing::info!(target_name = %name, "the target can be kept again");
                }
            }
            Err(error) => match self.trouble.met(error, now) {
                Report::New => {
                    tracing::error!(target_name = %name, %error, "the target cannot be kept; trying again on every tick");
                }
                Report::GoesOn(times, since) => {
                    tracing::error!(target_name = %name, %error, times, seconds = since.as_secs(), "the target still cannot be kept");
                }
                Report::Nothing => {}
            },
        }
        let error = self.trouble.text().map(str::to_owned);
        self.shared.liveness.polled(name, error.clone());
        self.shared.status.polled(name, error);
    }

    /// Takes in a look at the target as a whole.
    fn take_in_whole(
        &mut self,
        opened: &Opened,
        whole: Result<TargetState, Failure>,
        began: Duration,
    ) {
        let poll = match whole {
            Ok(TargetState::Graph(snapshot)) => {
                self.settle_missed(began);
                self.take_in_graph(&snapshot);
                (self.whole, self.whole_at) = (Some(TargetState::Graph(snapshot)), began);
                Ok(())
            }
            Ok(TargetState::Directory(there)) => match self.vanished(&there) {
                Some(tables) => Err(Trouble::Vanished(tables)),
                None => {
                    self.settle_missed(began);
                    self.found(&there);
                    self.whole = Some(TargetState::Directory(there));
                    Ok(())
                }
            },
            Err(e) => Err(Trouble::Failed(e)),
        };
        self.within_reach = poll.is_ok();
        self.polled(poll);
        if self.within_reach {
            self.schedule_tables();
        }
        if std::mem::take(&mut self.read_again) {
            self.poll(opened);
        }
    }

    /// The target is there, so what was missed of it before this look began is gone.
    fn settle_missed(&mut self, began: Duration) {
        let missed = std::mem::take(&mut self.missed);
        let (gone, later) = missed.into_iter().partition(|(_, at)| *at <= began);
        self.missed = later;
        let gone: BTreeMap<TableKey, Duration> = gone;
        gone.keys().for_each(|table| self.mark_missing(table));
        self.poll_soon |= !self.missed.is_empty();
    }

    /// How many tables a directory had that has none now, as where its volume is not mounted.
    fn vanished(&mut self, there: &BTreeSet<TableKey>) -> Option<usize> {
        let had = self.tables.values().filter(|kept| !kept.gone).count();
        if had == 0 || !there.is_empty() {
            self.vanished = None;
            return None;
        }
        let now = self.now();
        let since = *self.vanished.get_or_insert(now);
        let may_be_empty = self.target.kind == Some(Kind::Directory) && now - since > VANISHED_FOR;
        (!may_be_empty).then_some(had)
    }

    fn take_in_graph(&mut self, snapshot: &Snapshot) {
        let manifest = snapshot.manifest();
        self.shared
            .metrics
            .graphs
            .manifest(&self.target.name, manifest);
        self.shared.status.queue(&self.target.name, manifest);
        let another = |(table, kept): &(&TableKey, &TableState)| {
            let now = manifest.tables.get(*table);
            let pinned = kept.pinned.as_ref();
            let other =
                pinned.is_some_and(|pinned| now.is_some_and(|now| pinned.is_of_another(now)));
            other && kept.history.running.is_none()
        };
        let another: Vec<_> = self
            .tables
            .iter()
            .filter(another)
            .map(|(t, _)| t.clone())
            .collect();
        another.iter().for_each(|table| self.forget(table));
        self.found(&manifest.tables.keys().cloned().collect());
        for kept in self.tables.values_mut() {
            kept.protection_is_of(manifest.collected_below);
        }
    }
}

/// Lists a directory; where its tables are not those that were known, it is seen whether it is a graph now.
async fn poll_directory(
    directory: Directory,
    target: Target,
    known: Option<Arc<BTreeSet<TableKey>>>,
) -> ReadOutcome {
    let poll = async {
        let there: BTreeSet<_> = directory.tables().await?.into_iter().collect();
        // A graph that is made here has a manifest before it has tables.
        let same = known.is_some_and(|known| *known == there);
        if (!same || there.is_empty())
            && detect(&target.uri, None, &beyond(&target)).await? == Kind::Graph
        {
            return match target.kind {
                Some(Kind::Directory) => Err(is_a_graph(directory.uri())),
                Some(Kind::Graph) | None => Ok(None),
            };
        }
        Ok(Some(TargetState::Directory(Arc::new(there))))
    };
    match poll.await.transpose() {
        Some(whole) => ReadOutcome::Target(whole),
        None => ReadOutcome::BecameGraph,
    }
}
