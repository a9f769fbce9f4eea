//! Reads of a target that are under way. Each is a task of its own, so that one which hangs holds neither the keeper,
//! nor a job slot, nor another read; one that panics is an error of what it read. One that has not ended after
//! `look_timeout` is given up in `refresh.rs`; its target then counts as stuck (on a disk, whose thread hangs on) or as
//! failing (on a store), its table as failing.

use std::{collections::HashMap, time::Duration};

use squire_engine::TableKey;
use tokio::task::{AbortHandle, Id, JoinSet};

/// Maximum number of tables that are read at once.
const TABLES_AT_ONCE: usize = 8;
/// Maximum number of lists of versions or files that are made at once.
const LISTS_AT_ONCE: usize = 4;
/// Maximum number of overdue reads that are still under way; above it, no other table is read: each may hold a thread
/// of a disk that hangs.
const MOST_OVERDUE: usize = 16;

/// What is read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Read {
    /// What there is: a graph's manifest, a list of a directory.
    Root,
    /// The statistics of a table.
    Table(TableKey),
    /// The versions of a table.
    Versions(TableKey),
    /// Whether a table has files that no version names.
    LeftOver(TableKey),
}

impl Read {
    /// The table, where it is one.
    pub(super) fn table(&self) -> Option<&TableKey> {
        match self {
            Self::Root => None,
            Self::Table(table) | Self::Versions(table) | Self::LeftOver(table) => Some(table),
        }
    }
}

/// How a read ended.
#[derive(Debug)]
pub(super) enum ReadEnd<T> {
    /// With this.
    Read(T),
    /// It did not answer in time, and was given up.
    GivenUp,
    /// It panicked.
    Panicked,
}

/// A read that has ended.
#[derive(Debug)]
pub(super) struct Ended<T> {
    pub(super) read: Read,
    /// When it began.
    pub(super) began: Duration,
    pub(super) how: ReadEnd<T>,
}

/// One that is under way.
#[derive(Debug)]
struct Begun {
    read: Read,
    at: Duration,
    overdue: bool,
    task: AbortHandle,
}

/// Those that are under way.
#[derive(Debug)]
pub(super) struct Reads<T> {
    tasks: JoinSet<T>,
    begun: HashMap<Id, Begun>,
    /// Whether a read ends when it is given up. One of a local disk does not: its thread waits for the disk.
    ends_when_given_up: bool,
}

impl<T: Send + 'static> Reads<T> {
    pub(super) fn new(ends_when_given_up: bool) -> Self {
        Self {
            tasks: JoinSet::new(),
            begun: HashMap::new(),
            ends_when_given_up,
        }
    }

    /// Whether nothing is under way, but for what is overdue.
    pub(super) fn is_idle(&self) -> bool {
        self.begun.values().all(|begun| begun.overdue)
    }

    /// Whether this is under way.
    pub(super) fn has(&self, read: &Read) -> bool {
        self.begun.values().any(|begun| begun.read == *read)
    }

    /// Whether the target as a whole answers: neither is its own look overdue, nor so many others that none is begun.
    pub(super) fn answer(&self) -> bool {
        let root = |begun: &Begun| begun.overdue && begun.read == Read::Root;
        !self.begun.values().any(root) && self.overdue() < MOST_OVERDUE
    }

    fn overdue(&self) -> usize {
        self.begun.values().filter(|begun| begun.overdue).count()
    }

    /// Whether there is room for this beside what is under way.
    pub(super) fn has_room_for(&self, read: &Read) -> bool {
        // There is one of the root at most, and it tells that there is more to do than what hangs.
        if *read != Read::Root && self.overdue() >= MOST_OVERDUE {
            return false;
        }
        let most = match read {
            Read::Root => 1,
            Read::Table(_) => TABLES_AT_ONCE,
            Read::Versions(_) | Read::LeftOver(_) => LISTS_AT_ONCE,
        };
        let alike = self.begun.values().filter(|begun| {
            !begun.overdue && std::mem::discriminant(&begun.read) == std::mem::discriminant(read)
        });
        alike.count() < most && !self.has(read)
    }

    /// Begins one.
    pub(super) fn begin(
        &mut self,
        read: Read,
        now: Duration,
        work: impl Future<Output = T> + Send + 'static,
    ) {
        let task = self.tasks.spawn(work);
        let begun = Begun {
            read,
            at: now,
            overdue: false,
            task: task.clone(),
        };
        self.begun.insert(task.id(), begun);
    }

    /// The next that ends; it waits for ever where nothing is under way. Nothing is lost when it is dropped.
    pub(super) async fn next(&mut self) -> Ended<T> {
        loop {
            let Some(ended) = self.tasks.join_next_with_id().await else {
                return std::future::pending().await;
            };
            if let Some(ended) = self.ended(ended) {
                return ended;
            }
        }
    }

    /// The next that has ended already.
    pub(super) fn try_next(&mut self) -> Option<Ended<T>> {
        loop {
            let ended = self.tasks.try_join_next_with_id()?;
            if let Some(ended) = self.ended(ended) {
                return Some(ended);
            }
        }
    }

    fn ended(&mut self, ended: Result<(Id, T), tokio::task::JoinError>) -> Option<Ended<T>> {
        let (id, how) = match ended {
            Ok((id, came)) => (id, ReadEnd::Read(came)),
            Err(e) if e.is_panic() => (e.id(), ReadEnd::Panicked),
            Err(e) => (e.id(), ReadEnd::GivenUp),
        };
        let begun = self.begun.remove(&id)?;
        Some(Ended {
            read: begun.read,
            began: begun.at,
            how,
        })
    }

    /// Gives up what has not answered for `patience`; what goes on nevertheless is reported, once.
    pub(super) fn give_up(&mut self, now: Duration, patience: Duration) -> Vec<Read> {
        let late = self
            .begun
            .values_mut()
            .filter(|begun| !begun.overdue && now.saturating_sub(begun.at) > patience);
        let mut go_on = Vec::new();
        for begun in late {
            begun.overdue = true;
            if self.ends_when_given_up {
                begun.task.abort();
            } else {
                go_on.push(begun.read.clone());
            }
        }
        go_on
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn table(n: usize) -> Read {
        Read::Table(TableKey::of_directory(format!("t{n}")))
    }

    fn hung(reads: &mut Reads<u8>, read: Read) {
        assert!(reads.has_room_for(&read));
        reads.begin(read, Duration::ZERO, pending());
    }

    #[tokio::test]
    async fn tables_that_hang_take_the_room_of_others_only_until_they_are_overdue() {
        let mut reads = Reads::new(false);
        (0..TABLES_AT_ONCE).for_each(|n| hung(&mut reads, table(n)));
        assert!(!reads.has_room_for(&table(99)));
        assert!(reads.has_room_for(&Read::Root), "each kind has its own");
        assert!(reads.give_up(PATIENCE, PATIENCE).is_empty(), "not yet");
        let late = reads.give_up(2 * PATIENCE, PATIENCE);
        assert_eq!(late.len(), TABLES_AT_ONCE);
        assert!(reads.is_idle() && reads.has_room_for(&table(99)));
        assert!(!reads.has_room_for(&table(0)), "it is under way still");
        assert!(
            reads.give_up(3 * PATIENCE, PATIENCE).is_empty(),
            "reported once"
        );
    }

    #[tokio::test]
    async fn a_disk_that_hangs_is_not_asked_for_ever_more() {
        let mut reads = Reads::new(false);
        for n in 0..MOST_OVERDUE {
            hung(&mut reads, table(n));
            reads.give_up(2 * PATIENCE, PATIENCE);
        }
        assert!(!reads.has_room_for(&table(99)) && !reads.answer());
        assert!(reads.has_room_for(&Read::Root));
    }

    #[tokio::test]
    async fn a_store_that_does_not_answer_is_given_up_and_may_be_asked_again() {
        let mut reads = Reads::new(true);
        hung(&mut reads, Read::Root);
        assert!(reads.give_up(2 * PATIENCE, PATIENCE).is_empty());
        let ended = reads.next().await;
        assert!(matches!(ended.how, ReadEnd::GivenUp), "{ended:?}");
        assert!(reads.has_room_for(&Read::Root));
    }

    #[tokio::test]
    async fn a_read_that_panics_is_told_of_what_it_read() {
        let mut reads = Reads::<u8>::new(true);
        reads.begin(table(1), Duration::ZERO, async { panic!("a wrong length") });
        reads.begin(table(2), Duration::ZERO, async { 7 });
        let mut ended = [reads.next().await, reads.next().await];
        ended.sort_by_key(|ended| ended.read.table().map(ToString::to_string));
        assert_eq!(ended[0].read, table(1));
        assert!(matches!(ended[0].how, ReadEnd::Panicked), "{ended:?}");
        assert!(matches!(ended[1].how, ReadEnd::Read(7)), "{ended:?}");
        assert!(reads.try_next().is_none() && reads.is_idle());
    }
}
