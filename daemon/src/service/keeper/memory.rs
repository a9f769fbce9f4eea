//! What a keeper leaves to the next of the same target at the same place, whether a reload ended it or a panic: budgets,
//! rests, what was called for, and when each duty last succeeded.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use squire_engine::{
    TableKey,
    maintenance::{Duty, History, pace::Spent},
};

use super::kept::Successes;

/// What is left.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) spent: Spent,
    pub(super) tables: BTreeMap<TableKey, TableMemory>,
}

/// What is left of one table.
#[derive(Debug)]
pub(super) struct TableMemory {
    pub(super) history: History,
    pub(super) forced: BTreeSet<Duty>,
    pub(super) successes: Successes,
}

/// What was left of each target, with its place.
#[derive(Debug, Default)]
pub(in crate::service) struct Memories(Mutex<BTreeMap<String, (String, Memory)>>);

impl Memories {
    /// A keeper ends.
    pub(super) fn leave(&self, target: &str, uri: &str, memory: Memory) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(target.to_owned(), (uri.to_owned(), memory));
    }

    /// A keeper begins. What was left of another place is forgotten.
    pub(super) fn take(&self, target: &str, uri: &str) -> Memory {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = all.remove(target).filter(|(place, _)| place == uri);
        left.map(|(_, memory)| memory).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use squire_engine::maintenance::pace::{Charge, Pace};

    use super::*;

    #[test]
    fn a_keeper_goes_on_with_what_was_spent_at_its_place_and_at_no_other() {
        let memories = Memories::default();
        let left = || {
            let mut memory = Memory::default();
            let charge = Charge {
                ended: Duration::ZERO,
                ran: Duration::ZERO,
                bytes: 7,
                emergency: false,
            };
            memory.spent.ledger.charge(charge, &Pace::default());
            memory
        };
        memories.leave("lake", "/a", left());
        let spent = |memory: Memory| memory.spent.ledger.spent(Duration::ZERO);
        assert_eq!(spent(memories.take("lake", "/a")), 7);
        assert_eq!(spent(memories.take("lake", "/a")), 0, "taken once");
        memories.leave("lake", "/a", left());
        assert_eq!(spent(memories.take("lake", "/b")), 0);
    }
}
