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

    /// A keeper begins; nothing when it is the first at its place. What was left of another place is forgotten.
    pub(super) fn take(&self, target: &str, uri: &str) -> Option<Memory> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = all.remove(target).filter(|(place, _)| place == uri);
        left.map(|(_, memory)| memory)
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
                bytes: 7,
                ..Charge::default()
            };
            memory.spent.ledger.charge(charge, &Pace::default());
            memory
        };
        memories.leave("lake", "/a", left());
        let spent = |memory: Memory| memory.spent.ledger.spent(Duration::ZERO);
        assert_eq!(memories.take("lake", "/a").map(spent), Some(7));
        assert!(memories.take("lake", "/a").is_none(), "taken once");
        memories.leave("lake", "/a", left());
        assert!(memories.take("lake", "/b").is_none());
    }
}
