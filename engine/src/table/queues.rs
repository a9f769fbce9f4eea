//! The fair queue of this process: one per table, first come, first served.
//!
//! It gives a process one voice in the manifest's queue, and lets physical operations wait their turn without a
//! place there. Readers of a table share it; a writer has it alone.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::ids::{TableKey, Touched};

/// The queues of a target's tables, in this process.
#[derive(Debug, Default)]
pub(crate) struct TableQueues {
    tables: Mutex<HashMap<TableKey, Arc<RwLock<()>>>>,
}

/// A turn on a set of tables, from when it is given until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _places: Vec<Place>,
    since: Instant,
}

#[derive(Debug)]
enum Place {
    Writer { _lock: OwnedRwLockWriteGuard<()> },
    Reader { _lock: OwnedRwLockReadGuard<()> },
}

impl Turn {
    /// How long the turn has been held, on the monotonic clock.
    pub(crate) fn held(&self) -> Duration {
        self.since.elapsed()
    }
}

impl TableQueues {
    /// Waits for a turn on every touched table. Tables are taken in the order of their keys, so that no two
    /// operations wait for each other.
    pub(crate) async fn turn(&self, touched: &Touched) -> Turn {
        let mut places = Vec::new();
        for table in touched.all() {
            let queue = self.queue_of(table);
            places.push(if touched.writes.contains(table) {
                Place::Writer {
                    _lock: queue.write_owned().await,
                }
            } else {
                Place::Reader {
                    _lock: queue.read_owned().await,
                }
            });
        }
        Turn {
            _places: places,
            since: Instant::now(),
        }
    }

    fn queue_of(&self, table: &TableKey) -> Arc<RwLock<()>> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.entry(table.clone()).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use futures::{FutureExt, future::pending};

    use super::*;

    fn writing(names: &[&str]) -> Touched {
        Touched::writing(names.iter().map(|n| format!("node:{n}").parse().unwrap()))
    }

    fn reading(name: &str) -> Touched {
        Touched {
            writes: BTreeSet::new(),
            reads: BTreeSet::from([format!("node:{name}").parse().unwrap()]),
        }
    }

    #[tokio::test]
    async fn operations_on_different_tables_do_not_wait_for_each_other() {
        let queues = TableQueues::default();
        let _a = queues.turn(&writing(&["A"])).await;
        assert!(queues.turn(&writing(&["B"])).now_or_never().is_some());
    }

    #[tokio::test]
    async fn two_on_one_table_get_in_line_in_the_order_of_arrival() {
        let queues = Arc::new(TableQueues::default());
        let first = queues.turn(&writing(&["A"])).await;
        let (touched_b, touched_c) = (writing(&["A", "B"]), writing(&["A"]));
        let mut second = Box::pin(queues.turn(&touched_b));
        assert!((&mut second).now_or_never().is_none());
        let mut third = Box::pin(queues.turn(&touched_c));
        assert!((&mut third).now_or_never().is_none());
        drop(first);
        assert!(
            (&mut third).now_or_never().is_none(),
            "the second is before the third"
        );
        let second = tokio::select! { turn = second => turn, () = pending() => unreachable!() };
        drop(second);
        third.await;
    }

    #[tokio::test]
    async fn readers_of_a_table_share_it_and_a_writer_waits_for_them() {
        let queues = TableQueues::default();
        let one = queues.turn(&reading("A")).await;
        let two = queues
            .turn(&reading("A"))
            .now_or_never()
            .expect("readers share");
        let touched = writing(&["A"]);
        let mut writer = Box::pin(queues.turn(&touched));
        assert!((&mut writer).now_or_never().is_none());
        drop((one, two));
        writer.await;
    }
}
